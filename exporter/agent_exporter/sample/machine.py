"""The machine that the collector runs on: host, container and the agents' processes.

What may live here: when to look. A look costs about 0.1 ms a process of the machine, so that
readings serve until the next one is due, however often somebody asks.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from . import container, host
from .processes import Processes
from .reading import Misses, Reading
from .tree import Push, Rule


class Settings(NamedTuple):
    """What to look at, and how often (seconds)."""

    interval: float = 15.0
    host: bool = True
    processes: bool = True
    uss: bool = False


class Machine:
    """Readings of this machine, taken at most once an interval; `clock` in seconds, only forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._misses = Misses()
        self._processes = Processes(platform.node(), os.getpid(), self._misses)
        self._readings: list[Reading] = []
        self._due = (0.0, Settings())

    def read(
        self, settings: Settings, rules: Sequence[Rule], pushed: Callable[[], Iterable[Push]]
    ) -> Sequence[Reading]:
        """Read what the settings ask for, or return the last readings while they are new enough."""
        now = self._clock()
        if not self._readings or now >= self._due[0] or settings != self._due[1]:
            self._readings = [*self._look(settings, rules, pushed, now), *self._misses.read()]
            self._due = now + settings.interval, settings
        return self._readings

    def _look(
        self, settings: Settings, rules: Sequence[Rule], pushed: Callable[[], Iterable[Push]], now: float
    ) -> Iterator[Reading]:
        if settings.host:
            yield from host.read(self._misses)
            yield from container.read(self._misses)
        if settings.processes:
            yield from self._processes.read(rules, pushed(), uss=settings.uss, now=now)
