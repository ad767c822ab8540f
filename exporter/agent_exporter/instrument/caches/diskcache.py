"""diskcache: Cache and FanoutCache.

What may live here: how these classes look up and remove. Their own statistics are neither used nor
switched on: they are kept in the folder, for all processes together and since ever, and make every
look-up a write. What a store throws out to make room is not told, so no evictions by size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..graft import Method, graft
from ..watched import Row, is_a, observe
from .tally import Tally

_NOTHING: Final = object()


def adapt(cache: Any, name: str) -> bool:
    """Count a cache's look-ups, and read its entries and its size on the disk."""
    if not is_a(cache, "diskcache:Cache", "diskcache:FanoutCache"):
        return False
    graft(cache, lambda base: _methods(base, Tally(name, "ttl", "explicit")))
    observe(cache, ("cache", name), _rows(cache))
    return True


def _rows(cache: Any) -> list[Row]:
    rows = [
        Row("agent.cache.entries", {}, len),
        Row("agent.cache.size", {}, lambda cache: cache.volume()),
    ]
    if is_a(cache, "diskcache:Cache"):  # a FanoutCache tells the limit of one of its parts
        rows.append(Row("agent.cache.limit", {}, lambda cache: cache.size_limit))
    return rows


def _methods(base: Any, tally: Tally) -> dict[str, Method]:
    methods = {
        "get": _get(base, tally),
        "__delitem__": _returning(base.__delitem__, lambda _: 1, tally.evicted["explicit"]),
        "clear": _returning(base.clear, int, tally.evicted["explicit"]),
        "evict": _returning(base.evict, int, tally.evicted["explicit"]),
        "expire": _returning(base.expire, int, tally.evicted["ttl"]),
    }
    if base.__name__ == "FanoutCache":  # where neither is by way of the others
        methods["__getitem__"] = _getitem(base, tally)
        methods["delete"] = _returning(base.delete, int, tally.evicted["explicit"])
    return methods


def _get(base: Any, tally: Tally) -> Method:
    def get(self: Any, key: Any, default: Any = None, *args: Any, **options: Any) -> Any:
        found = base.get(self, key, _NOTHING, *args, **options)
        parts = found if isinstance(found, tuple) else (found,)  # with a time or a tag, if asked for
        if not parts or parts[0] is not _NOTHING:
            tally.hit()
            return found
        tally.miss()
        return default if found is _NOTHING else (default, *parts[1:])

    return get


def _getitem(base: Any, tally: Tally) -> Method:
    def getitem(self: Any, key: Any) -> Any:
        try:
            value = base.__getitem__(self, key)
        except KeyError:
            tally.miss()
            raise
        tally.hit()
        return value

    return getitem


def _returning(method: Method, removed: Callable[[Any], int], add: Callable[[float], None]) -> Method:
    """Count what a method says it removed."""

    def act(self: Any, *args: Any, **options: Any) -> Any:
        result = method(self, *args, **options)
        add(removed(result))
        return result

    return act
