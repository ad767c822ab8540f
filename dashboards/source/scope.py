"""What a query is about: the variables of a board become matchers of every series in it.

A board file writes `rate(agent_turns_total[$__rate_interval])`; here it becomes
`rate(agent_turns_total{job=~"$job", instance=~"$instance", agent=~"$agent"}[...])`.
A matcher is added for each variable of which the series has the label, and for no other: a
matcher on a label that a series lacks would hide it. Recorded series are sums over all
exporters, so they have `job` and `agent` but no `instance`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from agent_exporter.catalog import CATALOG
from agent_exporter.expose.names import Strategy, metric_name
from agent_exporter.model import Instrument, Kind

SCRAPED = ("job", "instance")
"""Labels that the scrape adds to every series of the exporter."""

PARTS = {
    "agent": ("agent",),
    "instance": ("agent_instance",),
    "model": ("provider", "model"),
    "le": ("le",),
    "tool": ("tool",),
    "status": ("status",),
    "operation": ("operation",),
    "type": ("type",),
    "cache": ("cache",),
    "interface": ("interface",),
    "job": (),
}
"""What the first part of a recorded series' name says about its labels, beside `job`."""

LEVELS = {"instance": SCRAPED}
"""Levels that mean something else when they stand alone: machines, not processes of agents."""

CONSTANTS = ("slo:objective:", "agent_budget:")
"""Recorded numbers from the thresholds: they belong to no job."""

OPTIONAL = (*SCRAPED, "agent")
"""Labels that alerts have or have not; what lacks one is shown whatever the variable says."""

SERIES = re.compile(r"(?<![\w:$\"])([a-zA-Z_][\w:]*)(\{)?")


def samples(family: Instrument) -> tuple[str, ...]:
    """Return the names under which a family's samples are on the page."""
    name = metric_name(family.name, family.unit, family.kind, Strategy.UNDERSCORES_SUFFIXES).sample
    return tuple(name + end for end in ("_bucket", "_sum", "_count")) if family.kind is Kind.HISTOGRAM else (name,)


FAMILIES = {name: family.name for family in CATALOG.values() for name in samples(family)}
"""From a sample's name to its family."""

LABELS = {name: SCRAPED + tuple(CATALOG[family].labels) for name, family in FAMILIES.items()} | dict.fromkeys(
    ("up", "scrape_duration_seconds", "scrape_samples_post_metric_relabeling", "scrape_series_added"), SCRAPED
)
"""The labels of each series that the exporter's scrape makes."""


def labels_of(series: str) -> tuple[str, ...]:
    """Return the labels of a series that a variable could match; none if it is no series of ours."""
    if series.startswith(CONSTANTS):
        return ()
    if ":" in series:
        level = series.split(":", maxsplit=1)[0]
        return LEVELS.get(level) or ("job", *(label for part in level.split("_") for label in PARTS[part]))
    return LABELS.get(series, ())


def matchers(series: str, variables: Iterable[str]) -> str:
    """Return the matchers for the variables of which the series has the label."""
    if series.startswith("ALERTS"):
        return ", ".join(f'{name}=~"${name}|"' for name in OPTIONAL)
    labels = labels_of(series)
    return ", ".join(f'{name}=~"${name}"' for name in variables if name in labels)


def scoped(expression: str, variables: tuple[str, ...]) -> str:
    """Add the matchers of a board's variables to every series in an expression."""

    def add(found: re.Match[str]) -> str:
        series, brace = found.groups()
        said = matchers(series, variables)
        if not said:
            return found[0]
        return f"{series}{{{said}, " if brace else f"{series}{{{said}}}"

    return SERIES.sub(add, expression)
