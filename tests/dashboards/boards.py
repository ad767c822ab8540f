"""The boards as the tests read them: their panels, and every query with the variables filled in.

`queries()` lists what a Grafana would ask, `filled()` makes of an expression what it would send.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

DASHBOARDS = Path(__file__).parents[2] / "dashboards"
NAMES = ("agent-overview", "agent-tools", "agent-models", "agent-sessions", "agent-runtime", "agent-slo")

MACROS = {"$__rate_interval": "1m", "$__range": "6h", "$__interval": "15s"}
"""What Grafana puts for its own variables, with a scrape interval of 15 s."""


class Query(NamedTuple):
    """An expression of a board: whose it is, under which letter, and whether it is asked at one time only."""

    board: str
    panel: str
    letter: str
    expression: str
    instant: bool


@cache
def board(name: str) -> dict[str, Any]:
    """Read a board as it is committed."""
    return json.loads((DASHBOARDS / f"{name}.json").read_text(encoding="utf-8"))


def panels(name: str) -> Iterator[dict[str, Any]]:
    """Give the panels of a board, those in collapsed rows too, without the rows themselves."""
    for each in board(name)["panels"]:
        yield from each["panels"] if each["type"] == "row" else [each]


def variables(name: str) -> dict[str, dict[str, Any]]:
    """Return a board's variables by their names, in their order."""
    return {each["name"]: each for each in board(name)["templating"]["list"]}


def queries(*names: str) -> list[Query]:
    """List every query of the panels, as it is committed."""
    return [
        Query(name, panel["title"], target["refId"], target["expr"], target["instant"])
        for name in names or NAMES
        for panel in panels(name)
        for target in panel["targets"]
    ]


def annotations(*names: str) -> list[Query]:
    """List every query of the annotations."""
    return [
        Query(name, each["name"], "Anno", each["expr"], instant=False)
        for name in names or NAMES
        for each in board(name)["annotations"]["list"]
    ]


def choices(*names: str) -> list[Query]:
    """List what the variables ask: a selector, whose label `letter` gives the values."""
    found = []
    for name in names or NAMES:
        for title, each in variables(name).items():
            if each["type"] == "query":
                series, label = each["query"]["query"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
                found.append(Query(name, title, label, series, instant=True))
    return found


def filled(expression: str, chosen: Mapping[str, str] | None = None, macros: Mapping[str, str] = MACROS) -> str:
    """Put values for macros and variables; a variable that is not `chosen` is «All»."""
    everything = {
        name: each["allValue"] for board in NAMES for name, each in variables(board).items() if "allValue" in each
    }
    values = {**macros, **{f"${name}": value for name, value in {**everything, **(chosen or {})}.items()}}
    for name in sorted(values, key=len, reverse=True):  # $agent_instance before $agent
        expression = expression.replace(name, values[name])
    return expression
