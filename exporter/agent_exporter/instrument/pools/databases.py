"""Pools of connections to databases: SQLAlchemy, asyncpg, psycopg_pool, redis-py.

What may live here: what these pools tell by public attributes, and by which method they are asked for a
connection. A wait ends with a connection that can be used, so opening a new one is part of it.
"""

from __future__ import annotations

from typing import Any, Final

from ..graft import Method, graft, subclass
from ..watched import Read, Row, is_a, number, observe
from .waits import Waits, none_free, timed

UNLIMITED: Final = 2**31  # redis-py, older versions


def _rows(taken: Read, idle: Read, limit: Read, given: float | None) -> list[Row]:
    return [
        Row("agent.pool.size", {"state": "used"}, taken),
        Row("agent.pool.size", {"state": "idle"}, idle),
        Row("agent.pool.limit", {}, limit if given is None else lambda _: given),
    ]


def _grafted(pool: Any, waits: Waits, method: str) -> list[Row]:
    """Time one of a pool's methods."""
    rows = waits.open(counts_used=False)
    graft(pool, lambda base: {method: timed(getattr(base, method), waits)})
    return rows


def sqlalchemy(pool: Any, name: str, limit: float | None, waits: Waits | None) -> bool:
    """Watch an engine, sync or async, or its pool; how far a pool may overflow is not told."""
    engine = getattr(pool, "sync_engine", pool)  # of an AsyncEngine
    if not is_a(engine, "sqlalchemy:Engine", "sqlalchemy:Pool"):
        return False

    def asked(method: str) -> Read:
        """Ask the engine's pool of the day: `dispose` gives it a new one."""
        return lambda engine: number(getattr(getattr(engine, "pool", engine), method, None))

    rows = _rows(asked("checkedout"), asked("checkedin"), lambda _: None, limit)
    if waits:
        # The class goes on to the pool that replaces this one.
        rows += _grafted(getattr(engine, "pool", engine), waits, "connect")
    observe(engine, ("name", name), rows)
    return True


def psycopg(pool: Any, name: str, limit: float | None, waits: Waits | None) -> bool:
    """Watch a pool of psycopg_pool, sync or async."""
    if not is_a(pool, "psycopg_pool:BasePool"):
        return False

    def taken(pool: Any) -> float:
        stats = pool.get_stats()
        return float(max(stats["pool_size"] - stats["pool_available"], 0))

    rows = _rows(taken, lambda pool: pool.get_stats()["pool_available"], lambda pool: pool.max_size, limit)
    observe(pool, ("name", name), [*rows, *(_grafted(pool, waits, "getconn") if waits else ())])
    return True


def asyncpg(pool: Any, name: str, limit: float | None, waits: Waits | None) -> bool:
    """Watch a pool of asyncpg; it cannot be referenced weakly, so it is held until it is closed."""
    if not is_a(pool, "asyncpg:Pool"):
        return False
    rows = _rows(
        lambda pool: pool.get_size() - pool.get_idle_size(),
        lambda pool: pool.get_idle_size(),
        lambda pool: pool.get_max_size(),
        limit,
    )
    if waits:
        rows += waits.open(counts_used=False)
        graft(pool, lambda base: {"acquire": _asyncpg_acquire(base, waits)})
    observe(pool, ("name", name), rows, ended=lambda pool: pool.is_closing())
    return True


def _asyncpg_acquire(base: Any, waits: Waits) -> Method:
    """Time the object that `acquire` returns, which waits when it is awaited or entered."""
    kinds: dict[type, type] = {}

    def acquire(self: Any, *args: Any, **kwargs: Any) -> Any:
        context = base.acquire(self, *args, **kwargs)
        kind = type(context)
        if kind not in kinds:
            kinds[kind] = subclass(kind, _asyncpg_context(kind, waits))
        context.__class__ = kinds[kind]
        return context

    return acquire


def _asyncpg_context(kind: Any, waits: Waits) -> dict[str, Method]:
    def wait(self: Any) -> Any:
        begun = waits.begin()
        try:
            connection = yield from kind.__await__(self)
        except BaseException as error:
            waits.end(begun, error)
            raise
        waits.end(begun)
        return connection

    return {"__aenter__": timed(kind.__aenter__, waits), "__await__": wait}


def redis(pool: Any, name: str, limit: float | None, waits: Waits | None) -> bool:
    """Watch a client of redis-py, sync or async, or its pool."""
    pool = getattr(pool, "connection_pool", pool)
    if not is_a(pool, "redis:ConnectionPool"):
        return False

    def most(pool: Any) -> float | None:
        return float(pool.max_connections) if pool.max_connections < UNLIMITED else None

    tells = hasattr(pool, "get_connection_count")  # from redis-py 8 on, before that only sync pools or none
    rows = _rows(_redis_count("used"), _redis_count("idle"), most, limit)
    if waits:
        rows += waits.open(counts_used=not tells)
        graft(pool, lambda base: _redis_methods(base, waits))
    observe(pool, ("name", name), rows if tells else rows[2:])
    return True


def _redis_methods(base: Any, waits: Waits) -> dict[str, Method]:
    def release(self: Any, connection: Any) -> Any:
        waits.give()
        return base.release(self, connection)

    get = timed(base.get_connection, waits, lambda _: waits.take())
    return {"get_connection": get, "release": release}


def _redis_count(state: str) -> Read:
    return lambda pool: float(sum(count for count, labels in pool.get_connection_count() if state in labels.values()))


def redis_none_free(error: BaseException) -> bool:
    """Tell waiting in vain, which redis-py reports as a failed connection, by what is behind the error."""
    behind = error.__cause__ or error.__context__
    in_vain = type(error).__name__ == "ConnectionError" and behind is not None and none_free(behind)
    return in_vain or is_a(error, "redis:MaxConnectionsError")
