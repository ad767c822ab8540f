"""The cases of tests/alerts/cases/*.yaml, and promtool's unit tests made of them.

What may live here: reading cases, writing series out in full, and promtool's format.

A case file is named as the file of rules that it tests. Under an alert's name stand its `labels` and
texts as they must be when it fires; `incident`, the series of something that goes wrong and gets
well again; `fires` and `resolves`, when; and series of which nothing may come, by kind: `quiet`,
`below` and `guard`, a table of cases by name. `thresholds` are settings that differ from the
shipped ones. A name may go on after a slash, for an alert with several severities or windows.
Series are written in words:

- `+3x10`: a counter that grows by 3 in each of 10 steps; it begins at 0, or where it was
- `=0`: the counter is at 0 again, as after a restart
- `5x10`: the value 5, ten times; `5:9x5`: from 5 to 9 in five values
- `_x10`: not there yet, ten times
- `stalex10`: gone, ten times, as after a scrape that failed or did not have it

A histogram's value is a table: how many came in each bucket, by its upper bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import yaml

HERE = Path(__file__).parent
ALERTS = HERE.parents[1] / "alerts"
KINDS = ("quiet", "below", "incident", "guard")
SILENT = ("quiet", "below", "guard")
BOUNDS = (0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60, 120, 300, 600)
WORD = re.compile(r"(?P<sign>[+=]?)(?P<value>[^x:]+)(?::(?P<to>[^x]+))?(?:x(?P<times>\d+))?")
VARIABLES = ("job", "instance", "agent", "tool", "model")  # of labels, what the board is asked for
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
RECORDED = ("recordings", "objectives")  # files of recording rules for all
NAME = re.compile(r"[a-zA-Z_:][\w:]*")
CHECKS = 12  # moments at which a silent case is looked at


class Case(NamedTuple):
    """Series, and when an alert must fire or be silent."""

    alert: str
    kind: str
    name: str
    series: dict
    moments: list[tuple[float, str | None]]  # seconds, and what it says if it fires
    step: float


def seconds(duration: str) -> float:
    """Read a duration of PromQL."""
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([smhd])", str(duration)))


def expand(text: str) -> list:
    """Write a series out: numbers, or the words that promtool has for nothing."""
    made, now = [], 0.0
    for word in str(text).replace("stale", "~").split():
        sign, value, to, times = WORD.fullmatch(word).groups()
        count = int(times or 1)
        if sign == "=":
            now = float(value)
            made.append(now)
        elif sign == "+":
            if not made:
                made.append(now)
            made += [now := now + float(value) for _ in range(count)]
        elif to:
            made += [float(value) + (float(to) - float(value)) * step / (count - 1) for step in range(count)]
        else:
            made += [{"~": "stale", "_": "_"}.get(value) or float(value)] * count
    return made


def labelled(series: str) -> str:
    """Add the labels that a scrape adds; a recorded series has no instance."""
    name, _, labels = series.partition("{")
    found = dict(re.findall(r'(\w+)="([^"]*)"', labels))
    usual = {"job": "agent-exporter"} | ({} if ":" in name else {"instance": "host:9464"})
    inside = ", ".join(f'{key}="{value}"' for key, value in {**usual, **found}.items() if value)
    return f"{name}{{{inside}}}"


def total(row: tuple) -> float | str:
    """Add the values of a moment, unless there is nothing to add."""
    return next((value for value in row if isinstance(value, str)), None) or sum(row)


def histogram(series: str, table: dict) -> Iterator[tuple[str, list]]:
    """Write the series of a histogram."""
    name, _, labels = series.partition("{")
    columns = {bound: expand(text) for bound, text in table.items()}
    nothing = [value if isinstance(value, str) else 0.0 for value in next(iter(columns.values()))]
    for edge in (*BOUNDS, "+Inf"):
        below = [values for bound, values in columns.items() if edge == "+Inf" or bound <= edge]
        under = [total(row) for row in zip(nothing, *below, strict=True)]
        yield f'{name}_bucket{{le="{edge}", {labels}', under
    yield f"{name}_count{{{labels}", under
    sums = (
        [value if isinstance(value, str) else bound * value for value in values] for bound, values in columns.items()
    )
    yield f"{name}_sum{{{labels}", [total(row) for row in zip(*sums, strict=True)]


def written(series: dict) -> Iterator[tuple[str, list]]:
    """Write all series of a case."""
    for name, value in series.items():
        yield from histogram(name, value) if isinstance(value, dict) else [(name, expand(value))]


def texts(values: list) -> str:
    """Write the values of a series as promtool wants them."""
    return " ".join(f"{value:.12g}" if isinstance(value, float) else value for value in values)


def load() -> dict[str, dict]:
    """Read the tests of every alert, with the file of rules that it is in."""
    files = sorted((HERE / "cases").glob("*.yaml"))
    return {
        alert: {**test, "rules": path.stem}
        for path in files
        for alert, test in yaml.safe_load(path.read_text()).items()
    }


def cases(alert: str, test: dict) -> Iterator[Case]:
    """Give the cases of an alert."""
    step = seconds(test.get("step", "30s"))
    moments = [
        (seconds(test[event][word]), test[event].get("says", test["says"]) if word == "firing" else None)
        for event in ("fires", "resolves")
        for word in ("silent", "firing")
    ]
    yield Case(alert, "incident", "incident", test["incident"], moments, step)
    for kind in SILENT:
        named = test[kind] if kind == "guard" else {kind: test[kind]}
        for name, series in named.items():
            end = max(len(values) for _, values in written(series)) - 1
            moments = [(round(end * part / CHECKS) * step, None) for part in range(1, CHECKS + 1)]
            yield Case(alert, kind, name, series, moments, step)


def expected(alert: str, test: dict, says: str | list[str], links: dict[str, str]) -> list[dict]:
    """Write what the firing alerts must be, which are one for each text."""
    if isinstance(says, str):
        return [fired(alert, test, test["labels"], says, links)]
    return [fired(alert, test, labels, text, links) for labels, text in zip(test["labels"], says, strict=True)]


def fired(alert: str, test: dict, own: dict[str, str], says: str, links: dict[str, str]) -> dict:
    """Write what a firing alert must be."""
    labels = {"job": "agent-exporter", **own}
    shown = {f"var-{name}": labels[name] for name in VARIABLES if name in labels}
    return {
        "exp_labels": labels,
        "exp_annotations": {
            "summary": test["summary"],
            "description": says,
            "runbook_url": f"{links['runbooks']}/{alert}.md",
            "dashboard_url": f"{links['dashboards']}/{test['board']}?{urlencode(shown)}",
        },
    }


def group(case: Case, test: dict, links: dict[str, str]) -> dict:
    """Write a case as promtool wants it."""
    name = case.alert.partition("/")[0]
    return {
        "name": f"{case.alert}: {case.name}",
        "interval": f"{case.step:.0f}s",
        "input_series": [{"series": labelled(name), "values": texts(values)} for name, values in written(case.series)],
        "alert_rule_test": [
            {
                "eval_time": f"{moment:.0f}s",
                "alertname": name,
                "exp_alerts": expected(name, test, says, links) if says else [],
            }
            for moment, says in case.moments
        ],
    }


def shipped() -> list[dict]:
    """Read the groups of all shipped rules; what others build on comes first, as Prometheus would have it by then."""
    paths = sorted((ALERTS / "rules").glob("*.yml"), key=lambda path: (path.stem not in RECORDED, path.stem))
    return [group for path in paths for group in yaml.safe_load(path.read_text())["groups"]]


def needed(groups: list[dict], alert: str, given: set[str]) -> list[dict]:
    """Leave an alert, of the window it is named with, and what it builds on, down to series that are given."""
    alert, _, window = alert.partition("/")
    everything = [rule for group in groups for rule in group["rules"]]
    recorded = {rule["record"] for rule in everything if "record" in rule} - given
    wanted = [
        rule for rule in everything if rule.get("alert") == alert and rule["labels"].get("window", window) == window
    ]
    for rule in wanted:  # grows on the way
        names = recorded.intersection(NAME.findall(rule["expr"]))
        wanted += [each for each in everything if each.get("record") in names]
        recorded -= names
    kept = ((group, [rule for rule in group["rules"] if rule in wanted]) for group in groups)
    return [{**group, "rules": rules} for group, rules in kept if rules]


def page(groups: list[dict], rules: Path, case: Case, tests: list[dict]) -> dict:
    """Write promtool's file of tests."""
    return {
        "rule_files": [str(rules)],
        "evaluation_interval": f"{case.step:.0f}s",
        "group_eval_order": [group["name"] for group in groups],
        "tests": tests,
    }
