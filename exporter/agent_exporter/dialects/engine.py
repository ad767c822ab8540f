"""Dialects at work: what does it mean.

Rule: pure but for `memory` and the caches below, which hold names only, never content, and are
emptied when full. One caller at a time: the collector's lock is around all of it. Times are
Unix seconds and come as a parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple, Self, TypeVar

from ..model import Attributes, Event, Feed, Instrument, Labels, Measurement, Metric, Resource, Scope, Span
from .costs import TOKENS, Costs, Prices
from .derived import PARENT, SESSION, TRACE, Item, Stream
from .files import load
from .lenient import text
from .memory import Memory
from .plans import Book, Layer, Plan, Sender
from .processes import ProcessRule
from .rules import Moment, Rule
from .schema import AnyFile, File, Setup
from .sessions import Session
from .told import SCOPE
from .traces import COMPARED, Held, Node, tell

PLANS: Final = 10_000  # remembered senders × names; CrewAI makes span names of ids
NAME_LENGTH: Final = 128  # a body that is longer is a text and not an event's name

_Known = TypeVar("_Known")


class _Wait(NamedTuple):
    """A span that is not measured yet, or not by these rules."""

    plan: Plan
    rules: tuple[Rule, ...]
    moment: Moment


class Dialects:
    """The compiled dialects of all agents that are known."""

    def __init__(self, files: Sequence[AnyFile], *, prices: Prices | None = None, memory: Memory | None = None) -> None:
        self.files = tuple(files)
        self.memory = memory or Memory()
        self.matched: set[str] = set()
        self.setups: dict[str, Setup] = {
            file.called: file.setup for file in files if isinstance(file, File) and file.setup
        }
        self.processes = tuple(
            ProcessRule.compile(file.agent, each) for file in files if isinstance(file, File) for each in file.processes
        )
        self._book = Book(files, self.memory.bounds)
        self._costs = Costs(prices) if prices else None
        self._senders: dict[Sender, tuple[str, Layer | None]] = {}
        self._plans: dict[str, dict[Sender, Plan]] = {"metric": {}, "event": {}, "span": {}}
        self._kept = self._book.parents

    @classmethod
    def load(cls, paths: Sequence[Path] = (), *, prices: Prices | None = None, memory: Memory | None = None) -> Self:
        """Load the built-in dialects and the user's files or folders; raise DialectError."""
        return cls(load(paths), prices=prices, memory=memory)

    # -- what is known --------------------------------------------------------

    @property
    def instruments(self) -> dict[str, Instrument]:
        """Return the instruments that users' files define, by name."""
        return self._book.instruments

    @property
    def folded(self) -> dict[str, int]:
        """How often a value of a label was replaced by `other`, by label."""
        return self.memory.bounds.folded

    @property
    def unexercised(self) -> list[str]:
        """List the rules that have fed nothing so far."""
        return [id_ for id_ in self._book.ids if id_ not in self.matched]

    def active(self, now: float) -> dict[str, int]:
        """Count the sessions heard of lately, by agent."""
        return self.memory.sessions.active(now)

    def agent(self, resource: Resource, scope: Scope, name: str = "") -> str:
        """Return the canonical name of the agent that sent a metric, event or span of a name."""
        return self._sender((_service(resource), scope.name, name))[0]

    # -- what it means --------------------------------------------------------

    def feeds(
        self, resource: Resource, scope: Scope, metric: Metric, attributes: Attributes, now: float = 0.0
    ) -> list[Feed]:
        """Decide which normalised series a new stream feeds, and by which scale."""
        plan = self._plan("metric", (_service(resource), scope.name, metric.name))
        if plan.session or plan.rules:
            attributes = _extended(plan, attributes, Stream(resource, scope, metric))
            self._session(plan, attributes, resource, now)
        found = []
        for rule in plan.rules:
            feed = _feed(rule, metric, attributes, plan.agent, resource)
            if feed is None or self._is_told(scope, feed.instrument, feed.labels):
                continue
            if not rule.alone or self.memory.words.is_first(resource, rule.instrument.name, rule.alone):
                found.append(feed)
                self.matched.add(rule.id)
        return [*found, *self._priced_feeds(found)] if self._costs and plan.estimates else found

    def events(self, event: Event, now: float = 0.0) -> list[Measurement]:
        """Turn a log record into what it adds to normalised series."""
        plan = self._plan("event", (_service(event.resource), event.scope.name, self._event_name(event)))
        if not plan.rules and not plan.session:
            return []
        moment = self._moment(plan, event, event.attributes, event.time / 1e9 if event.time else now, now)
        found = self._measure(plan, plan.rules, moment)
        if plan.start and moment.session:
            self.memory.sessions.mark(moment.session, plan.start, moment.time)
        return found

    def spans(self, span: Span, now: float = 0.0) -> list[Measurement]:
        """Turn a span, and those that waited for it, into what they add to normalised series."""
        plan = self._plan("span", (_service(span.resource), span.scope.name, span.name))
        found = self.due(now) if self.memory.tree.waiting else []
        if not (plan.rules or plan.roles or plan.session or self._kept) or self.memory.tree.is_repeated(span):
            return found
        moment = self._moment(plan, span, span.attributes, span.end / 1e9 if span.end else now, now)
        role = _role(plan, moment.attributes)
        node = self.memory.tree.arrive(span, role, self._keep(span, plan.agent), now)
        found += self._settle(_Wait(plan, (*plan.rules, *plan.by_role.get(role, ())), moment), node, now)
        for held in self.memory.tree.children(node):
            found += self._release(held, now)
        return found

    def due(self, now: float) -> list[Measurement]:
        """Measure the spans that have waited long enough, as far as they can be."""
        return [each for held in self.memory.tree.due(now) for each in self._release(held, now)]

    def sweep(self, now: float) -> list[Measurement]:
        """Forget what is old; return what spans add that have waited long enough."""
        found = self.due(now)
        self.memory.tree.sweep(now)
        self.memory.sessions.sweep(now)
        if self._costs:
            self._costs.refresh()
        return found

    # -- items ----------------------------------------------------------------

    def _moment(self, plan: Plan, item: Event | Span, attributes: Attributes, time: float, now: float) -> Moment:
        attributes = _extended(plan, attributes, item)
        session = self._session(plan, attributes, item.resource, now)
        memory = self.memory
        return Moment(plan.agent, item.resource, attributes, session, time, memory.sessions, memory.counts)

    def _session(self, plan: Plan, attributes: Attributes, resource: Resource, now: float) -> Session | None:
        """Find the session of an item; its id is given to rules that ask for it, and not kept."""
        for name in plan.session:
            value = attributes.get(name) or resource.attributes.get(name)
            if value and (found := text(value)):
                if SESSION in plan.names:
                    attributes[SESSION] = found
                shown = plan.shown and name != TRACE  # a trace is a run, for what follows what within it
                return self.memory.sessions.touch(plan.agent, found, now, shown=shown)
        return None

    def _measure(self, plan: Plan, rules: Iterable[Rule], moment: Moment) -> list[Measurement]:
        found, costs = [], self._costs if plan.estimates else None
        for rule in rules:
            measured = rule.measure(moment)
            if measured is None or self.memory.told.has(measured.instrument, measured.labels):
                continue
            found.append(measured)
            self.matched.add(rule.id)
            if costs is not None and measured.instrument is TOKENS:
                rate = costs.rate(measured.labels)
                found.append(Measurement(rate.instrument, rate.labels, measured.value * rate.amount))
        return found

    def _is_told(self, scope: Scope, instrument: Instrument, labels: Labels) -> bool:
        """Tell whether what a metric feeds is told by the library; remember what the library tells."""
        told = self.memory.told
        if scope.name != SCOPE:
            return told.has(instrument, labels)
        told.tell(instrument, labels)
        return False

    def _priced_feeds(self, feeds: Iterable[Feed]) -> list[Feed]:
        rates = ((feed, self._costs.rate(feed.labels)) for feed in feeds if self._costs and feed.instrument is TOKENS)
        return [Feed(rate.instrument, rate.labels, feed.scale * rate.amount, feed.part) for feed, rate in rates]

    # -- spans ----------------------------------------------------------------

    def _settle(self, wait: _Wait, node: Node, now: float) -> list[Measurement]:
        """Measure a span now, or let it wait for what its rules ask for."""
        if not wait.rules:
            return []
        orphans = wait.plan.orphans
        if node.parent and orphans and ("" in orphans or node.role in orphans):
            parent = self.memory.tree.parent(node)
            if parent is None:
                self.memory.tree.wait_for_parent(node, _slim(wait), now)
                return self.due(now)
            wait.moment.attributes.update(parent)
        return self._count(wait, node, now)

    def _count(self, wait: _Wait, node: Node, now: float) -> list[Measurement]:
        """Measure a span, and let the rules that yield wait for spans inside."""
        later = tuple(rule for rule in wait.rules if rule.yields)
        if not later:
            return self._compare(wait, node, now)
        self.memory.tree.wait_for_inner(node, _slim(wait._replace(rules=later)), now)
        rules = tuple(rule for rule in wait.rules if not rule.yields)
        return [*self._compare(wait._replace(rules=rules), node, now), *self.due(now)]

    def _release(self, held: Held, now: float) -> list[Measurement]:
        """Measure a span that has waited."""
        wait: _Wait = held.what
        if held.inner:
            return self._compare(wait, held.node, now)
        wait.moment.attributes.update(self.memory.tree.parent(held.node) or {})
        return self._count(wait, held.node, now)

    def _compare(self, wait: _Wait, node: Node, now: float) -> list[Measurement]:
        """Measure a span but for what others have told of the same request or call."""
        role, tree = node.role or "", self.memory.tree
        if role not in COMPARED:
            return self._measure(wait.plan, wait.rules, wait.moment)
        wait.moment.role, wait.moment.told = role, tree.told(node)
        found = self._measure(wait.plan, wait.rules, wait.moment)
        tree.feed(node, (tell(role, each.instrument.name, each.labels) for each in found), now)
        return found

    def _keep(self, span: Span, agent: str) -> Attributes | None:
        """Return what children may ask of a span."""
        if not self._kept:
            return None
        own = {**span.attributes, "@name": span.name, "@agent": agent}
        return {PARENT + name: own[name] for name in self._kept if name in own}

    # -- senders and names ----------------------------------------------------

    def _sender(self, sender: Sender) -> tuple[str, Layer | None]:
        known = self._senders.get(sender)
        if known is None:
            known = self._book.sender(sender)
            _remember(self._senders, sender, known)
        return known

    def _plan(self, signal: str, sender: Sender) -> Plan:
        plan = self._plans[signal].get(sender)
        if plan is None:
            plan = self._book.plan(signal, *self._sender(sender), sender[2])
            _remember(self._plans[signal], sender, plan)
        return plan

    def _event_name(self, event: Event) -> str:
        """Find the name in the attribute event.name, the record's own field or its body, with its prefix if it has one.

        Codex has a source location in the field and the name in the attribute; Claude Code has
        the name in the attribute and the name with its prefix in the body.
        """
        short = text(event.attributes.get("event.name"))
        for full in (event.name, event.body):
            if type(full) is str and full.startswith(self._book.prefixes) and _is_name(full) and full.endswith(short):
                return full
        if short or event.name:
            return short or event.name
        return event.body if type(event.body) is str and _is_name(event.body) else ""


