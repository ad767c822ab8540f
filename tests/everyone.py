"""All captures at once: their requests on one clock, and what a page says after them.

What may live here: the schedule, and pages as dicts. No expectations.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import captures
from agent_exporter.catalog import CATALOG
from agent_exporter.collector.ingest import Ingest
from agent_exporter.config import Config
from agent_exporter.dialects import Dialects
from agent_exporter.expose.names import Strategy, metric_name
from agent_exporter.model import Kind, Signal
from agent_exporter.prices import Prices
from otlp import EPOCH, SECOND, dialects
from replay import protobuf
from rewrite import REQUESTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.message import Message

    from agent_exporter.model import Answer

RUNS = captures.names()
STAGGER = SECOND // 32  # no two processes begin in the same millisecond
AFTER = 3600 * SECOND  # what waits for a parent or an inner span has been measured by then
ODD = 10**18  # Unix nanoseconds; some captures have times of 1 ns on purpose, which stay
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
STRATEGY = Strategy("UnderscoreEscapingWithSuffixes")
PRICES = Prices()  # reads its table once
KINDS = {metric_name(row.name, row.unit, row.kind, STRATEGY).sample: row.kind for row in CATALOG.values()}

Labels = tuple[tuple[str, str], ...]
Page = dict[tuple[str, Labels], tuple[float, ...]]


class Request(NamedTuple):
    """What one capture sent when, in Unix nanoseconds."""

    at: int
    run: str
    seq: int
    signal: Signal
    body: bytes


@cache
def recorded(run: str) -> tuple[Request, ...]:
    """List a run's requests at the times that they say themselves."""
    payloads = captures.load(run).payloads
    bodies = [protobuf(payload) for payload in payloads]
    newest = max(_times(REQUESTS[payloads[0].signal].FromString(bodies[0])))
    begun = newest - int(payloads[0].elapsed * SECOND)
    return tuple(
        Request(begun + int(payload.elapsed * SECOND), run, payload.seq, Signal(payload.signal), body)
        for payload, body in zip(payloads, bodies, strict=True)
    )


@cache
def simultaneous(run: str) -> tuple[Request, ...]:
    """List a run's requests as if all runs had begun together; ids stay."""
    first, elapsed = recorded(run)[0].at, int(captures.load(run).payloads[0].elapsed * SECOND)
    later = EPOCH + RUNS.index(run) * STAGGER - (first - elapsed)
    return tuple(each._replace(at=each.at + later, body=_moved(each, later)) for each in recorded(run))


def _times(message: Message) -> Iterator[int]:
    for field, value in message.ListFields():
        if field.name.endswith("time_unix_nano"):
            yield value
        elif field.type == field.TYPE_MESSAGE:
            for each in value if field.is_repeated else [value]:
                yield from _times(each)


def _moved(request: Request, later: int) -> bytes:
    message = REQUESTS[request.signal].FromString(request.body)
    _move(message, later)
    return message.SerializeToString()


def _move(message: Message, later: int) -> None:
    for field, value in message.ListFields():
        if field.name.endswith("time_unix_nano"):
            setattr(message, field.name, value + later if value > ODD else value)
        elif field.type == field.TYPE_MESSAGE:
            for each in value if field.is_repeated else [value]:
                _move(each, later)


class Everyone:
    """A collector of its own whose clock goes with the requests; `rejected` by run, reason and subject."""

    def __init__(self, requests: Iterable[Request], *, times: int = 1) -> None:
        self.now = EPOCH
        self.ingest = Ingest(Config(), Dialects(dialects().files, prices=PRICES), lambda: self.now)
        self.rejected: Counter[tuple[str, str, str]] = Counter()
        for request in sorted(requests):
            self.now = max(self.now, request.at)
            for _ in range(times):
                self._take(request.run, self.ingest(request.signal, request.body))

    def _take(self, run: str, answer: Answer) -> None:
        for each in answer.rejections:
            self.rejected[run, each.reason, each.subject] += each.count

    def page(self) -> Page:
        """Tell the cells of every series that is shown after all that waits has been measured."""
        self.now += AFTER
        self.ingest.sweep()
        return self.shown()

    def shown(self) -> Page:
        """Tell the cells of every series that is shown now."""
        return {
            (family.name, tuple(sorted(LABEL.findall(text.decode())))): tuple(
                table.values[row * table.width : (row + 1) * table.width]
            )
            for family in self.ingest.snapshot()
            for table in family.tables
            for row, text in enumerate(table.texts)
            if row not in table.hidden
        }


def normalised(page: Page, *kinds: Kind) -> Page:
    """Return the series of normalised families of some kinds (all, if none is named)."""
    return {key: cells for key, cells in page.items() if KINDS.get(key[0]) in (kinds or tuple(Kind))}


def summed(pages: Iterable[Page]) -> Page:
    """Add pages up, series by series."""
    total: Page = {}
    for page in pages:
        for key, cells in page.items():
            total[key] = tuple(map(sum, zip(total.get(key, [0.0] * len(cells)), cells, strict=True)))
    return total


def differing(one: Page, other: Page) -> dict[tuple[str, Labels], tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return the series in which two pages differ, with the cells of both; sums of floats to nine digits."""
    return {
        key: (one.get(key, ()), other.get(key, ()))
        for key in one.keys() | other.keys()
        if not _same(one.get(key, ()), other.get(key, ()))
    }


def _same(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return len(one) == len(other) and all(
        repr(a) == repr(b) or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) for a, b in zip(one, other, strict=True)
    )
