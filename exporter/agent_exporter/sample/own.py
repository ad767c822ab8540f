"""Readings of the catalogue's instruments, pushed as OTLP when somebody wants to look."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterable

from opentelemetry.metrics import Histogram, Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource

from ..catalog import CATALOG
from ..model import Kind
from .observed import Encoder, Observed, Send
from .process import Process
from .reading import Reading

NAME = "agent-exporter"


class Sampler:
    """Observes `read()` and the own process each time, and what `look()` gives unless it gives None."""

    def __init__(
        self,
        version: str,
        read: Callable[[], Iterable[Reading]],
        send: Send,
        look: Callable[[], Iterable[Reading] | None] = lambda: None,
    ) -> None:
        instance = f"{platform.node()}:{os.getpid()}"
        resource = Resource({"service.name": NAME, "service.version": version, "service.instance.id": instance})

        def open_meter(reader: MetricReader) -> Meter:
            return MeterProvider([reader], resource, shutdown_on_exit=False).get_meter(NAME, version)

        self._read, self._look, self._version = read, look, version
        self._process = Process(NAME, instance)
        self._own, self._seen = Observed(open_meter, send), Observed(open_meter, send)
        self._recorded = Encoder(send)
        meter = open_meter(self._recorded)
        self._histograms: dict[str, Histogram] = {
            each.name: meter.create_histogram(each.name, each.unit, explicit_bucket_boundaries_advisory=each.bounds)
            for each in CATALOG.values()
            if each.kind is Kind.HISTOGRAM
        }

    def record(self, instrument: str, value: float) -> None:
        """Add an observation to a histogram of the catalogue."""
        self._histograms[instrument].record(value)

    def collect(self) -> None:
        """Read everything that is due and push it."""
        python = ".".join(map(str, sys.version_info[:3]))
        build = Reading("agent_exporter.build.info", (("version", self._version), ("python", python)), 1)
        self._own.push((*self._read(), *map(Reading._make, self._process.read()), build))
        seen = self._look()
        if seen is not None:
            self._seen.push(seen)
        self._recorded.collect()
