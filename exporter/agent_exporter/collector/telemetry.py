"""What the collector knows of itself, as readings of the catalogue and as the page for people.

What may live here: one function an audience. Nothing is counted here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .. import __version__
from ..catalog import CATALOG
from ..config import Addresses
from ..expose.page import Refusal, Source, Status
from ..sample import Reading
from .ingest import Ingest

_ACTIVE = CATALOG["agent.sessions.active"]


def readings(ingest: Ingest) -> list[Reading]:
    """Read every counter and gauge of the collector's own."""
    with ingest.lock, ingest.ledger.lock:
        return [*_counts(ingest), *_gauges(ingest)]


def _counts(ingest: Ingest) -> Iterator[Reading]:
    counts = Counter(ingest.ledger.counts)
    counts.update(ingest.policy.dialects.memory.counts)
    for (name, labels), count in counts.items():
        yield Reading(name, labels, count)
    yield Reading("agent_exporter.template.hits", (), ingest.repeats.hits)
    for label, count in ingest.policy.dialects.folded.items():
        yield Reading("agent_exporter.folded.labels", (("label", label),), count)


def _gauges(ingest: Ingest) -> Iterator[Reading]:
    for (agent, signal), when in ingest.ledger.last_seen().items():
        yield Reading("agent.source.last_seen", (("agent", agent), ("signal", signal)), when)
    dialects = ingest.policy.dialects
    for agent, count in dialects.active(ingest.clock() / 1e9).items():
        if not dialects.memory.told.has(_ACTIVE, (("agent", agent),)):
            yield Reading(_ACTIVE.name, (("agent", agent),), count)
    yield Reading("agent_exporter.streams", (), ingest.policy.streams)
    yield Reading("agent_exporter.series", (), ingest.policy.families.count())


def status(ingest: Ingest, started: float, addresses: Addresses) -> Status:
    """Say who sends, what was refused, and where the doors are."""
    with ingest.lock, ingest.ledger.lock:
        return Status(
            version=__version__,
            started=started,
            now=ingest.clock() / 1e9,
            grpc=str(addresses.grpc),
            http=str(addresses.http),
            streams=ingest.policy.streams,
            series=ingest.policy.families.count(),
            sources=[Source(*source, when) for source, when in ingest.ledger.seen.items()],
            refusals=_refusals(ingest),
        )


def _refusals(ingest: Ingest) -> list[Refusal]:
    """Add up the refusals of a signal and reason; the newest detail stands for all."""
    merged: dict[tuple[str, str], Refusal] = {}
    for each in ingest.ledger.refusals.values():
        before = merged.get((each.signal, each.reason))
        detail = f"{each.subject}: {each.detail}" if each.subject else each.detail
        count = each.count + (before.count if before else 0)
        merged[each.signal, each.reason] = Refusal(each.signal, each.reason, count, detail)
    return list(merged.values())
