"""Loads: how values come into caches, and how callers wait for a load that another began.

What may live here: recording loads and waits, and a decorator by which callers share one load.
"""

from __future__ import annotations

import functools
import inspect
import os
import threading
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast

from .. import given
from ..cells import counter, histogram
from ..watched import unknown

P = ParamSpec("P")
R = TypeVar("R")


class Loads:
    """The loads of one cache."""

    __slots__ = ("_error", "_loaded", "_ok", "_waited")

    def __init__(self, name: str) -> None:
        name = given.text(name, "the name of a cache")
        self._ok = counter("agent.cache.loads", cache=name, status="ok")
        self._error = counter("agent.cache.loads", cache=name, status="error")
        self._loaded = histogram("agent.cache.load.duration", cache=name)
        self._waited = histogram("agent.cache.load.wait.duration", cache=name)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Record a load: that a value is fetched or computed."""
        begun = perf_counter()
        try:
            yield
        except BaseException:
            self._error.add()
            raise
        else:
            self._ok.add()
        finally:
            self._loaded.record(perf_counter() - begun)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Record that a caller waits for a value that another fetches."""
        begun = perf_counter()
        try:
            yield
        finally:
            self._waited.record(perf_counter() - begun)


def loads(name: str) -> Loads:
    """Record a loader of your own, in `with` statements around loading and around waiting."""
    return Loads(name)


def single_flight(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let callers that want the same value at once share one load; sync and async functions.

    Nothing is kept: that is for a cache around it, of which a miss comes here. What cannot be a
    key of a dict is loaded by everyone.
    """

    def decorate(load: Callable[P, R]) -> Callable[P, R]:
        recorded = Loads(name)
        if inspect.isgeneratorfunction(load) or inspect.isasyncgenfunction(load):
            unknown("a loader", load, instead="callers can share what is returned, but not what is yielded")
            return cast("Callable[P, R]", load)
        if inspect.iscoroutinefunction(load):
            return cast("Callable[P, R]", _shared_async(cast("Callable[P, Awaitable[Any]]", load), recorded))
        return _shared(load, recorded)

    return decorate


class _Flight(Generic[R]):
    """A load under way, in one thread, and how it ended."""

    __slots__ = ("done", "error", "leader", "value")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.leader = threading.get_ident()
        self.value: R | None = None
        self.error: BaseException | None = None

    def result(self) -> R:
        """Return or raise what the leader got."""
        if self.error is not None:
            raise self.error
        return cast("R", self.value)


def _shared(load: Callable[P, R], recorded: Loads) -> Callable[P, R]:
    flights: dict[Hashable, _Flight[R]] = {}

    @functools.wraps(load)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        key = _key(args, kwargs)
        while True:
            mine: _Flight[R] = _Flight()
            flight = mine if key is None else flights.setdefault(key, mine)
            if flight is mine:
                return _lead(lambda: load(*args, **kwargs), recorded, mine, lambda: flights.pop(key, None))
            if flight.leader == mine.leader:  # a load that asks for itself: better endless than stuck
                return load(*args, **kwargs)
            with recorded.waiting():
                flight.done.wait()
            if flight.error is None or isinstance(flight.error, Exception):
                return flight.result()
            # Whoever led was interrupted, which is no answer for others: somebody else leads.

    return call


def _lead(load: Callable[[], R], recorded: Loads, flight: _Flight[R], land: Callable[[], object]) -> R:
    try:
        with recorded.loading():
            flight.value = load()
    except BaseException as error:
        flight.error = error
        raise
    finally:
        land()
        flight.done.set()
    return flight.value


def _shared_async(load: Callable[P, Awaitable[R]], recorded: Loads) -> Callable[P, Awaitable[R]]:
    import asyncio  # noqa: PLC0415  # takes long to load, and not every agent has it

    flights: dict[Hashable, asyncio.Future[R]] = {}

    @functools.wraps(load)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        key = _key(args, kwargs)
        place = None if key is None else (id(loop), key)  # a future is for one loop
        while (flight := flights.get(place)) is not None:
            with recorded.waiting():
                await asyncio.wait([flight])  # being cancelled here does not cancel the load
            if not flight.cancelled():
                return flight.result()
        landed: asyncio.Future[R] = loop.create_future()
        if place is not None:
            flights[place] = landed
        return await _lead_async(lambda: load(*args, **kwargs), recorded, landed, lambda: flights.pop(place, None))

    return call


async def _lead_async(load: Callable[[], Awaitable[R]], recorded: Loads, landed: Any, land: Callable[[], object]) -> R:
    try:
        with recorded.loading():
            value = await load()
    except Exception as error:
        landed.set_exception(error)
        landed.exception()  # nobody need have waited for it
        raise
    except BaseException:
        landed.cancel()  # whoever led was cancelled, which is no answer for others: somebody else leads
        raise
    else:
        landed.set_result(value)
        return value
    finally:
        land()


_MARK: Final = object()


def _key(args: tuple[object, ...], kwargs: dict[str, object]) -> Hashable | None:
    # The process is in it as a forked child has its parent's loads, which end elsewhere.
    key: tuple[object, ...] = (os.getpid(), *args)
    if kwargs:
        key = (*key, _MARK, *sorted(kwargs.items(), key=lambda item: item[0]))
    try:
        hash(key)
    except TypeError:
        return None
    return key
