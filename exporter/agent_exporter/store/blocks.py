"""All points of one kind in a request at once, where there is nothing out of the ordinary.

What may live here: the operations of `numbers` and `histograms` over columns, for streams whose rows follow each other.
A group judges all of its points and says so, or touches nothing: whatever is late, was reset, overlaps, has a gap or is
not finite is judged point by point on the main path. What counters grew by goes to their cells at once; times, last
values and histograms wait for `settle`, because the next request replaces them or is added up with them.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import chain
from math import isfinite
from operator import add as plus
from operator import ge, sub
from typing import Any, Final, NamedTuple

from ..model import Form, Temporality
from .histograms import unpack
from .streams import Streams

_EXACT = 1 << 53  # counts from here on may not be exact in a cell
_ADDED = 1 << 10  # deltas that are added up before somebody looks: so many buckets below `_EXACT` fit in 64 bits

Judged = tuple[Any, ...] | None  # what is to be kept of the points; None if some are out of the ordinary


class Block:
    """Streams in consecutive rows, and the cells that they feed, while nothing about them changes."""

    def __init__(self, streams: Streams, first: int, count: int) -> None:
        self.streams, self.count = streams, count
        self.rows = slice(first, first + count)
        self.places = [(values, _together(cells[self.rows]), scale) for values, cells, scale in streams.places]
        self.sums = [(values, _together(cells[self.rows]), scale) for values, cells, scale in streams.sums]
        self._version = streams.version

    def stands(self) -> bool:
        """Tell whether rows, cells and start times are as they were."""
        return self._version == self.streams.version

    def grow(self, increments: Sequence[float], *, sums: bool = False) -> None:
        """Add to the cells, or to those that are what their streams say now, added up."""
        for values, cells, scale in self.sums if sums else self.places:
            added = increments if scale == 1.0 else [each * scale for each in increments]
            if isinstance(cells, slice):
                values[cells] = array("d", list(map(plus, values[cells], added)))
            else:
                for cell, each in zip(cells, added, strict=True):
                    values[cell] += each

    def show(self, said: Sequence[float]) -> None:
        """Put values into the cells."""
        for values, cells, scale in self.places:
            shown = array("d", said if scale == 1.0 else [each * scale for each in said])
            if isinstance(cells, slice):
                values[cells] = shown
            else:
                for cell, each in zip(cells, shown, strict=True):
                    values[cell] = each


def _together(cells: array[int]) -> slice | array[int]:
    """Make consecutive cells a slice."""
    first = cells[0]
    return slice(first, first + len(cells)) if cells == array("I", range(first, first + len(cells))) else cells


class Group:
    """Blocks whose points are of one kind, in the order of its columns."""

    def __init__(self, kind: Hashable, blocks: Sequence[Block]) -> None:
        self._operation = OPERATIONS[kind]  # type: ignore[index]
        self.blocks: list[tuple[Block, slice]] = []  # and their points in the columns
        self.size = 0
        for block in blocks:
            self.blocks.append((block, slice(self.size, self.size + block.count)))
            self.size += block.count
        self.time = 0
        self.lasts: Sequence[float] = ()
        self.waiting: Any = None
        self.added = 0  # requests that wait
        self._looked = False  # whether time and lasts are known, and the streams held
        self._judged: tuple[int, Judged] = (0, None)

    def stands(self) -> bool:
        """Tell whether all blocks are as they were."""
        return all(block.stands() for block, _ in self.blocks)

    def judge(self, columns: Sequence[Sequence[Any]]) -> bool:
        """Tell whether the points come plainly after all that was seen: `keep` takes them then."""
        if not self._looked and not self._look():
            return False
        *starts, times = columns[: 1 + self._operation.delta]
        if times.count(times[0]) != self.size or times[0] <= self.time:
            return False
        if starts and starts[0].count(self.time) != self.size:
            return False
        self._judged = times[0], self._operation.judge(self, *columns[1 + self._operation.delta :])
        return self._judged[1] is not None

    def keep(self) -> None:
        """Take the points that were judged."""
        self.time, judged = self._judged
        self.added += 1
        self._operation.keep(self, judged)

    def settle(self) -> None:
        """Bring the streams up to date and leave them to others, unless others hold them already."""
        if not self._looked:
            return
        if self.added:
            for block, part in self.blocks:
                block.streams.times[block.rows] = array("Q", (self.time,)) * block.count
                block.streams.lasts[block.rows] = array("d", self.lasts[part])
            self._operation.settle(self)
        for block, _ in self.blocks:
            block.streams.holder = None
        self.waiting, self.added, self._looked = None, 0, False

    def _look(self) -> bool:
        for block, _ in self.blocks:
            block.streams.settle()
        if not self.stands():
            return False
        times = set(chain.from_iterable(block.streams.times[block.rows] for block, _ in self.blocks))
        self.time = max(times)
        self.lasts = list(chain.from_iterable(block.streams.lasts[block.rows] for block, _ in self.blocks))
        if self._operation.delta and len(times) > 1:
            return False
        for block, _ in self.blocks:
            block.streams.holder = self.settle
        self._looked = True
        return True

    def parts(self, values: Sequence[Any]) -> Iterator[tuple[Block, Sequence[Any]]]:
        """Divide a column by blocks."""
        return ((block, values[part]) for block, part in self.blocks)


# -- numbers ------------------------------------------------------------------


def _track(group: Group, values: Sequence[float]) -> Judged:
    """Judge cumulative monotonic sums."""
    grown = list(map(sub, values, group.lasts))
    return (values, grown) if isfinite(sum(grown)) and min(grown) >= 0.0 else None


def _grow(group: Group, judged: tuple[Sequence[float], Sequence[float]]) -> None:
    group.lasts, grown = judged
    for block, part in group.parts(grown):
        block.grow(part)


def _follow(group: Group, values: Sequence[float]) -> Judged:
    """Judge what series that sum say now: cumulative sums that may fall."""
    return (values, list(map(sub, values, group.lasts))) if isfinite(sum(values)) else None


def _say(group: Group, judged: tuple[Sequence[float], Sequence[float]]) -> None:
    group.lasts, grown = judged
    for block, part in group.parts(grown):
        block.grow(part, sums=True)


def _put(group: Group, values: Sequence[float]) -> Judged:
    """Judge gauges, some of which may be summed."""
    return _follow(group, values) if any(block.sums for block, _ in group.blocks) else (values, None)


def _show(group: Group, judged: tuple[Sequence[float], Sequence[float] | None]) -> None:
    values, grown = judged
    for block, part in group.parts(values):
        block.show(part)
    if grown is not None:
        _say(group, (values, grown))


def _add(group: Group, values: Sequence[float]) -> Judged:
    """Judge delta monotonic sums."""
    return _add_signed(group, values) if min(values) >= 0.0 else None


def _add_signed(group: Group, values: Sequence[float]) -> Judged:
    """Judge delta sums that may fall."""
    return (group.lasts, values) if isfinite(sum(values)) else None


# -- histograms ---------------------------------------------------------------


def _track_histograms(group: Group, counts: Sequence[int], sums: Sequence[float], buckets: Sequence[bytes]) -> Judged:
    """Judge cumulative histograms."""
    return (counts, sums, buckets) if all(map(ge, counts, group.lasts)) and _add_up(counts, buckets) else None


def _replace(group: Group, judged: tuple[Sequence[int], Sequence[float], Sequence[bytes]]) -> None:
    group.lasts, *group.waiting = judged


def _read(group: Group) -> None:
    sums, buckets = group.waiting
    for block, part in group.blocks:
        rows = range(block.rows.start, block.rows.stop)
        block.streams.readings.update(zip(rows, zip(sums[part], buckets[part], strict=True), strict=True))


def _add_histograms(group: Group, counts: Sequence[int], sums: Sequence[float], buckets: Sequence[bytes]) -> Judged:
    """Judge delta histograms; buckets are added up as one long number, which takes no time."""
    if group.added >= _ADDED or not _add_up(counts, buckets):
        return None
    return sums, int.from_bytes(b"".join(buckets), "little"), len(buckets[0])


def _accumulate(group: Group, judged: tuple[Sequence[float], int, int]) -> None:
    if group.waiting is not None:
        sums, buckets, width = judged
        judged = list(map(plus, group.waiting[0], sums)), group.waiting[1] + buckets, width
    group.waiting = judged


def _read_added(group: Group) -> None:
    sums, number, width = group.waiting
    whole = number.to_bytes(width * group.size, "little")
    buckets = [unpack(width)(whole[at : at + width]) for at in range(0, len(whole), width)]
    for block, part in group.blocks:
        readings, first = block.streams.readings, block.rows.start
        for row, (total, counts) in enumerate(zip(sums[part], buckets[part], strict=True), first):
            before = readings.get(row)
            readings[row] = (
                (total, counts) if before is None else (before[0] + total, list(map(plus, before[1], counts)))
            )


def _add_up(counts: Sequence[int], buckets: Sequence[bytes]) -> bool:
    """Tell whether the buckets of every point add up to its count."""
    return tuple(map(sum, map(unpack(len(buckets[0])), buckets))) == counts and max(counts) < _EXACT


def _nothing(_group: Group) -> None:
    """Settle what is in its cells already."""


class Operation(NamedTuple):
    """What is done with the points of one kind: judged, kept, brought to their streams."""

    delta: bool  # the first column is that of start times
    judge: Callable[..., Judged]
    keep: Callable[[Group, Any], None]
    settle: Callable[[Group], None] = _nothing


OPERATIONS: Final[dict[tuple[Form, Temporality, bool], Operation]] = {
    (Form.SUM, Temporality.CUMULATIVE, True): Operation(False, _track, _grow),
    (Form.SUM, Temporality.CUMULATIVE, False): Operation(False, _follow, _say),
    (Form.SUM, Temporality.DELTA, True): Operation(True, _add, _grow),
    (Form.SUM, Temporality.DELTA, False): Operation(True, _add_signed, _grow),
    (Form.GAUGE, Temporality.CUMULATIVE, False): Operation(False, _put, _show),
    (Form.HISTOGRAM, Temporality.CUMULATIVE, False): Operation(False, _track_histograms, _replace, _read),
    (Form.HISTOGRAM, Temporality.DELTA, False): Operation(True, _add_histograms, _accumulate, _read_added),
}
