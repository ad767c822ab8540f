"""What happens to the points of one metric of one scope of one client.

What may live here: the road of points whose stream is known, and the resolve path of those
whose stream is not: parsed in full, series found, key learned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ..decode import points, records
from ..decode.records import Invalid, Point
from ..decode.wire import Header
from ..expose.labels import RESERVED, TARGET, block, label_pairs
from ..expose.names import Name, Unnameable, metric_name
from ..model import Answer, Exemplar, Feed, Form, Kind, Metric, Rejection, Temporality
from ..store import histograms, numbers
from ..store.families import SPARE, Conflict, Rows, Series
from ..store.streams import Notes, Streams
from .clients import Meter
from .normalised import OVERFLOW
from .policy import METRICS_PER_CLIENT, NAME_LENGTH, Policy

_APPLY = {**numbers.APPLY, **histograms.APPLY}
_READ: dict[Form, Callable[[Sequence[bytes]], Sequence[Any]]] = {
    Form.GAUGE: points.numbers,
    Form.SUM: points.numbers,
    Form.HISTOGRAM: points.histograms,
}
# Notes about points that had no effect: which of them the sender is told of.
TOLD = {
    "late": "older than what was already received",
    "overlap": "its interval overlaps what was already received: two writers, or a client that sends again in pieces",
    "not_finite": "a counter cannot take NaN or infinity",
    "negative": "a monotonic sum cannot fall within a delta",
}
_OURS = ("agent_exporter.", "agent.source.")
_BUCKETED = (Form.HISTOGRAM, Form.EXPONENTIAL_HISTOGRAM)
_TYPES = {"unknown": Kind.UNKNOWN, "unkown": Kind.UNKNOWN, "info": Kind.INFO, "stateset": Kind.STATESET}


class Intake:
    """The points of one metric: known streams to their cells, unknown ones resolved first."""

    def __init__(self, meter: Meter, header: Header, policy: Policy) -> None:
        self.meter, self.policy = meter, policy
        self.name = header.name.decode(errors="replace")
        self.refusal: tuple[str, str] | None = None
        self.family: Series | None = None
        self.now = 0
        self._faults: Counter[tuple[str, str]] = Counter()
        self._gone: set[int] = set()
        self.streams = Streams(cumulative=header.temporality == Temporality.CUMULATIVE or header.form == Form.SUMMARY)
        try:
            self.metric = self._check(records.metric(header))
        except Invalid as error:
            self.refusal = error.reason, error.detail
            return
        self.kind = _kind(self.metric)
        self.passes = policy.passes(self.metric.name, own=meter.own)
        self.read = _READ.get(self.metric.form, _unread)
        monotonic = self.metric.monotonic and self.metric.form is Form.SUM
        self.apply = _APPLY[self.metric.form, self.metric.temporality, monotonic]

    def _check(self, metric: Metric) -> Metric:
        if metric.name.startswith(_OURS) and not self.meter.own:
            raise Invalid("reserved_name", "names that begin so are the exporter's own")
        self.foreign = self.policy.foreign(metric.name, own=self.meter.own)
        if self.foreign and not self.meter.client.identity:
            raise Invalid("reserved_name", "without a service.name this is the collector's own machine")
        if max(len(metric.name), len(metric.unit)) > NAME_LENGTH:
            raise Invalid("name_too_long", f"a name or unit may have {NAME_LENGTH} characters")
        if self.meter.client.metrics > METRICS_PER_CLIENT:
            raise Invalid("metric_limit", f"this client has sent {METRICS_PER_CLIENT} metrics already")
        return metric

    def _open(self) -> Series:
        """Claim the family's name; not before there is a point for it."""
        metric = self.metric
        suffix = "_info" if self.kind is Kind.INFO and not metric.name.endswith("_info") else ""
        try:
            name: Name = metric_name(
                metric.name + suffix, metric.unit, self.kind, self.policy.strategy, form=metric.form
            )
            return self.policy.families.open(name.sample, self.kind, name.unit, metric.description)
        except Unnameable as error:
            self.refusal = "unnameable", str(error)
        except Conflict as error:
            self.refusal = "type_conflict", str(error)
        raise Invalid(*self.refusal)

    # -- points -----------------------------------------------------------

    def take(self, raws: Sequence[bytes], answer: Answer, now: int) -> Notes:
        """Apply the points of a metric of a request; `now` in Unix nanoseconds. Returns what was noted about them."""
        if self.refusal is not None:
            answer.rejections.append(Rejection(self.refusal[0], self.name, self.refusal[1], len(raws)))
            return Notes()
        self.now = now
        self.streams.settle()
        notes = self.apply(self.streams, raws, self.read(raws), self.resolve)
        if self._gone:
            self.retire(self._gone, forget=self.metric.form is Form.GAUGE)  # which has no total to come back to
            self._gone = set()
        rejected = self._reject(answer, notes) if notes or self._faults else 0
        answer.accepted += len(raws) - rejected
        return notes

    def _reject(self, answer: Answer, notes: Notes) -> int:
        faults = [
            *self._faults.items(),
            *(((reason, TOLD[reason]), notes[reason]) for reason in TOLD if notes[reason]),
        ]
        answer.rejections.extend(Rejection(reason, self.name, detail, count) for (reason, detail), count in faults)
        self._faults.clear()
        return sum(count for _, count in faults)

    def resolve(self, raw: bytes) -> tuple[Any, ...] | None:
        """Parse a point in full and find its stream's row; None when there is nothing to apply."""
        try:
            point = records.point(self.metric.form, raw)
            if point.gone:
                self._end(point)
                return None
            row = self._row(point)
        except Invalid as error:
            self._faults[error.reason, error.detail] += 1
            return None
        self._learn(raw, row)
        if point.exemplars:
            self._exemplify(row, point)
        return row, point.start, point.time or self.now, point.value

    def _learn(self, raw: bytes, row: int) -> None:
        key, _, time, *_ = self.read((raw,))[0]
        if key is not None and time and key not in self.streams.rows and records.confirm(self.metric.form, raw, key):
            self.streams.learn(key, row)

    def _end(self, point: Point) -> None:
        row = self.streams.rows.get(point.identity)
        if not self.meter.own:
            self.policy.ledger.count("agent_exporter.dropped.points", reason="no_recorded_value")
        if row is not None:
            self._gone.add(row)

    # -- streams ----------------------------------------------------------

    def _row(self, point: Point) -> int:
        row = self.streams.rows.get(point.identity)
        if row is not None:
            return row
        if self.passes and (self.family is None or not self.policy.families.has(self.family)):
            self.family = self._open()  # the first time, or forgotten with its last series
        row = self.streams.revive(point.identity)
        if row is None:
            self.policy.admit(self.meter)
            row = self.streams.open(point.identity, point.start)
            if self.policy.baseline(point.start):
                self._begin_at(row, point)
        self._connect(row, point)
        return row

    def _begin_at(self, row: int, point: Point) -> None:
        """Let a running total count from here on only."""
        if not self.streams.cumulative:
            return
        match point.value:
            case records.Counts(count, total, counts):
                self.streams.lasts[row], self.streams.bases[row] = count, (total, counts)
            case records.Quantiles(count, total, _):
                self.streams.bases[row] = count, total
            case value if self.metric.monotonic:
                self.streams.lasts[row] = value

    def _connect(self, row: int, point: Point) -> None:
        created = (point.start or self.now) / 1e9
        if self.family is not None:
            self._pass_through(self.family, row, point, created)
        if self.foreign:
            return
        client, scope = self.meter.client, self.meter.scope
        for feed in self.policy.feeds(client.resource, scope, self.metric, point.attributes, self.now / 1e9):
            if self._fits(feed, point):
                table, series = self.policy.normalised.row(feed.instrument, feed.labels, created)
                self._feed(row, table, series, feed, point.bounds)

    def _fits(self, feed: Feed, point: Point) -> bool:
        if feed.part:
            return feed.part == "count" or point.summed
        return (feed.instrument.kind is Kind.HISTOGRAM) is (self.metric.form in _BUCKETED)

    def _pass_through(self, family: Series, row: int, point: Point, created: float) -> None:
        kept = self.policy.keep(point.attributes)
        labels, collided = label_pairs(kept, self.policy.strategy, reserved=self._reserved())
        if collided:
            self.policy.ledger.count("agent_exporter.label.collisions")
        text = block((*labels, *self.meter.labels))
        if family.find(text) is None:
            if family.full or self.policy.exhausted(self.meter):
                self.policy.ledger.count("agent_exporter.overflowed.streams")
                text = block((*OVERFLOW, *self.meter.client.identity))
            else:
                self.meter.client.series += 1
        table, series = family.series(text, point.bounds, created)
        table.fleeting = self.kind is not Kind.COUNTER and self.metric.form not in _BUCKETED
        if not point.summed:
            table.leave_out(series * table.width + len(table.bounds) + 1)
        self._feed(row, table, series, None, point.bounds)

    def _reserved(self) -> frozenset[str]:
        return RESERVED.get(self.kind, frozenset()) | TARGET | {name for name, _ in self.meter.labels}

    def _feed(self, row: int, table: Rows, series: int, feed: Feed | None, bounds: tuple[float, ...]) -> None:
        scale, part = (feed.scale, feed.part) if feed is not None else (1.0, "")
        projection = None
        if self.metric.form in _BUCKETED and not part:
            source = bounds if scale == 1.0 else tuple(round(bound * scale, 12) for bound in bounds)
            projection = histograms.project(source, table.bounds)
        self.streams.feed(row, table, series * table.width, scale, projection, part, sums=self._sums(feed))

    def _sums(self, feed: Feed | None) -> bool:
        """Tell whether a series is the sum of what its streams say now."""
        return self.apply is numbers.follow or (
            self.apply is numbers.put and feed is not None and feed.instrument.is_amount
        )

    def _exemplify(self, row: int, point: Point) -> None:
        """Attach the newest exemplar of each counter or bucket (T18 to T20)."""
        if self.kind not in (Kind.COUNTER, Kind.HISTOGRAM):
            return
        for sample in sorted(point.exemplars, key=lambda each: each.time):
            text = self.policy.sampled(sample.attributes)
            for sink in self.streams.sinks:
                if sink.cells[row] != SPARE and not sink.part:
                    value = sample.value * sink.scale
                    cell = sink.cells[row] + histograms.bucket(sink.table.bounds, value, sink.table.width)
                    sink.table.exemplars[cell] = Exemplar(text, value, sample.time / 1e9)

    # -- life -------------------------------------------------------------

    def retire(self, gone: set[int], *, stay: bool = False, forget: bool = False) -> None:
        """Let streams fall silent: what they say now leaves the page, what they counted stays.

        What they said may `stay` on the page, or be forgotten at once.
        """
        self.streams.settle()
        for row in gone:
            histograms.fold(self.streams, row)
        if not stay:
            numbers.withdraw(self.streams, gone)
        for row in gone:
            for table, series in self.streams.part(row):
                if table.fleeting and not table.refs[series] and not stay:
                    (table.forget if forget else table.hide)(series)
        self.streams.silence(gone)
        if forget:
            self.streams.forget(gone)
            self.policy.normalised.unlearn()

    def sweep(self, now: int, silent_after: int, forget_after: int) -> int:
        """Age the streams; return how many were forgotten."""
        fresh, forgotten = self.streams.sweep(now, silent_after, forget_after)
        if fresh:
            self.retire(fresh)
        return forgotten

    def shown(self) -> int:
        """Count the series of its own name that living streams feed."""
        if self.family is None:
            return 0
        sinks = [sink for sink in self.streams.sinks if any(sink.table is table for table in self.family.tables)]
        return sum(len(set(sink.cells) - {SPARE}) for sink in sinks)

    def unlearn(self) -> None:
        """Let every stream be resolved anew at its next point, its state kept: the policy has changed."""
        self.retire(set(self.streams.rows.values()), stay=self.apply is numbers.put)
        self.passes = self.policy.passes(self.metric.name, own=self.meter.own)
        if not self.passes:
            self.family = None


def _unread(raws: Sequence[bytes]) -> Sequence[tuple[None, int, int, int, float, list[int]]]:
    """Stand in where there is no main path: each point is resolved."""
    return [(None, 0, 0, 0, 0.0, [])] * len(raws)


def _kind(metric: Metric) -> Kind:
    match metric.form:
        case Form.HISTOGRAM | Form.EXPONENTIAL_HISTOGRAM:
            return Kind.HISTOGRAM
        case Form.SUMMARY:
            return Kind.SUMMARY
        case Form.SUM if metric.monotonic:
            return Kind.COUNTER
    return _TYPES.get(str(metric.metadata.get("prometheus.type")), Kind.GAUGE)
