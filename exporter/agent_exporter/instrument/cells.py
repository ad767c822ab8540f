"""Where the library counts: one cell a label set, bound once, added to without a lock.

What may live here: cells, the registry that hands them out, and the reading of all of them.
The catalogue says which families there are; `agent` and `agent_instance` come from the resource.

Why no lock: CPython lets another thread run only where a function begins, after a call and where a
loop turns back (3.10 and later). Between reading and writing back in `self.total += value` there is
none of that, as long as the value is a plain number; a test reads the bytecode for it. So an update is
never lost and costs 30 ns, where a lock would add 50. Builds without a GIL are not supported: there,
counts can be lost. What a reader may see is a histogram's bucket without the sum that belongs to it,
for one observation and until the next reading.
"""

from __future__ import annotations

import logging
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from threading import RLock
from typing import Final, NamedTuple, TypeVar

from ..catalog import CATALOG
from ..model import Instrument, Kind, Labels
from .families import INSTRUMENTS, folded, siblings, texts

log = logging.getLogger("agent_exporter.instrument")

MAX_LABEL_SETS: Final = 2_000  # of one family; beyond, open labels become `other`
MAX_KNOWN: Final = 10_000  # ways of naming a cell that are remembered
MAX_WATCHES: Final = 2_000
MAX_TOLD: Final = 100  # different complaints that are written to the log
FAILURES: Final = "agent.telemetry.failures"
_SAYINGS: Final = {  # by reason of a failure
    "push": "metrics are not delivered to %s; the next push has them too, and this is said once",
    "watch": "%s cannot be read",
    "labels": "%s has too many label sets",
    "misuse": "%s",
}

Read = Callable[[], Iterable[tuple[dict[str, str], float]]]


class Switch:
    """Whether anything is recorded: off until `start`, and when it is told to be."""

    __slots__ = ("on",)

    def __init__(self) -> None:
        self.on = False


SWITCH: Final = Switch()


class Distribution(NamedTuple):
    """A histogram read: one count a bucket, the last for what is above all bounds."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float


class Point(NamedTuple):
    """What one label set of a family amounts to; `start` in Unix nanoseconds."""

    name: str
    labels: Labels
    value: float | Distribution
    start: int


class Counter:
    """A total that only grows."""

    __slots__ = ("since", "total")

    def __init__(self, _: Instrument) -> None:
        self.zero()

    def add(self, value: float = 1.0) -> None:
        """Add an amount; what is negative or no number is left out."""
        if SWITCH.on and value >= 0.0:
            self.total += value

    def read(self) -> float | None:
        """Return the total."""
        return self.total

    def zero(self) -> None:
        """Begin anew."""
        self.total = 0.0
        self.since = time.time_ns()


class Gauge:
    """A value that goes up and down; as long as there is none, nothing is exported."""

    __slots__ = ("since", "value")

    def __init__(self, _: Instrument) -> None:
        self.value: float | None = None
        self.since = time.time_ns()

    def set(self, value: float) -> None:
        """Say what the value is now."""
        if SWITCH.on:
            self.value = value

    def add(self, value: float) -> None:
        """Change the value by an amount."""
        if SWITCH.on:
            self.value = (self.value or 0.0) + value

    def read(self) -> float | None:
        """Return the value."""
        return self.value

    def zero(self) -> None:
        """Have no value any more."""
        self.value = None
        self.since = time.time_ns()


class Histogram:
    """Values by the catalogue's buckets."""

    __slots__ = ("bounds", "counts", "since", "sum")

    def __init__(self, instrument: Instrument) -> None:
        self.bounds = instrument.bounds
        self.counts = [0] * (len(instrument.bounds) + 1)
        self.zero()

    def record(self, value: float, weight: int = 1) -> None:
        """Put a value into its bucket; one that stands for many has their number as its weight."""
        if SWITCH.on and value >= 0.0:
            index = bisect_left(self.bounds, value)
            self.counts[index] += weight
            self.sum += value * weight

    def read(self) -> Distribution | None:
        """Copy what was recorded, None if that is nothing."""
        counts = tuple(self.counts)
        return Distribution(self.bounds, counts, self.sum) if any(counts) else None

    def zero(self) -> None:
        """Begin anew; the list stays, for those who hold it."""
        self.counts[:] = [0] * len(self.counts)
        self.sum = 0.0
        self.since = time.time_ns()


