"""A real Prometheus scrapes the real process, fed by real OTel SDK clients and by captures."""

from __future__ import annotations

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

import captures
from end_to_end.process import OPENMETRICS, OWN, PATIENCE, Collector, lines, samples, until
from end_to_end.prometheus import ACCEPT, Prometheus, scraping

DELTA = {Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.DELTA}
PREFERENCES = {"cumulative": {}, "delta": DELTA}
PROTOCOLS = ("grpc", "http")
LATENCIES = (0.003, 0.2, 0.7, 40.0)
BOUNDS = [0.01, 0.5, 1.0, 5.0]
CLIENTS = tuple((protocol, preference) for protocol in PROTOCOLS for preference in PREFERENCES)
INSTANCES = {(f"{protocol}-{preference}",) for protocol, preference in CLIENTS}
CLAUDE_CODE = [name for name in captures.names() if name.startswith("claude-code-")]


class Client:
    """An instrumented program: the Python SDK with an exporter of one protocol and preference."""

    def __init__(self, collector, protocol, preference):
        options = {"preferred_temporality": PREFERENCES[preference], "timeout": 20}
        exporter = {
            "grpc": lambda: GrpcExporter(f"http://127.0.0.1:{collector.grpc}", insecure=True, **options),
            "http": lambda: HttpExporter(
                f"http://127.0.0.1:{collector.http}/v1/metrics", compression=Compression.Gzip, **options
            ),
        }
        self.reader = PeriodicExportingMetricReader(exporter[protocol](), export_interval_millis=float("inf"))
        about = {"service.name": "shop", "service.namespace": "demo", "service.version": "1.2"}
        resource = Resource(about | {"service.instance.id": f"{protocol}-{preference}", "deployment.region": "north"})
        self.meters = MeterProvider([self.reader], resource, shutdown_on_exit=False)
        self.tracer = TracerProvider(resource=resource, shutdown_on_exit=False).get_tracer("shop")
        meter = self.meters.get_meter("shop.meter", "3")
        self.orders = meter.create_counter("shop.orders", "{order}", "Orders.")
        self.stock = meter.create_up_down_counter("shop.stock", "{item}", "Stock.")
        self.latency = meter.create_histogram(
            "shop.latency", "s", "Latency.", explicit_bucket_boundaries_advisory=BOUNDS
        )
        self.heat = meter.create_gauge("shop.temperature", "Cel", "Temperature.")

    def work(self):
        """Sell something in a sampled span, and export; returns the trace's id in hex."""
        with self.tracer.start_as_current_span("sell") as span:
            self.orders.add(3, {"kind": "book"})
            self.orders.add(2, {"kind": "pen", "session.id": "s-1"})
            for latency in LATENCIES:
                self.latency.record(latency)
        self.stock.add(10)
        self.stock.add(-4)
        self.heat.set(21.5)
        assert self.meters.force_flush(20_000)
        return format(span.get_span_context().trace_id, "032x")

    def close(self):
        """Export once more and end."""
        self.meters.shutdown()


@pytest.fixture
def prometheus(program, tmp_path):
    """Start a Prometheus that scrapes a collector's page."""
    started = []

    def start(collector, *jobs, interval=1):
        started.append(Prometheus(program("prometheus"), tmp_path, scraping(collector.web, jobs, interval)))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def test_promql_returns_the_totals(collector, prometheus):
    """What four SDK clients counted, twice, is what PromQL says; targets join; exemplars lead to traces."""
    running = collector()
    clients = [Client(running, protocol, preference) for protocol, preference in CLIENTS]
    started = time.time()
    server = prometheus(running, "kept")
    traces = {client.work() for client in clients}
    server.becomes("sum by (kind) (shop_orders_total)", {("book",): 12, ("pen",): 8}, "kind")

    traces |= {client.work() for client in clients}
    server.becomes("sum by (instance) (shop_orders_total)", dict.fromkeys(INSTANCES, 10.0), "instance")
    server.becomes('shop_stock{job="demo/shop"}', dict.fromkeys(INSTANCES, 12.0), "instance")
    server.becomes("shop_temperature_celsius", dict.fromkeys(INSTANCES, 21.5), "instance")
    server.becomes("shop_latency_seconds_count", dict.fromkeys(INSTANCES, 8.0), "instance")
    sums = server.query("shop_latency_seconds_sum", "instance")
    assert sums == pytest.approx(dict.fromkeys(INSTANCES, 2 * sum(LATENCIES)))
    assert server.query("sum by (le) (shop_latency_seconds_bucket)", "le") == {
        ("0.01",): 8, ("0.5",): 16, ("1.0",): 24, ("5.0",): 24, ("+Inf",): 32,
    }  # fmt: skip
    _exemplars(server, started, traces)
    joined = "shop_stock * on (job, instance) group_left (deployment_region) target_info"
    assert server.query(joined, "job", "instance", "deployment_region", "otel_scope_name") == {
        ("demo/shop", instance, "north", "shop.meter"): 12.0 for (instance,) in INSTANCES
    }
    for client in clients:
        client.close()
    _healthy(running, server)


