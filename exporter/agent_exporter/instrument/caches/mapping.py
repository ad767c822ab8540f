"""A mapping that counts its look-ups, around any other mapping.

What may live here: the wrapper, for caches that no adapter is for, such as a plain dict.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Final, TypeVar, cast

from ..watched import Row, observe
from .tally import Tally

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")
_NOTHING: Final = object()


class CountedMapping(MutableMapping[K, V]):
    """A mapping whose look-ups are counted; all is kept by the mapping inside."""

    __slots__ = ("__weakref__", "_mapping", "_tally")

    def __init__(self, mapping: MutableMapping[K, V], name: str) -> None:
        self._mapping, self._tally = mapping, Tally(name, "explicit")

    def __getitem__(self, key: K) -> V:
        try:
            value = self._mapping[key]
        except KeyError:
            self._tally.missed()
            raise
        self._tally.hit()
        return value

    def __contains__(self, key: object) -> bool:
        """Count a miss: who finds that a key is not there does not ask for it."""
        found = key in self._mapping
        if not found:
            self._tally.missed()
        return found

    def __setitem__(self, key: K, value: V) -> None:
        self._mapping[key] = value

    def __delitem__(self, key: K) -> None:
        del self._mapping[key]
        self._tally.evicted["explicit"]()

    def pop(self, key: K, default: object = _NOTHING) -> V:
        """Remove an entry and return its value; no look-up."""
        if key in self._mapping:
            self._tally.evicted["explicit"]()
        elif default is not _NOTHING:
            return cast("V", default)
        return self._mapping.pop(key)

    def clear(self) -> None:
        """Remove all entries."""
        self._tally.evicted["explicit"](len(self._mapping))
        self._mapping.clear()

    def __iter__(self) -> Iterator[K]:
        return iter(self._mapping)

    def __len__(self) -> int:
        return len(self._mapping)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._mapping!r})"


def instrumented(mapping: MutableMapping[K, V], name: str) -> MutableMapping[K, V]:
    """Wrap a mapping so that its look-ups are counted."""
    made = CountedMapping(mapping, name)
    observe(made, ("cache", name), [Row("agent.cache.entries", {}, len)])
    return made
