"""Executors of concurrent.futures: threads, processes, interpreters.

What may live here: how calls wait for a worker. Executors tell nothing about themselves in public, so what
is submitted is followed; how many workers there may be has to be said (`limit`).
"""

from __future__ import annotations

from typing import Any, Final

from ..graft import Method, graft
from ..watched import Row, is_a, observe
from .waits import Waits

# Their calls are sent elsewhere and must stay as they are: when they begin is not known, only that they do.
ELSEWHERE: Final = ("concurrent:ProcessPoolExecutor", "concurrent:InterpreterPoolExecutor")


def executor(pool: Any, name: str, limit: float | None, waits: Waits | None) -> bool:
    """Watch an executor: calls that run and calls that wait for a worker."""
    if not is_a(pool, "concurrent:Executor"):
        return False
    rows = [] if limit is None else [Row("agent.pool.limit", {}, lambda _: limit)]
    threads = is_a(pool, "concurrent:ThreadPoolExecutor") and not is_a(pool, *ELSEWHERE)
    if waits and threads:
        rows += waits.open(counts_used=True)
        graft(pool, lambda base: {"submit": _timed(base.submit, waits)})
    elif waits:
        under_way: dict[int, Any] = {}
        graft(pool, lambda base: {"submit": _followed(base.submit, under_way)})
        rows += _counts(under_way, limit)
    observe(pool, ("name", name), rows)
    return True


class Call:
    """A submitted call, which waits until a thread takes it."""

    __slots__ = ("_begun", "_call", "_waiting", "_waits")

    def __init__(self, call: Method, waits: Waits) -> None:
        self._call, self._waits = call, waits
        self._begun, self._waiting = waits.begin(), True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run in the thread."""
        self._waits.end(self._begun)
        self._waiting = False
        self._waits.take()
        try:
            return self._call(*args, **kwargs)
        finally:
            self._waits.give()

    def done(self, _: Any = None) -> None:
        """Wait no more if it never ran: it was cancelled, or the executor broke."""
        if self._waiting:
            self._waits.drop()
            self._waiting = False


def _timed(submit: Method, waits: Waits) -> Method:
    def submit_timed(self: Any, fn: Method, /, *args: Any, **kwargs: Any) -> Any:
        call = Call(fn, waits)
        try:
            future = submit(self, call, *args, **kwargs)
        except BaseException:
            call.done()
            raise
        future.add_done_callback(call.done)
        return future

    return submit_timed


def _followed(submit: Method, under_way: dict[int, Any]) -> Method:
    def submit_followed(self: Any, fn: Method, /, *args: Any, **kwargs: Any) -> Any:
        future = submit(self, fn, *args, **kwargs)
        under_way[id(future)] = future
        future.add_done_callback(lambda future: under_way.pop(id(future), None))
        return future

    return submit_followed


def _counts(under_way: dict[int, Any], limit: float | None) -> list[Row]:
    """Tell calls that run from calls that wait: a process pool calls one more than it has workers running."""

    def running(_: Any) -> float:
        runs = float(sum(future.running() for future in tuple(under_way.values())))
        return runs if limit is None else min(runs, limit)

    return [
        Row("agent.pool.size", {"state": "used"}, running),
        Row("agent.pool.waiting", {}, lambda pool: max(len(under_way) - running(pool), 0)),
    ]
