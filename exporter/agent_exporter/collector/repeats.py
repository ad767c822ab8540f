"""Metrics that are expected again as they were: learned, tried first, dropped.

What may live here: when a template is worth its making and its memory. How one reads bytes is in
`decode.templates`, what it does to the store in `store.blocks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..decode import templates
from ..decode.templates import Columns, Template
from ..model import Form, Metric, Temporality
from ..store.blocks import TAKE, Block
from ..store.streams import Streams

POINTS = 50_000  # of all templates together, at about 0.5 KB each
SIGHTS = 3  # of one length in a row before a template is made, which costs as much as some dozen hits save
MOST_SIGHTS = 1000  # after templates that were of no use
_LONGEST = 127  # bytes of a name; longer ones have another layout


@dataclass(slots=True)
class Budget:
    """How many points all templates have, and how often one was of use."""

    points: int = 0
    hits: int = 0


class Repeat:
    """What is expected of one metric; `shelf` holds those of its scope that have a template, by how they begin."""

    def __init__(
        self, metric: Metric, name: bytes, streams: Streams, shelf: dict[bytes, Repeat], budget: Budget
    ) -> None:
        self._form, self._streams, self._shelf, self._budget = metric.form, streams, shelf, budget
        self._take = TAKE.get((metric.form, metric.temporality, metric.monotonic and metric.form is Form.SUM))
        self._head = bytes((10, len(name))) + name if len(name) <= _LONGEST and self._take else b""
        self._start = "Q" if metric.temporality is Temporality.DELTA else "8x" if metric.form is Form.GAUGE else ""
        self.template: Template | None = None
        self.block: Block | None = None
        self._length = self._seen = self._hits = 0
        self._sights = SIGHTS

    def take(self, block: Block, columns: Columns) -> bool:
        """Apply what was read, all of it or nothing."""
        if self._take is None or self.template is None:
            return False
        if not block.stands():
            self.drop()
            return False
        if not self._take(block, *columns):
            return False
        self._hits += 1
        self._budget.hits += 1
        return True

    def see(self, raw: bytes, raws: Sequence[bytes], entries: Sequence[Sequence[Any]]) -> None:
        """Notice a metric that took the main path; learn from it if it seems to repeat itself."""
        if len(raw) != self._length:
            self._length, self._seen = len(raw), 1
            return
        self._seen += 1
        if self._seen >= self._sights and raw.startswith(self._head or b"\0"):
            self._sights = min(2 * self._sights, MOST_SIGHTS) if self._hits < self._sights else SIGHTS
            self._seen = self._hits = 0
            self._learn(raw, raws, entries)

    def _learn(self, raw: bytes, raws: Sequence[bytes], entries: Sequence[Sequence[Any]]) -> None:
        self.drop()
        streams = self._streams
        rows = [streams.rows.get(entry[0]) for entry in entries]
        first = rows[0]
        if first is None or rows != list(range(first, first + len(rows))):
            return
        if not self._start and any(entry[1] != streams.starts[row] for row, entry in enumerate(entries, first)):
            return
        if self._budget.points + len(raws) > POINTS:
            return
        self.template = templates.make(self._form, raw, raws, self._start)
        if self.template is not None:
            self.block = Block(streams, first, len(raws))
            self._budget.points += len(raws)
            if self._head in self._shelf:  # the same name in another unit
                self._shelf[self._head].drop()
            self._shelf[self._head] = self

    def drop(self) -> None:
        """Expect nothing any more."""
        if self.template is not None:
            self._budget.points -= self.template.points
            self.template = self.block = None
            del self._shelf[self._head]


def read(raw: bytes, shelf: dict[bytes, Repeat]) -> tuple[Repeat, Block, Columns] | None:
    """Read a metric by its template; None where it has none or is not as expected."""
    repeat = shelf.get(raw[: raw[1] + 2]) if len(raw) > 1 else None
    if repeat is None or repeat.template is None or repeat.template.size != len(raw):
        return None
    columns = repeat.template.read(raw)
    return None if columns is None or repeat.block is None else (repeat, repeat.block, columns)
