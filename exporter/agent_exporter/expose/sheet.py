"""One table as text, kept between renderings and brought up to date with as little as changed.

What may live here is the speed of the page. A table is cut into blocks of about a thousand
lines in order of label text. A block keeps its text and nothing per line but, once it has
been patched, four bytes of length: memory per series is budgeted. Most of the work is done
by calls that handle a whole block in C.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, compress, count
from math import gcd
from operator import itemgetter, ne
from typing import TypeVar

import orjson

from ..model import Exemplar, Table
from .names import Escaping
from .shape import Shape, fitting, legacy_texts
from .strict import unfit

Item = TypeVar("Item")

BLOCK_LINES = 1000
# One changed cell in so many is patched, more are drawn with their block: measured, both cost the same at 15 to 20 %.
PATCH_SHARE = 6
_SAMPLE = 61  # cells looked at before all are compared
_CHUNK = 1024  # cells compared at once as bytes
_CELL = 8  # bytes
_NOWHERE = 0xFFFFFFFF  # the place of a hidden row


class Block:
    """Some rows of a table as text; `first` and `last` are places in the order of label text."""

    __slots__ = ("bare", "first", "last", "lengths", "text")

    def __init__(self, first: int, last: int, *, bare: bool) -> None:
        self.first, self.last, self.bare = first, last, bare
        self.text = b""
        self.lengths: array[int] | None = None  # of lines, 0 for one that is absent; made at the first patch


class Sheet:
    """The text of one table in one shape."""

    __slots__ = (
        "absent",
        "blocks",
        "created",
        "exemplars",
        "hangs",
        "height",
        "layout",
        "order",
        "places",
        "scheme",
        "shape",
        "source",
        "step",
        "texts",
        "values",
        "width",
    )

    def __init__(self, shape: Shape, scheme: Escaping) -> None:
        self.shape, self.scheme = shape, scheme
        self.width = len(shape.lines)  # cells of a row
        self.height = self.width + bool(shape.created)  # lines of a row
        self.step = max(1, BLOCK_LINES // self.height)  # rows of a block
        self.hangs = any(line.exemplars for line in shape.lines)
        self.layout = -1
        self.source: list[bytes] = []  # the texts as the store has them
        self.texts: list[bytes] = []  # the same, with escaped names
        self.order: array[int] = array("I")  # row by place
        self.places: array[int] = array("I")  # place by row
        self.values = b""
        self.created = b""
        self.absent: set[int] = set()  # cells that are not on the page
        self.exemplars: dict[int, Exemplar] = {}
        self.blocks: list[Block] = []

    def update(self, table: Table) -> list[Block]:
        """Bring the blocks up to date with a table and return them in order."""
        values = table.values.tobytes()
        created = table.created.tobytes() if self.shape.created else b""
        exemplars = table.exemplars if self.hangs else {}
        moved = table.layout != self.layout or len(values) != len(self.values) or table.texts != self.source
        if not moved and (values, created, exemplars) == (self.values, self.created, self.exemplars):
            return self.blocks
        absent = table.absent | unfit(self.shape.strict, table) if self.shape.strict else table.absent
        few: dict[Block, list[int]] = {}
        if moved:
            self._arrange(table)
            dirty = set(self.blocks)
        else:
            dirty, few = self._stale(values, created, exemplars, absent)
        self.values, self.created, self.exemplars, self.absent = values, created, dict(exemplars), absent
        for block in dirty:
            self._draw(block, table)
        for block, cells in few.items():
            self._patch(block, cells, table)
        return self.blocks

    def _arrange(self, table: Table) -> None:
        """Sort the rows and cut them into blocks; a row without labels gets a block of its own."""
        self.layout, self.source = table.layout, table.texts
        self.texts = texts = legacy_texts(table.texts, self.scheme)
        # The old order is nearly right, and nearly sorted is cheap to sort.
        rows, old, places = range(len(texts)), self.order, self.places
        fresh: Iterable[int] = range(len(places), len(texts))
        if table.hidden or len(old) != len(places) or len(places) > len(texts):
            known = set(old)
            old = array("I", [row for row in old if row in rows and row not in table.hidden])
            fresh = [row for row in rows if row not in known and row not in table.hidden]
        self.order = array("I", sorted((*old, *fresh), key=texts.__getitem__))
        self.places = array("I", [_NOWHERE]) * len(texts)
        for place, row in enumerate(self.order):
            self.places[row] = place
        bare = int(bool(self.order) and not texts[self.order[0]])
        self.blocks = [Block(0, 1, bare=True)] if bare else []
        for first in range(bare, len(self.order), self.step):
            self.blocks.append(Block(first, min(first + self.step, len(self.order)), bare=False))

    def _stale(
        self, values: bytes, created: bytes, exemplars: dict[int, Exemplar], absent: set[int]
    ) -> tuple[set[Block], dict[Block, list[int]]]:
        """Tell which blocks have to be drawn, and which cells of others to be patched."""
        width = self.width
        cells = changes(self.values, values, width)
        rows = changes(self.created, created, 1)
        if cells is None or rows is None:
            return set(self.blocks), {}
        if exemplars != self.exemplars:
            cells = sorted({*cells, *replaced(self.exemplars, exemplars)})
        few = self._by_block(cells)
        dirty = {block for block, found in few.items() if len(found) * PATCH_SHARE > (block.last - block.first) * width}
        dirty.update(self._by_block([row * width for row in rows]), self._by_block(sorted(absent ^ self.absent)))
        return dirty, {block: found for block, found in few.items() if block not in dirty}

    def _by_block(self, cells: Sequence[int]) -> dict[Block, list[int]]:
        """Group cells by the block that shows them."""
        width = self.width
        if len(self.blocks) == 1 and len(self.order) == len(self.texts):
            return {self.blocks[0]: list(cells)} if cells else {}
        bare = int(bool(self.blocks) and self.blocks[0].bare)
        grouped: dict[int, list[int]] = {}
        for cell in cells:
            place = self.places[cell // width]
            if place != _NOWHERE:
                at = (place - bare) // self.step + bare if place >= bare else 0
                grouped.setdefault(at, []).append(cell)
        return {self.blocks[at]: found for at, found in grouped.items()}

    def _draw(self, block: Block, table: Table) -> None:
        """Write a block anew: four slots a line (head, labels, tail, value), one join."""
        rows = self.order[block.first : block.last]
        pick = picker(rows)
        lines = (*self.shape.lines, self.shape.created) if self.shape.created else self.shape.lines
        width, slots = self.width, 4 * self.height
        buffer, texts = [b""] * (slots * len(rows)), pick(self.texts)
        for column, line in enumerate(lines):
            at = 4 * column
            buffer[at::slots] = [line.bare if block.bare else line.head] * len(rows)
            if not block.bare:
                buffer[at + 1 :: slots] = texts
                buffer[at + 2 :: slots] = [line.tail] * len(rows)
        values = numbers(list(pick(table.values)) if width == 1 else self._cells(rows))
        for column in range(width):
            buffer[4 * column + 3 :: slots] = values[column::width]
        if self.shape.created:
            buffer[slots - 1 :: slots] = numbers(list(pick(table.created)))
            erase(buffer, (at for at in range(slots - 1, len(buffer), slots) if buffer[at] == b"NaN\n"))
        if self.absent or self.exemplars:
            self._adorn(buffer, rows, slots)
        block.text = b"".join(buffer)
        block.lengths = None

    def _cells(self, rows: Sequence[int]) -> list[float]:
        """Gather the values of rows of several cells, a row's cells together."""
        size = self.width * _CELL
        return array("d", b"".join([self.values[row * size : row * size + size] for row in rows])).tolist()

    def _adorn(self, buffer: list[bytes], rows: Sequence[int], slots: int) -> None:
        """Take absent cells out of a buffer and hang exemplars on the others."""
        width = self.width
        for number, row in enumerate(rows):
            for column in range(width):
                cell, at = row * width + column, number * slots + column * 4 + 3
                if cell in self.absent:
                    erase(buffer, (at,))
                elif cell in self.exemplars:
                    buffer[at] = self._hung(buffer[at], cell)

    def _hung(self, value: bytes, cell: int) -> bytes:
        """Add a cell's exemplar to its value, where there is one and the format allows it."""
        exemplar = self.exemplars.get(cell)
        if exemplar is None or not self.shape.lines[cell % self.width].exemplars:
            return value
        return value[:-1] + fitting(exemplar, self.scheme) + b"\n"

    def _patch(self, block: Block, cells: list[int], table: Table) -> None:
        """Replace the values of a few lines in a block's text."""
        cells = [cell for cell in cells if cell not in self.absent]
        if not cells:
            return
        width, height = self.width, self.height
        lengths = block.lengths = block.lengths or self._lengths(block, table)
        ends = list(accumulate(lengths))
        constants = [len(line.bare) if block.bare else len(line.head) + len(line.tail) for line in self.shape.lines]
        first, places, texts, adorned = block.first, self.places, self.texts, bool(self.exemplars)
        spots = sorted([((places[cell // width] - first) * height + cell % width, cell) for cell in cells])
        values = numbers([table.values[cell] for _, cell in spots])
        kept, done = memoryview(block.text), 0
        pieces: list[bytes | memoryview] = []
        for (spot, cell), value in zip(spots, values, strict=True):
            piece = self._hung(value, cell) if adorned else value
            constant, end = constants[cell % width] + len(texts[cell // width]), ends[spot]
            pieces += (kept[done : end - lengths[spot] + constant], piece)
            done, lengths[spot] = end, constant + len(piece)
        pieces.append(kept[done:])
        block.text = b"".join(pieces)

    def _lengths(self, block: Block, table: Table) -> array[int]:
        """Measure the lines of a block."""
        width, height = self.width, self.height
        found = [len(line) + 1 for line in block.text.split(b"\n")]
        if len(found) == (block.last - block.first) * height + 1:
            return array("I", found[:-1])
        present = iter(found)
        lengths = array("I")
        for row in self.order[block.first : block.last]:
            for column in range(height):
                missing = (
                    row * width + column in self.absent if column < width else table.created[row] != table.created[row]
                )
                lengths.append(0 if missing else next(present))
        return lengths


def picker(rows: Sequence[int]) -> Callable[[Sequence[Item]], Sequence[Item]]:
    """Make a function that picks rows of a column; `itemgetter` does it in C, but gives one alone bare."""
    return itemgetter(*rows) if len(rows) > 1 else lambda column: [column[row] for row in rows]


def numbers(values: list[float]) -> list[bytes]:
    """Write numbers, each with the end of its line; orjson writes the shortest that reads back the same."""
    dumped = orjson.dumps(values)
    texts = (dumped[1:-1].replace(b",", b"\n,") + b"\n").split(b",")
    if b"n" in dumped:  # what JSON has no number for came out as `null`
        texts = [special(value) if text == b"null\n" else text for text, value in zip(texts, values, strict=True)]
    return texts


def special(value: float) -> bytes:
    """Write what is not a finite number."""
    return b"NaN\n" if value != value else b"+Inf\n" if value > 0 else b"-Inf\n"  # noqa: PLR0124 - only NaN differs from itself


def erase(buffer: list[bytes], ends: Iterable[int]) -> None:
    """Empty the four slots of lines, given by their last."""
    for end in ends:
        buffer[end - 3 : end + 1] = (b"", b"", b"", b"")


def replaced(old: dict[int, Exemplar], new: dict[int, Exemplar]) -> set[int]:
    """Tell the cells whose exemplars differ."""
    return {cell for cell in old.keys() | new.keys() if old.get(cell) is not new.get(cell)}


def changes(old: bytes, new: bytes, width: int) -> list[int] | None:
    """Tell the cells whose bits differ; None if a sample says that it is too many to patch.

    Bits and not numbers, so that NaN equals itself and -0.0 is not 0.0.
    """
    if old == new:
        return []
    before, after = array("d", old), array("d", new)
    stride = max(1, len(after) // _SAMPLE)
    while gcd(stride, width) > 1:  # or the sample would see some columns only
        stride += 1
    seen = after[::stride]
    if sum(map(ne, before[::stride], seen)) * PATCH_SHARE > len(seen):
        return None
    found: list[int] = []
    for start in range(0, len(after), _CHUNK):
        left, right = (data[start * _CELL : (start + _CHUNK) * _CELL] for data in (old, new))
        if left != right:
            found += [start + index for index in different(left, right)]
    return found


def different(left: bytes, right: bytes) -> list[int]:
    """Tell which float64 differ in their bits; comparing them as numbers first is a third faster."""
    before, after = array("d", left), array("d", right)
    found = list(compress(count(), map(ne, before, after)))
    for index in found:
        before[index] = after[index]
    if before.tobytes() == right:
        return found
    return list(compress(count(), map(ne, array("q", left), array("q", right))))
