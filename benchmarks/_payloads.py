"""OTLP requests to measure with: like those of an SDK, every one with new times and values.

What may live here: payloads and their sizes, no clock. The mix is that of docs/performance.md:
of every 50 points 20 are sums (half int, half double), 10 gauges, 20 histograms of 15 bounds with
min and max; 10 points a metric, 6 attributes a point, 10 of the resource.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import captures

DELTA, CUMULATIVE = 1, 2
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0)
FORMS = ("int", "double", "gauge", "histogram", "histogram")  # of every five metrics
POINTS = 10  # a metric
SECOND = 1_000_000_000
EPOCH = 1_790_000_000 * SECOND
INTERVAL = 10 * SECOND
INSTANCE = b"627cc493-f310-47de-96bd-71410b7dec09"
CLAUDE_CODE = "claude-code-2.1.329/http-protobuf"


def pairs(attributes: dict[str, str | int]) -> list[KeyValue]:
    """Wrap attributes."""
    return [
        KeyValue(key=key, value=AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value))
        for key, value in attributes.items()
    ]


def _resource() -> Resource:
    return Resource(
        attributes=pairs(
            {
                "service.name": "checkout",
                "service.namespace": "shop",
                "service.version": "2.14.3",
                "service.instance.id": INSTANCE.decode(),
                "host.name": "node-17.eu-west-1.example",
                "os.type": "linux",
                "process.pid": 4711,
                "telemetry.sdk.name": "opentelemetry",
                "telemetry.sdk.language": "python",
                "telemetry.sdk.version": "1.45.2",
            }
        )
    )


def _attributes(series: str) -> list[KeyValue]:
    return pairs(
        {
            "http.request.method": "POST",
            "http.response.status_code": 200,
            "http.route": f"/api/v1/carts/{series}/items",
            "network.protocol.version": "1.1",
            "server.address": "checkout.shop.example",
            "url.scheme": "https",
        }
    )


def _metric(number: int, temporality: int) -> pb.Metric:
    form, name = FORMS[number % len(FORMS)], f"shop.checkout.measure_{number:03d}"
    if form == "histogram":
        points = [pb.HistogramDataPoint(attributes=_attributes(str(each))) for each in range(POINTS)]
        return pb.Metric(
            name=name, unit="s", histogram=pb.Histogram(data_points=points, aggregation_temporality=temporality)
        )
    numbers = [pb.NumberDataPoint(attributes=_attributes(str(each))) for each in range(POINTS)]
    if form == "gauge":
        return pb.Metric(name=name, gauge=pb.Gauge(data_points=numbers))
    data = pb.Sum(data_points=numbers, aggregation_temporality=temporality, is_monotonic=True)
    return pb.Metric(name=name, sum=data)


def _fill(point: object, form: str, amount: int) -> None:
    """Write values that are all new: multiples of `amount`."""
    if form == "int":
        point.as_int = 3 * amount
    elif form == "double":
        point.as_double = 0.37 * amount
    elif form == "gauge":
        point.as_double = 1000.5 / amount
    else:
        counts = [(7 * bucket) % 5 * amount for bucket in range(len(BOUNDS) + 1)]
        point.ClearField("bucket_counts")
        point.ClearField("explicit_bounds")
        point.bucket_counts.extend(counts)
        point.explicit_bounds.extend(BOUNDS)
        point.count, point.sum = sum(counts), 0.731 * amount
        point.min, point.max = 0.001 / amount, 0.9 * amount


def metrics(
    points: int, temporality: int = CUMULATIVE, fresh: float = 0.0, first: int = 0, *, mixed: bool = False
) -> Iterator[ExportMetricsServiceRequest]:
    """Make requests of one sender without end; `fresh` of the points of each belong to series never seen before.

    If `mixed`, the points of a metric have another order every time, as Go's SDK sends them.

    It is one message that changes: serialise it before asking for the next.
    """
    request = ExportMetricsServiceRequest(
        resource_metrics=[
            pb.ResourceMetrics(
                resource=_resource(),
                scope_metrics=[
                    pb.ScopeMetrics(
                        scope=InstrumentationScope(name="shop.checkout", version="2.14.3"),
                        metrics=[_metric(number, temporality) for number in range(points // POINTS)],
                    )
                ],
            )
        ]
    )
    found = [
        (point, FORMS[number % len(FORMS)])
        for number, metric in enumerate(request.resource_metrics[0].scope_metrics[0].metrics)
        for point in getattr(metric, metric.WhichOneof("data")).data_points
    ]
    chance = random.Random(first)
    turn, renewed = first, round(1 / fresh) if fresh else 0
    while True:
        turn += 1
        for index, (point, form) in enumerate(found):
            point.time_unix_nano = EPOCH + turn * INTERVAL
            point.start_time_unix_nano = EPOCH if temporality == CUMULATIVE else EPOCH + (turn - 1) * INTERVAL
            _fill(point, form, turn if temporality == CUMULATIVE else turn % 7 + 1)
            if renewed and index % renewed == 0:
                point.attributes[2].value.string_value = f"/api/v1/carts/{turn:05d}-{index % POINTS}/items"
        if mixed:
            for metric in request.resource_metrics[0].scope_metrics[0].metrics:
                getattr(metric, metric.WhichOneof("data")).data_points.sort(key=lambda _: chance.random())
        yield request


def claude_code(signal: str) -> Iterator[list[bytes]]:
    """Repeat Claude Code's captured sessions of a signal without end, each repetition some minutes later."""
    kind = ExportMetricsServiceRequest if signal == "metrics" else ExportLogsServiceRequest
    sent = [kind.FromString(each.body) for each in captures.load(CLAUDE_CODE).payloads if each.signal == signal]
    while True:
        for request in sent:
            for point in items(request):
                point.time_unix_nano += 600 * SECOND
                if signal == "metrics":
                    point.start_time_unix_nano += 600 * SECOND
        yield [request.SerializeToString() for request in sent]


def items(request: object) -> Iterator[object]:
    """List the points or log records of a request."""
    if isinstance(request, ExportLogsServiceRequest):
        for resource in request.resource_logs:
            for scope in resource.scope_logs:
                yield from scope.log_records
        return
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                yield from getattr(metric, metric.WhichOneof("data")).data_points
