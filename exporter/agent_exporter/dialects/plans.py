"""Which rules an item meets: who sent it, whose words it uses, which signal counts.

Rule: files compiled to layers, layers to one plan for each sender. Nothing here sees an item.

Who sent it (`reference/agent-telemetry.md` 14.5, rule 2): of agents' dialects, then of frameworks', the
one that claims the prefix of the name; if several do, or none, the scope decides, then service.name.
Whose words: the dialect's, else the vocabularies' by rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..catalog import CATALOG
from ..model import Instrument, Kind
from .bounds import Bounds
from .derived import PARENT, SESSION, Derived, derive
from .names import Matcher, matcher
from .rules import Rule, Tests, identity_rule, metric_rule, record_rule, tests
from .schema import AnyFile, Custom, File, RecordRule
from .usage import expand

SERVICE: Final = "@service"
_UNNAMED: Final = ("", "unknown_service")  # what the SDKs say where nobody gave a name
_ANYTHING: Final = matcher(("*",))
_KINDS: Final = {"counter": Kind.COUNTER, "gauge": Kind.GAUGE, "histogram": Kind.HISTOGRAM}
MADE: Final = 10_000  # plans remembered
_COST, _ACTIVE = "agent.cost.usd", "agent.sessions.active"

Sender = tuple[str, str, str]  # service name, scope name, name of the metric, event or span


@dataclass(frozen=True, slots=True)
class RoleTest:
    """When a span has a role."""

    role: str
    matches: Matcher
    tests: Tests
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Layer:
    """One file, compiled; `rules` by signal, each with the test of the names it is for."""

    called: str
    agent: str
    prefixes: tuple[str, ...]
    scopes: tuple[tuple[int, Matcher], ...]  # each pattern with its length
    services: Matcher
    authority: Mapping[str, str]
    session: tuple[str, ...]
    ignored: Matcher
    roles: tuple[RoleTest, ...]
    rules: dict[str, tuple[tuple[Matcher, Rule], ...]]
    starts: frozenset[str]  # names of events that others are timed from

    def rank(self, sender: Sender) -> tuple[bool, bool, int, bool]:
        """Say how well this dialect fits a sender; the highest is taken.

        Agents come before the frameworks they are written with, longer patterns of scopes before shorter.
        """
        service, scope, name = sender
        length = max((length for length, matches in self.scopes if matches(scope)), default=0)
        claims = name.startswith(self.prefixes), length, self.services(service)
        return any(claims) and self.agent != SERVICE, *claims

    def bare(self, name: str) -> str:
        """Return a name without the dialect's prefix: some agents send the same event with and without it."""
        return bare(name, self.prefixes)

    def find(self, signal: str, name: str) -> list[Rule]:
        """List the rules for a name."""
        short = self.bare(name)
        return [rule for matches, rule in self.rules[signal] if matches(short)]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be done with the items of one sender and name.

    `derived` and `names` are the attributes that are worked out and read, `session` those that tell
    sessions apart, `start` is the name that others are timed from.
    """

    agent: str
    rules: tuple[Rule, ...] = ()
    roles: tuple[RoleTest, ...] = ()
    by_role: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    derived: Derived = ()
    names: frozenset[str] = frozenset()
    session: tuple[str, ...] = ()
    estimates: bool = True
    shown: bool = True
    start: str = ""
    orphans: frozenset[str] = frozenset()  # roles whose rules ask for the parent span; "" is all spans
    copies: bool = False  # attributes are added to the item's own


@dataclass(frozen=True, slots=True)
class _Words:
    """What a sender's dialect and the vocabularies make together."""

    called: str
    dialect: Layer | None
    layers: tuple[Layer, ...]
    authority: Mapping[str, str]
    session: tuple[str, ...]
    starts: frozenset[str]


@dataclass(slots=True)
class _Found:
    """The rules for a name."""

    rules: list[Rule] = field(default_factory=list)
    roles: list[RoleTest] = field(default_factory=list)
    by_role: dict[str, tuple[Rule, ...]] = field(default_factory=dict)

    @property
    def used(self) -> list[Rule]:
        return [*self.rules, *(rule for each in self.by_role.values() for rule in each)]


