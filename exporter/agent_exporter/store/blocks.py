"""All points of a metric at once, where there is nothing out of the ordinary.

What may live here: the operations of `numbers` and `histograms` over columns, for streams whose
rows follow each other. Each takes all points and says so, or touches nothing: whatever is late, was
reset, overlaps, has a gap or is not finite is judged point by point on the main path. All points of
a plain metric have the same time, as collected by one reader.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from math import isfinite
from operator import add as plus
from operator import ge, sub

from ..model import Form, Temporality
from .histograms import unpack
from .streams import Streams

_EXACT = 1 << 53  # counts from here on may not be exact in a cell


class Block:
    """Streams in consecutive rows, and the cells that they feed, while nothing about them changes."""

    def __init__(self, streams: Streams, first: int, count: int) -> None:
        self.streams, self.first, self.count = streams, first, count
        self.rows = slice(first, first + count)
        self.places = [(values, _together(cells[self.rows]), scale) for values, cells, scale in streams.places]
        self.sums = [(values, _together(cells[self.rows]), scale) for values, cells, scale in streams.sums]
        self._version = streams.version
        self._seen = array("Q")  # the times that `advance` has written

    def stands(self) -> bool:
        """Tell whether rows, cells and start times are as they were."""
        return self._version == self.streams.version

    def newer(self, times: Sequence[int]) -> bool:
        """Tell whether the points have one time, after all that was seen."""
        time, seen = times[0], self.streams.times[self.rows]
        last = seen[0] if seen == self._seen else max(seen)  # what we wrote has one time
        return times.count(time) == self.count and time > last

    def follows(self, starts: Sequence[int], times: Sequence[int]) -> bool:
        """Tell whether the points have one interval, which begins where all the last ones ended."""
        start, time = starts[0], times[0]
        return (
            starts.count(start) == times.count(time) == self.count
            and start < time
            and self.streams.times[self.rows] == array("Q", (start,)) * self.count
        )

    def advance(self, times: Sequence[int]) -> None:
        """Note the time of points that were taken."""
        self.streams.times[self.rows] = self._seen = array("Q", times[:1]) * self.count

    def grow(self, increments: Sequence[float], *, sums: bool = False) -> None:
        """Add to the cells, or to those that are what their streams say now, added up."""
        for values, cells, scale in self.sums if sums else self.places:
            added = increments if scale == 1.0 else [each * scale for each in increments]
            if isinstance(cells, slice):
                values[cells] = array("d", list(map(plus, values[cells], added)))
            else:
                for cell, each in zip(cells, added, strict=True):
                    values[cell] += each


def _together(cells: array[int]) -> slice | array[int]:
    """Make consecutive cells a slice."""
    first = cells[0]
    return slice(first, first + len(cells)) if cells == array("I", range(first, first + len(cells))) else cells


Take = Callable[..., bool]


def track(block: Block, times: Sequence[int], values: Sequence[float]) -> bool:
    """Take cumulative monotonic sums."""
    streams, rows = block.streams, block.rows
    grown = list(map(sub, values, streams.lasts[rows]))
    if not (isfinite(sum(grown)) and min(grown) >= 0.0 and block.newer(times)):
        return False
    streams.lasts[rows] = array("d", values)
    block.advance(times)
    block.grow(grown)
    return True


def follow(block: Block, times: Sequence[int], values: Sequence[float]) -> bool:
    """Take cumulative sums that may fall."""
    if not (isfinite(sum(values)) and block.newer(times)):
        return False
    block.advance(times)
    _say(block, values)
    return True


def _say(block: Block, values: Sequence[float]) -> None:
    """Let series that sum follow what their streams say now."""
    lasts, rows = block.streams.lasts, block.rows
    grown = list(map(sub, values, lasts[rows]))
    lasts[rows] = array("d", values)
    block.grow(grown, sums=True)


def put(block: Block, times: Sequence[int], values: Sequence[float]) -> bool:
    """Take gauges."""
    if not block.newer(times) or (block.sums and not isfinite(sum(values))):
        return False
    block.advance(times)
    if block.sums:
        _say(block, values)
    for cells_of, cells, scale in block.places:
        shown = array("d", values if scale == 1.0 else [each * scale for each in values])
        if isinstance(cells, slice):
            cells_of[cells] = shown
        else:
            for cell, each in zip(cells, shown, strict=True):
                cells_of[cell] = each
    return True


def add(block: Block, starts: Sequence[int], times: Sequence[int], values: Sequence[float]) -> bool:
    """Take delta monotonic sums."""
    return min(values) >= 0.0 and add_signed(block, starts, times, values)


def add_signed(block: Block, starts: Sequence[int], times: Sequence[int], values: Sequence[float]) -> bool:
    """Take delta sums that may fall."""
    if not (isfinite(sum(values)) and block.follows(starts, times)):
        return False
    block.advance(times)
    block.grow(values)
    return True


def track_histograms(
    block: Block, times: Sequence[int], counts: Sequence[int], sums: Sequence[float], buckets: Sequence[bytes]
) -> bool:
    """Take cumulative histograms."""
    streams, rows = block.streams, block.rows
    if not (_add_up(counts, buckets) and block.newer(times) and all(map(ge, counts, streams.lasts[rows]))):
        return False
    streams.readings.update(zip(range(rows.start, rows.stop), zip(sums, buckets, strict=True), strict=True))
    streams.lasts[rows] = array("d", counts)
    block.advance(times)
    return True


def add_histograms(
    block: Block,
    starts: Sequence[int],
    times: Sequence[int],
    counts: Sequence[int],
    sums: Sequence[float],
    buckets: Sequence[bytes],
) -> bool:
    """Take delta histograms."""
    if not (_add_up(counts, buckets) and block.follows(starts, times)):
        return False
    readings, rows = block.streams.readings, block.rows
    for row, total, each in zip(range(rows.start, rows.stop), sums, map(unpack(len(buckets[0])), buckets), strict=True):
        before = readings.get(row)
        readings[row] = (total, each) if before is None else (before[0] + total, list(map(plus, before[1], each)))
    block.advance(times)
    return True


def _add_up(counts: Sequence[int], buckets: Sequence[bytes]) -> bool:
    """Tell whether the buckets of every point add up to its count."""
    return tuple(map(sum, map(unpack(len(buckets[0])), buckets))) == counts and max(counts) < _EXACT


TAKE: dict[tuple[Form, Temporality, bool], Take] = {
    (Form.SUM, Temporality.CUMULATIVE, True): track,
    (Form.SUM, Temporality.CUMULATIVE, False): follow,
    (Form.SUM, Temporality.DELTA, True): add,
    (Form.SUM, Temporality.DELTA, False): add_signed,
    (Form.GAUGE, Temporality.CUMULATIVE, False): put,
    (Form.HISTOGRAM, Temporality.CUMULATIVE, False): track_histograms,
    (Form.HISTOGRAM, Temporality.DELTA, False): add_histograms,
}
