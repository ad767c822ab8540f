"""What is pushed, byte by byte, as the collector decodes it."""

import subprocess
import sys
import time

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

from agent_exporter.catalog import CATALOG, DURATION_BOUNDS
from agent_exporter.instrument import cells, otlp
from agent_exporter.instrument.families import ATTRIBUTED

CUMULATIVE = 2


@pytest.fixture
def pushed(points):
    """Encode what was recorded; returns the metrics by name, their resource and scope."""

    def pushed():
        request = encode_metrics(otlp.data(cells.collect(), {"service.name": "me"}))
        [resource] = request.resource_metrics
        [scope] = resource.scope_metrics
        return {metric.name: metric for metric in scope.metrics}, resource.resource, scope.scope

    return pushed


def labels(point):
    """Read the attributes of a point."""
    return {each.key: each.value.string_value for each in point.attributes}


def test_what_is_pushed(pushed):
    """Totals, values and histograms are pushed once a name, cumulative, with unit, help and the time they began."""
    before = time.time_ns()
    cells.counter("agent.feedback", rating="up").add(2)
    cells.counter("agent.feedback", rating="down").add(3)
    cells.gauge("agent.sessions.active").set(1)
    cells.histogram("agent.turn.duration").record(0.3)
    metrics, resource, scope = pushed()
    after = time.time_ns()

    assert (scope.name, labels(resource)) == (otlp.SCOPE, {"service.name": "me"})
    feedback, active, turns = (
        metrics[name] for name in ("agent.feedback", "agent.sessions.active", "agent.turn.duration")
    )
    for metric in (feedback, active, turns):
        row = CATALOG[metric.name]
        assert (metric.unit, metric.description) == (row.unit, row.help)
    assert (feedback.sum.aggregation_temporality, feedback.sum.is_monotonic) == (CUMULATIVE, True)
    assert {labels(each)["rating"]: each.as_double for each in feedback.sum.data_points} == {"up": 2, "down": 3}
    assert [each.as_double for each in active.gauge.data_points] == [1]
    [point] = turns.histogram.data_points
    assert turns.histogram.aggregation_temporality == CUMULATIVE
    assert (point.count, point.sum, tuple(point.explicit_bounds)) == (1, 0.3, DURATION_BOUNDS)
    assert [*point.bucket_counts] == [0, 0, 0, 0, 0, 0, 1] + [0] * 10
    assert (point.HasField("min"), point.HasField("max")) == (False, False)
    assert before <= point.start_time_unix_nano <= point.time_unix_nano <= after


def test_attributes_of_ones_own(pushed):
    """Attributes of the program's own are pushed beside the catalogue's labels."""
    cells.counter(ATTRIBUTED.name, tool="pay", status="ok", region="eu").add()
    metrics, _, _ = pushed()

    [point] = metrics[ATTRIBUTED.name].sum.data_points
    assert labels(point) == {"tool": "pay", "status": "ok", "region": "eu"}


@pytest.mark.parametrize(
    ("environment", "module", "where"),
    [
        ({}, "http", "http://127.0.0.1:4318/v1/metrics"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc", "127.0.0.1:4317"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "nonsense"}, "http", "http://127.0.0.1:4318/v1/metrics"),
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf"},
            "http",
            "http://127.0.0.1:4318/v1/metrics",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://there:1/base"}, "http", "http://there:1/base/v1/metrics"),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://there:1/mine"}, "http", "http://there:1/mine"),
    ],
)
def test_where_to(monkeypatch, environment, module, where):
    """The standard variables say where and how to push, those for metrics first; else it is the collector here."""
    for name in ("PROTOCOL", "ENDPOINT", "METRICS_PROTOCOL", "METRICS_ENDPOINT", "TIMEOUT"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    made, _ = otlp.exporter()

    assert (f"proto.{module}." in type(made).__module__, made._endpoint) == (True, where)
    made.shutdown()


AGAIN = """
from agent_exporter.instrument import cells, export, feedback, shutdown, start
start("me")
first = export._LIBRARY.pusher.identity
feedback("up")
shutdown()
feedback("up")  # is lost
start("you")
feedback("up")
found = [point.value for point in cells.collect() if point.name == "agent.feedback"]
print(first is export._LIBRARY.pusher.identity, found)
"""


def test_start_again():
    """A program that starts again after a shutdown is the same instance, and its totals go on."""
    done = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "True [2.0]\n"
