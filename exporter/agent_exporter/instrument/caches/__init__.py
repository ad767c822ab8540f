"""Caches: look-ups by result, entries, limits and evictions, of whatever library.

What may live here: which adapter is for which library. An adapter is a function of a cache and a name
that says whether it could do anything with it; none imports its library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from ..graft import MARK
from ..watched import roots, unknown
from . import aiocache, cachetools, counted, diskcache
from .loads import Loads, loads, single_flight
from .mapping import instrumented

__all__ = ["Loads", "instrumented", "loads", "single_flight", "watch_cache"]

ADAPTERS: Final[dict[str, Callable[[Any, str], bool]]] = {
    "aiocache": aiocache.adapt,
    "cachetools": cachetools.adapt,
    "diskcache": diskcache.adapt,
}

INSTEAD: Final = "instrumented(mapping, name) measures a mapping, and an object with `hits` and `misses` is read"
C = TypeVar("C")


def watch_cache(cache: C, name: str) -> C:
    """Count a cache's look-ups and entries; give back the cache itself."""
    try:
        if not (_by_library(cache, name) or counted.adapt(cache, name)):
            unknown("a cache", cache, instead=INSTEAD)
    except Exception as error:  # noqa: BLE001  # the agent goes on without
        unknown("a cache", cache, error)
    return cache


def _by_library(cache: object, name: str) -> bool:
    inside = getattr(cache, "cache", None) if callable(cache) else None  # of a decorated function
    return any(
        hasattr(type(each), MARK) or ADAPTERS[root](each, name)  # the first name stays
        for each in (cache, inside)
        if each is not None
        for root in roots(each)
        if root in ADAPTERS
    )