def _remember(cache: dict[Sender, _Known], sender: Sender, known: _Known) -> None:
    if len(cache) >= PLANS:
        cache.clear()
    cache[sender] = known


def _feed(rule: Rule, metric: Metric, attributes: Attributes, agent: str, resource: Resource) -> Feed | None:
    if not rule.fits(metric) or not rule.applies(attributes):
        return None
    labels = rule.labels(attributes, agent, resource)
    scale = rule.scale(metric.unit)
    return None if labels is None or scale is None else Feed(rule.instrument, labels, scale, rule.part)


def _extended(plan: Plan, attributes: Attributes, item: Item) -> Attributes:
    return {**attributes, **{name: derive(item) for name, derive in plan.derived}} if plan.copies else attributes


def _role(plan: Plan, attributes: Attributes) -> str:
    """Say what a span is; `none` is as good as nothing."""
    for role in plan.roles:
        for test in role.tests:
            if not test(attributes):
                break
        else:
            return "" if role.role == "none" else role.role
    return ""


def _slim(wait: _Wait) -> _Wait:
    """Keep of a waiting span's attributes only what its rules read: never its content."""
    names = frozenset[str]().union(*(rule.names for rule in wait.rules))
    kept = {name: value for name, value in wait.moment.attributes.items() if name in names}
    return wait._replace(moment=replace(wait.moment, attributes=kept))


def _service(resource: Resource) -> str:
    return text(resource.attributes.get("service.name"))


def _is_name(body: str) -> bool:
    return len(body) <= NAME_LENGTH and body.split(None, 1) == [body]
