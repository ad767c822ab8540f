"""What is read when exporting: objects of others, held weakly, each with the rows that are read of it.

What may live here: rows, the list of what is watched, and the words for what cannot be. Nothing here
costs a call of what is watched anything, and nothing keeps it alive: what is collected is read no more.
"""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from ..catalog import CATALOG
from ..model import Kind
from .cells import Watch, fail, watch

LOCKLESS: Final = ("functools:_lru_cache_wrapper",)  # caches that are read without any lock

# Objects of other libraries have no types here: they are not imported.
Read = Callable[[Any], float | None]
Target = Callable[[], Any]


class Row(NamedTuple):
    """One number to read: its family, the labels beside the name, and how; None is no number."""

    family: str
    labels: dict[str, str]
    read: Read


class Entry:
    """One object that is watched, under one name."""

    __slots__ = ("last", "name", "rebase", "rows", "target")

    def __init__(self, target: Target, name: tuple[str, str], rows: Sequence[Row]) -> None:
        self.target, self.name, self.rows = target, dict([name]), tuple(rows)
        self.last: dict[int, float] = {}  # a counter's last reading, by row
        self.rebase: set[int] = set()  # rows that count from their next reading on

    def read(self, family: str) -> dict[int, float]:
        """Read the rows of a family, by their places; one that fails is counted and spoils no other."""
        target, values = self.target(), {}
        for place, row in enumerate(self.rows):
            if row.family == family and target is not None:
                try:
                    value = row.read(target)
                except Exception as error:  # noqa: BLE001  # it is code of others
                    fail("watch", family, error)
                else:
                    if value is not None:
                        values[place] = float(value)
        return values

    def grown(self, values: dict[int, float]) -> dict[int, float]:
        """Say by how much counters grew; when one fell, all of them were set to zero in between."""
        self.last |= {place: value for place, value in values.items() if place in self.rebase}
        self.rebase -= values.keys()
        begun_anew = any(value < self.last.get(place, 0.0) for place, value in values.items())
        before = {} if begun_anew else self.last
        self.last = {**self.last, **values}
        return {place: value - before.get(place, 0.0) for place, value in values.items()}

    def forked(self) -> None:
        """Leave to the parent what it counted.

        Only what surely takes no lock is read here, as a lock may have been copied while it was held. Of
        the rest it is not known what was counted between the fork and the next reading.
        """
        if is_a(self.target(), *LOCKLESS):
            for family in {row.family for row in self.rows}:
                self.last.update(self.read(family))
        else:
            self.rebase = set(range(len(self.rows)))

    def labels(self, place: int) -> dict[str, str]:
        """List the labels of a row."""
        return {**self.name, **self.rows[place].labels}


class List:
    """All that is watched in the process.

    Entries come and go in any thread, also in the collector's finalizers; a dict's own steps need no lock.
    """

    def __init__(self) -> None:
        self.entries: dict[tuple[int, str, str], Entry] = {}
        self.watches: dict[str, Watch] = {}
        self.totals: dict[tuple[str, tuple[str, ...]], float] = {}

    def add(self, key: tuple[int, str, str], entry: Entry) -> None:
        """Read an object from now on, in every family that its rows name."""
        self.entries[key] = entry
        for family in dict.fromkeys(row.family for row in entry.rows):
            if family not in self.watches:
                read = functools.partial(self.read, family)
                self.watches[family] = watch(family, read, fresh=True)  # a fork is seen to here

    def read(self, family: str) -> Iterator[tuple[dict[str, str], float]]:
        """Read a family of all objects; of counters the sum, which never falls."""
        entries = tuple(self.entries.values())
        if CATALOG[family].kind is not Kind.COUNTER:
            yield from (
                (entry.labels(place), value) for entry in entries for place, value in entry.read(family).items()
            )
            return
        # What a name's earlier objects counted stays in its total, so that the next go on from there.
        found = {}
        for entry in entries:
            for place, growth in entry.grown(entry.read(family)).items():
                labels = entry.labels(place)
                key = family, tuple(labels.values())
                self.totals[key] = self.totals.get(key, 0.0) + growth
                found[key] = labels
        for key, labels in found.items():
            yield labels, self.totals[key]

    def forked(self) -> None:
        """Begin anew in a forked child."""
        self.totals.clear()
        for entry in tuple(self.entries.values()):
            entry.forked()


_LIST: Final = List()
os.register_at_fork(after_in_child=_LIST.forked)


def observe(target: Any, name: tuple[str, str], rows: Sequence[Row], ended: Read | None = None) -> None:
    """Read an object when exporting, as long as it lives; `name` is the label it goes by, and its value.

    One that cannot be referenced weakly is held until `ended` says that its owner closed it.
    """
    key = (id(target), *name)
    if rows and key not in _LIST.entries:
        _LIST.add(key, Entry(_weak(target, key) if ended is None else _held(target, key, ended), name, rows))


def _weak(target: Any, key: tuple[int, str, str]) -> Target:
    return weakref.ref(target, lambda _: _LIST.entries.pop(key, None))


def _held(target: Any, key: tuple[int, str, str], ended: Read) -> Target:
    def get() -> Any:
        if not ended(target):
            return target
        _LIST.entries.pop(key, None)
        return None

    return get


def forget() -> None:
    """Watch nothing any more; for tests."""
    _LIST.__init__()  # type: ignore[misc]


def roots(target: object) -> list[str]:
    """List the packages that an object's classes come from, nearest first."""
    return list(dict.fromkeys(kind.__module__.partition(".")[0] for kind in type(target).__mro__))


def is_a(target: object, *names: str) -> bool:
    """Say whether an object, or an error, is of a class of which only the names are known: `package:Class`."""
    return any(f"{kind.__module__.partition('.')[0]}:{kind.__name__}" in names for kind in type(target).__mro__)


def number(value: object) -> float | None:
    """Take a number, or what a callable gives, and nothing else."""
    found = value() if callable(value) else value
    return float(found) if isinstance(found, int | float) else None


def unknown(what: str, target: object, error: Exception | None = None, *, instead: str = "see docs/library.md") -> None:
    """Count that something cannot be watched, and say so once for each type, with what can be done instead."""
    why = type(error).__name__ if error else f"nothing is known of it; {instead}"
    fail("misuse", f"cannot watch {what} of type {type(target).__module__}.{type(target).__qualname__}: {why}")
