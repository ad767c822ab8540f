"""OTLP requests by hand, and what a collector's store says: shared by the tests of several rooms."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from agent_exporter.collector.ingest import Ingest
from agent_exporter.config import Config
from agent_exporter.dialects import Dialects
from agent_exporter.model import Answer, Signal

if TYPE_CHECKING:
    from collections.abc import Mapping

SECOND = 1_000_000_000
EPOCH = 1_790_000_000 * SECOND
DELTA, CUMULATIVE = 1, 2


KINDS = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value", bytes: "bytes_value"}


def value(plain: Any) -> AnyValue:
    """Wrap a plain value."""
    if isinstance(plain, list):
        return AnyValue(array_value=ArrayValue(values=[value(each) for each in plain]))
    if isinstance(plain, dict):
        return AnyValue(kvlist_value=KeyValueList(values=pairs(plain)))
    return AnyValue() if plain is None else AnyValue(**{KINDS[type(plain)]: plain})


def pairs(attributes: Mapping[str, Any]) -> list[KeyValue]:
    """Wrap attributes."""
    return [KeyValue(key=key, value=value(plain)) for key, plain in attributes.items()]


def at(second: float) -> int:
    """Tell the Unix nanoseconds of a second of the test's own time."""
    return EPOCH + int(second * SECOND) if second else 0


def number(
    plain: float | None, attributes: Mapping[str, Any] = {}, *, start: float = 1, time: float = 2, **rest: Any
) -> pb.NumberDataPoint:
    """Make a number point; times in seconds, 0 leaves them out."""
    given = {} if plain is None else {"as_int" if isinstance(plain, int) else "as_double": plain}
    return pb.NumberDataPoint(
        attributes=pairs(attributes), start_time_unix_nano=at(start), time_unix_nano=at(time), **given, **rest
    )


def histogram(
    counts: list[int],
    bounds: list[float],
    total: float | None = 0.0,
    attributes: Mapping[str, Any] = {},
    *,
    start: float = 1,
    time: float = 2,
    **rest: Any,
) -> pb.HistogramDataPoint:
    """Make an explicit histogram point whose count is right unless given."""
    rest.setdefault("count", sum(counts))
    return pb.HistogramDataPoint(
        attributes=pairs(attributes),
        start_time_unix_nano=at(start),
        time_unix_nano=at(time),
        bucket_counts=counts,
        explicit_bounds=bounds,
        sum=total,
        **rest,
    )


def gauge(name: str, *points: pb.NumberDataPoint, unit: str = "", **rest: Any) -> pb.Metric:
    """Make a gauge."""
    return pb.Metric(name=name, unit=unit, gauge=pb.Gauge(data_points=points), **rest)


def total(
    name: str,
    *points: pb.NumberDataPoint,
    unit: str = "",
    temporality: int = CUMULATIVE,
    monotonic: bool = True,
    **rest: Any,
) -> pb.Metric:
    """Make a sum."""
    data = pb.Sum(data_points=points, aggregation_temporality=temporality, is_monotonic=monotonic)
    return pb.Metric(name=name, unit=unit, sum=data, **rest)


def distribution(
    name: str, *points: pb.HistogramDataPoint, unit: str = "", temporality: int = CUMULATIVE, **rest: Any
) -> pb.Metric:
    """Make an explicit histogram metric."""
    data = pb.Histogram(data_points=points, aggregation_temporality=temporality)
    return pb.Metric(name=name, unit=unit, histogram=data, **rest)


def request(*metrics: pb.Metric, resource: Mapping[str, Any] | None = None, scope: str = "") -> bytes:
    """Make an ExportMetricsServiceRequest of one scope of one resource."""
    return ExportMetricsServiceRequest(
        resource_metrics=[
            pb.ResourceMetrics(
                resource=Resource(attributes=pairs({"service.name": "app"} if resource is None else resource)),
                scope_metrics=[pb.ScopeMetrics(scope=InstrumentationScope(name=scope), metrics=metrics)],
            )
        ]
    ).SerializeToString()


def logs(*records: LogRecord, resource: Mapping[str, Any] | None = None, scope: str = "") -> bytes:
    """Make an ExportLogsServiceRequest of one scope of one resource."""
    return ExportLogsServiceRequest(
        resource_logs=[
            ResourceLogs(
                resource=Resource(attributes=pairs({"service.name": "app"} if resource is None else resource)),
                scope_logs=[ScopeLogs(scope=InstrumentationScope(name=scope), log_records=records)],
            )
        ]
    ).SerializeToString()


@cache
def dialects() -> Dialects:
    """Load the built-in dialects once."""
    return Dialects.load()


class Bench:
    """An ingest with a clock of its own; what it exposes as one dict."""

    def __init__(self, **config: Any) -> None:
        self.now = EPOCH + 3600 * SECOND
        self.ingest = Ingest(Config.model_validate(config), dialects(), lambda: self.now)

    def send(self, *metrics: pb.Metric, **rest: Any) -> Answer:
        """Push metrics."""
        return self.ingest(Signal.METRICS, request(*metrics, **rest))

    def page(self) -> dict[str, list[float]]:
        """Tell the cells of every series on the page, by `name{labels}`."""
        return {
            f"{family.name}{{{text.decode()}}}": list(table.values[row * table.width : (row + 1) * table.width])
            for family in self.ingest.snapshot()
            for table in family.tables
            for row, text in enumerate(table.texts)
            if row not in table.hidden
        }

    def noted(self, instrument: str, **labels: str) -> int:
        """Tell a counter of the collector's own."""
        return self.ingest.ledger.counts[instrument, tuple(sorted(labels.items()))]