Cell = Counter | Gauge | Histogram
_KINDS: Final[dict[type[Cell], Kind]] = {Counter: Kind.COUNTER, Gauge: Kind.GAUGE, Histogram: Kind.HISTOGRAM}
_Cell = TypeVar("_Cell", Counter, Gauge, Histogram)


class Watch:
    """Something that is read when exporting; `stop` ends it.

    A fork copies what is watched, totals included: the child counts from what they were at the fork, but for
    totals that are `fresh` in a child by themselves.
    """

    __slots__ = ("_base", "_copied", "_fresh", "_read", "_watches", "instrument", "since")

    def __init__(self, instrument: Instrument, read: Read, watches: list[Watch], *, fresh: bool) -> None:
        self.instrument, self._read, self._watches = instrument, read, watches
        self._fresh = fresh or instrument.kind is not Kind.COUNTER
        self._base: dict[Labels, float] = {}
        self._copied: dict[Labels, float] = {}
        self.since = time.time_ns()

    def stop(self) -> None:
        """Read it no more."""
        if self in self._watches:
            self._watches.remove(self)

    def read(self) -> dict[Labels, float]:
        """Read it; what it raises is counted."""
        values = self._values()
        for labels in [each for each, base in self._base.items() if values.get(each, base) < base]:
            del self._base[labels]  # what is watched has begun anew
        return {labels: value - self._base.get(labels, 0.0) for labels, value in values.items()}

    def copy(self) -> None:
        """Remember what a child of the fork that comes now begins with."""
        if not self._fresh:
            self._copied = self._values()

    def zero(self) -> None:
        """Count from the fork on."""
        self._base = self._copied
        self.since = time.time_ns()

    def _values(self) -> dict[Labels, float]:
        values: dict[Labels, float] = {}
        try:
            for found, value in self._read():
                labels = texts(self.instrument, found)
                values[labels] = values.get(labels, 0.0) + float(value)
        except Exception as error:  # noqa: BLE001  # it is code of others
            fail("watch", self.instrument.name, error)
            return {}
        return values


class Cells:
    """All cells and watches of the process."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Have nothing."""
        self.lock = RLock()  # reentrant: a finalizer may ask for a cell while one is made
        self.cells: dict[tuple[str, Labels], Cell] = {}
        self.known: dict[tuple[object, ...], Cell] = {}  # by how they were asked for
        self.sets: dict[str, int] = {}
        self.watches: list[Watch] = []
        self.told: set[tuple[str, str]] = set()
        self.early: list[str] = []  # mistakes from before `start`
        self.announce: Callable[[], object] = _nobody  # called when a family is new

    def bind(self, kind: type[_Cell], name: str, labels: dict[str, str]) -> _Cell:
        """Find or make the cell of a label set, its siblings with it."""
        asked = name, *labels.items()
        found = self.known.get(asked)
        if found is None or type(found) is not kind:
            found = self._find(kind, name, labels)
            if len(self.known) >= MAX_KNOWN:
                self.known.clear()
            self.known[asked] = found
        return found  # type: ignore[return-value]  # the kind was looked at

    def _find(self, kind: type[_Cell], name: str, labels: dict[str, str]) -> Cell:
        instrument = INSTRUMENTS[name]
        if instrument.kind is not _KINDS[kind]:
            raise TypeError(f"{name} is a {instrument.kind}")
        found = texts(instrument, labels)
        return self.cells.get((name, found)) or self._open(kind, instrument, found)

    def _open(self, kind: type[_Cell], instrument: Instrument, labels: Labels) -> Cell:
        name = instrument.name
        with self.lock:
            if self.sets.get(name, 0) >= MAX_LABEL_SETS:
                labels = folded(instrument, labels)
                fail("labels", name)
            if name not in self.sets:
                self.announce()
            for each in (*siblings(instrument, labels), labels):
                if (name, each) not in self.cells:
                    self.cells[name, each] = kind(instrument)
                    self.sets[name] = self.sets.get(name, 0) + 1
            return self.cells[name, labels]

    def collect(self) -> list[Point]:
        """Read everything: one point a label set."""
        with self.lock:
            cells, watches = tuple(self.cells.items()), tuple(self.watches)
        points = {key: Point(*key, value, cell.since) for key, cell in cells if (value := cell.read()) is not None}
        for watch in watches:
            for labels, value in watch.read().items():
                key = watch.instrument.name, labels
                points[key] = _joined(points.get(key), Point(*key, value, watch.since), watch.instrument)
        return sorted(points.values())

    def copy(self) -> None:
        """Prepare for a fork: here and not in the child, where a lock may be held by a thread that is no more."""
        if SWITCH.on:
            for each in tuple(self.watches):
                each.copy()

    def zero(self) -> None:
        """Begin anew, all handles kept; without waiting for a lock, which a thread that is no more may hold."""
        self.lock = RLock()
        for each in (*self.cells.values(), *self.watches):
            each.zero()


