"""What each dialect tells and does not tell: the data of docs/agents.md and of `setup --list`.

Rule: read from the files; nothing about an agent is written here. What a framework's file does not
say, the vocabularies with roles say for it, but for what it lists under `untold`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ..catalog import CATALOG
from .derived import TRACE
from .plans import SERVICE
from .schema import AnyFile, File, RecordRule, SpanRule, Vocabulary
from .usage import FAMILY

METRIC, EVENT, SPAN, DERIVED, SAMPLED = MARKS = ("M", "E", "S", "~", "P")
LEGEND: Final[dict[str, str]] = {
    METRIC: "from metrics",
    EVENT: "from events (log records)",
    SPAN: "from spans",
    DERIVED: "worked out here: the cost from tokens and prices, open sessions from ids",
    SAMPLED: "looked up on this machine, if the agent runs on it",
}
_SIGNALS: Final = {"metric": METRIC, "event": EVENT, "span": SPAN}
_COST, _UNPRICED, _ACTIVE = "agent.cost.usd", "agent.cost.unpriced_tokens", "agent.sessions.active"
# What is sampled of processes that a file names.
_OF_PROCESSES: Final = tuple(name for name in CATALOG if name.startswith("agent.process."))
_SIZES: Final = ("agent.tool.input.", "agent.tool.output.")


class Group(NamedTuple):
    """Families that stand in one column: its heading, a short one, and how their names begin."""

    title: str
    short: str
    beginnings: tuple[str, ...]

    def __contains__(self, family: object) -> bool:
        return isinstance(family, str) and family.startswith(self.beginnings)


GROUPS: Final = (
    Group("tools", "tool", ("agent.tool.executions", "agent.tool.execution.", "agent.tool.transitions", *_SIZES)),
    Group("permissions", "ask", ("agent.tool.decisions", "agent.tool.approval.")),
    Group("model requests", "req", ("agent.model.request", "agent.model.retries")),
    Group("time to the first token", "ttft", ("agent.model.time_to_first_token",)),
    Group("tokens", "tok", (FAMILY,)),
    Group("cost", "cost", ("agent.cost.",)),
    Group("sessions", "sess", ("agent.sessions",)),
    Group("turns", "turn", ("agent.turn",)),
    Group("context", "ctx", ("agent.context.",)),
    Group("other operations", "ops", ("agent.operation.",)),
    Group("failures in a row", "fail", ("agent.interface.",)),
    Group("caches", "hit", ("agent.cache.",)),
    Group("processes", "proc", ("agent.process.",)),
    Group("runtime, GC and queues", "gc", ("agent.runtime.", "agent.queue.", "agent.pool.")),
)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a file tells: by family of the catalogue, the marks of what it is told by."""

    file: AnyFile
    told: Mapping[str, str]

    def cell(self, group: Group) -> str:
        """Return the marks of a group of families, "" if nothing is told."""
        found = {mark for family, marks in self.told.items() if family in group for mark in marks}
        return "".join(mark for mark in MARKS if mark in found)

    def families(self, mark: str) -> list[str]:
        """List the families that are told by something, in the catalogue's order."""
        return [family for family in CATALOG if mark in self.told.get(family, "")]

    @property
    def missing(self) -> list[str]:
        """List the groups of which nothing is told; a vocabulary need not tell of all."""
        if isinstance(self.file, Vocabulary):
            return []
        return [group.title for group in GROUPS if not self.cell(group)]


def coverage(files: Sequence[AnyFile]) -> list[Coverage]:
    """Say what each file tells: agents, then frameworks, then vocabularies, each by name."""
    shared = sorted((file for file in files if isinstance(file, Vocabulary)), key=lambda file: file.rank)
    return [Coverage(file, _told(file, shared)) for file in sorted(files, key=_order)]


def _order(file: AnyFile) -> tuple[bool, bool, str]:
    return isinstance(file, Vocabulary), is_framework(file), file.called


def is_framework(file: AnyFile) -> bool:
    """Tell whether the agents of a file are called by their own names."""
    return isinstance(file, File) and file.agent == SERVICE


def _told(file: AnyFile, shared: Sequence[Vocabulary]) -> dict[str, str]:
    layers = (file, *(each for each in shared if each.roles)) if is_framework(file) else (file,)
    authority = {family: signal for layer in reversed(layers) for family, signal in layer.authority.items()}
    found: dict[str, set[str]] = {}
    for layer in layers:
        for signal, family in _rules(layer, named=layer is file):
            if authority.get(family, signal) == signal and family not in file.untold:
                found.setdefault(family, set()).add(_SIGNALS[signal])
    for family, mark in _beside(file, layers, found):
        found.setdefault(family, set()).add(mark)
    return {family: "".join(mark for mark in MARKS if mark in found[family]) for family in CATALOG if family in found}


def _rules(file: AnyFile, *, named: bool) -> Iterator[tuple[str, str]]:
    """List signal and family of the rules of a file; of its spans, maybe only those that are told by a role alone."""
    yield from (("metric", rule.to) for rule in file.metrics)
    yield from (("event", _family(rule)) for rule in file.events)
    yield from (("span", _family(rule)) for rule in file.spans if named or _by_role(rule))


def _family(rule: RecordRule) -> str:
    return FAMILY if rule.usage else rule.to


def _by_role(rule: SpanRule) -> bool:
    return rule.role is not None and rule.name is None


def _beside(file: AnyFile, layers: Iterable[AnyFile], told: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """List what is told although there is no rule for it."""
    if FAMILY in told and _COST not in told:
        yield from ((_COST, DERIVED), (_UNPRICED, DERIVED))
    session = next((layer.session for layer in layers if layer.session), ())
    if any(name != TRACE for name in session) and _ACTIVE not in file.untold:
        yield _ACTIVE, DERIVED
    if isinstance(file, File) and file.processes:
        yield from ((family, SAMPLED) for family in _OF_PROCESSES)
