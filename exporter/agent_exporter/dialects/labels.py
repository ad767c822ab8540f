"""Labels from attributes: words, tables, bounds.

Rule: compiled once, run for every new stream and every event and span: look-ups in dicts, no
regular expressions, no exceptions for what a peer may send.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..catalog import VALUES
from ..model import Attributes, Instrument, Resource
from .bounds import Bounds
from .lenient import text
from .schema import Label

First = Callable[[Attributes], str]
# Of attributes, the agent's name and the resource: a label's value, "" for no such label, None
# if the rule does not apply.
Read = Callable[[Attributes, str, Resource], str | None]


def reads(instrument: Instrument, labels: Mapping[str, Label], bounds: Bounds) -> tuple[tuple[str, Read], ...]:
    """Compile what an instrument's labels are read from, in the catalogue's order."""
    return tuple(
        (name, read)
        for name in instrument.labels
        if (read := _read(instrument, name, labels.get(name), bounds)) is not None
    )


def first(names: tuple[str, ...]) -> First:
    """Compile a look-up of the first of these attributes that says something."""

    def first(attributes: Attributes) -> str:
        for name in names:
            value = attributes.get(name)
            if value is not None and (found := value if type(value) is str else text(value)):
                return found
        return ""

    return first


def instance(resource: Resource) -> str:
    """Return what tells processes of an agent apart: `service.instance.id`, else host name and pid."""
    found = resource.attributes
    if own := text(found.get("service.instance.id")):
        return own
    parts = (text(found.get("host.name")), text(found.get("process.pid")))
    return ":".join(part for part in parts if part)


def _read(instrument: Instrument, name: str, label: Label | None, bounds: Bounds) -> Read | None:
    if name == "agent":
        return _agent(label, bounds) if label else lambda _attributes, agent, _resource: agent
    if name == "agent_instance":
        return _instance(label, bounds)
    if label is None:
        return None
    if label.is_:
        word = label.is_
        return lambda _attributes, _agent, _resource: word
    rest = None if label.map and not label.keep else _bounded(instrument, name, label, bounds)
    return _mapped(label, rest) if label.map else rest


def _agent(label: Label, bounds: Bounds) -> Read:
    named = first(label.from_ or ())

    def read(attributes: Attributes, agent: str, _resource: Resource) -> str:
        own = named(attributes)
        return bounds.agent(own) if own else agent

    return read


def _instance(label: Label | None, bounds: Bounds) -> Read:
    own = first(label.from_ if label and label.from_ else ())
    return lambda attributes, agent, resource: bounds.fold(
        agent, "agent_instance", own(attributes) or instance(resource)
    )


def _mapped(label: Label, rest: Read | None) -> Read:
    """Compile a table; `rest` reads what is not in it."""
    value_of, default = _stripped(label), label.default
    table = dict(label.map or {})
    # The longest prefix is the most precise; `*` alone, the last, takes what is left.
    prefixes = sorted(((key[:-1], table.pop(key)) for key in tuple(table) if key.endswith("*")), key=_longest)

    def read(attributes: Attributes, agent: str, resource: Resource) -> str | None:
        value = value_of(attributes)
        if (found := table.get(value)) is not None:
            return found
        if value:
            for prefix, found in prefixes:
                if value.startswith(prefix):
                    return found
        return default if rest is None else rest(attributes, agent, resource)

    return read


def _longest(entry: tuple[str, str]) -> int:
    return -len(entry[0])


def _bounded(instrument: Instrument, name: str, label: Label, bounds: Bounds) -> Read:
    value_of, default = _stripped(label), label.default or ""
    if allowed := frozenset(VALUES.get((instrument.name, name), ())):

        def choose(attributes: Attributes, _agent: str, _resource: Resource) -> str:
            value = value_of(attributes)
            return bounds.choose(name, value, allowed) if value else default

        return choose

    def fold(attributes: Attributes, agent: str, _resource: Resource) -> str:
        value = value_of(attributes)
        return bounds.fold(agent, name, value) if value else default

    return fold


def _stripped(label: Label) -> First:
    whole, beginnings = first(label.from_ or ()), label.strip or ()
    if not beginnings:
        return whole

    def stripped(attributes: Attributes) -> str:
        value = whole(attributes)
        for beginning in beginnings:
            if value.startswith(beginning):
                return value[len(beginning) :]
        return value

    return stripped
