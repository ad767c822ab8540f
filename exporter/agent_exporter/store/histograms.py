"""Histogram and summary points to increments.

What may live here: the same four operations as in `numbers`, for readings of many cells. A
reading is kept as it came and folded into the cells when somebody looks (`fold`): a cumulative
reading replaces its predecessor, so most of them are never taken apart at all.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from math import isfinite
from operator import add as plus
from operator import sub as minus
from struct import Struct
from typing import Any, Final

from ..model import Form, Temporality
from .families import SPARE
from .streams import Apply, Notes, Resolve, Streams

Entries = Sequence[tuple[bytes | None, int, int, int, float, Sequence[int]]]
_NOTHING = (0.0, None)


def track(streams: Streams, raws: Sequence[bytes], entries: Entries, resolve: Resolve) -> Notes:
    """Apply cumulative histograms."""
    rows, starts, times, lasts = streams.rows.get, streams.starts, streams.times, streams.lasts
    readings, bases = streams.readings, streams.bases
    notes = Notes()
    for index, entry in enumerate(entries):
        key, start, time, count, total, counts = entry
        row = rows(key)  # type: ignore[arg-type]
        if row is None:
            found = resolve(raws[index])
            if found is None:
                continue
            row, start, time, (count, total, counts) = found
        if start != starts[row]:
            fold(streams, row)
            run = streams.switch(row, start, (lasts[row], bases.get(row)), _NOTHING)
            if run is None:
                notes["late"] += 1
                continue
            (lasts[row], bases[row]), fresh = run
            notes["reset"] += fresh
        if time <= times[row]:
            notes.late(time, times[row])
            continue
        if count < lasts[row]:
            notes["reset"] += 1
            fold(streams, row)
            bases[row] = None
        readings[row] = total, counts
        lasts[row], times[row] = count, time
    return notes


def add(streams: Streams, raws: Sequence[bytes], entries: Entries, resolve: Resolve) -> Notes:
    """Apply delta histograms; a gap keeps the total, an overlap is dropped."""
    rows, times, readings = streams.rows.get, streams.times, streams.readings
    notes = Notes()
    for index, entry in enumerate(entries):
        key, start, time, _, total, counts = entry
        row = rows(key)  # type: ignore[arg-type]
        if row is None:
            found = resolve(raws[index])
            if found is None:
                continue
            row, start, time, (_, total, counts) = found
        last = times[row]
        if time <= last:
            notes.late(time, last)
            continue
        if start != last and last and start:
            if start < last:
                notes["overlap"] += 1
                continue
            notes["gap"] += 1
        times[row] = time
        if row in readings:
            before, others = readings[row]
            total, counts = before + total, list(map(plus, others, counts))
        readings[row] = total, counts
    return notes


@cache
def unpack(size: int) -> Callable[[bytes], tuple[int, ...]]:
    """Return how to read so many bytes of buckets."""
    return Struct(f"<{size // 8}Q").unpack


def _numbers(counts: Sequence[int] | bytes) -> Sequence[int]:
    """Read buckets that are kept as they came: smaller so, and most are never looked into."""
    return unpack(len(counts))(counts) if isinstance(counts, bytes) else counts


def fold_all(streams: Streams) -> None:
    """Bring the cells up to date with every reading."""
    streams.settle()
    for row in tuple(streams.readings):
        fold(streams, row)


def fold(streams: Streams, row: int) -> None:
    """Bring the cells up to date with one stream's reading."""
    reading = streams.readings.pop(row, None)
    if reading is None:
        return
    total, counts = reading[0], _numbers(reading[1])
    if streams.cumulative:
        base, streams.bases[row] = streams.bases.get(row), reading
        if base is not None:
            total, counts = total - base[0], list(map(minus, counts, _numbers(base[1])))
    if not isfinite(total):
        total = 0.0
        _doubt_sum(streams, row)
    for sink in streams.sinks:
        cell = sink.cells[row]
        if cell == SPARE:
            continue
        if sink.part:
            _PARTS[sink.part](sink.table.values, cell, total, sum(counts), sink.scale)
        else:
            added = _vector(total * sink.scale, counts, sink.projection, len(sink.table.bounds))
            accrue(sink.table.values, cell, added)


def _count(values: array[float], cell: int, _total: float, count: int, scale: float) -> None:
    values[cell] += count * scale


def _sum(values: array[float], cell: int, total: float, _count: int, scale: float) -> None:
    if isfinite(total):
        values[cell] += total * scale


