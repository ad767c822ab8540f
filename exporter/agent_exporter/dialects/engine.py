"""Dialects at work: who sent it, what does it mean.

Rule: pure but for `bounds` and the caches below, which hold names only, never content, and are
emptied when full. Thread safe as far as single dict operations are: at worst work is done twice.

Who sent it (`reference/agent-telemetry.md` 14.5, rule 2): the dialect that claims the prefix of
the name; if several do, or none, the scope decides, then service.name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar

from ..catalog import CATALOG
from ..model import Attributes, Event, Feed, Form, Kind, Measurement, Metric, Resource, Scope, Span
from .bounds import Bounds
from .files import load
from .lenient import text
from .names import Matcher, matcher
from .rules import Rule, identity_rule, metric_rule, record_rule
from .schema import File, Setup

PLANS: Final = 10_000  # remembered senders × names; CrewAI makes span names of ids
NAME_LENGTH: Final = 128  # a body that is longer is a text and not an event's name

_STATUS: Final = {1: "ok", 2: "error"}
_KINDS: Final = ("unspecified", "internal", "server", "client", "producer", "consumer")
_FITS: Final[dict[Kind, Callable[[Metric], bool]]] = {
    Kind.COUNTER: lambda metric: metric.form is Form.SUM and metric.monotonic,
    Kind.GAUGE: lambda metric: metric.form is Form.GAUGE or (metric.form is Form.SUM and not metric.monotonic),
    Kind.HISTOGRAM: lambda metric: metric.form in (Form.HISTOGRAM, Form.EXPONENTIAL_HISTOGRAM),
}

_Known = TypeVar("_Known")
Sender = tuple[str, str, str]  # service name, scope name, name of the metric, event or span


@dataclass(frozen=True, slots=True)
class _Dialect:
    """One file, compiled; `rules` by signal, each with the test of the names it is for."""

    agent: str
    prefixes: tuple[str, ...]
    scopes: Matcher
    services: Matcher
    ignored: Matcher
    rules: dict[str, tuple[tuple[Matcher, Rule], ...]]

    def rank(self, sender: Sender) -> tuple[bool, bool, bool]:
        service, scope, name = sender
        return name.startswith(self.prefixes), self.scopes(scope), self.services(service)

    def find(self, signal: str, name: str) -> tuple[Rule, ...]:
        bare = _bare(name, self.prefixes)
        if self.ignored(bare):
            return ()
        return tuple(rule for matches, rule in self.rules[signal] if matches(bare))


class Dialects:
    """The compiled dialects of all agents that are known."""

    def __init__(self, files: Sequence[File], bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._dialects = [_compile(file, self._bounds) for file in files]
        self._prefixes = tuple(prefix for dialect in self._dialects for prefix in dialect.prefixes)
        self._identity = {name: identity_rule(row, self._bounds) for name, row in CATALOG.items()}
        self._senders: dict[Sender, tuple[str, _Dialect | None]] = {}
        self._plans: dict[str, dict[Sender, tuple[str, tuple[Rule, ...]]]] = {"event": {}, "span": {}}
        self.setups: dict[str, Setup] = {file.agent: file.setup for file in files if file.setup}

    @classmethod
    def load(cls, paths: Sequence[Path] = ()) -> Self:
        """Load the built-in dialects and the user's files or folders; raise DialectError."""
        return cls(load(paths))

    @property
    def folded(self) -> dict[str, int]:
        """How often a value of a label was replaced by `other`, by label."""
        return self._bounds.folded

    def agent(self, resource: Resource, scope: Scope, name: str = "") -> str:
        """Return the canonical name of the agent that sent a metric, event or span of a name."""
        return self._sender((_service(resource), scope.name, name))[0]

    def feeds(self, resource: Resource, scope: Scope, metric: Metric, attributes: Attributes) -> list[Feed]:
        """Decide which normalised series a new stream feeds, and by which scale."""
        agent, dialect = self._sender((_service(resource), scope.name, metric.name))
        own = self._identity.get(metric.name)
        rules = (own,) if own else dialect.find("metric", metric.name) if dialect else ()
        found = (_feed(rule, metric, attributes, agent, resource) for rule in rules)
        return [feed for feed in found if feed]

    def events(self, event: Event) -> list[Measurement]:
        """Turn a log record into what it adds to normalised series."""
        sender = (_service(event.resource), event.scope.name, self._event_name(event))
        agent, rules = self._plan("event", sender)
        return _measure(rules, event.attributes, agent, event.resource) if rules else []

    def spans(self, span: Span) -> list[Measurement]:
        """Turn a span into what it adds to normalised series."""
        agent, rules = self._plan("span", (_service(span.resource), span.scope.name, span.name))
        return _measure(rules, _span_attributes(span), agent, span.resource) if rules else []

    def _sender(self, sender: Sender) -> tuple[str, _Dialect | None]:
        known = self._senders.get(sender)
        if known is None:
            dialect = max(self._dialects, key=lambda each: each.rank(sender), default=None)
            if dialect is not None and not any(dialect.rank(sender)):
                dialect = None
            known = dialect.agent if dialect else self._bounds.agent(sender[0] or "unknown"), dialect
            _remember(self._senders, sender, known)
        return known

    def _plan(self, signal: str, sender: Sender) -> tuple[str, tuple[Rule, ...]]:
        plan = self._plans[signal].get(sender)
        if plan is None:
            agent, dialect = self._sender(sender)
            plan = agent, dialect.find(signal, sender[2]) if dialect else ()
            _remember(self._plans[signal], sender, plan)
        return plan

    def _event_name(self, event: Event) -> str:
        """Find the name in the attribute event.name, the record's own field or its body, with its prefix if it has one.

        Codex has a source location in the field and the name in the attribute; Claude Code has
        the name in the attribute and the name with its prefix in the body.
        """
        short = text(event.attributes.get("event.name"))
        for full in (event.name, event.body):
            if type(full) is str and full.startswith(self._prefixes) and _is_name(full) and full.endswith(short):
                return full
        if short or event.name:
            return short or event.name
        return event.body if type(event.body) is str and _is_name(event.body) else ""


