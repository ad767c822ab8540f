"""Queues: how many items wait in them, how many they take, and how long items waited.

What may live here: the queues of the standard library and of those who build on them, and a wrapper for
queues whose items go to other processes.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Any, Final, Generic, Protocol, TypeVar

from .cells import histogram
from .graft import Method, graft
from .watched import Row, is_a, number, observe, unknown

Q = TypeVar("Q")
T = TypeVar("T")

# Queues whose subclasses may say how items are kept (`_put`, `_get`), which is where items are stamped.
KEEPING: Final = ("queue:Queue", "asyncio:Queue")


def watch_queue(queue: Q, name: str, *, waits: bool = False) -> Q:
    """Read how many items wait in a queue; give back the queue itself.

    With `waits` it is also measured how long each item waited, for `queue.Queue`, `asyncio.Queue` and
    those derived from them; `stamped` does so for other queues.
    """
    try:
        if not callable(getattr(queue, "qsize", None)):
            unknown("a queue", queue, instead="a queue has qsize(); stamped(queue, name) needs put() and get() only")
            return queue
        observe(queue, ("name", name), [Row("agent.queue.size", {}, _size), Row("agent.queue.limit", {}, _limit)])
        if waits and is_a(queue, *KEEPING):
            graft(queue, lambda base: _stamping(base, name))
        elif waits:
            unknown("the waits in a queue", queue, instead="stamped(queue, name) measures those of any queue")
    except Exception as error:  # noqa: BLE001  # the agent goes on without
        unknown("a queue", queue, error)
    return queue


def _size(queue: Any) -> float | None:
    try:
        return number(queue.qsize)
    except NotImplementedError:  # of a multiprocessing.Queue where the system does not tell
        return None


def _limit(queue: Any) -> float | None:
    most = number(getattr(queue, "maxsize", None))
    return most if most and most > 0 else None


def _stamping(base: Any, name: str) -> dict[str, Method]:
    """Keep the time beside the items, so that nobody meets anything but the items.

    An item that waits is alive, so its identity is its own. The same object twice is told apart as the
    queue's order is not known, first in, first out. The queue calls these methods one at a time.
    """
    waited = histogram("agent.queue.wait.duration", name=name)
    stamps: dict[int, deque[float]] = {}
    many = getattr(base, "_qsize", base.qsize)  # of a queue.Queue, whose `qsize` would wait for whoever puts

    def put(self: Any, item: Any) -> None:
        if stamps and not many(self):
            stamps.clear()  # somebody emptied it at once; others may have the identities now
        base._put(self, item)  # noqa: SLF001  # made to be overridden: see the comments in queue.py
        stamps.setdefault(id(item), deque()).append(monotonic())

    def get(self: Any) -> Any:
        item = base._get(self)  # noqa: SLF001
        times = stamps.get(id(item))
        if times:  # else it was there before the watch began
            waited.record(monotonic() - times.popleft())
            if not times:
                del stamps[id(item)]
        return item

    return {"_put": put, "_get": get}


class Items(Protocol):
    """What a queue has to have to be stamped."""

    def put(self, item: Any, /) -> Any:
        """Put an item into the queue."""

    def get(self) -> Any:
        """Take the next item out."""


class StampedQueue(Generic[T]):
    """A queue that carries with each item when it was put in; both ends have to be this one.

    It can be handed to other processes of the same machine. What it has beside `put` and `get` is the
    wrapped queue's.
    """

    def __init__(self, queue: Items, name: str) -> None:
        self._queue, self._name = queue, name
        self._waited = histogram("agent.queue.wait.duration", name=name)

    def put(self, item: T, *args: Any, **kwargs: Any) -> None:
        """Put an item into the queue."""
        self._queue.put((monotonic(), item), *args, **kwargs)

    def put_nowait(self, item: T) -> None:
        """Put an item into the queue, if there is room."""
        self._queue.put_nowait((monotonic(), item))  # type: ignore[attr-defined]  # if it has it

    def get(self, *args: Any, **kwargs: Any) -> T:
        """Take the next item out, and record how long it was in."""
        return self._out(self._queue.get(*args, **kwargs))

    def get_nowait(self) -> T:
        """Take the next item out, if there is one."""
        return self._out(self._queue.get_nowait())  # type: ignore[attr-defined]  # if it has it

    def _out(self, stamped: tuple[float, T]) -> T:
        # The clock is the machine's (CLOCK_MONOTONIC), so that it is another process's too.
        self._waited.record(monotonic() - stamped[0])
        return stamped[1]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # while it is unpickled there is no queue yet
            raise AttributeError(name)
        return getattr(self._queue, name)

    def __getstate__(self) -> tuple[Items, str]:
        return self._queue, self._name

    def __setstate__(self, state: tuple[Items, str]) -> None:
        self.__init__(*state)  # type: ignore[misc]  # the process at the other end has its own histogram


def stamped(queue: Items, name: str) -> StampedQueue[Any]:
    """Wrap a queue so that it tells how long items waited, also between processes."""
    if hasattr(queue, "qsize"):
        watch_queue(queue, name)
    return StampedQueue(queue, name)
