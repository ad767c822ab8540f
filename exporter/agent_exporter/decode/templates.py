"""Metrics that come again with the same points in the same order: one `struct` reads all of a metric.

What may live here: how a metric's bytes are laid out, learned from one whose points are all known.
A cumulative export repeats itself byte for byte but for times and values, a delta export does so
when the same series were touched. All other bytes are compared with those learned: a metric that
fits holds the same points and no other field, so that nothing of it needs to be parsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

from ..model import Form
from . import points
from .points import Span

POINTS = 1000  # a template; the more points it has, the more are lost to the main path by one odd one
_POINT = b"\x0a"  # the tag of a point in its metric's data
_LAYOUTS = 1000  # kept; the senders of one program share them

Columns = Sequence[Sequence[Any]]  # for each field that varies: its value in every point


class Template:
    """The layout of one metric's bytes."""

    __slots__ = ("_constant", "_unpack", "_varying", "points", "size")

    def __init__(self, raw: bytes, spans: Sequence[Sequence[Span]]) -> None:
        """Learn from a metric and the spans of its points, which have the same codes."""
        layout = _layout(tuple(_tokens(len(raw), [span for point in spans for span in point])))
        self.size, self.points, self._unpack = layout.size, len(spans), layout.unpack
        kinds = [kind for _, code in spans[0] for kind in ("", code) if not kind.endswith("x")]
        columns = [(kind, slice(index, None, len(kinds))) for index, kind in enumerate(kinds)]
        fields = self._unpack(raw)
        self._constant = [(at, fields[at]) for kind, at in columns if not kind]
        self._varying = [at for kind, at in columns if kind]

    def read(self, raw: bytes) -> Columns | None:
        """Return the columns of a metric of `size` bytes; None where any other byte is not as learned."""
        fields = self._unpack(raw)
        for at, expected in self._constant:
            if fields[at] != expected:
                return None
        return [fields[at] for at in self._varying]


@lru_cache(_LAYOUTS)
def _layout(tokens: tuple[str, ...]) -> Struct:
    return Struct("<" + "".join(tokens))


def _tokens(size: int, spans: Sequence[Span]) -> Iterator[str]:
    """Write a struct format: what stands before each field that varies, that field, and what is left."""
    end = 0
    for at, code in spans:
        yield f"{at - end}s{code}"
        end = at + Struct(f"<{code}").size
    yield f"{size - end}s"


def make(form: Form, raw: bytes, raws: Sequence[bytes], start: str) -> Template | None:
    """Learn a metric's layout from its bytes and those of its points, which the main path knows; None if there is none.

    `start` is the struct code of start times: Q where they vary, 8x where they do not matter, empty where they are
    constant. Columns of numbers are start (if Q), time and value; of histograms start, time, count, sum and the bytes
    of the buckets.
    """
    framed = [_POINT + _varint(len(each)) + each for each in raws]
    at = raw.find(b"".join(framed))
    if at < 0 or len(raws) > POINTS:
        return None
    spans = []
    for each, frame in zip(raws, framed, strict=True):
        at += len(frame)
        spans.append([(at - len(each) + offset, code) for offset, code in points.spans(form, each, start)])
    codes = {tuple(code for _, code in point) for point in spans}
    return Template(raw, spans) if len(codes) == 1 and () not in codes else None


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
