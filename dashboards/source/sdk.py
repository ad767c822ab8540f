"""Grafana's own classes: the one place that imports them.

They are Grafana's public record of what a classic board (schema 42) may hold. The board's class
warns when it is imported that newer servers have another model; files of that one cannot be
provisioned, so the classic one it is.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.models import dashboard

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import common, gauge, heatmap, prometheus, stat, statetimeline, table

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
    "table",
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
    """Drop settings of interval variables, which the classes give to all; say that there is no id yet."""
    variables = [
        {key: value for key, value in each.items() if not key.startswith("auto")}
        for each in board["templating"]["list"]
    ]
    return {**board, "id": None, "templating": {"list": variables}}
