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
    """Where a label's value comes from: a word, or the first attribute that is there, maybe through a table.

    `strip` are beginnings that are taken off the attribute's value first. With `keep`, what is not in
    the table stays as it is; what the table turns into nothing is left out.
    """

    is_: Text | None = Field(None, alias="is")
    from_: Texts | None = Field(None, alias="from")
    strip: Texts | None = None
    map: dict[str, Annotated[str, BeforeValidator(_text)]] | None = None
    keep: bool = False
    default: Text | None = None


class Value(_Shape):
    """A number to add or observe: the first attribute that is there, less some others, in a unit.

    Each entry of `minus` is one thing to take off: a number or an attribute, maybe with several
    spellings. `since` is the time that went by since the newest event of that name in the same session.
    """

    from_: Texts | None = Field(None, alias="from")
    minus: Annotated[tuple[Texts, ...], BeforeValidator(_several)] = ()
    unit: Text | None = None
    since: Text | None = None


Conditions = dict[str, Annotated[Condition, BeforeValidator(_condition)]]
Labels = dict[str, Annotated[Label, BeforeValidator(_label)]]
Values = Annotated[tuple[Annotated[Value, BeforeValidator(_label)], ...], BeforeValidator(_several)]
Usage = Literal["inclusive", "exclusive", "separate_reasoning"]
RoleName = Literal["model", "tool", "agent", "turn", "none"]


class _Rule(_Shape):
    to: Text
    where: Conditions = {}
    labels: Labels = {}


class MetricRule(_Rule):
    """A metric feeds a family: its unit is the metric's own, `unit` only if that says nothing.

    Of the rules with `alone` for a family, those with the word that is heard first of a sender feed it.
    """

    name: Texts
    unit: Text | None = None
    factor: float = Field(1.0, allow_inf_nan=False)
    part: Literal["", "count", "sum", "mean"] = ""
    alone: Text | None = None


class RecordRule(_Rule):
    """An event or span adds to a family: 1, or the first `value` that is there.

    `usage` stands for the rules of all token types (usage.py), `failed` says what a failure is,
    `once` which attribute tells repetitions.
    """

    to: Text = ""
    name: Texts | None = None
    value: Values = ()
    usage: Usage | None = None
    failed: Conditions = {}
    once: Texts | None = None


class SpanRule(RecordRule):
    """A rule for the spans of a name or a role; `yields` lets it wait for spans inside."""

    role: RoleName | None = None
    yields: bool = False


class Role(_Shape):
    """What a span is."""

    role: RoleName
    name: Texts | None = None
    where: Conditions = {}


class Custom(_Shape):
    """An instrument of the user's own; `agent` is always among its labels."""

    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    help: Text
    labels: Annotated[tuple[Text, ...], BeforeValidator(_several)] = ()
    bounds: tuple[float, ...] = ()


class Process(_Shape):
    """How a process of the agent is known: all that is given must hold."""

    name: Texts | None = None
    command: Text | None = None
    role: Text = "main"


class Merge(_Shape):
    """A file of the agent's settings, and what has to be in it."""

    path: Text
    merge: dict[str, Any]
    replaces: Texts | None = None  # globs of variables under `env` that say the same; those of a key's name do, too


class Snippet(_Shape):
    """Text that the user has to put somewhere by hand."""

    file: Text
    text: Text


class Setup(_Shape):
    """How the agent is told to report here; `{http}` and `{grpc}` stand for the endpoints.

    `not_with` names another setup for the same agent, which must not be on as well.
    """

    env: dict[str, Text] = {}
    settings: Merge | None = None
    snippets: tuple[Snippet, ...] = ()
    notes: tuple[Text, ...] = ()
    not_with: Text | None = None


Authority = Literal["metric", "event", "span", "none"]


class _File(_Shape):
    title: Text | None = None
    authority: dict[str, Authority] = {}
    session: Texts | None = None
    instruments: dict[str, Custom] = {}
    metrics: tuple[MetricRule, ...] = ()
    events: tuple[RecordRule, ...] = ()
    roles: tuple[Role, ...] = ()
    spans: tuple[SpanRule, ...] = ()
    ignored: dict[str, Text] = {}
    untold: dict[str, Text] = {}  # families that vocabularies would feed and this sender never does, and why
    gaps: tuple[Text, ...] = ()  # what of the families that are fed cannot be told, in a sentence each


class File(_File):
    """A file for one agent, or (agent "@service") for all that are written with one framework."""

    agent: Text
    dialect: Text | None = None
    claims: Claims
    processes: tuple[Process, ...] = ()
    setup: Setup | None = None

    @property
    def called(self) -> str:
        """Return the name by which a file replaces another."""
        return self.dialect or self.agent


class Vocabulary(_File):
    """A file for words that any sender may use; lower ranks are asked first."""

    vocabulary: Text
    rank: int

    @property
    def called(self) -> str:
        """Return the name by which a file replaces another."""
        return self.vocabulary


AnyFile = File | Vocabulary
