"""When an agent's process is a successor of another one.

Rule: no look at any process; who ended and who began is told, with the time.

A process with an id of its own (`service.instance.id`) is known again whenever it comes back. One
without is called host:pid, and so is its successor, differently: it is a restart if an agent's
process of the same role ended a short while before, and is counted for the host, which stays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .tree import Identity

RESTART_WITHIN = 300.0  # seconds; who opens an agent later than that starts it, and restarts nothing
MAX_ENDED = 256  # agents' processes that ended and may have a successor
MAX_COUNTS = 1_024  # restarts that are remembered; the oldest make room


class Ended(NamedTuple):
    """An agent's process that ended, at a time of the caller's clock."""

    identity: Identity
    time: float


class Restarts:
    """Restarts by agent, instance (or host) and role."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._counts: dict[Identity, int] = {}
        self._ended: deque[Ended] = deque(maxlen=MAX_ENDED)

    def end(self, identity: Identity, now: float) -> None:
        """Note that a process ended; `now` in seconds."""
        self._ended.append(Ended(self._lasting(identity), now))

    def begin(self, identity: Identity, now: float) -> None:
        """Note a process that was not there before, and count it if it follows another."""
        mine = self._lasting(identity)
        found = self._again(mine) or self._next(mine, now)
        if found is None:
            return
        self._ended.remove(found)
        counted = mine if found.identity == mine else self._on_host(mine)
        self._counts[counted] = self._counts.pop(counted, 0) + 1
        if len(self._counts) > MAX_COUNTS:
            del self._counts[next(iter(self._counts))]

    def read(self, living: Iterable[Identity]) -> Iterator[tuple[Identity, int]]:
        """Read the counts of what is alive, 0 included, so that a first restart is an increase."""
        shown = {each for identity in living for each in (self._lasting(identity), self._on_host(identity))}
        for identity in sorted(shown):
            yield identity, self._counts.get(identity, 0)

    def _again(self, mine: Identity) -> Ended | None:
        if mine.instance == self._host:
            return None
        return next((ended for ended in self._ended if ended.identity == mine), None)

    def _next(self, mine: Identity, now: float) -> Ended | None:
        recent = (ended for ended in self._ended if now - ended.time <= RESTART_WITHIN)
        return next((ended for ended in recent if self._on_host(ended.identity) == self._on_host(mine)), None)

    def _lasting(self, identity: Identity) -> Identity:
        return self._on_host(identity) if identity.instance.startswith(f"{self._host}:") else identity

    def _on_host(self, identity: Identity) -> Identity:
        return identity._replace(instance=self._host)