class Book:
    """The layers, and the plans made of them."""

    def __init__(self, files: Sequence[AnyFile], bounds: Bounds) -> None:
        self._bounds = bounds
        self.ids: list[str] = []
        self.instruments = {name: custom(name, each) for file in files for name, each in file.instruments.items()}
        self._known = CATALOG | self.instruments
        self.dialects = [self._layer(file) for file in files if isinstance(file, File)]
        shared = sorted((file for file in files if not isinstance(file, File)), key=lambda file: file.rank)
        self._shared = [self._layer(file) for file in shared]
        self.prefixes = tuple(prefix for layer in self.dialects for prefix in layer.prefixes)
        self._identity = {name: identity_rule(row, bounds) for name, row in CATALOG.items()}
        self._words = {layer.called: _words(layer, self._shared) for layer in self.dialects}
        self._words[""] = _words(None, self._shared)
        self._made: dict[tuple[object, ...], Plan] = {}
        rules = (rule for layer in (*self.dialects, *self._shared) for _, rule in layer.rules["span"])
        read = (name for rule in rules for name in rule.names if name.startswith(PARENT))
        self.parents = frozenset(name.removeprefix(PARENT) for name in read)

    def sender(self, sender: Sender) -> tuple[str, Layer | None]:
        """Say who sent something."""
        best = max(self.dialects, key=lambda each: each.rank(sender), default=None)
        if best is None or not any(best.rank(sender)):
            return self._bounds.agent(sender[0] or "unknown"), None
        if best.agent != SERVICE:
            return best.agent, best
        unnamed = sender[0].partition(":")[0] in _UNNAMED
        return self._bounds.agent(best.called if unnamed else sender[0]), best

    def plan(self, signal: str, agent: str, dialect: Layer | None, name: str) -> Plan:
        """Decide what is done with items of a name from a sender."""
        words = self._words[dialect.called if dialect else ""]
        found = _Found()
        if signal == "span":
            _spans(words, name, found)
        elif signal == "metric" and name in self._identity:
            found.rules.append(self._identity[name])
        else:
            found.rules += _first(words, signal, name)
        short = dialect.bare(name) if dialect else name
        start = short if signal == "event" and short in words.starts else ""
        # Most names of a sender meet the same rules, and share a plan.
        key = signal, agent, words.called, start, *map(id, found.used), 0, *map(id, found.roles)
        plan = self._made.get(key)
        if plan is None:
            if len(self._made) >= MADE:
                self._made.clear()
            plan = self._made[key] = _plan(signal, agent, words, found, start)
        return plan

    # -- compiling ------------------------------------------------------------

    def _layer(self, file: AnyFile) -> Layer:
        claims = file.claims if isinstance(file, File) else None
        prefixes = (claims and claims.prefixes) or ()

        roles = (
            RoleTest(role.role, _named(role.name, prefixes), tests(role.where), frozenset(role.where))
            for role in file.roles
        )
        records = (rule for each in (file.events, file.spans) for rule in each)
        starts = {bare(value.since, prefixes) for rule in records for value in rule.value if value.since}
        return Layer(
            file.called,
            file.agent if isinstance(file, File) else "",
            prefixes,
            tuple((len(pattern), matcher((pattern,))) for pattern in (claims and claims.scopes) or ()),
            matcher((claims and claims.services) or ()),
            file.authority,
            file.session or (),
            _named(file.ignored, prefixes),
            tuple(roles),
            {
                "metric": tuple(self._metrics(file, prefixes)),
                "event": tuple(self._records(file, "event", file.events, prefixes)),
                "span": tuple(self._records(file, "span", file.spans, prefixes)),
            },
            frozenset(starts),
        )

    def _metrics(self, file: AnyFile, prefixes: tuple[str, ...]) -> Iterator[tuple[Matcher, Rule]]:
        for rule in file.metrics:
            id_ = self._id(file, "metric", rule.name, rule.to)
            yield _named(rule.name, prefixes), metric_rule(id_, rule, self._known[rule.to], self._bounds)

    def _records(
        self, file: AnyFile, signal: str, rules: Sequence[RecordRule], prefixes: tuple[str, ...]
    ) -> Iterator[tuple[Matcher, Rule]]:
        for each in rules:
            timed = tuple(
                value.model_copy(update={"since": bare(value.since, prefixes)}) if value.since else value
                for value in each.value
            )
            for rule in expand(each.model_copy(update={"value": timed})):
                kind = f"[{rule.labels['type'].is_}]" if each.usage else ""
                what = rule.name or (getattr(rule, "role", None) or "*",)
                id_ = self._id(file, signal, what, rule.to + kind)
                yield _named(rule.name, prefixes), record_rule(id_, rule, self._known[rule.to], self._bounds)

    def _id(self, file: AnyFile, signal: str, names: Sequence[str], to: str) -> str:
        """Name a rule by what it says; a number tells apart those that say the same."""
        base = f"{file.called}: {signal} {names[0]} -> {to}"
        number = sum(1 for each in self.ids if each.partition(" #")[0] == base) + 1
        self.ids.append(base if number == 1 else f"{base} #{number}")
        return self.ids[-1]


