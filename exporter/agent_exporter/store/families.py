"""Families and their series: names claimed, rows given out, hidden and forgotten.

What may live here: the columns of `model.Table` and the book-keeping around them. No stream, no
OTLP, no clock: ages are counted in sweeps, whose length the collector chooses.

A series is alive while a stream feeds it (`refs`) or its value moves. What is no longer alive
is hidden first, with its total kept so that a return continues it and `rate()` sees no fall,
and forgotten later.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain

from ..model import Family, Kind, Table

MAX_TABLES = 20  # sets of bucket bounds in one family; later ones are mapped onto the last
SPARE = 0  # row 0 of every table is nobody's: what a stream does not feed there is added to it
_NAN = math.nan

# Which names a family owns on either page, after its base name (T24, T25): two families that
# share one would show a name twice.
_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    Kind.COUNTER: ("", "_total", "_created"),
    Kind.HISTOGRAM: ("", "_bucket", "_sum", "_count", "_created"),
    Kind.SUMMARY: ("", "_sum", "_count", "_created"),
    Kind.INFO: ("", "_info"),
}


class Conflict(ValueError):
    """A name is taken by a family of another type (T24); `owner` is that family."""

    def __init__(self, name: str, kind: Kind, owner: Family) -> None:
        super().__init__(f"{name} is a {kind} here and {owner.name} a {owner.kind} already")
        self.owner = owner


@dataclass(slots=True)
class Rows(Table):
    """A table with the book-keeping of its rows."""

    index: dict[bytes, int] = field(default_factory=dict)
    refs: array[int] = field(default_factory=lambda: array("I"))  # live streams a row
    idle: array[int] = field(default_factory=lambda: array("I"))  # sweeps without news a row
    seen: array[float] = field(default_factory=lambda: array("d"))  # values at the last sweep
    free: list[int] = field(default_factory=list)
    fleeting: bool = False  # its series leave the page with their last stream: gauges
    shown: Table | None = None  # the last snapshot, whose texts serve again while the layout stands

    def open(self, text: bytes, created: float) -> int:
        """Give a new series a row of zeros."""
        self.layout += 1
        if self.free:
            row = self.free.pop()
            self.hidden.discard(row)
            self.texts[row], self.created[row] = text, created
        else:
            row = len(self.texts)
            self.texts.append(text)
            self.created.append(created)
            self.refs.append(0)
            self.idle.append(0)
            self.values.extend([0.0] * self.width)
            self.seen.extend([_NAN] * self.width)
        self.index[text] = row
        return row

    def reveal(self, row: int) -> None:
        """Put a hidden series back on the page, its total as it was."""
        self.idle[row] = 0
        if row in self.hidden:
            self.hidden.discard(row)
            self.layout += 1

    def hide(self, row: int) -> None:
        """Take a series off the page, its total kept."""
        if row not in self.hidden:
            self.hidden.add(row)
            self.layout += 1

    def leave_out(self, cell: int) -> None:
        """Show a cell no more."""
        if cell not in self.absent:
            self.absent.add(cell)
            self.layout += 1

    def forget(self, row: int) -> None:
        """Free a series' row; its total is gone."""
        self.hide(row)
        del self.index[self.texts[row]]
        cells = range(row * self.width, (row + 1) * self.width)
        self.texts[row] = b""
        self.idle[row] = 0
        for cell in cells:
            self.values[cell], self.seen[cell] = 0.0, _NAN
            self.exemplars.pop(cell, None)
            self.absent.discard(cell)
        self.free.append(row)

    def sweep(self, hide_after: int, forget_after: int) -> int:
        """Age every row that no stream feeds and whose values stand still; return how many were hidden."""
        hidden, forgotten = 0, []
        for row in self.index.values():
            cells = slice(row * self.width, (row + 1) * self.width)
            moved = self.values[cells].tobytes() != self.seen[cells].tobytes()  # as bytes: NaN is not itself
            self.idle[row] = 0 if moved or self.refs[row] else self.idle[row] + 1
            if self.idle[row] >= forget_after:
                forgotten.append(row)
            elif self.idle[row] >= hide_after and row not in self.hidden:
                self.hide(row)
                hidden += 1
        for row in forgotten:
            self.forget(row)
        self.seen = self.values[:]
        return hidden

    def snapshot(self) -> Table:
        """Copy what a page needs; texts are shared with the last snapshot while the layout stands."""
        last = self.shown
        if last is None or last.layout != self.layout:
            last = Table(self.width, self.bounds, self.texts[:], hidden=set(self.hidden), absent=set(self.absent))
            last.layout = self.layout
        self.shown = Table(
            self.width,
            self.bounds,
            last.texts,
            self.values[:],
            self.created[:],
            last.hidden,
            last.absent,
            dict(self.exemplars),
            self.layout,
        )
        return self.shown


