"""What there is to be named: series, their labels and the values that these can have.

Families of the catalogue under their names in Prometheus, what Prometheus adds by itself, and the
series that recording rules make. A name outside our namespaces may be anything: what agents push under
their own names and what other exporters tell is legitimate, and no business of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from ..catalog import CATALOG, VALUES
from ..expose.names import Strategy, metric_name
from ..model import Instrument, Kind

Labels = frozenset[str] | None  # None: any

# Names that begin so are ours to know. What follows the conventions of OpenTelemetry (system_*, container_*) may also
# be pushed by somebody: such a name is told and can be allowed.
NAMESPACES: Final = ("agent_", "system_", "container_")
TARGET: Final = frozenset({"job", "instance"})  # what each scraped series has
_OF_PROMETHEUS: Final = (
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
    # with --enable-feature=extra-scrape-metrics
    *("scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes"),
)
_ANY_LABEL: Final = ("ALERTS", "ALERTS_FOR_STATE", "target_info", "otel_scope_info")
_ALERT_STATES: Final = frozenset({"pending", "firing"})


@dataclass(slots=True)
class Lexicon:
    """Labels by name of series, values by name and label; `allowed` are names that the user vouches for."""

    series: dict[str, Labels] = field(default_factory=dict)
    values: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    allowed: frozenset[str] = frozenset()

    @classmethod
    def of_catalog(cls, allowed: Iterable[str] = ()) -> Lexicon:
        """Begin with what there is without any recording rule."""
        made = cls(allowed=frozenset(allowed))
        made.series |= dict.fromkeys(_OF_PROMETHEUS, TARGET) | dict.fromkeys(_ANY_LABEL)
        made.values["ALERTS", "alertstate"] = _ALERT_STATES
        for instrument in CATALOG.values():
            for name, extra in _samples(instrument):
                made.series[name] = TARGET | {*instrument.labels, *extra}
                made.values |= {(name, label): values for label, values in _values(instrument, extra)}
        return made

    def knows(self, name: str) -> bool:
        """Tell whether there is a series of that name."""
        return name in self.series or name in self.allowed

    def is_ours(self, name: str) -> bool:
        """Tell whether we would know a series of that name: it is in our namespaces, or recorded."""
        return name.startswith(NAMESPACES) or ":" in name

    def labels(self, name: str) -> Labels:
        """Tell which labels a series can have."""
        return self.series.get(name)

    def fitting(self, pattern: str) -> list[str]:
        """Name the series that a regular expression selects; none if it is not one for Python."""
        try:
            found = re.compile(pattern)
        except re.error:
            return []
        return [name for name in self.series if found.fullmatch(name)]

    def record(self, recorded: Mapping[str, Labels]) -> None:
        """Learn the series of recording rules."""
        self.series |= recorded


def _samples(instrument: Instrument) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Name the samples of a family with the labels that they have besides its own."""
    name = metric_name(instrument.name, instrument.unit, instrument.kind, Strategy.UNDERSCORES_SUFFIXES).sample
    if instrument.kind is Kind.HISTOGRAM:
        yield from ((f"{name}_bucket", ("le",)), (f"{name}_sum", ()), (f"{name}_count", ()), (f"{name}_created", ()))
    else:
        yield name, ()
    if instrument.kind is Kind.COUNTER:
        yield f"{name.removesuffix('_total')}_created", ()


def _values(instrument: Instrument, extra: tuple[str, ...]) -> Iterator[tuple[str, frozenset[str]]]:
    for label in instrument.labels:
        if (instrument.name, label) in VALUES:
            yield label, frozenset(VALUES[instrument.name, label])
        elif instrument.siblings and label == instrument.siblings[0]:
            yield label, frozenset(instrument.siblings[1])
    if "le" in extra:  # Prometheus 3 writes 1.0 where 2 keeps the 1 of the page
        yield "le", frozenset({"+Inf", *(f(bound) for bound in instrument.bounds for f in (repr, "{:.10g}".format))})
