"""Waiting for a member of a pool: how long, how many now, and who went without.

What may live here: recording waits, and methods that do so around a library's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, Final

from ..cells import counter, histogram
from ..graft import Method
from ..watched import Row, is_a

# What libraries raise when no member was free in time, or at once where they do not wait.
NONE_FREE: Final = (
    *("builtins:TimeoutError", "queue:Empty", "_queue:Empty", "asyncio:QueueEmpty"),
    *("psycopg_pool:PoolTimeout", "psycopg_pool:TooManyRequests"),
    *("redis:MaxConnectionsError", "httpx:PoolTimeout", "sqlalchemy:TimeoutError"),
)


def none_free(error: BaseException) -> bool:
    """Say whether an error means that no member of a pool was free in time."""
    return is_a(error, *NONE_FREE)


class Waits:
    """The waits for members of one pool, and how many are in use where the pool does not tell."""

    __slots__ = ("_duration", "_name", "_none_free", "_timeouts", "used", "waiting")

    def __init__(self, name: str, none_free: Callable[[BaseException], bool] = none_free) -> None:
        self._name, self._none_free = name, none_free
        self.waiting = 0
        self.used = 0

    def open(self, *, counts_used: bool) -> list[Row]:
        """Be ready to record, and list what is to be read: who waits now, and what is used if nobody else tells.

        Not before an adapter wants it: a pool whose waits are not known has no timeouts, not none so far.
        """
        self._duration = histogram("agent.pool.wait.duration", name=self._name)
        self._timeouts = counter("agent.pool.timeouts", name=self._name)
        rows = [Row("agent.pool.waiting", {}, lambda _: self.waiting)]
        return [*rows, Row("agent.pool.size", {"state": "used"}, lambda _: self.used)] if counts_used else rows

    def begin(self) -> float:
        """Begin to wait."""
        self.waiting += 1
        return perf_counter()

    def end(self, begun: float, error: BaseException | None = None) -> None:
        """End a wait: with a member, without one, or for reasons that are not the pool's, which do not count."""
        self.waiting -= 1
        without = error is not None and self._none_free(error)
        if without:
            self._timeouts.add()
        if error is None or without or is_a(error, "asyncio:CancelledError", "trio:Cancelled"):
            self._duration.record(perf_counter() - begun)

    def drop(self) -> None:
        """End a wait that led to nothing and tells nothing."""
        self.waiting -= 1

    def take(self) -> None:
        """Count a member as used."""
        self.used += 1

    def give(self, members: int = 1) -> None:
        """Count members as free again; what was taken before the watch began is not known."""
        if self.used >= members:
            self.used -= members


def timed(method: Method, waits: Waits, took: Callable[[Any], object] = lambda _: None) -> Method:
    """Record how long a method takes to get a member, be it async or not; `took` is given what it returns."""

    async def finish(coming: Awaitable[Any]) -> Any:
        begun = waits.begin()
        try:
            member = await coming
        except BaseException as error:
            waits.end(begun, error)
            raise
        waits.end(begun)
        took(member)
        return member

    async def get_async(*args: Any, **kwargs: Any) -> Any:
        return await finish(method(*args, **kwargs))

    def get(*args: Any, **kwargs: Any) -> Any:
        begun = waits.begin()
        try:
            member = method(*args, **kwargs)
        except BaseException as error:
            waits.end(begun, error)
            raise
        if inspect.iscoroutine(member):  # of an async method that a decorator hides
            waits.drop()
            return finish(member)
        waits.end(begun)
        took(member)
        return member

    return get_async if inspect.iscoroutinefunction(method) else get
