"""Caches that count their look-ups themselves: `cache_info()`, or hits and misses.

What may live here: reading what a cache tells of itself. Such a cache is not touched.
"""

from __future__ import annotations

from types import MethodType
from typing import Any, Final

from ..watched import Read, Row, number, observe

PAIRS: Final = (("hits", "misses"), ("hit_count", "miss_count"))
LIMITS: Final = ("maxsize", "max_size", "max_entries", "capacity")


def adapt(cache: Any, name: str) -> bool:
    """Read a cache that tells its hits and misses."""
    if isinstance(cache, MethodType):
        cache = cache.__func__  # what `object.method` gives lives no longer than the expression
    rows = _info(cache) or _pair(cache)
    observe(cache, ("cache", name), rows)
    return bool(rows)


def _info(cache: Any) -> list[Row]:
    """List what functools.lru_cache and those like it tell."""
    if not callable(getattr(cache, "cache_info", None)):
        return []
    return [
        Row("agent.cache.requests", {"result": "hit"}, lambda cache: number(cache.cache_info().hits)),
        Row("agent.cache.requests", {"result": "miss"}, lambda cache: number(cache.cache_info().misses)),
        Row("agent.cache.entries", {}, lambda cache: number(cache.cache_info().currsize)),
        Row("agent.cache.entries.limit", {}, lambda cache: number(cache.cache_info().maxsize)),
    ]


def _pair(cache: Any) -> list[Row]:
    """List what an object with two counts tells, be they attributes or methods."""
    for hit, miss in PAIRS:
        if _attribute(hit)(cache) is not None and _attribute(miss)(cache) is not None:
            return [
                Row("agent.cache.requests", {"result": "hit"}, _attribute(hit)),
                Row("agent.cache.requests", {"result": "miss"}, _attribute(miss)),
                Row("agent.cache.entries", {}, lambda cache: len(cache) if hasattr(cache, "__len__") else None),
                Row("agent.cache.entries.limit", {}, _limit),
            ]
    return []


def _attribute(name: str) -> Read:
    return lambda cache: number(getattr(cache, name, None))


def _limit(cache: Any) -> float | None:
    found = (_attribute(each)(cache) for each in LIMITS)
    return next((limit for limit in found if limit is not None), None)