def _nobody() -> None:
    """Stand in for who wants to hear of new families."""


_ALL: Final = Cells()


def counter(name: str, /, **labels: str) -> Counter:
    """Find or make the counter of a label set."""
    return _ALL.bind(Counter, name, labels)


def gauge(name: str, /, **labels: str) -> Gauge:
    """Find or make the gauge of a label set."""
    return _ALL.bind(Gauge, name, labels)


def histogram(name: str, /, **labels: str) -> Histogram:
    """Find or make the histogram of a label set."""
    return _ALL.bind(Histogram, name, labels)


def aside(kind: type[_Cell], name: str) -> _Cell:
    """Make a cell that nobody reads, for who records a family that is not to be told."""
    return kind(INSTRUMENTS[name])


def watch(name: str, read: Read, *, fresh: bool = False) -> Watch:
    """Let a counter or gauge be read when exporting: `read` gives labels and values, in the exporting thread.

    Counters are read before a fork, too, by the thread that forks.
    A total that is `fresh` begins at 0 in a forked child, as a process's own times do.
    """
    made = Watch(CATALOG[name], read, _ALL.watches, fresh=fresh)
    if len(_ALL.watches) < MAX_WATCHES:
        _ALL.watches.append(made)
    else:
        fail("labels", name)
    return made


def collect() -> list[Point]:
    """Read all cells and all that is watched."""
    return _ALL.collect()


def zero() -> None:
    """Begin anew, as a forked child does: the parent goes on with what was counted."""
    _ALL.zero()


os.register_at_fork(before=_ALL.copy, after_in_child=zero)


def announce(call: Callable[[], object]) -> None:
    """Name who wants to hear of families that are new."""
    _ALL.announce = call


def reset() -> None:
    """Forget all cells and watches; for tests, as whoever holds a handle counts for nobody."""
    _ALL.forget()


def fail(reason: str, what: str, error: Exception | None = None) -> None:
    """Count what went wrong inside the library, and say the first of each kind."""
    if not SWITCH.on and reason == "misuse" and len(_ALL.early) < MAX_TOLD:
        _ALL.early.append(what)
    counter(FAILURES, reason=reason).add()
    if SWITCH.on and (reason, what) not in _ALL.told and len(_ALL.told) < MAX_TOLD:
        _ALL.told.add((reason, what))
        said = _SAYINGS[reason] % what
        log.warning("%s (%s)", said, type(error).__name__) if error else log.warning("%s", said)


def begun() -> None:
    """Say and count the mistakes from before the start, as most tools are decorated before."""
    early, _ALL.early = _ALL.early, []
    for what in early:
        fail("misuse", what)


def _joined(first: Point | None, second: Point, instrument: Instrument) -> Point:
    """Make one point of two with the same labels: amounts and counts add up, of the rest the newest counts."""
    adds_up = instrument.kind is Kind.COUNTER or instrument.is_amount
    if first is None or not adds_up or isinstance(first.value, Distribution) or isinstance(second.value, Distribution):
        return second
    return second._replace(value=first.value + second.value, start=min(first.start, second.start))
