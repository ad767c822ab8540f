"""Decode and store against a straightforward walk: `python benchmarks/ingest.py [--profile] [POINTS ...]`.

The walk is what one writes first, and not badly: protobuf's C parser (upb), WhichOneof, a sorted
tuple of attributes as the key, the last value or the sum of deltas in a dict a metric. It maps no
dialect, checks no time, keeps no totals over resets and makes no series. Ours is `Ingest` as the
collector calls it. Both are fed the same requests in turns and timed in thread CPU time.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from itertools import islice

from _measure import duel, ratio, timed, verdict
from _payloads import CUMULATIVE, DELTA, claude_code, items, metrics
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from agent_exporter.collector.ingest import Ingest
from agent_exporter.config import Config
from agent_exporter.decode import points as reading
from agent_exporter.decode import wire
from agent_exporter.decode.json import to_protobuf
from agent_exporter.dialects import Dialects
from agent_exporter.model import Signal

ROUNDS, WARM = 15, 3
MANY = 10_000_000
LIMITS = {
    "streams": MANY,
    "streams_per_client": MANY,
    "series_per_metric": MANY,
    "series_per_client": MANY,
}
Batch = list[bytes]


def collector() -> Ingest:
    """Make the collector's way in, with room for everything."""
    return Ingest(Config.model_validate({"limits": LIMITS}), Dialects.load())


# -- the walk -----------------------------------------------------------------


def attributes(pairs) -> tuple:
    """Make a key of attributes."""
    return tuple(sorted((pair.key, getattr(pair.value, pair.value.WhichOneof("value"))) for pair in pairs))


class Walk:
    """Parses a request in full and keeps a value a series."""

    def __init__(self) -> None:
        self.store: dict[tuple, dict[tuple, tuple]] = {}

    def __call__(self, body: bytes) -> None:
        """Take one request."""
        self.take(ExportMetricsServiceRequest.FromString(body))

    def take(self, request: ExportMetricsServiceRequest) -> None:
        """Take one request that is parsed."""
        for resource in request.resource_metrics:
            sender = attributes(resource.resource.attributes)
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    key = sender, scope.scope.name, scope.scope.version, metric.name
                    self._metric(metric, self.store.setdefault(key, {}))

    def _metric(self, metric, series: dict[tuple, tuple]) -> None:
        form = metric.WhichOneof("data")
        data = getattr(metric, form)
        delta = form != "gauge" and data.aggregation_temporality == DELTA
        for point in data.data_points:
            key, times = attributes(point.attributes), (point.start_time_unix_nano, point.time_unix_nano)
            if form == "histogram":
                count, total, counts = point.count, point.sum, list(point.bucket_counts)
                if delta and key in series:
                    _, had, sums, before = series[key]
                    count, total = count + had, total + sums
                    counts = [a + b for a, b in zip(counts, before, strict=True)]
                series[key] = times, count, total, counts
            else:
                value = getattr(point, point.WhichOneof("value"))
                if delta and key in series:
                    value += series[key][1]
                series[key] = times, value


class Events:
    """Parses log records in full and counts them by event name."""

    def __init__(self) -> None:
        self.counts: dict[tuple, int] = {}

    def __call__(self, body: bytes) -> None:
        """Take one request."""
        for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    found = dict(attributes(record.attributes))
                    key = found.get("event.name"), found.get("model"), found.get("tool_name"), found.get("success")
                    self.counts[key] = self.counts.get(key, 0) + 1


# -- cases --------------------------------------------------------------------


def all_of(take: Callable[[bytes], object]) -> Callable[[Batch], None]:
    """Take the requests of a batch one by one."""

    def run(batch: Batch) -> None:
        for body in batch:
            take(body)

    return run


def compare(
    name: str, contestants: dict[str, Callable], batches: list[Batch], size: float, target: float | None
) -> None:
    """Print one row; `size` is the number of points or records in a batch."""
    times = {who: taken[WARM:] for who, taken in duel(contestants, batches).items()}
    reached = ratio(times["theirs"], times["ours"])
    each = {who: statistics.median(taken) * 1e6 / size for who, taken in times.items()}
    print(f"{name:44} {each['ours']:8.0f} {each['theirs']:8.0f} {reached:7.2f}  {verdict(reached, target)}", flush=True)


