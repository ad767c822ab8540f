"""Thresholds: numbers from alerts/thresholds.yaml by name, as the colours and lines of a panel.

No board has a number of its own: `above("tools.error_ratio.high")` names where it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path

import yaml

from .sdk import dashboard

FILE = Path(__file__).parents[2] / "alerts" / "thresholds.yaml"

GOOD, NOTICE, WARN, BAD, PLAIN = "green", "yellow", "orange", "red", "text"
"""What a colour means, on every board. A colour never stands alone: the value or a word is beside it."""

BINARY = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a value changes its meaning: names of thresholds, from the smallest up, and colours.

    `colours` has one more than there are names: below the first, between, above the last. An
    `int` is a number that needs no threshold.
    """

    names: tuple[str | int, ...] = ()
    colours: tuple[str, ...] = (PLAIN,)

    def steps(self) -> dashboard.ThresholdsConfig:
        """Return the steps as Grafana's classes have them."""
        values = (None, *map(number, self.names))
        steps = [dashboard.Threshold(value, colour) for value, colour in zip(values, self.colours, strict=True)]
        return dashboard.ThresholdsConfig(dashboard.ThresholdsMode.ABSOLUTE, steps)


@cache
def thresholds() -> dict[str, object]:
    """Read the file with every number."""
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def number(name: str | int) -> float:
    """Look up a threshold by its dotted name; a count is its own number."""
    if isinstance(name, int):
        return name
    return reduce(lambda group, part: group[int(part) if part.isdigit() else part], name.split("."), thresholds())


def above(*names: str | int, colours: tuple[str, ...] = (WARN, BAD)) -> Limits:
    """Say that more is worse: over the first it warns, over the second it is bad."""
    return Limits(names, (GOOD, *colours[: len(names)]))


def below(*names: str | int, colours: tuple[str, ...] = (BAD, WARN)) -> Limits:
    """Say that less is worse: under the last it warns, under the first (of two) it is bad."""
    return Limits(names, (*colours[-len(names) :], GOOD))


def text(value: float, unit: str) -> str:
    """Write a threshold for people, in its unit."""
    if unit == "bytes":
        size, name = next(((size, name) for size, name in BINARY if value >= size), (1, "B"))
        return f"{value / size:g} {name}"
    if unit == "percentunit":
        return f"{value * 100:g} %"
    if unit == "s":
        return f"{value * 1000:g} ms" if value < 1 else f"{value:g} s"
    return f"{value:g} USD" if unit == "currencyUSD" else f"{value:g}"
