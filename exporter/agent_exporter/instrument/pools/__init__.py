"""Pools: members used and idle, limits, callers waiting, and how many went without.

What may live here: which adapter is for which library. An adapter is a function of a pool, a name, a
limit if one was given, and what records waits if they are wanted; it says whether it could do anything.
None imports its library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from ..graft import MARK
from ..watched import Read, Row, number, observe, roots, unknown
from . import databases, executors, http, semaphores
from .scarce import Pool, pool
from .waits import Waits, none_free

__all__ = ["Pool", "pool", "watch_pool"]

Adapter = Callable[[Any, str, float | None, Waits | None], bool]
ADAPTERS: Final[dict[str, Adapter]] = {
    "aiohttp": http.aiohttp,
    "asyncio": semaphores.semaphore,
    "asyncpg": databases.asyncpg,
    "concurrent": executors.executor,
    "httpx": http.httpx,
    "multiprocessing": semaphores.counting,
    "psycopg_pool": databases.psycopg,
    "redis": databases.redis,
    "sqlalchemy": databases.sqlalchemy,
    "threading": semaphores.semaphore,
}
NONE_FREE: Final = {"redis": databases.redis_none_free}

INSTEAD: Final = "watch_pool(it, name, used=…, idle=…) reads any object, and pool(name) measures how members are taken"
P = TypeVar("P")


def watch_pool(
    pool: P,
    name: str,
    *,
    limit: float | None = None,
    waits: bool = True,
    used: Callable[[P], float] | None = None,
    idle: Callable[[P], float] | None = None,
) -> P:
    """Measure a pool: members used and idle, callers waiting, timeouts; give back the pool itself.

    `limit` is for pools that do not tell theirs. Without `waits` the pool is only read, and no call of it
    costs more. `used` and `idle` read a pool of your own.
    """
    try:
        if used or idle:
            _observe(pool, name, limit, used, idle)
        elif not (_by_library(pool, name, limit, waits) or semaphores.telling(pool, name, limit, None)):
            unknown("a pool", pool, instead=INSTEAD)
    except Exception as error:  # noqa: BLE001  # the agent goes on without
        unknown("a pool", pool, error)
    return pool


def _by_library(pool: object, name: str, limit: float | None, waits: bool) -> bool:
    return any(
        hasattr(type(pool), MARK)  # the first name stays
        or ADAPTERS[root](pool, name, limit, Waits(name, NONE_FREE.get(root, none_free)) if waits else None)
        for root in roots(pool)
        if root in ADAPTERS
    )


def _observe(pool: object, name: str, limit: float | None, used: Read | None, idle: Read | None) -> None:
    rows = [Row("agent.pool.size", {"state": state}, read) for state, read in (("used", used), ("idle", idle)) if read]
    if limit is not None:
        rows.append(Row("agent.pool.limit", {}, lambda _: number(limit)))
    observe(pool, ("name", name), rows)
