"""What the OpenTelemetry SDK is needed for: its data classes and its exporter.

Rule: only the exporting thread loads this module, so that a program's own start waits for nothing.
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, cast

from opentelemetry import context
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from .. import __version__
from ..model import Kind
from .cells import Distribution, Point
from .families import INSTRUMENTS

SCOPE: Final = "agent_exporter.instrument"  # by which the collector knows what the library tells
TIMEOUT: Final = 5.0  # seconds for a push with all its tries, unless OTEL_EXPORTER_OTLP_TIMEOUT says otherwise
_CUMULATIVE: Final = sdk.AggregationTemporality.CUMULATIVE
_NOISY: Final = ("opentelemetry.", "urllib3.")  # loggers
# By protocol: where the exporter's class is, and where it pushes when nothing is said.
_EXPORTERS: Final = {
    "http/protobuf": ("opentelemetry.exporter.otlp.proto.http.metric_exporter", "http://127.0.0.1:4318/v1/metrics"),
    "grpc": ("opentelemetry.exporter.otlp.proto.grpc.metric_exporter", "http://127.0.0.1:4317"),
}


def exporter() -> tuple[sdk.MetricExporter, str]:
    """Make the exporter that OTEL_EXPORTER_OTLP_* asks for; says where it pushes, too."""
    protocol = _said("PROTOCOL")
    module, default = _EXPORTERS.get(protocol, _EXPORTERS["http/protobuf"])
    made = importlib.import_module(module).OTLPMetricExporter
    where = _said("ENDPOINT")
    return (
        made(endpoint=None if where else default, timeout=None if _said("TIMEOUT") else TIMEOUT),
        where or default,
    )


def _said(what: str) -> str:
    """Read a variable of OTLP exporters, the one for metrics first."""
    return os.environ.get(f"OTEL_EXPORTER_OTLP_METRICS_{what}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{what}") or ""


def hush(noticed: Callable[[], None]) -> Callable[[], None]:
    """Let nothing that this thread does be logged or traced by others; `noticed` is called for every warning.

    Gives what ends that.
    """
    context.attach(context.set_value(context._SUPPRESS_INSTRUMENTATION_KEY, True))  # noqa: SLF001  # as the SDK does
    own = threading.current_thread()  # not its number, which another has when this one is over, also in a child

    def foreign(record: logging.LogRecord) -> bool:
        ours = threading.current_thread() is own
        if ours and record.levelno >= logging.WARNING:
            noticed()
        return not ours

    loggers = [logging.getLogger(name) for name in [*logging.root.manager.loggerDict] if name.startswith(_NOISY)]
    for logger in loggers:
        logger.addFilter(foreign)

    def end() -> None:
        for logger in loggers:
            logger.removeFilter(foreign)

    return end


def data(points: Iterable[Point], resource: Mapping[str, Any]) -> sdk.MetricsData:
    """Make of points what exporters take; `points` in the order of their names."""
    now = time.time_ns()
    metrics = [_metric(name, [*found], now) for name, found in groupby(points, attrgetter("name"))]
    scope = sdk.ScopeMetrics(InstrumentationScope(SCOPE, __version__), metrics, "")
    return sdk.MetricsData([sdk.ResourceMetrics(Resource(dict(resource)), [scope], "")])


def _metric(name: str, points: list[Point], now: int) -> sdk.Metric:
    instrument = INSTRUMENTS[name]
    if instrument.kind is Kind.HISTOGRAM:
        made: sdk.DataT = sdk.Histogram([_histogram(each, now) for each in points], _CUMULATIVE)
    elif instrument.kind is Kind.COUNTER:
        made = sdk.Sum([_number(each, now) for each in points], _CUMULATIVE, is_monotonic=True)
    else:
        made = sdk.Gauge([_number(each, now) for each in points])
    return sdk.Metric(name, instrument.help, instrument.unit, made)


def _number(point: Point, now: int) -> sdk.NumberDataPoint:
    # Always the same type: points whose type changes from push to push are read more slowly.
    return sdk.NumberDataPoint(dict(point.labels), point.start, now, float(cast("float", point.value)))


def _histogram(point: Point, now: int) -> sdk.HistogramDataPoint:
    bounds, counts, total = cast("Distribution", point.value)
    extremes: Any = None  # the protocol lets them out, the data class does not say so
    return sdk.HistogramDataPoint(
        dict(point.labels), point.start, now, sum(counts), total, counts, bounds, min=extremes, max=extremes
    )
