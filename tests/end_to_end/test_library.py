"""The library, from a program that measures itself to the collector's page, all of it real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agent_exporter.catalog import CATALOG
from agent_exporter.expose.names import Strategy, metric_name
from end_to_end.process import until

EXAMPLE = Path(__file__).parents[2] / "examples" / "agent.py"
OTEL = ("OTEL_", "AGENT_EXPORTER_")
ENV = {name: value for name, value in os.environ.items() if not name.startswith(OTEL)}
PROCESSES = 3  # two workers and who forked them
MODEL = ("model=claude-sonnet-4-5", "provider=anthropic")

# What the two workers of the example have done, by sample and labels besides `agent`.
DONE = {
    ("agent_turns_total",): 20,
    ("agent_turn_duration_seconds_count",): 20,
    ("agent_sessions_total",): 2,
    ("agent_sessions_active",): 0,
    ("agent_tool_executions_total", "tool=search", "tool_type=function", "status=ok"): 20,
    ("agent_tool_executions_total", "tool=search", "tool_type=function", "status=error"): 0,
    ("agent_tool_executions_total", "tool=order", "tool_type=function", "status=ok"): 18,
    ("agent_tool_executions_total", "tool=order", "tool_type=function", "status=error"): 0,
    (
        "agent_tool_executions_total", "tool=order", "tool_type=function", "status=error", "error_type=LookupError",
    ): 2,
    ("agent_tool_execution_duration_seconds_count", "tool=order", "status=error"): 2,
    ("agent_tool_input_size_bytes_sum", "tool=search"): 20 * len("books"),
    ("agent_tool_output_size_bytes_count", "tool=search"): 20,
    ("agent_tool_active", "tool=search"): 0,
    ("agent_tool_oldest_active_age_seconds", "tool=search"): 0,
    ("agent_interface_consecutive_failures", "interface=shop"): 0,
    ("agent_cache_requests_total", "cache=books", "result=hit"): 18,
    ("agent_cache_requests_total", "cache=books", "result=miss"): 2,
    ("agent_cache_entries", "cache=books"): 2,
    ("agent_operation_duration_seconds_count", "operation=context.prepare", "mode=simple", "status=ok"): 20,
    ("agent_model_requests_total", *MODEL, "operation=chat", "status=ok"): 20,
    ("agent_model_time_to_first_token_seconds_count", *MODEL, "status=ok"): 20,
    ("agent_tokens_total", *MODEL, "type=input"): 20_000,
    ("agent_tokens_total", *MODEL, "type=cache_read"): 10_000,
    # 1000 at $3, 500 at $0.30 and 200 at $15 a million, twenty times
    ("agent_cost_usd_total", *MODEL, "basis=estimated"): 0.123,
    ("agent_feedback_total", "rating=down"): 2,
}  # fmt: skip
# Families of each process.
BY_INSTANCE = {
    "agent_pool_size",
    "agent_queue_size",
    "agent_queue_wait_duration_seconds_count",
    "agent_process_cpu_time_seconds_total",
    "agent_process_memory_usage_bytes",
    "agent_runtime_gc_collections_total",
    "agent_runtime_tasks",
}


def environment(collector: Any, protocol: str, **more: str) -> dict[str, str]:
    """Tell a program where to push."""
    port = collector.grpc if protocol == "grpc" else collector.http
    return {
        **ENV,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        **more,
    }


def run(code: str | Path, env: dict[str, str], **rest: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; a text is its code."""
    # From 3.12 on Python warns of forks in programs with threads (docs/library.md).
    quiet = ["-W", "ignore:This process:DeprecationWarning"]
    command = [sys.executable, *quiet, *(["-c", code] if isinstance(code, str) else [code])]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False, **rest)


def shown(collector: Any, agent: str) -> dict[tuple[str, ...], float]:
    """Read what the page says of an agent, by name and labels."""
    return {
        (name, *(f"{key}={value}" for key, value in labels if key != "agent")): value
        for (name, labels), value in collector.totals().items()
        if ("agent", agent) in labels
    }


def same(key: tuple[str, ...]) -> tuple[str, ...]:
    """Order labels as pages do."""
    return key[0], *sorted(key[1:])


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_the_example(collector: Any, protocol: str) -> None:
    """Two workers of one program, forked, are two instances; all that they did is on the page, and counts once."""
    running = collector()
    done = run(EXAMPLE, environment(running, protocol))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    found = shown(running, "shop-assistant")
    assert {key: found.get(same(key)) for key in DONE} == pytest.approx(DONE)
    instances = {
        name: len({part for key in found if key[0] == name for part in key if part.startswith("agent_instance=")})
        for name in BY_INSTANCE
    }
    assert instances == dict.fromkeys(BY_INSTANCE, PROCESSES) | {"agent_queue_wait_duration_seconds_count": 2}


