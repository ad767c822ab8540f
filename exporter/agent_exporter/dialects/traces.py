"""What is remembered of spans: who is whose parent, what each has fed, who waits for whom.

Rule: bounded by limits with names, expiring, time comes as a parameter (Unix seconds). Of a span's
attributes only those are kept that rules name. Children usually come before their parents and in
other payloads, and some parents never come.

A model span around a model span is one request told twice, and the same tool called within
itself is one call told twice, if only spans without a role lie between: what one has fed, the
other does not feed again, in whichever order they come.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from ..model import Attributes, Labels, Span
from .sessions import Counts

NODES: Final = 20_000  # spans remembered at once; the oldest makes room
NODE_SECONDS: Final = 900.0  # after so long a span is forgotten
DEPTH: Final = 32  # spans without a role that may lie between two that are compared
WAITING: Final = 2_000  # spans that wait at once; then the one that waits longest is measured as it is
PARENT_SECONDS: Final = 300.0  # how long a span waits for its parent
INNER_SECONDS: Final = 30.0  # how long a span waits for those inside that know more

REPEATED: Final = ("agent_exporter.dropped.points", (("reason", "repeated_span"),))
COMPARED: Final = ("model", "tool")
Told = tuple[str, str, str]  # role, family, and for tools the tool's name
_SEPARATOR: Final = "/"


@dataclass(slots=True, eq=False)
class Node:
    """One span; before it comes itself, what its children say of it (`role` is None)."""

    seen: float
    parent: str = ""
    role: str | None = None
    fed: frozenset[Told] = frozenset()
    below: frozenset[Told] = frozenset()  # what spans inside have fed
    kept: Attributes | None = None
    children: list[int] | None = None  # waiting, by number


@dataclass(slots=True)
class Held:
    """A span that waits until `deadline`, for spans inside it or for its parent; `what` is the engine's own."""

    deadline: float
    inner: bool
    node: Node
    what: Any


class Tree:
    """The spans heard of, the oldest first."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._nodes: OrderedDict[str, Node] = OrderedDict()  # a plain one is slow to drop its first
        self._number = 0
        self._orphans: OrderedDict[int, Held] = OrderedDict()  # wait for their parent
        self._outer: OrderedDict[int, Held] = OrderedDict()  # wait for spans inside

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def waiting(self) -> int:
        """Count the spans that wait."""
        return len(self._orphans) + len(self._outer)

    def is_repeated(self, span: Span) -> bool:
        """Tell whether a span has come before, in another payload; count it."""
        node = self._nodes.get(span.trace_id + _SEPARATOR + span.span_id) if span.span_id else None
        if node is None or node.role is None:
            return False
        self._counts[REPEATED] += 1
        return True

    def arrive(self, span: Span, role: str, kept: Attributes | None, now: float) -> Node:
        """Put a span in its place; what spans inside have fed goes up."""
        node = self._node(span.trace_id + _SEPARATOR + span.span_id, now)
        node.role, node.kept = role, kept
        if span.parent_id:
            node.parent = span.trace_id + _SEPARATOR + span.parent_id
        if node.below:
            node.below = _of(role, node.below) if role else node.below
            self._raise(node, node.below, now)
        return node

    def parent(self, node: Node) -> Attributes | None:
        """Return what is kept of a span's parent: None while it has not come."""
        found = self._nodes.get(node.parent)
        return None if found is None or found.role is None else found.kept or {}

    # -- who has fed what -----------------------------------------------------

    def told(self, node: Node) -> frozenset[Told]:
        """Return what others have fed of the same request or call."""
        found = node.below
        for outer in self._above(node):
            if outer.role and outer.role != node.role:
                break
            found |= outer.fed
        return found

    def feed(self, node: Node, fed: Iterable[Told], now: float) -> None:
        """Remember what a span has fed, for those around and inside it."""
        new = frozenset(fed)
        if new:
            node.fed |= new
            self._raise(node, new, now)

    def _raise(self, node: Node, told: frozenset[Told], now: float) -> None:
        """Tell those around a span what it, or one inside, has fed."""
        for _ in range(DEPTH):
            if not told or not node.parent:
                return
            node = self._node(node.parent, now)
            if node.role:
                told = _of(node.role, told)
            node.below |= told

    def _above(self, node: Node) -> Iterator[Node]:
        for _ in range(DEPTH):
            found = self._nodes.get(node.parent)
            if found is None:
                return
            yield found
            node = found

    def _node(self, key: str, now: float) -> Node:
        node = self._nodes.get(key)
        if node is None:
            if len(self._nodes) >= NODES:
                self._nodes.popitem(last=False)
            node = self._nodes[key] = Node(now)
        return node

    # -- who waits ------------------------------------------------------------

    def wait_for_parent(self, node: Node, what: object, now: float) -> None:
        """Hold a span until its parent comes."""
        self._number += 1
        self._orphans[self._number] = Held(now + PARENT_SECONDS, False, node, what)
        parent = self._node(node.parent, now)
        if parent.children is None:
            parent.children = []
        parent.children.append(self._number)

    def wait_for_inner(self, node: Node, what: object, now: float) -> None:
        """Hold a span for some time, so that one inside can come first."""
        self._number += 1
        self._outer[self._number] = Held(now + INNER_SECONDS, True, node, what)

    def children(self, node: Node) -> list[Held]:
        """Take the spans that waited for this one."""
        numbers, node.children = node.children or (), None
        return [held for number in numbers if (held := self._orphans.pop(number, None))]

    def due(self, now: float) -> list[Held]:
        """Take the spans that have waited long enough, or are too many."""
        return [*self._due(self._orphans, now, counted=True), *self._due(self._outer, now, counted=False)]

    def _due(self, held: OrderedDict[int, Held], now: float, *, counted: bool) -> Iterator[Held]:
        while held:
            number = next(iter(held))
            full = len(held) > WAITING
            if not full and held[number].deadline > now:
                return
            if counted or full:
                self._counts["agent_exporter.orphaned.spans", (("reason", "full" if full else "expired"),)] += 1
            yield held.pop(number)

    def sweep(self, now: float) -> None:
        """Forget spans that came long ago."""
        for key, node in tuple(self._nodes.items()):
            if node.seen > now - NODE_SECONDS:
                break
            del self._nodes[key]


def _of(role: str, told: frozenset[Told]) -> frozenset[Told]:
    return frozenset(each for each in told if each[0] == role)


def tell(role: str, family: str, labels: Labels) -> Told:
    """Name what a span tells: of a tool's span, of which tool."""
    tool = next((value for name, value in labels if name in ("tool", "to")), "") if role == "tool" else ""
    return role, family, tool
