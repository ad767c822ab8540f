"""The streams of one metric of one scope of one resource: identity to row, row to cells.

What may live here: the columns every kind of stream has and their life (opened, silent, back,
forgotten). How points become increments is in `numbers` and `histograms`.

A stream is found by the raw bytes of its attributes. One that falls silent loses these keys,
so that its next point takes the resolve path and is noticed there: the main path never asks
who is alive.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .families import SPARE, Rows

Resolve = Callable[[bytes], "tuple[Any, ...] | None"]

MAX_RUNS = 8  # processes that report as one stream at the same time and are still told apart, by start time
FUTURE = 3600 * 1_000_000_000  # a clock may be wrong by so much before its points are doubted
MAX_KEYS = 4  # orders of attributes in which a stream is known; one in yet another is resolved each time


class Notes(dict[str, int]):
    """What happened to points that were not simply applied, counted by the collector under these names.

    Most remain empty and one is made a metric a request: a Counter takes four times as long to make.
    """

    __slots__ = ()

    def __missing__(self, name: str) -> int:
        return 0

    def late(self, time: int, last: int) -> None:
        """Note a point that is not newer than what was seen."""
        self["duplicate" if time == last else "late"] += 1


@dataclass(slots=True)
class Sink:
    """Where a metric's streams add to one table; cell 0 stands for «nowhere».

    `projection` gives, for each bucket of the source, the target's bucket (None: the same bounds);
    `part` says what of a histogram feeds a number (see `model.Feed`); where it `sums`, a series is
    what its streams say now, added up.
    """

    table: Rows
    scale: float = 1.0
    projection: tuple[int, ...] | None = None
    part: str = ""
    sums: bool = False
    cells: array[int] = field(default_factory=lambda: array("I"))


class Streams:
    """Columns of stream state; `times` and `starts` in Unix nanoseconds."""

    def __init__(self, *, cumulative: bool) -> None:
        self.cumulative = cumulative
        self.version = 0  # of rows, cells and start times; points of known streams change none of them
        self.rows: dict[bytes, int] = {}
        self.silent: dict[bytes, int] = {}
        self.sinks: list[Sink] = []
        self.places: list[tuple[array[float], array[int], float]] = []  # of sinks: values, cells, scale
        self.sums: list[tuple[array[float], array[int], float]] = []  # of sinks that sum
        self.starts = array("Q")
        self.times = array("Q")
        self.lasts = array("d")  # numbers: the last cumulative value
        self.readings: dict[int, Any] = {}  # histograms: what is not yet in the cells
        self.bases: dict[int, Any] = {}  # cumulative histograms and summaries: what is in the cells already
        self.runs: dict[int, dict[int, tuple[int, Any]]] = {}
        self.holder: Callable[[], None] | None = None  # what knows better than the columns; told to `settle`
        self._keys = array("B")  # keys a row has beside its identity
        self._silent_keys: dict[int, list[bytes]] = {}
        self._checked = array("Q")
        self._idle = array("I")
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self.starts) - len(self._free)

    def settle(self) -> None:
        """Bring the columns up to date with points that wait; whoever reads or writes them calls it first."""
        if self.holder is not None:
            self.holder()

    def open(self, identity: bytes, start: int) -> int:
        """Give a stream seen for the first time a row."""
        self.version += 1
        if self._free:
            row = self._free.pop()
        else:
            row = len(self.starts)
            for column in (self.starts, self.times, self.lasts, self._keys, self._checked, self._idle):
                column.append(0)
            for sink in self.sinks:
                sink.cells.append(SPARE)
        self.starts[row] = start
        self._idle[row] = self._keys[row] = 0
        self.rows[identity] = row
        return row

    def learn(self, key: bytes, row: int) -> None:
        """Find a stream by other bytes too: another order of its attributes, or flags."""
        if self._keys[row] < MAX_KEYS:
            self._keys[row] += 1
            self.rows[key] = row

    def feed(
        self,
        row: int,
        table: Rows,
        cell: int,
        scale: float,
        projection: tuple[int, ...] | None,
        part: str = "",
        *,
        sums: bool = False,
    ) -> None:
        """Let a stream add to a series from now on; `cell` is the first of the series."""
        self.version += 1
        for sink in self.sinks:
            if (
                sink.table is table
                and sink.scale == scale
                and sink.projection == projection
                and sink.part == part
                and sink.sums is sums
                and sink.cells[row] == SPARE
            ):
                break
        else:
            sink = Sink(table, scale, projection, part, sums, array("I", [SPARE]) * len(self.starts))
            self.sinks.append(sink)
            (self.sums if sums else self.places).append((table.values, sink.cells, scale))
        sink.cells[row] = cell
        if sums:  # whatever stands there without a stream is of old
            table.values[cell] = self.lasts[row] * scale + (table.values[cell] if table.refs[cell] else 0.0)
        table.refs[cell // table.width] += 1

    def revive(self, identity: bytes) -> int | None:
        """Take a silent stream back with all its keys; None where there is none."""
        row = self.silent.get(identity)
        if row is None:
            return None
        for key in self._silent_keys.pop(row):
            self.rows[key] = self.silent.pop(key)
        self._idle[row] = 0
        return row

    def switch(self, row: int, start: int, last: Any, nothing: Any) -> tuple[Any, bool] | None:
        """Turn to the run of a stream that began at `start`; return its last value and whether it is new.

        None if it is forgotten. A later start is a restart. An earlier one is another process
        that reports as the same stream, as two agents without an instance id do: each run keeps
        its own last value, so that their sum stays true. The run that is silent for longest is
        forgotten first. No start time (0) is no news.
        """
        self.version += start > 0
        if not start or not self.starts[row]:
            self.starts[row] = start or self.starts[row]
            return last, False
        runs = self.runs.setdefault(row, {})
        fresh = start not in runs
        if fresh and start < self.starts[row] and len(runs) >= MAX_RUNS:
            return None
        runs[self.starts[row]] = self.times[row], last
        self.times[row], last = runs.pop(start, (0, nothing))
        self.starts[row] = start
        if len(runs) > MAX_RUNS:
            del runs[min(runs, key=lambda each: runs[each][0])]
        return last, fresh

    def part(self, row: int) -> list[tuple[Rows, int]]:
        """Stop a stream from feeding its series; return the series that it fed."""
        self.version += 1
        fed = []
        for sink in self.sinks:
            cell = sink.cells[row]
            if cell != SPARE:
                sink.cells[row] = SPARE
                series = cell // sink.table.width
                sink.table.refs[series] -= 1
                fed.append((sink.table, series))
        return fed

    def silence(self, gone: set[int]) -> None:
        """Take the keys of these rows away, so that their next point is resolved anew."""
        self.version += 1
        for key in [key for key, row in self.rows.items() if row in gone]:
            row = self.silent[key] = self.rows.pop(key)
            self._silent_keys.setdefault(row, []).append(key)

    def sweep(self, now: int, silent_after: int, forget_after: int) -> tuple[set[int], int]:
        """Age the streams whose time stands still; return who fell silent just now and how many were forgotten.

        A time from the future is brought back to `now`, or no later point would ever count.
        """
        self.settle()
        fresh, forgotten, free = set(), set(), set(self._free)
        for row, (time, checked) in enumerate(zip(self.times, self._checked, strict=True)):
            if time > now + FUTURE:
                self.times[row] = now
            self._idle[row] = self._idle[row] + 1 if time == checked else 0
            if row in free:
                continue
            if row not in self._silent_keys:
                if self._idle[row] >= silent_after:
                    fresh.add(row)
            elif self._idle[row] >= forget_after:
                forgotten.add(row)
        self._checked = self.times[:]
        self.forget(forgotten)
        return fresh, len(forgotten)

    def forget(self, gone: set[int]) -> None:
        """Free the rows of silent streams; what they had said last is gone."""
        for row in gone:
            self._forget(row)

    def _forget(self, row: int) -> None:
        for key in self._silent_keys.pop(row):
            del self.silent[key]
        self.starts[row] = self.times[row] = 0
        self.lasts[row] = 0.0
        for state in (self.readings, self.bases, self.runs):
            state.pop(row, None)
        self._free.append(row)


Apply = Callable[[Streams, Sequence[bytes], Sequence[Any], Resolve], Notes]
