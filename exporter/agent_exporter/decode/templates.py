"""Requests that come again with the same points in the same order: one `struct` cuts up all of a request.

What may live here: how a request's bytes are laid out, learned from one whose points are all known. A cumulative export
repeats itself byte for byte but for times and values; a delta export does so when the same series were touched. What
varies is cut out and put between what is known: where that gives the request again, it holds the same points and no
other field, so that nothing of it needs to be parsed. What stands before the end of the first resource is left to the
caller, so that the senders of one program share a template.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from operator import itemgetter
from struct import Struct, calcsize
from typing import Any, NamedTuple

from ..model import Form
from . import points
from .points import Span

_NEAR = 3  # bytes between two fields that are cut out in one piece
_METRIC = ((1,), (2,), (2,))  # fields that lead from a request to its metrics
_POINT = ((5, 7, 9), (1,))  # and on to the points that the main path reads
_HEAD = 2048  # bytes of a resource; what is longer is part of the template
_PIECE = 250  # bytes that a piece, its struct and its place take: measured
_FIRST = b"\x0a"  # the tag of a request's resources, and of what they are
_SKIPPED = {1: 8, 5: 4}  # the size of what wire types hold

Shape = tuple[Span, ...]  # the fields of a piece, by their places in it
Columns = list[Sequence[Any]]  # for each field that varies: its value in every point
Stretch = tuple[int, int]  # where something begins and ends


class Run(NamedTuple):
    """The points of one metric; those of one kind are read together."""

    kind: Hashable
    form: Form
    start: str  # the struct code of start times: Q where they vary, 8x where they do not matter, empty where they stand
    raws: Sequence[bytes]


class Template:
    """The layout of a request's bytes; `members` are the runs of each kind, by their numbers."""

    def __init__(self, body: bytes, at: int, cuts: Sequence[Stretch], kinds: dict[Any, list[tuple[int, int]]]) -> None:
        edges = [at, *(edge for cut in cuts for edge in cut), len(body)]
        known = [body[begin:end] for begin, end in zip(edges[::2], edges[1::2], strict=True)]
        pieces = [body[begin:end] for begin, end in cuts]
        self.size = len(body) - at
        self.cost = 2 * self.size + _PIECE * len(cuts)  # of memory, about
        self.members = [list(dict.fromkeys(run for run, _ in places)) for places in kinds.values()]
        self._cut = Struct(
            "<" + "".join(f"{len(a)}x{len(b)}s" for a, b in zip(known, pieces, strict=False))
        ).unpack_from
        self._whole = [known[0]] * (len(known) + len(pieces))
        self._whole[::2] = known
        self._pieces = [
            [_Pieces(shape, [first + number for _, first in places], pieces) for number, shape in enumerate(shapes)]
            for (_, shapes), places in kinds.items()
        ]

    def read(self, body: bytes, at: int) -> list[Columns] | None:
        """Return the columns of each kind in what follows, which has the right size; None if it is not as learned."""
        pieces = self._cut(body, at)
        self._whole[1::2] = pieces
        if not body.endswith(b"".join(self._whole)):
            return None
        read: list[Columns] = []
        for kind in self._pieces:
            columns: Columns = []
            for each in kind:
                found = each.read(pieces)
                if found is None:
                    return None
                columns += found
            read.append(columns)
        return read


class _Pieces:
    """The pieces of one shape, read together."""

    def __init__(self, shape: Shape, numbers: list[int], pieces: Sequence[bytes]) -> None:
        ends = [at + calcsize(f"<{code}") for at, code in shape]
        self._size = ends[-1]
        self._take = itemgetter(*numbers) if len(numbers) > 1 else itemgetter(slice(numbers[0], numbers[0] + 1))
        first, gaps = pieces[numbers[0]], [range(end, at) for end, (at, _) in zip(ends, shape[1:], strict=False)]
        self._known = [(at, first[at : at + 1] * len(numbers)) for gap in gaps for at in gap]
        codes = "".join(code + f"{len(gap)}x" for (_, code), gap in zip(shape, [*gaps, ()], strict=True))
        self._unpack = Struct("<" + codes * len(numbers)).unpack
        self._width = sum(not code.endswith("x") for _, code in shape)

    def read(self, pieces: Sequence[bytes]) -> Columns | None:
        """Return the columns; None if what stands between the fields is not as learned."""
        joined = b"".join(self._take(pieces))
        for at, known in self._known:
            if joined[at :: self._size] != known:
                return None
        values = self._unpack(joined)
        return [values[column :: self._width] for column in range(self._width)]


