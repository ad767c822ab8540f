import math

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from agent_exporter.sample import Reading, Sampler
from otlp import Bench

GAUGE, TOTAL = "agent.process.threads", "agent.process.cpu.time"
ENDED = 1  # DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK


class Sampled:
    """A sampler whose readings the test gives, and what it pushed."""

    def __init__(self, send=None):
        self.readings, self.requests = [], []
        self.sampler = Sampler("0", lambda: self.readings, send or self.requests.append)

    def push(self, *readings):
        """Push readings of (instrument, instance, value)."""
        self.readings = [
            Reading(name, (("agent", "toy"), ("agent_instance", who)), value) for name, who, value in readings
        ]
        self.sampler.collect()

    def points(self, name):
        """Tell the last points of an instrument by instance."""
        for request in reversed(self.requests):
            for metric in ExportMetricsServiceRequest.FromString(request).resource_metrics[0].scope_metrics[0].metrics:
                if metric.name == name:
                    points = (*metric.gauge.data_points, *metric.sum.data_points)
                    return {_instance(point): point for point in points if _instance(point) != "own"}
        return {}


def _instance(point):
    found = {pair.key: pair.value.string_value for pair in point.attributes}
    return found.get("agent_instance", "") if found.get("agent") == "toy" else "own"


def test_a_gauge_ends_when_it_is_not_observed():
    """A gauge that is gone is said to have no value, once; then the SDK does not repeat it."""
    sampled = Sampled()
    sampled.push((GAUGE, "a", 5), (GAUGE, "b", 6))
    sampled.push((GAUGE, "b", 7))
    ended = sampled.points(GAUGE)
    sampled.requests.clear()
    sampled.push((GAUGE, "b", 8))

    assert ended["a"].flags == ENDED
    assert ended["a"].WhichOneof("value") is None
    assert (ended["b"].flags, ended["b"].as_int) == (0, 7)
    assert sampled.points(GAUGE).keys() == {"b"}


def test_a_total_just_stops():
    """A total that is not observed any more is not said to have ended: it stays as it was."""
    sampled = Sampled()
    sampled.push((TOTAL, "a", 5.0), (TOTAL, "b", 5.0))
    sampled.push((TOTAL, "b", 6.0))

    assert sampled.points(TOTAL).keys() == {"b"}


def test_every_total_began_with_the_sampler():
    """A total that is first observed later began no later, for the instruments may be made anew."""
    sampled = Sampled()
    sampled.push((TOTAL, "a", 5.0))
    first = sampled.points(TOTAL)["a"].start_time_unix_nano
    sampled.push((TOTAL, "a", 5.0), (TOTAL, "b", 1.0))

    assert {point.start_time_unix_nano for point in sampled.points(TOTAL).values()} == {first}


def test_processes_that_come_and_go_for_years():
    """Any number of processes may have been there: totals of those that stay go on, and none overflows."""
    bench = Bench()
    sampled = Sampled(bench.ingest.own)
    for round_ in range(6):
        passing = [(TOTAL, f"{round_}-{number}", 1.0) for number in range(600)]
        sampled.push((TOTAL, "stays", float(round_)), *passing)

    page = bench.page()
    shown = {name: cells for name, cells in page.items() if name.startswith("agent_process_cpu") and '"toy"' in name}
    assert page['agent_process_cpu_time_seconds_total{agent="toy",agent_instance="stays"}'] == [5.0]
    assert "overflow" in " ".join(page)  # of the family's own budget, which is 2000
    assert math.fsum(cells[0] for cells in shown.values()) <= 3605
    assert bench.noted("agent_exporter.resets") == 0


def test_a_gauge_that_ended_leaves_the_page_at_once():
    """What a process was using when it ended is not shown; what it had used stays."""
    bench = Bench()
    sampled = Sampled(bench.ingest.own)
    sampled.push((GAUGE, "a", 5), (TOTAL, "a", 2.0))
    before = set(bench.page())
    sampled.push()
    after = set(bench.page())
    sampled.push((GAUGE, "a", 6), (TOTAL, "a", 3.0))

    labels = '{agent="toy",agent_instance="a"}'
    assert before - after == {f"agent_process_threads{labels}"}
    assert bench.page()[f"agent_process_threads{labels}"] == [6.0]
    assert bench.page()[f"agent_process_cpu_time_seconds_total{labels}"] == [3.0]
    assert bench.noted("agent_exporter.dropped.points", reason="no_recorded_value") == 0


def test_ended_gauges_leave_nothing_behind():
    """A gauge that ended costs neither a stream nor a place in its family."""
    bench = Bench()
    sampled = Sampled(bench.ingest.own)
    sampled.push()
    bench.ingest.sweep()
    before = bench.ingest.policy.streams
    for round_ in range(10):
        sampled.push(*((GAUGE, f"{round_}-{number}", 1) for number in range(300)))
    sampled.push()
    bench.ingest.sweep()

    assert bench.ingest.policy.streams == before
    assert not [name for name in bench.page() if "overflow" in name]
