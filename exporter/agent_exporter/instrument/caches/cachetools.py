"""cachetools: all classes, and functions decorated with `cached`.

What may live here: how these classes look up, store and throw out. They count none of it (but `cached`
with `info=True`, which asks an expiring cache for its size and so changes it, which no other thread may),
so a cache is given a subclass that does. Evictions are those by size, by age (ttl), and by the program.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ..graft import Method, graft
from ..watched import Row, is_a, observe
from .tally import Tally

Size = Callable[[Any], int]


def adapt(cache: Any, name: str) -> bool:
    """Count a cache's look-ups and evictions."""
    if not is_a(cache, "cachetools:Cache"):
        return False
    graft(cache, lambda base: _methods(base, Tally(name, "size", "ttl", "explicit")))
    observe(cache, ("cache", name), _rows())
    return True


def _root() -> Any:
    """Find the class whose methods read without throwing out what is too old."""
    return sys.modules["cachetools"].Cache


def _rows() -> list[Row]:
    root = _root()

    def in_entries(cache: Any) -> bool:
        return cache.getsizeof is root.getsizeof

    def in_bytes(cache: Any) -> bool:
        return cache.getsizeof is sys.getsizeof

    return [
        Row("agent.cache.entries", {}, root.__len__),
        Row("agent.cache.entries.limit", {}, lambda cache: cache.maxsize if in_entries(cache) else None),
        Row("agent.cache.size", {}, lambda cache: root.currsize.fget(cache) if in_bytes(cache) else None),
        Row("agent.cache.limit", {}, lambda cache: cache.maxsize if in_bytes(cache) else None),
    ]


def _methods(base: Any, tally: Tally) -> dict[str, Method]:
    size = _root().__len__
    methods = {
        **_lookups(base, tally),
        **_stores(base, tally),
        **_removals(base, tally, size),
        **_sweeps(base, tally, size),
    }
    return {name: method for name, method in methods.items() if hasattr(base, name)}


def _lookups(base: Any, tally: Tally) -> dict[str, Method]:
    def getitem(self: Any, key: Any) -> Any:
        before = tally.misses
        value = base.__getitem__(self, key)
        if tally.misses == before and not tally.inside:
            tally.hit()
        return value

    def missing(self: Any, key: Any) -> Any:
        if not tally.inside:
            tally.miss()
        return base.__missing__(self, key)

    def contains(self: Any, key: Any) -> bool:
        """Count a miss: who finds that a key is not there does not ask for it."""
        found: bool = base.__contains__(self, key)
        if not found and not tally.inside:
            tally.miss()
        return found

    return {"__getitem__": getitem, "__missing__": missing, "__contains__": contains}


def _inside(tally: Tally, act: Callable[[], Any]) -> Any:
    """Do something of which the steps do not count."""
    if tally.inside:
        return act()
    tally.inside = True
    try:
        return act()
    finally:
        tally.inside = False


def _storing(tally: Tally, act: Callable[[], Any]) -> Any:
    """Store something, for which others may have to go."""
    tally.storing = True
    try:
        return act()
    finally:
        tally.storing = False


def _stores(base: Any, tally: Tally) -> dict[str, Method]:
    def setitem(self: Any, key: Any, value: Any) -> None:
        _storing(tally, lambda: base.__setitem__(self, key, value))

    def setdefault(self: Any, key: Any, default: Any = None) -> Any:
        """Count no look-up: `cached` stores so what it has looked up before."""
        return _inside(tally, lambda: base.setdefault(self, key, default))

    return {"__setitem__": setitem, "setdefault": setdefault}


def _removals(base: Any, tally: Tally, size: Size) -> dict[str, Method]:
    def popitem(self: Any) -> Any:
        outermost, storing = not tally.inside, tally.storing
        item = _inside(tally, lambda: base.popitem(self))
        if storing:
            tally.evicted["size"]()
        elif outermost:
            tally.evicted["explicit"]()
        return item

    def delitem(self: Any, key: Any) -> None:
        before, outermost = size(self), not tally.inside
        try:
            base.__delitem__(self, key)
        except KeyError:  # what is too old goes and is not found
            if outermost and size(self) < before:
                tally.evicted["ttl"]()
            raise
        if outermost:
            tally.evicted["explicit"]()

    def pop(self: Any, key: Any, *default: Any) -> Any:
        """Count no look-up."""
        before, outermost = size(self), not tally.inside
        value = _inside(tally, lambda: base.pop(self, key, *default))
        if outermost and size(self) < before:
            tally.evicted["explicit"]()
        return value

    return {"popitem": popitem, "__delitem__": delitem, "pop": pop}


def _sweeps(base: Any, tally: Tally, size: Size) -> dict[str, Method]:
    def clear(self: Any) -> None:
        if tally.inside:
            base.clear(self)
            return
        before, expired = size(self), tally.expired
        _inside(tally, lambda: base.clear(self))
        tally.evicted["explicit"](before - size(self) - (tally.expired - expired))

    def expire(self: Any, time: Any = None) -> Any:
        before = size(self)
        gone = base.expire(self, time)
        tally.expired += before - size(self)
        tally.evicted["ttl"](before - size(self))
        return gone

    return {"clear": clear, "expire": expire}
