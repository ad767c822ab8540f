"""The shape of a dialect file; docs/dialects.md explains it to those who write one.

Rule: shapes only. What a shape cannot say (is there such an instrument, is this signal its
authority) is in check.py, what a rule does is in rules.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from .lenient import text


def _text(value: object) -> object:
    """Take `true` and `200` in a file for the texts they are compared with."""
    return text(value) if isinstance(value, bool | int | float) else value


def _several(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


def _condition(value: object) -> object:
    """Read `a` and `[a, b]` as `{is: [a, b]}`."""
    return value if isinstance(value, Mapping) else {"is": value}


def _label(value: object) -> object:
    """Read `model` as `{from: model}`."""
    return value if isinstance(value, Mapping) else {"from": value}


Text = Annotated[str, BeforeValidator(_text), Field(min_length=1)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_several), Field(min_length=1)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Claims(_Shape):
    """By what a sender is recognised: prefixes of names, then scopes, then service names."""

    prefixes: Texts | None = None
    scopes: Texts | None = None
    services: Texts | None = None


class Condition(_Shape):
    """What an attribute must be; all that is given must hold."""

    is_: Texts | None = Field(None, alias="is")
    not_: Texts | None = Field(None, alias="not")
    present: bool | None = None


class Label(_Shape):
    """Where a label's value comes from: a word, or the first attribute that is there, maybe through a table."""

    is_: Text | None = Field(None, alias="is")
    from_: Texts | None = Field(None, alias="from")
    map: dict[str, Text] | None = None
    default: Text | None = None


class Value(_Shape):
    """A number to add or observe: the first attribute that is there, less some others, in a unit."""

    from_: Texts = Field(alias="from")
    minus: Texts = Field((), validate_default=False)
    unit: Text | None = None


class _Rule(_Shape):
    name: Texts
    to: Text
    where: dict[str, Annotated[Condition, BeforeValidator(_condition)]] = {}
    labels: dict[str, Annotated[Label, BeforeValidator(_label)]] = {}


class MetricRule(_Rule):
    """A metric feeds a family: its unit is the metric's own, `unit` only if that says nothing."""

    unit: Text | None = None
    factor: float = Field(1.0, allow_inf_nan=False)


class RecordRule(_Rule):
    """An event or span adds to a family: 1, or `value`."""

    value: Annotated[Value, BeforeValidator(_label)] | None = None


class Merge(_Shape):
    """A JSON file of the agent's settings, and what has to be in it."""

    path: Text
    merge: dict[str, Any]


class Snippet(_Shape):
    """Text that the user has to put somewhere by hand."""

    file: Text
    text: Text


class Setup(_Shape):
    """How the agent is told to report here; `{http}` and `{grpc}` stand for the endpoints."""

    env: dict[str, Text] = {}
    settings: Merge | None = None
    snippets: tuple[Snippet, ...] = ()
    notes: tuple[Text, ...] = ()


Authority = Literal["metric", "event", "span", "none"]


class File(_Shape):
    """One dialect file."""

    agent: Text
    title: Text | None = None
    claims: Claims
    authority: dict[str, Authority] = {}
    metrics: tuple[MetricRule, ...] = ()
    events: tuple[RecordRule, ...] = ()
    spans: tuple[RecordRule, ...] = ()
    ignored: dict[str, Text] = {}
    setup: Setup | None = None
