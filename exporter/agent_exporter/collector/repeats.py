"""Requests that are expected again as they were: learned, tried first, dropped.

What may live here: when a template is worth its making and its memory. How one reads bytes is in `decode.templates`,
what it does to the store in `store.blocks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from weakref import WeakValueDictionary

from ..decode import templates
from ..decode.templates import Run, Template
from ..decode.wire import Origin
from ..model import Form, Temporality
from ..store.blocks import OPERATIONS, Block, Group
from .intake import Intake

BYTES = 64_000_000  # of memory, about, for what is expected of all senders
SIGHTS = 3  # of one length before a template is made, which costs what half a dozen hits save
MOST_SIGHTS = 1000  # after templates that were of no use or could not be made
IDLE = 40  # sweeps (ten minutes) after which a request that did not come again is expected no more
_KNOWN = 4096  # requests that were seen and may come again
_METRIC, _POINT = 800, 100  # bytes that a block, and a point that waits, take beside the request's own: measured

Taken = tuple[Intake, Sequence[bytes]]  # the points of a metric, and who took them
Key = tuple[int, bytes]  # the length of a request, and its bytes up to the end of the first resource


class Repeat:
    """One request of one sender."""

    def __init__(self) -> None:
        self.template: Template | None = None
        self.origins: list[Origin] = []
        self.metrics = self.points = self.size = 0
        self.hits = self.seen = self.idle = 0
        self.sights = SIGHTS
        self._groups: list[Group] = []

    def learn(
        self, template: Template, blocks: Sequence[Block], kinds: Sequence[object], origins: list[Origin]
    ) -> None:
        """Expect the request again."""
        self.template, self.origins = template, origins
        self.metrics, self.points = len(blocks), sum(block.count for block in blocks)
        self.size = _cost(template.size, self.metrics, self.points)
        self._groups = [Group(kinds[each[0]], [blocks[number] for number in each]) for each in template.members]

    def forget(self) -> None:
        """Expect it no more."""
        self.settle()
        self.template, self.origins, self._groups = None, [], []

    def stands(self) -> bool:
        """Tell whether the streams are as they were."""
        return all(group.stands() for group in self._groups)

    def take(self, body: bytes, at: int) -> bool:
        """Take a request of the right length, all of it or nothing."""
        columns = self.template.read(body, at) if self.template is not None else None
        if columns is None:
            return False
        for group, each in zip(self._groups, columns, strict=True):
            if not group.judge(each):
                self.settle()
                return False
        for group in self._groups:
            group.keep()
        self.hits += 1
        self.idle = 0
        return True

    def settle(self) -> None:
        """Bring the streams up to date."""
        for group in self._groups:
            group.settle()


class Repeats:
    """What is expected of all senders; `hits` counts metrics."""

    def __init__(self) -> None:
        self.hits = 0
        self._known: dict[Key, Repeat] = {}
        self._lengths: set[int] = set()  # of those that have templates
        self._templates: WeakValueDictionary[int, Template] = WeakValueDictionary()  # by size, for other senders

    def size(self) -> int:
        """Tell about how many bytes it takes; senders of one program share a template."""
        expected = [(repeat.size, repeat.template) for repeat in self._known.values() if repeat.template is not None]
        shared = {id(template): template.cost for _, template in expected}
        return sum(shared.values()) + sum(size for size, _ in expected)

    def take(self, body: bytes) -> Repeat | None:
        """Take a request if it is expected and plain."""
        if len(body) not in self._lengths:
            return None
        at = templates.head(body)
        repeat = self._known.get((len(body), body[:at]))
        if repeat is None or not repeat.take(body, at):
            return None
        self.hits += repeat.metrics
        return repeat

    def see(self, body: bytes, taken: Sequence[Taken], origins: list[Origin]) -> None:
        """Notice a request of which all was plain on the main path; learn from it if it seems to repeat itself."""
        at = templates.head(body)
        key = len(body), body[:at]
        if key not in self._known and len(self._known) >= _KNOWN:
            return  # until the next sweep
        repeat = self._known.setdefault(key, Repeat())
        repeat.seen, repeat.idle = repeat.seen + 1, 0
        if repeat.seen >= repeat.sights:
            tried, useful = repeat.template is not None, repeat.hits >= repeat.sights
            repeat.seen = repeat.hits = 0
            repeat.forget()
            if useful or not tried:
                self._learn(repeat, body, at, taken, origins)
            if useful:
                repeat.sights = SIGHTS
            elif repeat.template is None:
                repeat.sights = min(2 * repeat.sights, MOST_SIGHTS)

    def _learn(self, repeat: Repeat, body: bytes, at: int, taken: Sequence[Taken], origins: list[Origin]) -> None:
        if self.size() + _cost(len(body), len(taken), sum(len(raws) for _, raws in taken)) > BYTES:
            return
        found = list(_blocks(taken))
        if len(found) < len(taken) or len({id(block.streams) for _, block in found}) < len(found):
            return
        template = self._templates.get(len(body) - at)
        if template is None or template.read(body, at) is None:
            template = templates.make(body, at, [run for run, _ in found])
        if template is not None:
            self._templates[template.size] = template
            self._lengths.add(len(body))
            repeat.learn(template, [block for _, block in found], [run.kind for run, _ in found], origins)

    def sweep(self) -> None:
        """Expect nothing any more of streams that have changed, nor what did not come for long."""
        for repeat in self._known.values():
            repeat.idle += 1
            if repeat.idle > IDLE or not repeat.stands():
                repeat.forget()
        self._known = {key: repeat for key, repeat in self._known.items() if repeat.idle <= IDLE}
        self._lengths = {length for (length, _), repeat in self._known.items() if repeat.template is not None}


def _cost(length: int, metrics: int, points: int) -> int:
    return length + _METRIC * metrics + _POINT * points


def _blocks(taken: Sequence[Taken]) -> Iterator[tuple[Run, Block]]:
    """Find the rows of each metric's points, where they follow each other."""
    for intake, raws in taken:
        metric, streams = intake.metric, intake.streams
        kind = metric.form, metric.temporality, metric.monotonic and metric.form is Form.SUM
        start = "Q" if metric.temporality is Temporality.DELTA else "8x" if metric.form is Form.GAUGE else ""
        entries = intake.read(raws)
        rows = [streams.rows.get(entry[0]) for entry in entries]
        first = rows[0]
        if kind not in OPERATIONS or first is None or rows != list(range(first, first + len(rows))):
            return
        if not start and any(entry[1] != streams.starts[row] for row, entry in enumerate(entries, first)):
            return
        yield Run(kind, metric.form, start, raws), Block(streams, first, len(raws))