def test_no_family_goes_astray(collector: Any) -> None:
    """Every family that a program can record comes to the page under its own name, with the labels it was given."""
    running = collector()
    code = """
from agent_exporter.catalog import CATALOG
from agent_exporter.instrument import cells, start, shutdown
from agent_exporter.model import Kind
start("everything", runtime=False)
for row in CATALOG.values():
    if row.name.startswith("agent.") and row.name != "agent.source.last_seen":
        labels = {label: f"some {label}" for label in row.labels}
        if row.kind is Kind.COUNTER:
            cells.counter(row.name, **labels).add(2)
        elif row.kind is Kind.GAUGE:
            cells.gauge(row.name, **labels).set(2)
        else:
            cells.histogram(row.name, **labels).record(2)
"""
    done = run(code, environment(running, "http/protobuf"))
    assert (done.returncode, done.stderr) == (0, "")

    found = shown(running, "everything")
    strategy = Strategy("UnderscoreEscapingWithSuffixes")
    for row in CATALOG.values():
        if row.name.startswith("agent.") and row.name != "agent.source.last_seen":
            name = metric_name(row.name, row.unit, row.kind, strategy).sample
            labels = {label for label in row.labels if label != "agent"}
            # Tokens of an unknown model are counted as unpriced, too.
            recorded = next((key for key, value in found.items() if key[0] in (name, f"{name}_sum") and value >= 2), ())
            assert {part.partition("=")[0] for part in recorded[1:]} == labels, name


def test_attributes_of_ones_own(collector: Any) -> None:
    """Attributes that a program gives a tool are labels of a family of their own; users' are dropped as ever."""
    running = collector()
    code = """
from agent_exporter.instrument import start, tool
start("shop")
tool("pay", attributes={"region": "eu", "user.email": "a@b.c"})(len)("abc")
"""
    run(code, environment(running, "http/protobuf"))

    [labels] = [dict(key) for name, key in running.totals() if name == "agent_tool_attributed_executions_total"]
    own = {name: value for name, value in labels.items() if name != "instance" and not name.startswith("otel_scope_")}
    assert own == {"job": "shop", "tool": "pay", "status": "ok", "region": "eu"}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("wait", [0.0, 0.1, 1.0], ids=["at once", "while it loads", "after it has pushed"])
def test_forks(collector: Any, protocol: str, wait: float) -> None:
    """Whenever a program forks, children begin from zero, push for themselves, and nobody counts twice."""
    running = collector()
    code = f"""
import os, sys, time
from agent_exporter.instrument import start, tool
start("forker")
work = tool("work")(len)
work("abc")
time.sleep({wait})
for _ in range(3):
    if os.fork() == 0:
        work("abc")
        sys.exit()
for _ in range(3):
    assert os.wait()[1] == 0
work("abc")
"""
    done = run(code, environment(running, protocol))
    assert (done.returncode, done.stderr) == (0, "")

    found = shown(running, "forker")
    assert found["agent_tool_executions_total", "status=ok", "tool=work", "tool_type=function"] == 5
    assert len({key for key in found if key[0] == "agent_process_threads"}) == 4


def test_the_programs_own_resource(collector: Any) -> None:
    """A program that has set up OpenTelemetry is called as its provider says, ours and its own metrics alike."""
    running = collector()
    code = """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
resource = Resource({"service.name": "owner", "service.instance.id": "one"})
metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], resource))
metrics.get_meter("own").create_counter("own.things").add(1)
from agent_exporter.instrument import start
start("another name")
"""
    done = run(code, environment(running, "http/protobuf", OTEL_SERVICE_NAME="a third name"))
    assert (done.returncode, done.stderr) == (0, "")

    assert "agent_instance=one" in {part for key in shown(running, "owner") for part in key}
    assert running.counter("own_things_total", job="owner", instance="one") == 1


def test_who_is_named_by_the_environment(collector: Any) -> None:
    """What is deployed wins over what is written in the program; attributes of the environment are the resource's."""
    running = collector()
    more = {"OTEL_SERVICE_NAME": "deployed", "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=pod%207,team=a"}
    run("from agent_exporter.instrument import *; start('written')", environment(running, "grpc", **more))

    assert running.counter("target_info", job="deployed", instance="pod 7", team="a") == 1


