"""Profiles: what the steps of a piece of work take, time and memory, in every run and on average.

What may live here: `profile`, its runs, and the averages of all runs of a name. Times are also operations
(`profile.<name>` and `profile.<name>.<step>` of agent.operation.duration); average growth is a gauge beside them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Final, NamedTuple, Self

from . import cells
from .cells import SWITCH
from .families import OTHER
from .memory import READ, TRACES, Memory

MAX_NAMES: Final = 500  # profiles and their steps; what is beyond is `other`
OPERATION: Final = "agent.operation.duration"
GROWTH: Final = "agent.operation.memory.growth"


class Cost(NamedTuple):
    """What something took: how often it was done, seconds, and bytes of memory that were left; None: not measured."""

    times: int
    seconds: float
    growth: float | None


class Total:
    """Costs that add up; plain numbers are added without a lock (see cells)."""

    __slots__ = ("growth", "measured", "seconds", "times")

    def __init__(self) -> None:
        self.times = self.measured = 0
        self.seconds = self.growth = 0.0

    def add(self, seconds: float, growth: float | None) -> None:
        """Add what was done once."""
        self.times += 1
        self.seconds += seconds
        if growth is not None:
            self.measured += 1
            self.growth += growth

    def sum(self) -> Cost:
        """Return all of it."""
        return Cost(self.times, self.seconds, self.growth if self.measured else None)

    def average(self) -> Cost:
        """Return what it took each time."""
        growth = self.growth / self.measured if self.measured else None
        return Cost(self.times, self.seconds / max(self.times, 1), growth)


class Totals:
    """The totals of all runs in this process, by name; the growth of each is watched."""

    def __init__(self) -> None:
        self._of: dict[str, Total] = {}
        self._watch: cells.Watch | None = None

    def add(self, name: str, seconds: float, growth: float | None, status: str) -> None:
        """Add what was done once, and tell it as an operation."""
        if self._watch is None:
            self._watch = cells.watch(GROWTH, self._growth, fresh=True)
        if name not in self._of and len(self._of) >= MAX_NAMES:
            name = OTHER
        self._of.setdefault(name, Total()).add(seconds, growth)
        cells.histogram(OPERATION, operation=f"profile.{name}", status=status).record(seconds)

    def averages(self, name: str) -> dict[str, Cost]:
        """Return the averages of a profile and its steps."""
        of = tuple(self._of.items())
        return {each: total.average() for each, total in of if each == name or each.startswith(f"{name}.")}

    def reset(self) -> None:
        """Forget everything: a forked child begins anew."""
        self._of.clear()
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def _growth(self) -> Iterator[tuple[dict[str, str], float]]:
        for name, total in tuple(self._of.items()):
            growth = total.average().growth
            if growth is not None:
                yield {"operation": f"profile.{name}"}, growth


_TOTALS: Final = Totals()
os.register_at_fork(after_in_child=_TOTALS.reset)


class Step:
    """One step of a run: time it with `with`."""

    __slots__ = ("_began", "_had", "_name", "_run")

    def __init__(self, run: Run, name: str) -> None:
        self._run, self._name = run, name
        self._began: float = 0.0
        self._had: float | None = None

    def __enter__(self) -> Self:
        self._had = self._run.memory()
        self._began = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._run.add(f".{self._name}", self._began, self._had, kind)


class Run:
    """One run of a profile: `with profile(name) as run`. Runs of one name may overlap, in threads and in tasks."""

    def __init__(self, name: str, memory: Memory | None) -> None:
        self.name = name
        self._memory = memory
        self._began = self._marked = 0.0
        self._had: float | None = None
        self._had_marked: float | None = None
        self._totals: dict[str, Total] = {}

    def __enter__(self) -> Self:
        if self._memory == "tracemalloc" and SWITCH.on:
            TRACES.enter(self)
        self._had = self._had_marked = self.memory()
        self._began = self._marked = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self.add("", self._began, self._had, kind)
        TRACES.leave(self)

    def step(self, name: str) -> Step:
        """Measure a step of this run: `with run.step(name):`."""
        return Step(self, name)

    def checkpoint(self, name: str) -> None:
        """Say that what was done since the last checkpoint, or since the beginning, was this step."""
        self.add(f".{name}", self._marked, self._had_marked, None)
        self._marked, self._had_marked = time.perf_counter(), self.memory()

    @property
    def costs(self) -> dict[str, Cost]:
        """What this run took so far: a step by `name.step`, the whole by its name, once it is over."""
        return {name: total.sum() for name, total in tuple(self._totals.items())}

    @property
    def averages(self) -> dict[str, Cost]:
        """What a run of this name took on average so far in this process, by the same names."""
        return _TOTALS.averages(self.name)

    def memory(self) -> float | None:
        """Read how much memory there is in use, as this run measures it."""
        return READ[self._memory]() if SWITCH.on and self._memory else None

    def add(self, name: str, began: float, had: float | None, error: type[BaseException] | None) -> None:
        """Note what ends now."""
        if not SWITCH.on or not began:
            return
        seconds, has = time.perf_counter() - began, self.memory()
        growth = None if has is None or had is None else has - had
        name = f"{self.name}{name}"
        if name in self._totals or len(self._totals) < MAX_NAMES:
            self._totals.setdefault(name, Total()).add(seconds, growth)
        _TOTALS.add(name, seconds, growth, "error" if error else "ok")


def profile(name: str, *, memory: Memory | None = "rss") -> Run:
    """Measure a piece of work and the steps of it, with `with`; in plain and in async code.

    Memory is by how much the resident set of the process grew (`rss`, in whole pages, whoever took them) or what Python
    allocated (`tracemalloc`, exact, but it slows every allocation); None measures time only.
    """
    return Run(str(name), memory if memory in READ else None)
