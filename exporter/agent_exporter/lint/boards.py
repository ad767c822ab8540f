"""Grafana dashboards (the classic JSON): every query of panels, variables and annotations held to what there is.

What Grafana puts in before it asks (`$__rate_interval`, `$agent`) is put in here first. Queries to data sources that
are no Prometheus are left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from . import promql
from .findings import Report, Unusable, meant
from .lexicon import Lexicon

# What Grafana's own variables stand for: any value of their kind will do.
_MACROS: Final = {
    "__rate_interval": "5m",
    "__interval": "1m",
    "__range": "1h",
    "__interval_ms": "60000",
    "__rate_interval_ms": "300000",
    "__range_s": "3600",
    "__range_ms": "3600000",
    "__from": "0",
    "__to": "0",
}
_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::\w+)?\}|\$([a-zA-Z_]\w*)|\[\[(\w+)(?::\w+)?\]\]")
_GROUP: Final = re.compile(r"\(\?P<(\w+)>")  # `label_replace` writes a group as `$name` too
_LEGEND_LABEL: Final = re.compile(r"\{\{\s*([a-zA-Z_]\w*)\s*\}\}")
_LABEL_VALUES: Final = re.compile(r"label_values\((?:(?P<query>.+),)?\s*(?P<label>\w+)\s*\)", re.DOTALL)
_QUERY_RESULT: Final = re.compile(r"query_result\((?P<query>.+)\)", re.DOTALL)
_CHOSEN: Final = ("custom", "constant", "interval", "textbox")  # variables whose value stands in the board


class Query(NamedTuple):
    """A query of a board: where it is, its text, and the labels that are taken from its answer."""

    place: str
    text: str
    taken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard's data, and the values that its variables have to begin with."""

    data: dict[str, Any]
    values: dict[str, str]

    @classmethod
    def load(cls, path: Path) -> Board:
        """Read a file; raise Unusable if it is no dashboard."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise Unusable(f"{path}:{error.lineno}: is not JSON: {error.msg}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise Unusable(f"{path}: cannot be read: {error}") from error
        if not isinstance(data, dict) or not isinstance(data.get("panels"), list):
            raise Unusable(f"{path}: is not a dashboard in Grafana's classic JSON: it has no list `panels`")
        return cls(data, {name: value for name, value in map(_begins_with, _dicts(data, "templating", "list")) if name})

    def filled(self, text: str) -> str:
        """Put values in the places of variables; one that may be anything fits anything."""
        return _VARIABLE.sub(lambda found: _MACROS.get(name := _name(found)) or self.values.get(name, ".+"), text)

    def unknown(self, text: str) -> list[str]:
        """Name the variables in a text that the board does not have; Grafana leaves them as they stand."""
        known = {*self.values, *_GROUP.findall(text)}
        asked = dict.fromkeys(map(_name, _VARIABLE.finditer(text)))
        return [name for name in asked if name not in known and not name.startswith("__") and not name.isdigit()]

    def queries(self) -> Iterator[Query]:
        """Yield every query to Prometheus."""
        for panel in _panels(self.data["panels"]):
            for target in _dicts(panel, "targets"):
                text, legend = target.get("expr"), target.get("legendFormat") or ""
                if isinstance(text, str) and _asks_prometheus(target, panel):
                    place = f": panel «{panel.get('title', '')}», query {target.get('refId', '?')}"
                    yield Query(place, text, tuple(_LEGEND_LABEL.findall(legend)))
        for each in _dicts(self.data, "annotations", "list"):
            text = each.get("expr") or (each.get("target") or {}).get("expr")
            if isinstance(text, str) and text:
                yield Query(f": annotation «{each.get('name', '')}»", text)
        for each in _dicts(self.data, "templating", "list"):
            if each.get("type") == "query":
                yield from _of_variable(each)


def check_board(path: Path, lexicon: Lexicon) -> Report:
    """Hold a dashboard to a lexicon that has learnt the recording rules; raise Unusable."""
    board, report = Board.load(path), Report(path)
    for query in board.queries():
        for name in board.unknown(query.text):
            report.add(query.place, f"there is no variable `${name}`{meant(name, board.values)}")
        reading = promql.read(board.filled(query.text), lexicon)
        report.take(query.place, reading)
        for label in query.taken:
            if reading.labels is not None and label not in {*reading.labels, *lexicon.allowed, "__name__"}:
                report.add(query.place, f"there is no label `{label}` to show{meant(label, reading.labels)}")
    return report


def _name(found: re.Match[str]) -> str:
    """Return the name of a variable, whichever of the three ways it is written in."""
    return str(found[1] or found[2] or found[3])


def _panels(listed: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield panels, those of rows that are folded up too."""
    for panel in listed:
        if isinstance(panel, dict):
            yield panel
            yield from _panels(panel.get("panels") or [])


def _of_variable(variable: dict[str, Any]) -> Iterator[Query]:
    """Yield what a variable asks Prometheus for; `metrics(…)` and `label_names()` name nothing."""
    asked = variable.get("query")
    text = asked.get("query", "") if isinstance(asked, dict) else asked or variable.get("definition") or ""
    place = f": variable `{variable.get('name', '?')}`"
    if (found := _LABEL_VALUES.fullmatch(text.strip())) and found["query"]:
        yield Query(place, found["query"], (found["label"],))
    elif found := _QUERY_RESULT.fullmatch(text.strip()):
        yield Query(place, found["query"])


def _asks_prometheus(target: dict[str, Any], panel: dict[str, Any]) -> bool:
    """Tell whether a query goes to a Prometheus, as far as a board says so."""
    source = target.get("datasource") or panel.get("datasource")
    return not isinstance(source, dict) or source.get("type") in (None, "", "prometheus")


def _begins_with(variable: dict[str, Any]) -> tuple[str, str]:
    """Return a variable's name and the value that a board has for it; `.+` where Prometheus has them."""
    name = str(variable.get("name") or "")
    if variable.get("type") not in _CHOSEN:
        return name, ".+"
    current = (variable.get("current") or {}).get("value") or variable.get("query") or ""
    first = current[0] if isinstance(current, list) and current else current
    return name, str(first).split(",")[0].split(" : ")[-1].strip() or ".+"


def _dicts(data: dict[str, Any], *keys: str) -> list[dict[str, Any]]:
    """Return the mappings in a list that may be missing."""
    found: Any = data
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
