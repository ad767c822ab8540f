"""What the collector knows of itself, as readings of the catalogue and as the page for people.

What may live here: one function an audience. Nothing is counted here.
"""

from __future__ import annotations

from collections.abc import Iterator

from .. import __version__
from ..config import Addresses
from ..expose.page import LINKS, Refusal, Source, Status
from ..model import Labels, Signal
from ..sample import Reading
from .ingest import Ingest

_SHOWN_FROM_START: tuple[tuple[str, Labels], ...] = tuple(
    ("agent_exporter.received.items", (("signal", str(signal)),)) for signal in Signal
)  # a first increase needs a 0 before it


def readings(ingest: Ingest) -> Iterator[Reading]:
    """Read every counter and gauge of the collector's own."""
    ledger = ingest.ledger
    for name, labels in _SHOWN_FROM_START:
        ledger.counts[name, labels] += 0
    for (name, labels), count in tuple(ledger.counts.items()):
        yield Reading(name, labels, count)
    for (agent, signal), when in ledger.last_seen().items():
        yield Reading("agent.source.last_seen", (("agent", agent), ("signal", signal)), when)
    for label, count in tuple(ingest.policy.dialects.folded.items()):
        yield Reading("agent_exporter.folded.labels", (("label", label),), count)
    yield Reading("agent_exporter.streams", (), ingest.policy.streams)
    yield Reading("agent_exporter.series", (), ingest.policy.families.count())


def status(ingest: Ingest, started: float, addresses: Addresses) -> Status:
    """Say who sends, what was refused, and where the doors are."""
    refusals: dict[tuple[str, str], Refusal] = {}
    for each in tuple(ingest.ledger.refusals.values()):
        key = each.signal, each.reason
        count = each.count + (refusals[key].count if key in refusals else 0)
        detail = f"{each.subject}: {each.detail}" if each.subject else each.detail
        refusals[key] = Refusal(each.signal, each.reason, count, detail)
    return Status(
        version=__version__,
        started=started,
        now=ingest.clock() / 1e9,
        grpc=str(addresses.grpc),
        http=str(addresses.http),
        streams=ingest.policy.streams,
        series=ingest.policy.families.count(),
        sources=[Source(*source, when) for source, when in tuple(ingest.ledger.seen.items())],
        refusals=list(refusals.values()),
        links=LINKS,
    )
