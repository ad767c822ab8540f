"""Observable instruments of the catalogue, whose observations come and go.

Rule: this is about how the SDK behaves. It never repeats an observation that was not made again,
but it keeps the attribute set, and after 2000 of an instrument it puts every new one into one
overflow point (`_view_instrument_match.py`, 1.45). Every process of an agent is a new attribute
set, so the instruments are made anew before that; totals go on, because all of them begin when
this module's object began.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import DataPointFlags
from opentelemetry.sdk.metrics.export import MetricReader, MetricsData

from ..catalog import CATALOG
from ..model import Instrument, Kind, Labels
from .reading import Reading

ENDED = -sys.float_info.max  # stands for «no value any more» on the way through the SDK, which drops NaN
MAX_SETS = 1_500  # attribute sets of one instrument, with those that are gone, before it is made anew

Send = Callable[[bytes], object]


class Encoder(MetricReader):
    """Hands on what is collected as the bytes of an ExportMetricsServiceRequest."""

    def __init__(self, send: Send, finish: Callable[[ExportMetricsServiceRequest], None] = lambda _: None) -> None:
        super().__init__()
        self._send, self._finish = send, finish

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> None:
        request = encode_metrics(metrics_data)
        self._finish(request)
        self._send(request.SerializeToString())

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Do nothing: whoever wants the last values collects them first."""


class Observed:
    """Every counter and gauge of the catalogue; `open_meter` makes a meter whose metrics go to a reader."""

    def __init__(self, open_meter: Callable[[MetricReader], Meter], send: Send) -> None:
        self._open_meter, self._send = open_meter, send
        self._start = time.time_ns()
        self._values: dict[str, dict[Labels, float]] = {}
        self._sets: dict[str, set[Labels]] = {}
        self._renew()

    def _renew(self) -> None:
        self._reader = Encoder(self._send, self._finish)
        self._sets = defaultdict(set)
        meter = self._open_meter(self._reader)
        for instrument in CATALOG.values():
            self._observe(meter, instrument)

    def _observe(self, meter: Meter, instrument: Instrument) -> None:
        def observations(_: CallbackOptions) -> list[Observation]:
            found = self._values.get(instrument.name, {})
            return [Observation(value, dict(labels)) for labels, value in found.items()]

        if instrument.kind is Kind.COUNTER:
            meter.create_observable_counter(instrument.name, [observations], instrument.unit)
        elif instrument.kind is Kind.GAUGE:
            meter.create_observable_gauge(instrument.name, [observations], instrument.unit)

    def push(self, readings: Iterable[Reading]) -> None:
        """Push these values, and the end of every gauge that is not among them any more."""
        before, self._values = self._values, defaultdict(dict)
        for name, labels, value in readings:
            self._values[name][labels] = value
        for name, values in before.items():
            if CATALOG[name].kind is Kind.GAUGE:
                ended = (labels for labels, value in values.items() if value != ENDED)
                self._values[name] = {**dict.fromkeys(ended, ENDED), **self._values[name]}
        if any(self._is_stale(name, values) for name, values in self._values.items()):
            self._renew()
        self._reader.collect()

    def _is_stale(self, name: str, values: dict[Labels, float]) -> bool:
        known = self._sets[name]
        known.update(values)
        return len(known) > MAX_SETS and len(known) > 2 * len(values)

    def _finish(self, request: ExportMetricsServiceRequest) -> None:
        """Say what ended in OTLP's way (`NO_RECORDED_VALUE`), and of every total that it began when we did."""
        for metric in request.resource_metrics[0].scope_metrics[0].metrics:
            for point in metric.gauge.data_points:
                if point.as_double == ENDED:
                    point.ClearField("as_double")
                    point.flags = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
            for point in metric.sum.data_points:
                point.start_time_unix_nano = self._start
