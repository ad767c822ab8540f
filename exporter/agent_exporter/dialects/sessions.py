"""What is remembered of sessions: when they were last heard of, which tool came last, when a turn began.

Rule: bounded by limits with names, expiring, and no id is kept: a session is the hash of its agent
and id. Times are given in Unix seconds. Nothing here knows what events and spans are.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Final

from ..model import Labels

SESSIONS: Final = 10_000  # remembered at once; the one silent for longest makes room
SESSION_SECONDS: Final = 86_400.0  # silent for so long, a session is forgotten
ACTIVE_SECONDS: Final = 300.0  # heard of within so long, a session is active; metrics come every minute
MARKS: Final = 16  # beginnings remembered a session
REPEATABLE: Final = 50_000  # values of `once` remembered; the oldest makes room
INTERFACES: Final = 20_000  # label sets whose failures are counted; then all begin again

DROPPED: Final = ("agent_exporter.dropped.sessions", ())
Counts = Counter[tuple[str, Labels]]


@dataclass(slots=True)
class Session:
    """One session; `marks` are the times of events by name, `shown` says whether it counts as active."""

    key: int
    agent: str
    seen: float
    shown: bool
    tool: str = ""
    marks: dict[str, float] = field(default_factory=dict)


class Sessions:
    """The sessions heard of, the newest last."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._known: OrderedDict[int, Session] = OrderedDict()  # a plain one is slow to drop its first
        self._agents: dict[str, None] = {}
        self._once: OrderedDict[int, None] = OrderedDict()
        self._failures: dict[Labels, int] = {}

    def __len__(self) -> int:
        return len(self._known)

    def touch(self, agent: str, name: str, now: float, *, shown: bool) -> Session:
        """Hear of a session."""
        key = hash((agent, name))
        session = self._known.get(key)
        if session is None:
            return self._open(Session(key, agent, now, shown))
        if now > session.seen:
            session.seen = now
            self._known.move_to_end(key)
        return session

    def _open(self, session: Session) -> Session:
        if session.shown:
            self._agents[session.agent] = None
        if len(self._known) >= SESSIONS:
            self._known.popitem(last=False)
            self._counts[DROPPED] += 1
        self._known[session.key] = session
        return session

    def active(self, now: float) -> dict[str, int]:
        """Count the sessions heard of lately, by agent; agents that had some before have 0."""
        found = dict.fromkeys(self._agents, 0)
        for session in reversed(self._known.values()):
            if session.seen < now - ACTIVE_SECONDS:
                break
            if session.shown:
                found[session.agent] += 1
        return found

    def sweep(self, now: float) -> None:
        """Forget sessions that were silent for long."""
        for key, session in tuple(self._known.items()):
            if session.seen >= now - SESSION_SECONDS:
                break
            del self._known[key]

    def mark(self, session: Session, name: str, time: float) -> None:
        """Remember when something began in a session."""
        if len(session.marks) < MARKS or name in session.marks:
            session.marks[name] = time

    def is_first(self, *what: object) -> bool:
        """Tell whether something has not been there before, and remember it."""
        key = hash(what)
        if key in self._once:
            return False
        if len(self._once) >= REPEATABLE:
            self._once.popitem(last=False)
        self._once[key] = None
        return True

    def fail(self, labels: Labels, *, failed: bool) -> int:
        """Return how many failures in a row an interface has now."""
        if len(self._failures) >= INTERFACES and labels not in self._failures:
            self._failures.clear()
        count = self._failures[labels] = self._failures.get(labels, 0) + 1 if failed else 0
        return count