def _mean(values: array[float], cell: int, total: float, count: int, scale: float) -> None:
    """Set a gauge to the mean of what came since somebody looked last; no news leaves it as it was."""
    if count > 0:
        values[cell] = total / count * scale


# What of a histogram feeds a number.
_PARTS: Final = {"count": _count, "sum": _sum, "mean": _mean}


def _doubt_sum(streams: Streams, row: int) -> None:
    """Show no sum any more where somebody's is NaN or infinite: it would destroy that of all others (T26)."""
    for sink in streams.sinks:
        cell = sink.cells[row]
        if cell != SPARE and not sink.part:
            sink.table.leave_out(cell + len(sink.table.bounds) + 1)


def _vector(total: float, counts: Sequence[int], projection: tuple[int, ...] | None, size: int) -> list[float]:
    """Lay a reading out as a row's cells: cumulative buckets, sum, count."""
    if projection is not None:
        projected = [0] * (size + 1)
        for target, count in zip(projection, counts, strict=True):
            projected[target] += count
        counts = projected
    buckets = list(accumulate(counts))
    return [*buckets, total, buckets[-1]]


def accrue(values: array[float], cell: int, added: Sequence[float]) -> None:
    """Add to a run of cells."""
    end = cell + len(added)
    values[cell:end] = array("d", map(plus, values[cell:end], added))


def project(bounds: tuple[float, ...], onto: tuple[float, ...]) -> tuple[int, ...] | None:
    """Map buckets onto other bounds: each to the smallest that holds all of it; None where they are the same.

    So `le` never claims an observation that may be above it: latencies are never understated.
    """
    if bounds == onto:
        return None
    return (*(bisect_left(onto, bound) for bound in bounds), len(onto))


def bucket(bounds: tuple[float, ...], value: float, width: int) -> int:
    """Tell which cell of a row an observation of this value belongs to; a scalar has one."""
    return bisect_left(bounds, value) if width > 1 else 0


def observe(values: array[float], cell: int, bounds: tuple[float, ...], value: float) -> None:
    """Add one observation to a histogram's cells; NaN counts in +Inf only (T26)."""
    first = bisect_left(bounds, value) if value == value else len(bounds)  # noqa: PLR0124
    for index in range(cell + first, cell + len(bounds) + 1):
        values[index] += 1
    values[cell + len(bounds) + 1] += value
    values[cell + len(bounds) + 2] += 1


def summarise(streams: Streams, raws: Sequence[bytes], entries: Sequence[Any], resolve: Resolve) -> Notes:
    """Apply summaries: count and sum are tracked, the newest quantiles stand (T17)."""
    notes = Notes()
    for index in range(len(entries)):
        found = resolve(raws[index])
        if found is None:
            continue
        row, start, time, (count, total, quantiles) = found
        last = streams.bases.get(row, (0, 0.0))
        if start != streams.starts[row]:
            run = streams.switch(row, start, last, (0, 0.0))
            if run is None:
                notes["late"] += 1
                continue
            last, fresh = run
            notes["reset"] += fresh
        if time <= streams.times[row]:
            notes.late(time, streams.times[row])
            continue
        if count < last[0]:
            notes["reset"] += 1
            last = (0, 0.0)
        streams.bases[row], streams.times[row] = (count, total), time
        _summary(streams, row, quantiles, total - last[1], count - last[0])
    return notes


def _summary(streams: Streams, row: int, quantiles: list[tuple[float, float]], total: float, count: int) -> None:
    """Show the quantiles that the series was opened with; a stream may have others too."""
    for sink in streams.sinks:
        cell, values = sink.cells[row], sink.table.values
        if cell != SPARE:
            for quantile, value in quantiles:
                if quantile in sink.table.bounds:
                    values[cell + sink.table.bounds.index(quantile)] = value
            accrue(values, cell + len(sink.table.bounds), (total, count))


APPLY: dict[tuple[Form, Temporality, bool], Apply] = {
    (Form.HISTOGRAM, Temporality.CUMULATIVE, False): track,
    (Form.HISTOGRAM, Temporality.DELTA, False): add,
    (Form.EXPONENTIAL_HISTOGRAM, Temporality.CUMULATIVE, False): track,
    (Form.EXPONENTIAL_HISTOGRAM, Temporality.DELTA, False): add,
    (Form.SUMMARY, Temporality.CUMULATIVE, False): summarise,
}
