"""What runs inside a framework, from the hook that hears of its beginning to the one that hears of its end.

Rule: frameworks forget ends: of what raised, of what was cancelled. So whatever begins here also ends with the task
that it runs in, or with the object that stands for it, whichever the adapter knows.
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import Callable, Hashable
from typing import Final, ParamSpec, TypeVar

from .. import cells
from ..cells import SWITCH
from ..models import ModelRequest
from ..tools import Tool
from ..tracks import Status

MAX_RUNNING: Final = 10_000  # of one adapter; then the oldest is taken for ended
P = ParamSpec("P")
R = TypeVar("R")
Call = Tool | ModelRequest
Release = Callable[[], object]
Outcome = tuple[Status, str]  # and the type of its error
OK: Final[Outcome] = ("ok", "")
FAILED: Final[Outcome] = ("error", "tool_error")  # by what the framework says, which has no exception's name


def quiet(function: Callable[P, R]) -> Callable[P, R | None]:
    """Count what a function raises instead of raising it: frameworks differ from version to version."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # in somebody's program
            cells.fail("watch", f"a call in {function.__module__.rpartition('.')[2]}", error)
            return None

    return guarded


class Running:
    """Calls by what a framework knows them by; of the same key, the oldest ends first."""

    def __init__(self) -> None:
        self._calls: dict[Hashable, list[tuple[Call, Release]]] = {}

    def begin(self, key: Hashable, call: Call, *, held: object = None) -> None:
        """Begin a call, which is lost when `held` is, or when the task ends in which this is called."""
        if not SWITCH.on:
            return
        if len(self._calls) >= MAX_RUNNING:
            self.lost(next(iter(self._calls)))
        release = self._with_task(key) if held is None else self._with_object(key, held)
        self._calls.setdefault(key, []).append((call, release))
        call.start()

    def get(self, key: Hashable) -> Call | None:
        """Find the call that would end next."""
        calls = self._calls.get(key)
        return calls[0][0] if calls else None

    def end(self, key: Hashable) -> Call | None:
        """Take the call out that is to end; None if it did not begin here."""
        calls = self._calls.get(key)
        if not calls:
            return None
        call, release = calls.pop(0)
        if not calls:
            self._calls.pop(key, None)
        release()
        return call

    def done(self, key: Hashable, result: object = None, how: Outcome = OK) -> None:
        """End a call of a tool with what it gives back."""
        call = self.end(key)
        if isinstance(call, Tool):
            call.output(result)
        if call is not None:
            call.complete(how[0], error_type=how[1])

    def lost(self, key: Hashable, error_type: str = "") -> None:
        """End what nobody will hear of any more."""
        while call := self.end(key):
            call.complete("unknown", error_type=error_type)

    def keys(self) -> tuple[Hashable, ...]:
        """List what runs."""
        return tuple(self._calls)

    def _with_task(self, key: Hashable) -> Release:
        try:
            task = asyncio.current_task()
        except RuntimeError:
            task = None  # in a thread without a loop, where what is not caught ends the thread
        if task is None:
            return _nothing

        def ended(ended: asyncio.Task[object]) -> None:
            self.lost(key, "CancelledError" if ended.cancelled() else "")

        task.add_done_callback(ended)
        return lambda: task.remove_done_callback(ended)

    def _with_object(self, key: Hashable, held: object) -> Release:
        # A weakref.ref would go with this object, which may go together with `held`.
        watched = weakref.finalize(held, self.lost, key)
        watched.atexit = False
        return watched.detach


def _nothing() -> None:
    """Have nothing to release."""


def tokens(
    request: ModelRequest,
    *,
    all_input: int = 0,
    all_output: int = 0,
    cache_read: int = 0,
    cache_write: int = 0,
    reasoning: int = 0,
) -> None:
    """Count tokens as frameworks tell them: input with what was cached, output with reasoning."""
    request.tokens(
        input=max(0, all_input - cache_read - cache_write),
        output=max(0, all_output - reasoning),
        cache_read=cache_read,
        cache_write=cache_write,
        reasoning=reasoning,
    )