def batches(made: Iterator[ExportMetricsServiceRequest], points: int) -> tuple[list[Batch], int]:
    """Serialise requests for all rounds, some milliseconds of them a batch, and tell the points of a batch."""
    many = max(1, 5000 // points)
    return [[next(made).SerializeToString() for _ in range(many)] for _ in range(ROUNDS + WARM)], many * points


def sizes(points: int) -> None:
    """Print the rows of one size of request."""
    for name, temporality, rest, target in (
        ("cumulative, known series", CUMULATIVE, {}, 5),
        ("delta, known series", DELTA, {}, 5),
        ("cumulative, in another order every time", CUMULATIVE, {"mixed": True}, None),
        ("delta, in another order every time", DELTA, {"mixed": True}, None),
        ("delta, 10 % of the points new series", DELTA, {"fresh": 0.1}, None),
        ("delta, all points new series", DELTA, {"fresh": 1.0}, None),
    ):
        made, size = batches(metrics(points, temporality, **rest), points)
        ingest = collector()
        contestants = {"ours": all_of(lambda body, take=ingest: take(Signal.METRICS, body)), "theirs": all_of(Walk())}
        compare(f"{points} points, {name}", contestants, made, size, target)
    ingest, walk = collector(), Walk()
    made = metrics(points, CUMULATIVE)
    written = [[json_format.MessageToJson(each, indent=None).encode()] for each in islice(made, WARM + 5)]
    contestants = {
        "ours": all_of(lambda body: ingest(Signal.METRICS, to_protobuf(Signal.METRICS, body))),
        "theirs": all_of(lambda body: walk.take(json_format.Parse(body, ExportMetricsServiceRequest()))),
    }
    compare(f"{points} points, JSON, cumulative, known series", contestants, written, points, None)


def agent() -> None:
    """Print the rows of a real agent's payloads, dialect and all."""
    for signal, kind, walk in (
        (Signal.METRICS, ExportMetricsServiceRequest, Walk),
        (Signal.LOGS, ExportLogsServiceRequest, Events),
    ):
        made = list(islice(claude_code(signal), ROUNDS + WARM))
        size = sum(len(list(items(kind.FromString(body)))) for body in made[0])
        ingest = collector()
        contestants = {"ours": all_of(lambda body, s=signal, take=ingest: take(s, body)), "theirs": all_of(walk())}
        compare(f"Claude Code's {signal}, {size / len(made[0]):.1f} a request", contestants, made, size, None)


# -- where the time goes ------------------------------------------------------


def profile(points: int, temporality: int) -> None:
    """Print the nanoseconds a point of each stage; a stage does all that those above it do, but for the template."""
    made, size = batches(metrics(points, temporality), points)
    ingest, plain = collector(), collector()
    plain.repeats.take, plain.repeats.see = (lambda _body: None), (lambda *_: None)

    def frame(body: bytes) -> None:
        wire._Request.FromString(body)  # noqa: SLF001 - the C parser alone

    def walk(body: bytes) -> None:
        for _, metrics_ in wire.items(body):
            for raw in metrics_:
                wire.metric(raw)

    def read(body: bytes) -> None:
        for _, metrics_ in wire.items(body):
            for raw in metrics_:
                key, raws = wire.metric(raw)
                (reading.histograms if key[1] == "histogram" else reading.numbers)(raws)

    stages = {"frame": frame, "walk": walk, "read": read, "main path": lambda body: plain(Signal.METRICS, body)}
    contestants = stages | {"template": lambda body: ingest(Signal.METRICS, body)}
    times = duel({name: all_of(take) for name, take in contestants.items()}, made)
    folds = []
    for batch in made[WARM:]:
        ingest = collector()
        all_of(lambda body: ingest(Signal.METRICS, body))(batch)  # noqa: B023
        folds.append(timed(ingest.snapshot))
    below = 0.0
    print(f"\n{points} points, {'delta' if temporality == DELTA else 'cumulative'}: ns a point")
    for name in stages:
        each = statistics.median(times[name][WARM:]) * 1e6 / size
        print(f"  {name:10} {each:7.0f}  (+{each - below:.0f})")
        below = each
    print(f"  {'template':10} {statistics.median(times['template'][WARM:]) * 1e6 / size:7.0f}  instead of all that")
    print(f"  {'snapshot':10} {statistics.median(folds) * 1e6 / points:7.0f}  once a scrape, a series")


if __name__ == "__main__":
    chosen = [int(each) for each in sys.argv[1:] if each.isdigit()] or [50, 500, 5000]
    if "--profile" in sys.argv:
        for number in chosen:
            for kind_ in (CUMULATIVE, DELTA):
                profile(number, kind_)
        sys.exit()
    print(
        f"{'thread CPU time':44} {'ours':>8} {'theirs':>8} {'ratio':>7}  target\n{'':44} {'ns each':>8} {'ns each':>8}"
    )
    for number in chosen:
        sizes(number)
    agent()
