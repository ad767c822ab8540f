"""Number points to increments: add, track, follow, put.

What may live here: one function a temporality, each a single pass over the points of one metric.
This is the main path: a point costs a look-up by its bytes and arithmetic by index. Whatever is
not plain is noted and left out, or handed to `resolve`. The first lines of the loops are the same
on purpose: a function of their own would be one more call a point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..model import Form, Temporality
from .streams import Apply, Notes, Resolve, Streams

_INF = math.inf
Entries = Sequence[tuple[bytes | None, int, int, float]]


def track(streams: Streams, raws: Sequence[bytes], entries: Entries, resolve: Resolve) -> Notes:
    """Apply cumulative monotonic sums: what they grew by, all of it after a reset."""
    rows, starts, times, lasts = streams.rows.get, streams.starts, streams.times, streams.lasts
    places, notes = streams.places, Notes()
    for index, entry in enumerate(entries):
        key, start, time, value = entry
        row = rows(key)  # type: ignore[arg-type]
        if row is None:
            found = resolve(raws[index])
            if found is None:
                continue
            row, start, time, value = found
        last = lasts[row]
        if start != starts[row]:
            run = streams.switch(row, start, last, 0.0)
            if run is None:
                notes["late"] += 1
                continue
            last, fresh = run
            lasts[row] = last
            notes["reset"] += fresh
        if time <= times[row]:
            notes.late(time, times[row])
            continue
        if value < last:
            notes["reset"] += 1
            last = 0.0
        increment = value - last
        if not 0.0 <= increment < _INF:
            notes["negative" if increment < 0.0 else "not_finite"] += 1
            continue
        lasts[row] = value
        times[row] = time
        for values, cells, scale in places:
            values[cells[row]] += increment * scale
    return notes


def add(streams: Streams, raws: Sequence[bytes], entries: Entries, resolve: Resolve) -> Notes:
    """Apply delta monotonic sums; a gap keeps the total, an overlap is dropped."""
    return _add(streams, raws, entries, resolve, 0.0)


def add_signed(streams: Streams, raws: Sequence[bytes], entries: Entries, resolve: Resolve) -> Notes:
    """Apply delta sums that may fall (T5: accumulated into a gauge)."""
    return _add(streams, raws, entries, resolve, -_INF)


def _add(streams: Streams, raws: Sequence[bytes], entries: Entries, resolve: Resolve, least: float) -> Notes:
    rows, times = streams.rows.get, streams.times
    places, notes = streams.places, Notes()
    for index, entry in enumerate(entries):
        key, start, time, value = entry
        row = rows(key)  # type: ignore[arg-type]
        if row is None:
            found = resolve(raws[index])
            if found is None:
                continue
            row, start, time, value = found
        last = times[row]
        if time <= last:
            notes.late(time, last)
            continue
        if start != last and last and start:
            if start < last:
                notes["overlap"] += 1
                continue
            notes["gap"] += 1
        if not least <= value < _INF:
            notes["negative" if value < least else "not_finite"] += 1
            continue
        times[row] = time
        for values, cells, scale in places:
            values[cells[row]] += value * scale
    return notes


def follow(streams: Streams, raws: Sequence[bytes], entries: Entries, resolve: Resolve) -> Notes:
    """Apply cumulative sums that may fall: the series is the sum of what its streams say now."""
    rows, starts, times, lasts = streams.rows.get, streams.starts, streams.times, streams.lasts
    sums, notes = streams.sums, Notes()
    for index, entry in enumerate(entries):
        key, start, time, value = entry
        row = rows(key)  # type: ignore[arg-type]
        if row is None:
            found = resolve(raws[index])
            if found is None:
                continue
            row, start, time, value = found
        if time <= times[row]:
            notes.late(time, times[row])
            continue
        if not -_INF < value < _INF:
            notes["not_finite"] += 1
            continue
        increment = value - lasts[row]
        starts[row], times[row], lasts[row] = start, time, value
        for values, cells, scale in sums:
            values[cells[row]] += increment * scale
    return notes


def put(streams: Streams, raws: Sequence[bytes], entries: Entries, resolve: Resolve) -> Notes:
    """Apply gauges: the newest value stands, or what the streams of a series say now is added up."""
    rows, times, lasts = streams.rows.get, streams.times, streams.lasts
    places, sums, notes = streams.places, streams.sums, Notes()
    for index, entry in enumerate(entries):
        key, _, time, value = entry
        row = rows(key)  # type: ignore[arg-type]
        if row is None:
            found = resolve(raws[index])
            if found is None:
                continue
            row, _, time, value = found
        if time <= times[row]:
            notes.late(time, times[row])
            continue
        times[row] = time
        for values, cells, scale in places:
            values[cells[row]] = value * scale
        if sums and -_INF < value < _INF:
            for values, cells, scale in sums:
                values[cells[row]] += (value - lasts[row]) * scale
            lasts[row] = value
    return notes


def withdraw(streams: Streams, gone: set[int]) -> None:
    """Take back what streams contribute to sums of what is said now."""
    for row in gone if streams.sums else ():
        for values, cells, scale in streams.sums:
            values[cells[row]] -= streams.lasts[row] * scale
        streams.lasts[row] = 0.0


APPLY: dict[tuple[Form, Temporality, bool], Apply] = {
    (Form.SUM, Temporality.CUMULATIVE, True): track,
    (Form.SUM, Temporality.CUMULATIVE, False): follow,
    (Form.SUM, Temporality.DELTA, True): add,
    (Form.SUM, Temporality.DELTA, False): add_signed,
    (Form.GAUGE, Temporality.CUMULATIVE, False): put,
}