def make(body: bytes, at: int, runs: Sequence[Run]) -> Template | None:
    """Learn the layout of a request from its metrics, whose points the main path knows; None if there is none.

    Columns of numbers are start (if Q), time and value; of histograms start, time, count, sum and the bytes of the
    buckets.
    """
    places = [each for each in (list(_find(body, metric, _POINT)) for metric in metrics(body)) if each]
    if [[body[begin:end] for begin, end in each] for each in places] != [run.raws for run in runs]:
        return None
    cuts: list[Stretch] = []
    kinds: dict[Any, list[tuple[int, int]]] = {}  # by kind and shapes: the run and the first cut of each point
    for number, run in enumerate(runs):
        found = set()
        for raw, (begin, _) in zip(run.raws, places[number], strict=True):
            pieces = _pieces(points.spans(run.form, raw, run.start))
            shapes = tuple(shape for _, shape in pieces)
            found.add(shapes)
            kinds.setdefault((run.kind, shapes), []).append((number, len(cuts)))
            cuts.extend((begin + piece, begin + piece + _size(shape)) for piece, shape in pieces)
        if len(found) != 1 or found == {()}:
            return None
    return Template(body, at, cuts, kinds) if cuts else None


def _pieces(spans: Sequence[Span]) -> list[tuple[int, Shape]]:
    """Put fields that are near each other together, with their places relative to the first."""
    pieces: list[tuple[int, Shape]] = []
    end = -_NEAR - 1
    for at, code in spans:
        if at - end > _NEAR:
            pieces.append((at, ()))
        begin, shape = pieces[-1]
        pieces[-1] = begin, (*shape, (at - begin, code))
        end = at + calcsize(f"<{code}")
    return pieces


def _size(shape: Shape) -> int:
    at, code = shape[-1]
    return at + calcsize(f"<{code}")


# -- where things are ---------------------------------------------------------


def head(body: bytes) -> int:
    """Tell where the first resource of a request ends; 0 if it is long or does not come first."""
    at = size = 0
    for _ in range(2):
        if body[at : at + 1] != _FIRST:
            return 0
        size, at = _varint(body, at + 1, len(body))
    return at + size if size <= _HEAD else 0


def metrics(body: bytes) -> Iterator[Stretch]:
    """Find the metrics of a request."""
    return _find(body, (0, len(body)), _METRIC)


def _find(body: bytes, within: Stretch, path: Sequence[Collection[int]]) -> Iterator[Stretch]:
    """Find the messages at the end of a path of fields; stops at what it cannot read."""
    for inner in _fields(body, within, path[0]):
        if len(path) > 1:
            yield from _find(body, inner, path[1:])
        else:
            yield inner


def _fields(body: bytes, within: Stretch, numbers: Collection[int]) -> Iterator[Stretch]:
    at, end = within
    while at < end:
        tag, at = _varint(body, at, end)
        size = _SKIPPED.get(tag & 7, 0)
        if tag & 7 in (0, 2):
            size, at = _varint(body, at, end)
        if tag & 7 == 2:
            if tag >> 3 in numbers:
                yield at, at + size
        elif tag & 7 == 0:
            size = 0
        elif not size:
            return
        at += size


def _varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    number = shift = 0
    while at < end:
        byte = body[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:  # the last one
            break
        shift += 7
    return number, at
