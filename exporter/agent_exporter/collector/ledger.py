"""What the collector counts of what the pure rooms return, and the last detail of each refusal.

Rule: plain integers in one dict, by instrument and labels. `telemetry` turns them into OTel
instruments, the human page reads the details; nobody else keeps counters.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from threading import RLock
from typing import NamedTuple

from ..model import Answer, Labels, Signal

MAX_DETAILS = 200  # distinct (signal, reason, subject) on the human page; the oldest make room
MAX_TEXT = 200  # characters of a subject or detail
MAX_SOURCES = 2_000  # remembered senders; the one silent for longest makes room


# What is known beforehand begins at 0: an increase that begins with the first count is one that nobody sees.
BEGINNINGS: tuple[tuple[str, dict[str, str]], ...] = (
    *(("agent_exporter.received.items", {"signal": signal.value}) for signal in Signal),
    *(("agent_exporter.config.reloads", {"result": result}) for result in ("success", "failure")),
    *(("agent_exporter.expired", {"kind": kind}) for kind in ("stream", "series")),
    ("agent_exporter.gaps", {}),
    ("agent_exporter.resets", {}),
    ("agent_exporter.overflowed.streams", {}),
    ("agent_exporter.label.collisions", {}),
    ("agent_exporter.dropped.sessions", {}),  # of which the dialects' memory counts more
)


class Refusal(NamedTuple):
    """The newest example of what was not taken, for people; `time` in Unix seconds."""

    signal: str
    reason: str
    subject: str
    detail: str
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    time: float


class Source(NamedTuple):
    """Who sent what."""

    agent: str
    job: str
    instance: str
    signal: str


class Ledger:
    """Counts by (instrument name, labels), refusals by (signal, reason, subject), sources; thread safe."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.counts: Counter[tuple[str, Labels]] = Counter()
        for instrument, labels in BEGINNINGS:
            self.count(instrument, 0, **labels)
        self.refusals: OrderedDict[tuple[str, str, str], Refusal] = OrderedDict()
        self.seen: OrderedDict[Source, float] = OrderedDict()  # Unix seconds; the newest last

    def count(self, instrument: str, amount: int = 1, **labels: str) -> None:
        """Add to a counter of the catalogue."""
        with self.lock:
            self.counts[instrument, tuple(sorted(labels.items()))] += amount

    def answered(self, signal: Signal, answer: Answer, now: float) -> None:
        """Count what became of a request's items."""
        self.count("agent_exporter.received.items", answer.accepted + answer.rejected, signal=signal)
        for reason, subject, detail, count in answer.rejections:
            self.count("agent_exporter.rejected.items", count, signal=signal, reason=reason)
            self.refused(signal, reason, subject, detail, count, now)

    def refused(self, signal: str, reason: str, subject: str, detail: str, count: int, now: float) -> None:
        """Keep an example of a refusal for the human page."""
        subject, detail = subject[:MAX_TEXT], detail[:MAX_TEXT]
        key = signal, reason, subject
        with self.lock:
            before = self.refusals.pop(key, None)
            self.refusals[key] = Refusal(signal, reason, subject, detail, count + (before.count if before else 0), now)
            if len(self.refusals) > MAX_DETAILS:
                self.refusals.popitem(last=False)

    def saw(self, source: Source, now: float) -> None:
        """Remember when a source last sent."""
        with self.lock:
            self.seen[source] = now
            self.seen.move_to_end(source)
            if len(self.seen) > MAX_SOURCES:
                self.seen.popitem(last=False)

    def last_seen(self) -> dict[tuple[str, str], float]:
        """Tell when an agent last sent a signal, whichever of its processes it was."""
        return {(source.agent, source.signal): when for source, when in self.seen.items()}
