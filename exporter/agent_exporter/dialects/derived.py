"""Attributes that nobody sends: what an item says beside its attributes, under names with `@`.

Rule: one table a signal. They are worked out only for rules that name them. `@parent.NAME` and
`@session` are not here: the engine fills them in, from the spans and sessions that it remembers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from ..model import Event, Metric, Resource, Scope, Span, Value
from .lenient import text


class Stream(NamedTuple):
    """A metric with the one who sends it."""

    resource: Resource
    scope: Scope
    metric: Metric


Item = Stream | Event | Span
Derive = Callable[[Item], Value]
Derived = tuple[tuple[str, Derive], ...]

PARENT: Final = "@parent."
PARENT_AGENT: Final = "@parent.@agent"
_PARENTS: Final = ("@parent.@name", PARENT_AGENT)
SESSION: Final = "@session"
TRACE: Final = "@trace"
_RESOURCE: Final = "@resource."
_STATUS: Final = {1: "ok", 2: "error"}
_KINDS: Final = ("unspecified", "internal", "server", "client", "producer", "consumer")


def _outcome(span: Span) -> str:
    """Say how a span ended: most frameworks say so by the status only, some by error.type."""
    return "error" if span.status == 2 or span.attributes.get("error.type") else "ok"


_COMMON: Final[dict[str, Callable[..., Value]]] = {
    "@service": lambda item: text(item.resource.attributes.get("service.name")),
    "@scope": lambda item: item.scope.name,
}
_DERIVED: Final[dict[str, dict[str, Callable[..., Value]]]] = {
    "metric": {**_COMMON, "@name": lambda stream: stream.metric.name, "@unit": lambda stream: stream.metric.unit},
    "event": _COMMON,
    "span": {
        **_COMMON,
        "@name": lambda span: span.name,
        "@kind": lambda span: _KINDS[span.kind] if 0 <= span.kind < len(_KINDS) else "",
        "@status": lambda span: _STATUS.get(span.status, "unset"),
        "@outcome": _outcome,
        "@duration": lambda span: max(span.end - span.start, 0) / 1e9,
        TRACE: lambda span: span.trace_id,
        "@root": lambda span: not span.parent_id,
    },
}


def known(signal: str, name: str) -> bool:
    """Tell whether rules for a signal may name this."""
    if not name.startswith("@"):
        return True
    if name.startswith(PARENT):
        return signal == "span" and (not name.startswith("@parent.@") or name in _PARENTS)
    return name in _DERIVED[signal] or name == SESSION or (name.startswith(_RESOURCE) and name != _RESOURCE)


def names(signal: str) -> tuple[str, ...]:
    """List what may be named, for messages."""
    own = (PARENT + "NAME",) if signal == "span" else ()
    return (*_DERIVED[signal], SESSION, _RESOURCE + "NAME", *own)


def derive(signal: str, names: Iterable[str]) -> Derived:
    """Compile those of the names that are derived, in a stable order."""
    own = (name for name in sorted(set(names)) if name.startswith("@") and known(signal, name))
    return tuple((name, _derive(signal, name)) for name in own if name != SESSION and not name.startswith(PARENT))


def _derive(signal: str, name: str) -> Derive:
    if name.startswith(_RESOURCE):
        attribute = name.removeprefix(_RESOURCE)
        return lambda item: item.resource.attributes.get(attribute)
    return _DERIVED[signal][name]
