"""The machine that the collector runs on: host, container and the agents' processes.

What may live here: when to look. A look costs about 0.1 ms a process of the machine, and as much
a reading that is pushed, so that nothing is read or pushed before the next look is due.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from . import container, host
from .processes import Processes
from .reading import FAILURES, Misses, Reading
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
        self._due = 0.0
        self._settings: Settings | None = None

    def read(
        self, settings: Settings, rules: Sequence[Rule], pushed: Callable[[], Iterable[Push]]
    ) -> list[Reading] | None:
        """Read what the settings ask for; None while the last look is new enough."""
        now = self._clock()
        if settings == self._settings and now < self._due:
            return None
        self._due, self._settings = now + settings.interval, settings
        return [*self._look(settings, rules, pushed, now), *self._misses.read()]

    def _look(
        self, settings: Settings, rules: Sequence[Rule], pushed: Callable[[], Iterable[Push]], now: float
    ) -> Iterator[Reading]:
        if settings.host:
            yield from host.read(self._misses)
            yield from container.read(self._misses)
        if settings.processes:
            try:
                yield from tuple(self._processes.read(rules, pushed(), uss=settings.uss, now=now))
            except FAILURES as error:  # of the list as a whole; what fails for one process is noted with it
                self._misses.fail("process", "list", error)