def custom(name: str, own: Custom) -> Instrument:
    """Make an instrument of the user's own."""
    labels = tuple(dict.fromkeys(("agent", *own.labels)))
    return Instrument(name, _KINDS[own.kind], own.unit, own.help, labels, own.bounds)


def bare(name: str, prefixes: tuple[str, ...]) -> str:
    """Return a name without the prefix that it has."""
    for prefix in prefixes:
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def _named(names: Iterable[str] | None, prefixes: tuple[str, ...]) -> Matcher:
    return _ANYTHING if names is None else matcher(bare(name, prefixes) for name in names)


def _words(dialect: Layer | None, shared: Sequence[Layer]) -> _Words:
    layers = (dialect, *shared) if dialect else tuple(shared)
    authority: dict[str, str] = {}
    for layer in reversed(layers):
        authority.update(layer.authority)
    session = next((layer.session for layer in layers if layer.session), ())
    starts = frozenset[str]().union(*(layer.starts for layer in layers))
    return _Words(dialect.called if dialect else "", dialect, layers, authority, session, starts)


def _plan(signal: str, agent: str, words: _Words, found: _Found, start: str) -> Plan:
    names = frozenset[str]().union(*(rule.names for rule in found.used), *(role.names for role in found.roles))
    derived = derive(signal, {*names, *words.session})
    orphans = frozenset(rule.role for rule in found.used for name in rule.names if name.startswith(PARENT))
    return Plan(
        agent,
        tuple(found.rules),
        tuple(found.roles),
        found.by_role,
        derived,
        names,
        words.session,
        estimates=words.authority.get(_COST, "none") == "none",
        shown=words.authority.get(_ACTIVE, "none") == "none",
        start=start,
        orphans=orphans,
        copies=bool(derived or orphans) or SESSION in names,
    )


def _permitted(rule: Rule, signal: str, words: _Words) -> bool:
    return words.authority.get(rule.instrument.name, signal) == signal


def _first(words: _Words, signal: str, name: str) -> list[Rule]:
    """Take the rules of the first layer that knows the name of a metric or event."""
    for layer in words.layers:
        if layer.ignored(layer.bare(name)):
            return []
        if found := layer.find(signal, name):
            return [rule for rule in found if _permitted(rule, signal, words)]
    return []


def _spans(words: _Words, name: str, into: _Found) -> None:
    """Take, for each role and family, the rules of the first layer that has some."""
    for layer in words.layers:
        if layer.ignored(layer.bare(name)):
            if layer is words.dialect:
                return
            continue
        into.roles += [role for role in layer.roles if role.matches(layer.bare(name))]
        found = [rule for rule in layer.find("span", name) if _permitted(rule, "span", words)]
        taken = {rule.instrument.name for rule in into.rules}
        for role in dict.fromkeys(rule.role for rule in found if rule.role):
            before = into.by_role.get(role, ())
            fed = taken | {rule.instrument.name for rule in before}
            new = (rule for rule in found if rule.role == role and rule.instrument.name not in fed)
            into.by_role[role] = (*before, *new)
        into.rules += [rule for rule in found if not rule.role and rule.instrument.name not in taken]
