"""What a check says: findings, each with its place, and the names that nobody here can judge."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from .lexicon import Labels

_CLOSE = 0.6  # how alike a name must be to be meant


class Unusable(ValueError):
    """A file cannot be read or is not what it should be; the text has the place."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that cannot be right: where it is (file and line, rule or panel) and what it is."""

    place: str
    text: str

    def __str__(self) -> str:
        """Write one line."""
        return f"{self.place}: {self.text}"


@dataclass(slots=True)
class Reading:
    """What was understood of a query."""

    labels: Labels = None
    strangers: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    mistakes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What was found in a file, and how much was looked at."""

    path: Path
    queries: int = 0
    findings: list[Finding] = field(default_factory=list)
    strangers: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)  # series that would be ours, and that a user may have of his own

    def take(self, place: str, reading: Reading) -> None:
        """Note what was understood of a query."""
        self.queries += 1
        self.strangers |= reading.strangers
        self.unknown |= reading.unknown
        for mistake in reading.mistakes:
            self.add(place, mistake)

    def add(self, place: str, text: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(f"{self.path}{place}", text))


def meant(name: str, known: Collection[str], start: str = "") -> str:
    """Ask whether a name that is like this one was meant; say nothing if none is.

    With `start`, by which a name is put among others, only those are meant that are like it in what follows.
    """
    rests = [each.removeprefix(start) for each in known if each.startswith(start)]
    near = get_close_matches(name.removeprefix(start), rests, n=1, cutoff=_CLOSE)
    return f"; did you mean `{start}{near[0]}`?" if near else ""