def test_a_framework_beside_the_library(collector: Any) -> None:
    """Spans of a framework that tell what the library tells do not count; the rest of them does."""
    running = collector()
    code = """
import time
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
provider = TracerProvider(resource=Resource({"service.name": "both"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=1000))
trace.set_tracer_provider(provider)
from agent_exporter.instrument import model_request, start, tool
start()
tracer = trace.get_tracer("framework")
search = tool("search")(lambda: time.sleep(0.1))
for name in ("search", "write"):
    with tracer.start_as_current_span("tool") as span:
        span.set_attributes({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name})
        search() if name == "search" else None
with tracer.start_as_current_span("chat") as span, model_request("openai", "gpt-5") as request:
    span.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5", "gen_ai.usage.input_tokens": 1000})
    request.tokens(input=1000)
    time.sleep(0.5)
"""
    done = run(code, environment(running, "http/protobuf"))
    assert (done.returncode, done.stderr) == (0, "")

    def total(name: str) -> float:
        return running.counter(name, agent="both")

    assert (total("agent_tool_executions_total"), running.counter("agent_tool_executions_total", tool="search")) == (
        2,
        1,
    )
    assert (total("agent_model_requests_total"), total("agent_tokens_total")) == (1, 1000)
    assert total("agent_cost_usd_total") == pytest.approx(1000 * 1.25e-6)


# What the collector needs and the library does not.
UNNEEDED = (
    *("click", "genai_prices", "grpc", "httptools", "isal", "numpy", "orjson", "prometheus_client", "psutil"),
    *("pydantic", "rich", "tomlkit", "uvicorn", "uvloop", "yaml", "zstandard"),
)


def test_the_slim_install(collector: Any) -> None:
    """Without the collector's dependencies the library measures and pushes all the same."""
    running = collector()
    code = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {UNNEEDED}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Missing())
from agent_exporter.instrument import flush, start, tool
start("slim")
tool("x")(len)("abc")
print(flush())
"""
    done = run(code, environment(running, "http/protobuf"))

    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    assert running.counter("agent_tool_executions_total", agent="slim") == 1


# -- without a collector -----------------------------------------------------

NOBODY = "http://127.0.0.1:9"  # refused
SLOW = """
import sys, time
from agent_exporter.instrument import start, tool, shutdown, cells
{before}
began = time.monotonic()
start("lonely", interval=0.1)
work = tool("work")(len)
work("abc")
started = time.monotonic() - began
time.sleep({wait})
failures = [point.value for point in cells.collect() if point.name == "agent.telemetry.failures"]
print(started < 0.5, *failures)
"""


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_dead_collector(protocol: str) -> None:
    """Without a collector a program loses nothing but its metrics: one line of log, and a count."""
    env = {**ENV, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_ENDPOINT": NOBODY}
    began = time.monotonic()
    done = run(SLOW.format(before="import logging; logging.basicConfig()", wait=2), env)

    prompt, failures = done.stdout.split()
    assert (done.returncode, prompt) == (0, "True")
    assert float(failures) > 3
    assert [NOBODY in line and "agent_exporter.instrument" in line for line in done.stderr.splitlines()] == [True]
    assert time.monotonic() - began < 20


def test_a_collector_that_does_not_answer() -> None:
    """A collector that takes a connection and says nothing holds up neither the program nor its end."""
    code = """
import socket, threading
door = socket.create_server(("127.0.0.1", 0))
import os
os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{door.getsockname()[1]}"
"""
    done = run(
        SLOW.format(before=code, wait=1)
        + "began = time.monotonic(); print(shutdown(0.2), time.monotonic() - began < 2)",
        ENV,
    )

    assert (done.returncode, done.stdout.split()) == (0, ["True", "False", "True"])


def test_a_program_that_is_terminated(collector: Any) -> None:
    """A program that ends by a signal that it handles has pushed before."""
    running = collector()
    code = """
import signal, sys, time
from agent_exporter.instrument import start, turn
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
start("ended", interval=60)
with turn():
    print("ready", flush=True)
    while True:
        time.sleep(0.05)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment(running, "grpc"), stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

    assert until(lambda: running.counter("agent_turn_duration_seconds_count", agent="ended")) == 1


@pytest.mark.parametrize(
    ("code", "more"),
    [("start(enabled=False)", {}), ("start()", {"OTEL_SDK_DISABLED": "true"}), ("", {})],
    ids=["argument", "environment", "never started"],
)
def test_switched_off(collector: Any, code: str, more: dict[str, str]) -> None:
    """A library that is switched off makes no thread and pushes nothing."""
    running = collector()
    whole = f"""
from agent_exporter.instrument import *
{code}
tool("work")(len)("abc")
import threading
print(threading.active_count(), flush(), shutdown())
"""
    done = run(whole, environment(running, "http/protobuf", **more))

    assert (done.stdout.split(), done.stderr) == (["1", "True", "True"], "")
    assert running.counter("agent_exporter_requests_total", signal="metrics") == 0