@dataclass(slots=True)
class Series(Family):
    """A family that gives out rows; `limit` is the number of series after which it is full."""

    tables: list[Rows] = field(default_factory=list)  # type: ignore[assignment]
    limit: int = 0
    reserved: bool = False  # a normalised family: pass-through may not add to it
    shared: bool = False  # a normalised family to which it may

    @property
    def full(self) -> bool:
        """Tell whether one more series would exceed the budget."""
        return bool(self.limit) and sum(len(table.index) for table in self.tables) >= self.limit

    def find(self, text: bytes) -> tuple[Rows, int] | None:
        """Look a series up by its label block, hidden or not."""
        for table in self.tables:
            row = table.index.get(text)
            if row is not None:
                return table, row
        return None

    def series(self, text: bytes, bounds: tuple[float, ...], created: float) -> tuple[Rows, int]:
        """Find or open a series; one that exists keeps its bounds."""
        found = self.find(text)
        if found is None:
            table = self._table(bounds)
            return table, table.open(text, created)
        found[0].reveal(found[1])
        return found

    def _table(self, bounds: tuple[float, ...]) -> Rows:
        for table in self.tables:
            if table.bounds == bounds:
                return table
        if len(self.tables) >= MAX_TABLES:
            return self.tables[-1]
        width = {Kind.HISTOGRAM: len(bounds) + 3, Kind.SUMMARY: len(bounds) + 2}.get(self.kind, 1)
        table = Rows(width, bounds)
        table.open(b"", _NAN)
        del table.index[b""]
        table.hidden.add(SPARE)
        self.tables.append(table)
        self.tables.sort(key=lambda each: each.bounds)
        return table


class Families:
    """Every family by its name, and who owns which name."""

    def __init__(self, limit: int = 0) -> None:
        self._limit = limit
        self.by_name: dict[str, Series] = {}
        self._owners: dict[str, Series] = {}

    @property
    def limit(self) -> int:
        """Series that a family may have; 0 is no limit."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        for family in self.by_name.values():
            family.limit = limit if family.limit else 0
        self._limit = limit

    def open(
        self,
        name: str,
        kind: Kind,
        unit: str = "",
        help: str = "",  # noqa: A002
        *,
        reserved: bool = False,
        shared: bool = False,
    ) -> Series:
        """Find or make a family; the first help text stays. Raises Conflict (T24)."""
        family = self.by_name.get(name)
        if family is not None:
            if family.kind is not kind or (family.reserved is not reserved and not family.shared):
                raise Conflict(name, kind, family)
            return family
        owned = names(name, kind)
        for each in owned:
            if each in self._owners:
                raise Conflict(name, kind, self._owners[each])
        family = Series(name, kind, unit, help, limit=self.limit, reserved=reserved, shared=shared)
        self.by_name[name] = family
        self._owners.update(dict.fromkeys(owned, family))
        return family

    def has(self, family: Series) -> bool:
        """Tell whether a family is still there."""
        return self.by_name.get(family.name) is family

    def snapshot(self) -> list[Family]:
        """Copy every family that has a series on the page, by name."""
        return [
            Family(family.name, family.kind, family.unit, family.help, [table.snapshot() for table in family.tables])
            for _, family in sorted(self.by_name.items())
            if any(len(table.index) and len(table.hidden) < len(table.texts) for table in family.tables)
        ]

    def sweep(self, silent_after: int, hide_after: int, forget_after: int) -> int:
        """Age every series; give back the names of families that have none left; return how many were hidden."""
        hidden = sum(
            table.sweep(silent_after if table.fleeting else hide_after, forget_after) for table in self._tables()
        )
        for family in [each for each in self.by_name.values() if not each.reserved]:
            if not any(table.index for table in family.tables):
                del self.by_name[family.name]
                for name in names(family.name, family.kind):
                    del self._owners[name]
        return hidden

    def count(self) -> int:
        """Count the series on the page."""
        return sum(len(table.texts) - len(table.hidden) for table in self._tables())

    def _tables(self) -> Iterable[Rows]:
        return chain.from_iterable(family.tables for family in self.by_name.values())


def names(name: str, kind: Kind) -> tuple[str, ...]:
    """List the names that a family of this sample name and kind owns on the text and OpenMetrics pages."""
    base = name.removesuffix({Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(kind, "\0"))
    return tuple(dict.fromkeys((name, *(base + suffix for suffix in _SUFFIXES.get(kind, ("",))))))
