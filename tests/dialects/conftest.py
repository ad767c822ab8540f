import gzip
from collections import Counter

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import captures
from agent_exporter.dialects import Dialects, files
from agent_exporter.model import Event, Form, Metric, Resource, Scope, Span, Temporality

REQUESTS = {
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
    "traces": ExportTraceServiceRequest,
}


def _plain(value):
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind)


def _attributes(pairs):
    return {pair.key: _plain(pair.value) for pair in pairs}


def _request(payload):
    body = gzip.decompress(payload.body) if payload.content_encoding == "gzip" else payload.body
    message = REQUESTS[payload.signal]()
    if payload.content_type.startswith("application/json"):
        # The ids come out wrong (hex read as base64), and nothing here looks at them.
        return json_format.Parse(body, message, ignore_unknown_fields=True)
    message.ParseFromString(body)
    return message


def _scope(scope):
    return Scope(scope.name, scope.version, "", _attributes(scope.attributes))


def read_metrics(payload):
    """Yield resource, scope, metric, attributes, start time and value of every number in a payload."""
    for outer in _request(payload).resource_metrics:
        resource = Resource(_attributes(outer.resource.attributes))
        for inner in outer.scope_metrics:
            for metric in inner.metrics:
                form = metric.WhichOneof("data")
                data = getattr(metric, form)
                noun = Metric(
                    metric.name,
                    Form(form),
                    metric.unit,
                    temporality=Temporality(getattr(data, "aggregation_temporality", 0)),
                    monotonic=getattr(data, "is_monotonic", False),
                )
                for point in data.data_points:
                    value = getattr(point, point.WhichOneof("value")) if form in ("sum", "gauge") else point.count
                    yield (
                        resource,
                        _scope(inner.scope),
                        noun,
                        _attributes(point.attributes),
                        point.start_time_unix_nano,
                        value,
                    )


def read_events(payload):
    """Yield every log record of a payload."""
    for outer in _request(payload).resource_logs:
        resource = Resource(_attributes(outer.resource.attributes))
        for inner in outer.scope_logs:
            for record in inner.log_records:
                yield Event(
                    record.event_name,
                    record.time_unix_nano,
                    _attributes(record.attributes),
                    _plain(record.body),
                    resource,
                    _scope(inner.scope),
                )


def read_spans(payload):
    """Yield every span of a payload."""
    for outer in _request(payload).resource_spans:
        resource = Resource(_attributes(outer.resource.attributes))
        for inner in outer.scope_spans:
            for span in inner.spans:
                yield Span(
                    span.name,
                    span.kind,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.code,
                    _attributes(span.attributes),
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    resource,
                    _scope(inner.scope),
                )


def _add_metrics(dialects, payload, totals, last):
    for resource, scope, metric, attributes, start, value in read_metrics(payload):
        stream = (metric.name, repr(sorted(attributes.items())), start)
        before = last.get(stream, 0) if metric.temporality is Temporality.CUMULATIVE else 0
        last[stream] = value
        for feed in dialects.feeds(resource, scope, metric, attributes):
            totals[payload.session, feed.instrument.name, feed.labels] += (value - before) * feed.scale


def _add_events(dialects, payload, totals, _last):
    for event in read_events(payload):
        for measurement in dialects.events(event):
            totals[payload.session, measurement.instrument.name, measurement.labels] += measurement.value


def _add_spans(dialects, payload, totals, _last):
    for span in read_spans(payload):
        for measurement in dialects.spans(span):
            totals[payload.session, measurement.instrument.name, measurement.labels] += measurement.value


ADD = {"metrics": _add_metrics, "logs": _add_events, "traces": _add_spans}


@pytest.fixture(scope="session")
def add_up():
    """Return a function that pushes a capture through dialects: totals by session, instrument and labels."""

    def add_up(name):
        dialects, totals, last = Dialects.load(), Counter(), {}
        for payload in captures.load(name).payloads:
            ADD[payload.signal](dialects, payload, totals, last)
        return totals

    return add_up


@pytest.fixture(scope="session")
def metrics_of():
    """Return the function that reads a payload of metrics."""
    return read_metrics


@pytest.fixture
def dialect(tmp_path):
    """Return a function that writes a dialect file and loads it."""

    def load(text, name="toy.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return Dialects.load([path])

    return load


@pytest.fixture
def event():
    """Return a function that makes an event."""

    def make(name="", attributes=None, *, body=None, scope="", service=""):
        resource = Resource({"service.name": service} if service else {})
        return Event(name, 0, attributes or {}, body, resource, Scope(scope))

    return make


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """Leave the built-in files out, so that a test meets its own words only."""
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    monkeypatch.setattr(files, "BUILT_IN", nothing)