def _exemplars(server, started, traces):
    """Each value of the newest work is an exemplar of its series, with the trace it was made in."""
    for name, values in (("shop_orders_total", {3.0, 2.0}), ("shop_latency_seconds_bucket", set(LATENCIES))):
        rows = server.ask("query_exemplars", query=name, start=started, end=time.time() + PATIENCE)
        found = [exemplar for row in rows for exemplar in row["exemplars"]]
        assert {exemplar["labels"]["trace_id"] for exemplar in found} == traces
        assert {float(exemplar["value"]) for exemplar in found} == values


def _healthy(running, server):
    """Hold every scrape to have been taken in full, without a word."""
    assert set(server.query("min_over_time(up[1h])").values()) == {1.0}
    until(lambda: set(server.query("scrape_samples_scraped").values()) == {_lines(running)})
    assert set(server.query("scrape_samples_scraped - scrape_samples_post_metric_relabeling", "job").values()) == {0.0}
    assert server.stop() == []


def _lines(running):
    """Count the samples on the page as Prometheus asks for it."""
    return float(sum(not line.startswith("#") for line in lines(running.page(ACCEPT))))


@pytest.fixture(scope="module")
def fed(tmp_path_factory):
    """Replay everything that was ever captured into one collector."""
    with Collector(tmp_path_factory.mktemp("fed")) as running:

        def replay(name):
            capture = captures.load(name)
            with running.sender(capture.protocol, partly=True) as send:
                for payload in capture.payloads:
                    send(payload, payload.body)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(replay, captures.names()))
        yield running


def test_every_capture_on_one_page(fed, program):
    """After all captures parsers accept both formats, which agree, and promtool is silent about `agent_*`."""
    text, openmetrics = fed.page(), fed.page(OPENMETRICS)
    plain = samples(text)
    typed = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_openmetrics(openmetrics)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
    shared = {key for key in plain if not key[0].startswith(OWN)}
    print(f"{len(plain)} series, {len(text)} bytes of text, {len(openmetrics)} of OpenMetrics")

    assert {key: plain[key] for key in shared} == {key: typed[key] for key in typed if not key[0].startswith(OWN)}
    assert len(plain) > 1000
    assert _promtool(program("promtool"), _families(text, "agent_")) == ""


def test_promql_of_every_capture(fed, prometheus):
    """Prometheus takes the page of all captures in full, and has Claude Code's totals, however it scrapes."""
    server = prometheus(fed, "kept", "renamed", interval=3)
    tokens = sum(
        session["design"]["tokens"][kind]
        for run in CLAUDE_CODE
        for session in captures.load(run).expected["sessions"].values()
        for kind in ("input_uncached", "cache_read", "cache_write", "output_incl_reasoning")
    )
    sessions = sum(
        row["value"]
        for run in CLAUDE_CODE
        for session in captures.load(run).expected["sessions"].values()
        for row in session["reported"]["metrics"]
        if row["metric"] == "claude_code.session.count"
    )
    both = {("kept",), ("renamed",)}

    server.becomes('sum by (job) (agent_tokens_total{agent="claude-code"})', dict.fromkeys(both, float(tokens)), "job")
    server.becomes('agent_sessions_total{agent="claude-code"}', dict.fromkeys(both, sessions), "job")
    server.becomes(
        'sum by (job) (agent_tool_executions_total{agent="claude-code",status="rejected"})',
        dict.fromkeys(both, 1.0),
        "job",
    )
    for label, matcher in (("job", 'job="claude-code"'), ("exported_job", 'exported_job="claude-code"')):
        joined = f"claude_code_session_count_total * on ({label}) group_left (service_version) target_info{{{matcher}}}"
        found = {("claude-code", "2.1.329"): sessions}
        server.becomes(f"sum by ({label}, service_version) ({joined})", found, label, "service_version")
    quantile = server.query("histogram_quantile(0.5, sum by (le) (agent_model_request_duration_seconds_bucket))")
    assert 0 < quantile[()] < 10
    _healthy(fed, server)


def _families(page, prefix):
    """Cut the families whose names begin so out of a page."""
    comments = f"# HELP {prefix}", f"# TYPE {prefix}"
    return "".join(line for line in lines(page) if line.startswith((prefix, *comments)))


def _promtool(program, page):
    assert page
    done = subprocess.run([program, "check", "metrics"], input=page, text=True, capture_output=True, check=False)
    return done.stdout + done.stderr
