"""Semaphores and locks of the standard library, and whatever tells how many of it are in use.

What may live here: taking and giving back of what has no members of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..graft import Method, graft
from ..watched import Read, Row, is_a, number, observe
from .waits import Waits, timed

# How objects call what they tell, attributes or methods (anyio's limiters, pools of other libraries).
USED: Final = ("used", "in_use", "num_in_use", "borrowed_tokens", "checkedout")
IDLE: Final = ("idle", "num_idle", "available", "available_tokens", "checkedin")
LIMIT: Final = ("limit", "max_size", "maxsize", "total_tokens", "capacity")


def semaphore(pool: Any, name: str, limit: float | None, waits: Waits | None) -> bool:
    """Watch a semaphore of threading or asyncio, or a lock of asyncio; their limit has to be said."""
    if not is_a(pool, "threading:Semaphore", "asyncio:Semaphore", "asyncio:Lock"):
        return False
    rows = [] if limit is None else [Row("agent.pool.limit", {}, lambda _: limit)]
    if waits:
        rows += waits.open(counts_used=True)
        graft(pool, lambda base: _semaphore(base, waits))
    observe(pool, ("name", name), rows)
    return True


def _semaphore(base: Any, waits: Waits) -> dict[str, Method]:
    def release(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = base.release(self, *args, **kwargs)
        waits.give(*args, *kwargs.values())
        return given

    if base.__module__.startswith("asyncio"):
        return {"acquire": timed(base.acquire, waits, lambda _: waits.take()), "release": release}
    acquire = _acquire(base, waits)
    return {"acquire": acquire, "__enter__": acquire, "release": release}


def _acquire(base: Any, waits: Waits) -> Method:
    def acquire(self: Any, blocking: bool = True, timeout: float | None = None) -> bool:
        if not blocking:  # asking is no waiting
            taken: bool = base.acquire(self, blocking, timeout)
        else:
            begun = waits.begin()
            taken = base.acquire(self, blocking, timeout)
            waits.end(begun, None if taken else TimeoutError())
        if taken:
            waits.take()
        return taken

    return acquire


def counting(pool: Any, name: str, limit: float | None, _: Waits | None) -> bool:
    """Watch a semaphore of multiprocessing, which tells what is left."""
    if not callable(getattr(pool, "get_value", None)):
        return False
    rows = [Row("agent.pool.size", {"state": "idle"}, lambda pool: pool.get_value())]
    if limit is not None:
        rows.append(Row("agent.pool.size", {"state": "used"}, lambda pool: limit - pool.get_value()))
        rows.append(Row("agent.pool.limit", {}, lambda _: limit))
    observe(pool, ("name", name), rows)
    return True


def telling(pool: Any, name: str, limit: float | None, _: Waits | None) -> bool:
    """Watch an object that tells by usual names how many of it are in use or idle."""
    rows = [
        Row(family, labels, read)
        for family, labels, names in (
            ("agent.pool.size", {"state": "used"}, USED),
            ("agent.pool.size", {"state": "idle"}, IDLE),
        )
        if (read := _reading(pool, names)) is not None
    ]
    if not rows:
        return False
    told: Read | None = _reading(pool, LIMIT) if limit is None else lambda _: limit
    observe(pool, ("name", name), [*rows, *([Row("agent.pool.limit", {}, told)] if told else ())])
    return True


def _reading(pool: Any, names: tuple[str, ...]) -> Callable[[Any], float | None] | None:
    for name in names:
        if number(getattr(pool, name, None)) is not None:
            return lambda pool: number(getattr(pool, name, None))
    return None
