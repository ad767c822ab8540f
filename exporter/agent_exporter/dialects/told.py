"""What programs tell by our library, so that what others tell of the same does not count as well.

Rule: by agent, family and what it is about: a framework's spans of a tool do not count where the library measures
that tool, and count for the tools that it does not. The library pushes a family as soon as it knows of it, before
the first call has ended; what was counted before that stays.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from ..catalog import CATALOG
from ..model import Instrument, Labels
from .costs import COST, TOKENS, UNPRICED

SCOPE: Final = "agent_exporter.instrument"  # the library's
SUBJECTS: Final = 20_000  # remembered
# What a family is about, if not the agent as a whole. Of models not each one: programs name them differently.
_ABOUT: Final = ("agent_instance", "role", "name", "tool", "cache", "interface", "operation")
_SUBJECT: Final = {
    name: () if "model" in row.labels else tuple(label for label in _ABOUT if label in row.labels)
    for name, row in CATALOG.items()
}
_AS: Final = {COST.name: TOKENS.name, UNPRICED.name: TOKENS.name}  # who tells tokens has their cost worked out

Subject = tuple[str, str, tuple[str, ...]]


class Told:
    """Families that the library tells, by agent and what they are about."""

    def __init__(self) -> None:
        self._known: set[Subject] = set()
        self._doubted: dict[Subject, float] = {}  # known from a process that has left, perhaps; until when
        self.news: set[str] = set()  # agents of which something is told that was not

    def tell(self, instrument: Instrument, labels: Labels) -> None:
        """Remember that the library tells this."""
        subject = _subject(instrument, labels)
        self._doubted.pop(subject, None)
        if subject not in self._known and len(self._known) < SUBJECTS:
            self._known.add(subject)
            self.news.add(subject[0])

    def doubt(self, agents: Container[str], until: float) -> None:
        """Ask to be told again, until a time in Unix seconds, what is known of these agents."""
        for subject in self._known:
            if subject[0] in agents:
                self._doubted.setdefault(subject, until)

    def drop(self, now: float) -> set[str]:
        """Forget what was not told again in time; return the agents it was about."""
        dropped = {subject for subject, until in self._doubted.items() if until <= now}
        for subject in dropped:
            del self._doubted[subject]
        self._known -= dropped
        return {subject[0] for subject in dropped}

    def has(self, instrument: Instrument, labels: Labels) -> bool:
        """Tell whether the library tells this, so that nobody else's word counts."""
        return bool(self._known) and instrument.name in CATALOG and _subject(instrument, labels) in self._known


def _subject(instrument: Instrument, labels: Labels) -> Subject:
    of = dict(labels)
    about = tuple(of.get(label, "") for label in _SUBJECT[instrument.name])
    return of.get("agent", ""), _AS.get(instrument.name, instrument.name), about
