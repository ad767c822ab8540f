"""The cells of each tool, found once, and what runs now.

What may live here: what was said of a tool, and how a call of it is counted. Which calls there are, tools.py knows.

How a call ended: what it raises is an `error`, named after the exception's class. But nobody knows how a call
would have ended that was cancelled or interrupted (`unknown`), and who stops asking a generator has what he
wants (`ok`).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from random import Random
from threading import RLock
from typing import Any, Final, Literal, NamedTuple

from . import cells
from .cells import Counter, Gauge, Histogram
from .families import ATTRIBUTED, OTHER
from .memory import READ, TRACES

Status = Literal["ok", "error", "rejected", "unknown"]

EXECUTIONS: Final = "agent.tool.executions"
DURATION: Final = "agent.tool.execution.duration"
FAILURES: Final = "agent.interface.consecutive_failures"
MAX_TRACKS: Final = 1_000  # tools
STATUSES: Final = ("ok", "error", "rejected", "unknown")
_INTERRUPTED: Final = (KeyboardInterrupt, SystemExit)
_CANCELLED: Final = (  # who does not use them need not load them
    ("asyncio", "CancelledError"),
    ("trio", "Cancelled"),
    ("greenlet", "GreenletExit"),
)
clock = time.perf_counter
chance = Random().random  # noqa: S311  # not the program's own, whose seed is the program's


def outcome(error: BaseException) -> tuple[Status, str]:
    """Say how a call ended that raised, and the name of what it raised."""
    kind = type(error)  # what an error says of its class may be anything, and is code of others
    if issubclass(kind, GeneratorExit):
        return "ok", ""
    cancelled = (getattr(sys.modules.get(module), name, ()) for module, name in _CANCELLED)
    return "unknown" if _only(error, (*_INTERRUPTED, *cancelled)) else "error", kind.__name__


def _only(error: BaseException, kinds: tuple[Any, ...]) -> bool:
    """Say whether an error is of these kinds, or a group of nothing else, as a nursery of trio raises them."""
    if issubclass(type(error), BaseExceptionGroup):
        return all(_only(each, kinds) for each in BaseExceptionGroup.exceptions.__get__(error))
    return issubclass(type(error), kinds)


class Options(NamedTuple):
    """What was said of a tool."""

    name: str
    type: str = "function"
    interface: str = ""
    weight: int = 1
    sizes: bool = True
    memory: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    counts: bool = True  # False: others tell how often, how long and how it ended


class Track:
    """The cells of one tool, found once."""

    def __init__(self, said: Options) -> None:
        name = said.name
        self.said = said
        self.running: dict[float, None] = {}  # calls by when they began, oldest first
        self.inside = 0.0  # calls of a sampled tool
        self.ok = self.count("ok")
        self.spent = self.times("ok")
        self.input = cells.histogram("agent.tool.input.size", tool=name) if said.sizes else None
        self.output = cells.histogram("agent.tool.output.size", tool=name) if said.sizes else None
        self.memory = cells.histogram("agent.tool.memory.growth", tool=name) if said.memory else None
        self.failures = self.in_a_row()
        self.named = self.attributed("ok") if said.attributes else None

    def count(self, status: str, error_type: str = "") -> Counter:
        """Find the counter of an outcome."""
        said = self.said
        if not said.counts:
            return cells.aside(Counter, EXECUTIONS)
        return cells.counter(EXECUTIONS, tool=said.name, tool_type=said.type, status=status, error_type=error_type)

    def times(self, status: str) -> Histogram:
        """Find the histogram of an outcome."""
        if not self.said.counts:
            return cells.aside(Histogram, DURATION)
        return cells.histogram(DURATION, tool=self.said.name, status=status)

    def in_a_row(self) -> Gauge:
        """Find the gauge of failures in a row."""
        if not self.said.counts:
            return cells.aside(Gauge, FAILURES)
        return cells.gauge(FAILURES, interface=self.said.interface)

    def attributed(self, status: str) -> Counter:
        """Find the counter of an outcome with the attributes that the program gave."""
        return cells.counter(ATTRIBUTED.name, tool=self.said.name, status=status, **dict(self.said.attributes))

    def ended(self, status: str, error_type: str = "") -> None:
        """Count a call by how it ended."""
        ok = status == "ok"
        (self.ok if ok else self.count(status, error_type)).add()
        if self.named is not None:
            self.attributed(status).add()
        if ok:
            self.failures.set(0.0)
        elif status == "error":
            self.failures.add(1.0)

    def end(self, start: float, status: str, error_type: str = "", weight: int = 1) -> None:
        """Count a call and how long it took."""
        taken = clock() - start
        self.running.pop(start, None)
        self.ended(status, error_type)
        spent = self.spent if status == "ok" else self.times(status)
        spent.record(taken, weight)

    def failed(self, start: float, error: BaseException) -> None:
        """Count a call that raised."""
        self.end(start, *outcome(error), self.said.weight)

    def enter(self) -> int:
        """Begin a call; say how many calls stand behind its time, 0 if it is not timed."""
        weight = self.said.weight
        if weight == 1:
            return 1
        self.inside += 1.0
        return weight if chance() * weight < 1.0 else 0

    def leave(self) -> None:
        """End a call."""
        if self.said.weight > 1:
            self.inside -= 1.0

    def allocated(self) -> float | None:
        """Tell how much memory the process has now, if that is asked for; None: it cannot be told."""
        said = self.said.memory
        if said == "tracemalloc":
            TRACES.enter(TRACKS)  # and stay: there is always a next call
        return READ[said]() if said else None

    def grown(self, before: float | None) -> None:
        """Record what a call left allocated; less than before is nothing."""
        if self.memory is not None and before is not None and (now := self.allocated()) is not None:
            self.memory.record(max(0.0, now - before))

    def zero(self) -> None:
        """Forget what runs: after a fork it runs elsewhere."""
        self.running.clear()
        self.inside = 0.0


class Tracks:
    """All tools, by what was said of them."""

    def __init__(self) -> None:
        self.known: dict[Options, Track] = {}
        self.plain: dict[str, Options] = {}  # of tools of which nothing but the name was said
        self.lock = RLock()

    def find(self, said: Options) -> Track:
        """Find or make a tool's cells."""
        found = self.known.get(said)
        if found is None:
            with self.lock:
                found = self._open(said)
        return found

    def _open(self, said: Options) -> Track:
        if not self.known:
            cells.watch("agent.tool.active", self.active)
            cells.watch("agent.tool.oldest_active.age", self.ages)
        if len(self.known) >= MAX_TRACKS:
            cells.fail("labels", EXECUTIONS)
            said = Options(OTHER, interface=OTHER, counts=said.counts)
        return self.known.setdefault(said, self.known.get(said) or Track(said))

    def active(self) -> Iterator[tuple[dict[str, str], float]]:
        """Count the calls that run."""
        for said, track in tuple(self.known.items()):
            inside = max(track.inside, 0.0) if said.weight > 1 else len(track.running)
            yield {"tool": said.name}, inside

    def ages(self) -> Iterator[tuple[dict[str, str], float]]:
        """Tell how long the oldest call of each tool has been running."""
        now = clock()
        oldest: dict[str, float] = {}
        for said, track in tuple(self.known.items()):
            since = next(iter(tuple(track.running)), now)
            oldest[said.name] = min(since, oldest.get(said.name, now))
        for name, since in oldest.items():
            yield {"tool": name}, now - since

    def forget(self) -> None:
        """Know no tools; for tests, as whoever holds one counts for nobody."""
        self.known.clear()
        self.plain.clear()

    def zero(self) -> None:
        """Forget what runs."""
        self.lock = RLock()
        for track in self.known.values():
            track.zero()


TRACKS: Final = Tracks()
os.register_at_fork(after_in_child=TRACKS.zero)
