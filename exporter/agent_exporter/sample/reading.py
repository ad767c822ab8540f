"""What a look at something gives, and what is said when it fails.

Rule: readings of the catalogue and a count of what could not be read; nobody is looked at here,
and nothing is ever logged here (otlp-and-prometheus.md section 3: one line per process and
minute is what users of the Collector's process scraper complain of).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterator
from typing import NamedTuple

import psutil

from ..model import Labels


class Reading(NamedTuple):
    """One value of one instrument of the catalogue."""

    instrument: str
    labels: Labels
    value: float


# What may go wrong under a look at the system; anything else is a mistake of ours.
FAILURES = (psutil.Error, OSError, ValueError, RuntimeError)  # NotImplementedError is a RuntimeError

_REASONS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((psutil.AccessDenied, PermissionError), "denied"),
    ((psutil.NoSuchProcess, ProcessLookupError, FileNotFoundError), "vanished"),
)

_EXPECTED = (  # shown as 0 from the start, so that a first one is an increase
    *(("process", reason) for reason in ("denied", "vanished", "limit", "failed")),
    *(("host", "failed"), ("container", "failed")),
)


class Misses:
    """What could not be read, counted once for each thing and reason."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter(dict.fromkeys(_EXPECTED, 0))
        self._known: set[tuple[Hashable, str]] = set()

    def fail(self, source: str, thing: Hashable, error: BaseException) -> None:
        """Count a failed look at a thing, unless it failed so before."""
        self.note(source, thing, next((reason for types, reason in _REASONS if isinstance(error, types)), "failed"))

    def note(self, source: str, thing: Hashable, reason: str) -> None:
        """Count a reason for a thing, once."""
        if (thing, reason) not in self._known:
            self._known.add((thing, reason))
            self._counts[source, reason] += 1

    def keep(self, kind: type, things: Collection[Hashable]) -> None:
        """Forget things of a type but these, so that what is known stays as small as what there is."""
        self._known = {(thing, why) for thing, why in self._known if not isinstance(thing, kind) or thing in things}

    def read(self) -> Iterator[Reading]:
        """Read the counts."""
        for (source, reason), count in self._counts.items():
            yield Reading("agent_exporter.sample.errors", (("source", source), ("reason", reason)), count)
