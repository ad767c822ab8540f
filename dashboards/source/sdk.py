"""Grafana's own classes: the one place that imports them.

They are Grafana's public record of what a classic board (schema 42) may hold. The board's class
warns when it is imported that newer servers have another model; files of that one cannot be
provisioned, so the classic one it is.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.models import dashboard

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import common, gauge, heatmap, prometheus, stat, statetimeline

register_default_plugins()  # so that reading a board knows the panels' options

__all__ = [
    "common",
    "dashboard",
    "gauge",
    "heatmap",
    "plain",
    "prometheus",
    "read",
    "stat",
    "statetimeline",
    "write",
]


def write(board: dashboard.Dashboard) -> str:
    """Write a board as it is committed: sorted, without what the classes add to every variable."""
    return json.dumps(cleaned(plain(board)), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read(text: str) -> dashboard.Dashboard:
    """Read a board back into Grafana's classes."""
    return dashboard.Dashboard.from_json(json.loads(text))


def plain(model: object) -> dict[str, object]:
    """Return what a model is in JSON, as plain dicts and lists."""
    return json.loads(json.dumps(model, cls=JSONEncoder))


def cleaned(board: Mapping[str, object]) -> dict[str, object]:
    """Drop what the classes add to everything; say that there is no id yet."""
    variables, marks = (bare(board[key]["list"]) for key in ("templating", "annotations"))
    return {
        **board,
        "id": None,
        "annotations": {"list": marks},
        "links": bare(board["links"]),
        "templating": {"list": variables},
    }


def bare(entries: Iterable[Mapping[str, object]]) -> list[dict[str, object]]:
    """Drop settings of intervals, which are no variables of ours, and the place in a menu, where nobody would look."""
    return [
        {name: value for name, value in each.items() if name != "placement" and not name.startswith("auto")}
        for each in entries
    ]