def _compile(file: File, bounds: Bounds) -> _Dialect:
    prefixes = file.claims.prefixes or ()

    def named(names: Iterable[str]) -> Matcher:
        return matcher(_bare(name, prefixes) for name in names)

    rules = {
        "metric": tuple((named(rule.name), metric_rule(rule, bounds)) for rule in file.metrics),
        "event": tuple((named(rule.name), record_rule(rule, bounds)) for rule in file.events),
        "span": tuple((named(rule.name), record_rule(rule, bounds)) for rule in file.spans),
    }
    scopes, services = matcher(file.claims.scopes or ()), matcher(file.claims.services or ())
    return _Dialect(file.agent, prefixes, scopes, services, named(file.ignored), rules)


def _bare(name: str, prefixes: tuple[str, ...]) -> str:
    """Return a name without the dialect's prefix: some agents send the same event with and without it."""
    for prefix in prefixes:
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def _remember(cache: dict[Sender, _Known], sender: Sender, known: _Known) -> None:
    if len(cache) >= PLANS:
        cache.clear()
    cache[sender] = known


def _feed(rule: Rule, metric: Metric, attributes: Attributes, agent: str, resource: Resource) -> Feed | None:
    if not _FITS[rule.instrument.kind](metric):
        return None
    labels = rule.labels(attributes, agent, resource)
    scale = rule.scale(metric.unit)
    return None if labels is None or scale is None else Feed(rule.instrument, labels, scale)


def _measure(rules: tuple[Rule, ...], attributes: Attributes, agent: str, resource: Resource) -> list[Measurement]:
    found = []
    for rule in rules:
        labels = rule.labels(attributes, agent, resource)
        if labels is not None and (amount := rule.amount(attributes)) is not None:
            found.append(Measurement(rule.instrument, labels, amount))
    return found


def _span_attributes(span: Span) -> Attributes:
    """Add what a span says beside its attributes: @name, @kind, @status, @duration (in seconds)."""
    return {
        **span.attributes,
        "@name": span.name,
        "@kind": _KINDS[span.kind] if 0 <= span.kind < len(_KINDS) else "",
        "@status": _STATUS.get(span.status, "unset"),
        "@duration": max(span.end - span.start, 0) / 1e9,
    }


def _service(resource: Resource) -> str:
    return text(resource.attributes.get("service.name"))


def _is_name(body: str) -> bool:
    return len(body) <= NAME_LENGTH and body.split(None, 1) == [body]
