"""What an agent does besides calling tools and models: operations, turns, sessions, interfaces, feedback.

What may live here: timers with a name, and the few things an agent says of itself that are no time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, ParamSpec, Self, TypeVar

from . import cells, given
from .cells import SWITCH
from .tracks import STATUSES, Status, clock, outcome
from .wrapping import wrap

P = ParamSpec("P")
R = TypeVar("R")

DURATION: Final = "agent.operation.duration"


class Timer:
    """Something that takes time: a function to decorate, a block, or from `start` to `complete`.

    An object is one run at a time; a decorated function has its own for every call.
    """

    __slots__ = ("_labels", "_start")
    family = DURATION

    def __init__(self, **labels: str) -> None:
        self._labels = labels
        self._start = -1.0  # not running

    def start(self) -> Self:
        """Begin."""
        if SWITCH.on:
            self.complete("unknown")  # what ran before, if anything
            self._start = clock()
            self._begun()
        return self

    def complete(self, status: Status = "ok") -> None:
        """End; a second end of the same run counts for nothing."""
        start, self._start = self._start, -1.0
        if start < 0.0:
            return
        ended = given.word(status, STATUSES, "how something ended")
        cells.histogram(self.family, **self._labels, status=ended).record(clock() - start)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Time every call of a function."""
        wrapped: Callable[P, R] = wrap(function, lambda: type(self)(**self._labels))
        return wrapped

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            self.complete()
        else:
            self.failed(error)

    def _begun(self) -> None:
        """Do what else belongs to a beginning."""

    # -- as wrapping.Measured ---------------------------------------------

    passed = None

    def begin(self, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        """Begin with a function's call."""
        self.start()

    def done(self, _result: object) -> None:
        """End with a function's result."""
        self.complete()

    def failed(self, error: BaseException) -> None:
        """End with what was raised."""
        self.complete(outcome(error)[0])

    def abandoned(self) -> None:
        """End as nobody waits for it any more."""
        self.complete("unknown")


class Turn(Timer):
    """An agent's work on one prompt."""

    __slots__ = ()
    family = "agent.turn.duration"

    def _begun(self) -> None:
        cells.counter("agent.turns").add()


class Session(Timer):
    """A conversation, from its beginning until it is left."""

    __slots__ = ()
    family = ""

    def complete(self, status: Status = "ok") -> None:  # noqa: ARG002  # sessions have no outcome
        """End; a second end of the same session counts for nothing."""
        start, self._start = self._start, -1.0
        active = cells.gauge("agent.sessions.active")
        if start >= 0.0 and active.value:  # in a forked child, its parent's sessions are none of its own
            active.value -= 1.0  # after a shutdown as well: what is over would be active at the next start

    def _begun(self) -> None:
        cells.counter("agent.sessions").add()
        cells.gauge("agent.sessions.active").add(1.0)


class Interface:
    """A way to a model, tool server or user, by name: how often it failed in a row, and what stands in for it."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def succeeded(self) -> None:
        """Say that it worked."""
        self._gauge("agent.interface.consecutive_failures").set(0.0)

    def failed(self) -> None:
        """Say that it failed."""
        self._gauge("agent.interface.consecutive_failures").add(1.0)

    def fallback(self, active: bool = True) -> None:
        """Say whether something else stands in for it now."""
        self._gauge("agent.fallback.active").set(1.0 if active else 0.0)

    def switch(self) -> Timer:
        """Time the change to this interface, as the operation `interface.switch`."""
        return Timer(operation="interface.switch", mode=self._name)

    def _gauge(self, family: str) -> cells.Gauge:
        return cells.gauge(family, interface=self._name)


def operation(name: str, *, mode: str = "") -> Timer:
    """Time something by name, such as `command` or `context.prepare`; `mode` is how it is done."""
    return Timer(operation=given.text(name, "the name of an operation"), mode=given.text(mode, "a mode"))


def transition(state: str) -> Timer:
    """Time a change to a state, as the operation `state.transition`."""
    return operation("state.transition", mode=state)


def turn() -> Turn:
    """Count and time an agent's work on one prompt."""
    return Turn()


def session() -> Session:
    """Count a session, open until the block ends or `complete` is called."""
    return Session()


def interface(name: str) -> Interface:
    """Speak of an interface by its name."""
    return Interface(given.text(name, "the name of an interface"))


def feedback(rating: str) -> None:
    """Count a person's rating, in as few different words as possible: `up`, `down`, `3`."""
    cells.counter("agent.feedback", rating=given.text(rating, "a rating")).add()


def context_used(share: float) -> None:
    """Say which share of the model's context window is in use, from 0 to 1."""
    found = given.amount(share, "the share of a context window")
    if found is not None:
        cells.gauge("agent.context.utilization").set(found)


def compacted(trigger: str = "auto") -> None:
    """Count a conversation that was shortened to fit, by what triggered it."""
    cells.counter("agent.context.compactions", trigger=given.text(trigger, "a trigger")).add()
