"""Raw data points to keys, times and values, without parsing: the main path.

What may live here: functions that read the fixed-width fields of a point at known places and
leave the rest as the stream's key. They may be wrong about a point they have never seen, so a
key counts only after `records` has parsed such a point in full and agreed (`confirm` in the
store's resolve path); from then on equal key bytes mean equal fields, because a key is a
sequence of whole protobuf fields that stands between others of known length. A point of any
other shape gets the key None and takes the resolve path.

Layouts (metrics.proto; every encoder seen writes fields in ascending order):
  number     11 start  19 time  21 double | 31 integer        3a attributes … [40 flags]
  histogram  11 start  19 time  21 count  29 sum  32 buckets  3a bounds  4a attributes … [50 flags] [59 min] [61 max]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from struct import Struct, error

from ..model import Form

_NUMBER = Struct("<BQBQBd")
_GAUGE = Struct("<BQBd")  # a gauge may have no start time
_INTEGER = Struct("<q")
_HISTOGRAM = Struct("<xQxQxQxdxH")  # up to the length of the buckets, which takes one byte or two

_START, _TIME, _DOUBLE, _COUNT, _SUM, _INT, _BUCKETS, _BOUNDS = 0x11, 0x19, 0x21, 0x21, 0x29, 0x31, 0x32, 0x3A
_MIN, _MAX = 0x59, 0x61
_TWO_BUCKETS = 16  # bytes; with one bucket there are no bounds
_ONE_BYTE = 127  # longer lengths take two bytes: more than 15 buckets
_TAGS = bytes((_START, _TIME, _COUNT, _SUM, _BUCKETS))  # of a histogram, nine bytes apart
COUNT_LIMIT = 1 << 53  # beyond it a float64 cell cannot hold a count exactly

Span = tuple[int, str]  # where a field begins in its point, and its struct code; one of `x` is not looked at
Number = tuple[bytes | None, int, int, float]
Histogram = tuple[bytes | None, int, int, int, float, Sequence[int]]

_ODD: Number = (None, 0, 0, 0.0)
_ODD_HISTOGRAM: Histogram = (None, 0, 0, 0, 0.0, ())


def numbers(points: Iterable[bytes]) -> list[Number]:
    """Read (key, start, time, value) of each number point; times in Unix nanoseconds."""
    out: list[Number] = []
    append, unpack = out.append, _NUMBER.unpack_from
    for raw in points:
        try:
            start_tag, start, time_tag, time, tag, value = unpack(raw)
        except error:
            append(_short(raw))
            continue
        if start_tag == _START and time_tag == _TIME:
            if tag == _DOUBLE:
                append((raw[27:], start, time, value))
            elif tag == _INT:
                append((raw[27:], start, time, float(_INTEGER.unpack_from(raw, 19)[0])))
            else:
                append(_ODD)
        else:
            append(_short(raw))
    return out


def _short(raw: bytes) -> Number:
    """Read a number point that has no start time."""
    try:
        time_tag, time, tag, value = _GAUGE.unpack_from(raw)
    except error:
        return _ODD
    if time_tag == _TIME and tag == _DOUBLE:
        return raw[18:], 0, time, value
    if time_tag == _TIME and tag == _INT:
        return raw[18:], 0, time, float(_INTEGER.unpack_from(raw, 10)[0])
    return _ODD


def histograms(points: Iterable[bytes]) -> list[Histogram]:
    """Read (key, start, time, count, sum, counts) of each explicit histogram point.

    The key begins with the bounds, one fewer than the buckets. A point whose buckets do not add up to its count is left
    to the resolve path, which refuses it (T10).
    """
    out: list[Histogram] = []
    append, head = out.append, _HISTOGRAM.unpack_from
    for raw in points:
        try:
            start, time, count, total, length = head(raw)
            begin, end, bounds, buckets = _LAYOUTS[length if length & 128 else length & 127]
            counts = buckets(raw, begin)
        except (error, KeyError):
            append(_ODD_HISTOGRAM)
            continue
        if raw[:37:9] != _TAGS or not raw.startswith(bounds, end) or sum(counts) != count or count >= COUNT_LIMIT:
            append(_ODD_HISTOGRAM)
        elif raw[-9] == _MAX and raw[-18] == _MIN:
            append((raw[end:-18], start, time, count, total, counts))
        else:
            append((raw[end:], start, time, count, total, counts))
    return out


Layout = tuple[int, int, bytes, Callable[[bytes, int], tuple[int, ...]]]


class _Layouts(dict[int, Layout]):
    """By the length of the buckets as written: where they begin and end, how bounds must begin, how to unpack."""

    def __missing__(self, written: int) -> Layout:
        size, begin = (written, 38) if written <= _ONE_BYTE else (written & 127 | written >> 8 << 7, 39)
        if size % 8 or size < _TWO_BUCKETS or written >> 8 > _ONE_BYTE:
            raise KeyError(written)
        below = size - 8
        bounds = bytes((_BOUNDS, below) if below <= _ONE_BYTE else (_BOUNDS, below & 127 | 128, below >> 7))
        self[written] = begin, begin + size, bounds, Struct(f"<{size // 8}Q").unpack_from
        return self[written]


_LAYOUTS = _Layouts()


def spans(form: Form, raw: bytes, start: str) -> list[Span]:
    """List the fields that may vary in a point while its key stays: those that are read here, and min and max.

    For points that have a key. `start` is the code of the start time; a point without one has no spans if it is Q.
    """
    if raw[0] != _START:
        return [(1, "Q"), (10, "d" if raw[9] == _DOUBLE else "q")] if start != "Q" else []
    times: list[Span] = [(1, start), (10, "Q")] if start else [(10, "Q")]
    if form is not Form.HISTOGRAM:
        return [*times, (19, "d" if raw[18] == _DOUBLE else "q")]
    length = _HISTOGRAM.unpack_from(raw)[-1]
    begin, end, *_ = _LAYOUTS[length if length & 128 else length & 127]
    edges = [(-17, "8x"), (-8, "8x")] if raw[-9] == _MAX and raw[-18] == _MIN else []
    return [
        *times,
        (19, "Q"),
        (28, "d"),
        (begin, f"{end - begin}s"),
        *((len(raw) + at, code) for at, code in edges),
    ]
