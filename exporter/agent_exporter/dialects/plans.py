"""Which rules an item meets: who sent it, whose words it uses, which signal counts.

Rule: files compiled to layers, layers to one plan for each sender. Nothing here sees an item.

Who sent it (`reference/agent-telemetry.md` 14.5, rule 2): the dialect that claims the prefix of
the name; if several do, or none, the scope decides, then service.name. Whose words: the
dialect's, else the vocabularies' by rank.
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
    scopes: Matcher
    services: Matcher
    authority: Mapping[str, str]
    session: tuple[str, ...]
    ignored: Matcher
    roles: tuple[RoleTest, ...]
    rules: dict[str, tuple[tuple[Matcher, Rule], ...]]
    starts: frozenset[str]  # names of events that others are timed from

    def rank(self, sender: Sender) -> tuple[bool, bool, bool]:
        """Say how well this dialect fits a sender; the highest is taken."""
        service, scope, name = sender
        return name.startswith(self.prefixes), self.scopes(scope), self.services(service)

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
    orphans: bool = False  # a rule asks for the parent span
    copies: bool = False  # attributes are added to the item's own


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
        layers = [dialect, *self._shared] if dialect else self._shared
        authority: dict[str, str] = {}
        for layer in reversed(layers):
            authority.update(layer.authority)
        rules: list[Rule] = []
        roles: list[RoleTest] = []
        by_role: dict[str, tuple[Rule, ...]] = {}
        if signal == "span":
            rules, roles, by_role = _spans(layers, dialect, name, authority)
        elif signal == "metric" and name in self._identity:
            rules = [self._identity[name]]
        else:
            rules = _first(layers, signal, name, authority)
        session = next((layer.session for layer in layers if layer.session), ())
        used = [*rules, *(rule for each in by_role.values() for rule in each)]
        names = frozenset[str]().union(*(rule.names for rule in used), *(role.names for role in roles))
        derived = derive(signal, {*names, *session})
        orphans = any(each.startswith(PARENT) for each in names)
        short = dialect.bare(name) if dialect else name
        return Plan(
            agent,
            tuple(rules),
            tuple(roles),
            by_role,
            derived,
            names,
            session,
            estimates=authority.get(_COST, "none") == "none",
            shown=authority.get(_ACTIVE, "none") == "none",
            start=short if signal == "event" and any(short in layer.starts for layer in layers) else "",
            orphans=orphans,
            copies=bool(derived) or orphans or SESSION in names,
        )

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
            matcher((claims and claims.scopes) or ()),
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


def _permitted(rule: Rule, signal: str, authority: Mapping[str, str]) -> bool:
    return authority.get(rule.instrument.name, signal) == signal


def _first(layers: Sequence[Layer], signal: str, name: str, authority: Mapping[str, str]) -> list[Rule]:
    """Take the rules of the first layer that knows the name of a metric or event."""
    for layer in layers:
        found = layer.find(signal, name)
        if layer.ignored(layer.bare(name)):
            return []
        if found:
            return [rule for rule in found if _permitted(rule, signal, authority)]
    return []


def _spans(
    layers: Sequence[Layer], dialect: Layer | None, name: str, authority: Mapping[str, str]
) -> tuple[list[Rule], list[RoleTest], dict[str, tuple[Rule, ...]]]:
    """Take, for each role and family, the rules of the first layer that has some."""
    rules: list[Rule] = []
    roles: list[RoleTest] = []
    by_role: dict[str, tuple[Rule, ...]] = {}
    for layer in layers:
        if layer.ignored(layer.bare(name)):
            if layer is dialect:
                return [], [], {}
            continue
        roles += [role for role in layer.roles if role.matches(layer.bare(name))]
        found = [rule for rule in layer.find("span", name) if _permitted(rule, "span", authority)]
        taken = {rule.instrument.name for rule in rules}
        for role in {rule.role for rule in found if rule.role}:
            before = by_role.get(role, ())
            fed = taken | {rule.instrument.name for rule in before}
            new = (rule for rule in found if rule.role == role and rule.instrument.name not in fed)
            by_role[role] = (*before, *new)
        rules += [rule for rule in found if not rule.role and rule.instrument.name not in taken]
    return rules, roles, by_role
