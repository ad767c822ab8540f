"""A pool of anything: what is scarce, and has no adapter.

What may live here: measuring around how a program itself takes and gives back.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeVar, overload

from .. import given
from ..watched import Row, observe
from .waits import Waits, timed

T = TypeVar("T")


class Pool:
    """Something scarce whose use is measured."""

    __slots__ = ("__weakref__", "_waits")

    def __init__(self, name: str, limit: float | None = None) -> None:
        name = given.text(name, "the name of a pool")
        self._waits = Waits(name)
        rows = self._waits.open(counts_used=True)
        if limit is not None:
            rows.append(Row("agent.pool.limit", {}, lambda _: limit))
        observe(self, ("name", name), rows)

    @overload
    def acquire(self, take: AbstractContextManager[T]) -> AbstractContextManager[T]: ...
    @overload
    def acquire(self, take: AbstractAsyncContextManager[T]) -> AbstractAsyncContextManager[T]: ...
    @overload
    def acquire(  # type: ignore[overload-overlap]  # what is awaited comes first
        self, take: Callable[[], Awaitable[T]], give: Callable[[T], Any]
    ) -> AbstractAsyncContextManager[T]: ...
    @overload
    def acquire(self, take: Callable[[], T], give: Callable[[T], Any]) -> AbstractContextManager[T]: ...

    def acquire(self, take: Any, give: Callable[[Any], Any] | None = None) -> Any:
        """Take one and give it back, in a `with` or `async with` statement.

        `take` is a context manager (a semaphore, a connection), of which entering is the waiting; or a
        function that gets one, with one that gives it back.
        """
        return _Use(take if give is None else _Given(take, give), self._waits)


def pool(name: str, limit: float | None = None) -> Pool:
    """Measure the use of something scarce."""
    return Pool(name, limit)


class _Use:
    """One use of a context manager, sync or async, of which entering is the waiting."""

    __slots__ = ("_member", "_waits")

    def __init__(self, member: Any, waits: Waits) -> None:
        self._member, self._waits = member, waits

    def _took(self, _: Any) -> None:
        self._waits.take()

    def __enter__(self) -> Any:
        return timed(self._member.__enter__, self._waits, self._took)()

    def __exit__(self, *error: object) -> Any:
        try:
            return self._member.__exit__(*error)
        finally:
            self._waits.give()

    async def __aenter__(self) -> Any:
        begun = self._waits.begin()
        try:
            member = await self._member.__aenter__()
        except BaseException as error:
            self._waits.end(begun, error)
            raise
        self._waits.end(begun)
        self._waits.take()
        return member

    async def __aexit__(self, *error: object) -> Any:
        try:
            return await self._member.__aexit__(*error)
        finally:
            self._waits.give()


class _Given:
    """What one function gets and another takes back, sync or async."""

    __slots__ = ("_give", "_member", "_take")

    def __init__(self, take: Callable[[], Any], give: Callable[[Any], Any]) -> None:
        self._take, self._give = take, give
        self._member: Any = None

    def __enter__(self) -> Any:
        self._member = self._take()
        return self._member

    def __exit__(self, *_: object) -> None:
        self._give(self._member)

    async def __aenter__(self) -> Any:
        taken = self._take()
        self._member = await taken if inspect.isawaitable(taken) else taken
        return self._member

    async def __aexit__(self, *_: object) -> None:
        given = self._give(self._member)
        if inspect.isawaitable(given):
            await given
