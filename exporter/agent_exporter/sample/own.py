"""Readings of the catalogue's instruments, pushed as OTLP when somebody wants to look."""

from __future__ import annotations

import os
import platform
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.metrics import CallbackOptions, Histogram, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, MetricsData
from opentelemetry.sdk.resources import Resource

from ..catalog import CATALOG
from ..model import Instrument, Kind, Labels
from .process import Process

NAME = "agent-exporter"


class Reading(NamedTuple):
    """One value of one instrument of the catalogue."""

    instrument: str
    labels: Labels
    value: float


class _Encoder(MetricReader):
    """Hands on what is collected as the bytes of an ExportMetricsServiceRequest."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        super().__init__()
        self._send = send

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> None:
        self._send(encode_metrics(metrics_data).SerializeToString())

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Do nothing: whoever wants the last values collects them first."""


class Sampler:
    """Observes `read()` and the own process; `collect()` pushes everything once."""

    def __init__(self, version: str, read: Callable[[], Iterable[Reading]], send: Callable[[bytes], object]) -> None:
        self._reader = _Encoder(send)
        instance = f"{platform.node()}:{os.getpid()}"
        attributes = {"service.name": NAME, "service.version": version, "service.instance.id": instance}
        provider = MeterProvider([self._reader], Resource(attributes), shutdown_on_exit=False)
        self._meter = provider.get_meter(NAME, version)
        self._read, self._version = read, version
        self._process = Process(NAME, instance)
        self._now: dict[str, list[Observation]] = {}
        self._histograms: dict[str, Histogram] = {}
        for instrument in CATALOG.values():
            self._observe(instrument)

    def _observe(self, instrument: Instrument) -> None:
        def observations(_: CallbackOptions) -> list[Observation]:
            return self._now.get(instrument.name, [])

        match instrument.kind:
            case Kind.COUNTER:
                self._meter.create_observable_counter(instrument.name, [observations], instrument.unit)
            case Kind.GAUGE:
                self._meter.create_observable_gauge(instrument.name, [observations], instrument.unit)
            case _:
                self._histograms[instrument.name] = self._meter.create_histogram(
                    instrument.name, instrument.unit, explicit_bucket_boundaries_advisory=instrument.bounds
                )

    def record(self, instrument: str, value: float) -> None:
        """Add an observation to a histogram of the catalogue."""
        self._histograms[instrument].record(value)

    def collect(self) -> None:
        """Read everything and push it."""
        now = defaultdict(list)
        python = ".".join(map(str, sys.version_info[:3]))
        build = Reading("agent_exporter.build.info", (("version", self._version), ("python", python)), 1)
        for name, labels, value in (*self._read(), *map(Reading._make, self._process.read()), build):
            now[name].append(Observation(value, dict(labels)))
        self._now = now
        self._reader.collect()
