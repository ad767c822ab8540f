"""What a program tells by our library counts once, whoever else tells it too."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from agent_exporter.collector.ingest import Ingest
from agent_exporter.config import Config
from agent_exporter.dialects import Dialects, told
from agent_exporter.instrument import otlp
from agent_exporter.model import Signal
from otlp import SECOND, Bench, at, dialects, gauge, number, pairs, total

WHO = {"service.name": "shop", "service.instance.id": "1"}
OK = {"tool_type": "function", "status": "ok"}


@pytest.fixture
def bench() -> Bench:
    """Begin with a collector that remembers nothing, which other tests' dialects do."""
    made = Bench()
    made.ingest = Ingest(Config(), Dialects(dialects().files), lambda: made.now)
    return made


def library(bench: Bench, *metrics: Any) -> None:
    """Push as the library does."""
    assert bench.send(*metrics, resource=WHO, scope=told.SCOPE).rejected == 0


def span(bench: Bench, identity: int, **attributes: Any) -> None:
    """Push one span of a framework."""
    made = Span(
        name="work",
        trace_id=bytes([identity] * 16),
        span_id=bytes([identity] * 8),
        start_time_unix_nano=at(1),
        end_time_unix_nano=at(3),
        attributes=pairs({name.replace("__", "."): value for name, value in attributes.items()}),
    )
    scoped = ScopeSpans(scope=InstrumentationScope(name="framework"), spans=[made])
    outer = ResourceSpans(resource=Resource(attributes=pairs(WHO)), scope_spans=[scoped])
    bench.ingest(Signal.TRACES, ExportTraceServiceRequest(resource_spans=[outer]).SerializeToString())


def tool_span(bench: Bench, identity: int, tool: str) -> None:
    """Push a span of a tool call."""
    span(bench, identity, gen_ai__operation__name="execute_tool", gen_ai__tool__name=tool)


def shown(bench: Bench, name: str) -> dict[str, float]:
    """Tell the series of a family that are not 0, by the values of their labels."""
    series = {key.partition("{")[2]: cells[0] for key, cells in bench.page().items() if key.startswith(f"{name}{{")}
    return {",".join(key.split('"')[1::2]): value for key, value in series.items() if value}


def test_both_ends_know_the_scope():
    """The library pushes by the name that the collector knows it by."""
    assert otlp.SCOPE == told.SCOPE


def test_a_tool_that_the_library_tells(bench):
    """Spans of a tool that the library measures do not count; of another tool they do."""
    library(bench, total("agent.tool.executions", number(0, {"tool": "search", **OK})))
    tool_span(bench, 1, "search")
    tool_span(bench, 2, "write")
    library(bench, total("agent.tool.executions", number(1, {"tool": "search", **OK}, time=60)))

    executions = shown(bench, "agent_tool_executions_total")
    assert executions == {"shop,ok,search,function": 1, "shop,ok,write,unknown": 1}


def test_tokens_that_the_library_tells(bench):
    """Tokens of spans do not count where the library tells tokens, nor does what they cost."""
    model = {"provider": "openai", "model": "gpt-5"}
    library(bench, total("agent.tokens", number(10, {"type": "input", **model})))
    span(
        bench, 1, gen_ai__operation__name="chat", gen_ai__provider__name="openai",
        gen_ai__request__model="gpt-5-2026", gen_ai__usage__input_tokens=10,
    )  # fmt: skip

    assert shown(bench, "agent_tokens_total") == {"shop,gpt-5,openai,input": 10}
    assert shown(bench, "agent_model_requests_total") == {"shop,gpt-5-2026,chat,openai,ok": 1}


def test_another_agent_is_not_meant(bench):
    """What the library tells of one agent says nothing of another."""
    other = {"resource": {"service.name": "x"}, "scope": told.SCOPE}
    bench.send(total("agent.tool.executions", number(0, {"tool": "search", **OK})), **other)
    tool_span(bench, 1, "search")

    assert shown(bench, "agent_tool_executions_total") == {"shop,ok,search,unknown": 1}


def test_metrics_that_came_before(bench):
    """Metrics that fed a family before the library told it feed it no more; what they counted stays."""
    instrumentation = {"resource": WHO, "scope": "opentelemetry.instrumentation.system_metrics"}
    memory = {"unit": "By"}
    bench.send(
        total("cpython.gc.collections", number(5, {"cpython.gc.generation": "0"})),
        gauge("process.memory.usage", number(100), **memory),
        **instrumentation,
    )
    own = {"runtime": "cpython", "generation": "0"}
    library(
        bench,
        total("agent.runtime.gc.collections", number(1, own, time=60)),
        gauge("agent.process.memory.usage", number(70, {"role": "self", "type": "rss"}, time=60), **memory),
    )
    bench.send(
        total("cpython.gc.collections", number(9, {"cpython.gc.generation": "0"}, time=60)),
        gauge("process.memory.usage", number(100, time=60), **memory),
        **instrumentation,
    )

    assert shown(bench, "agent_runtime_gc_collections_total") == {"shop,1,0,cpython": 6}
    assert shown(bench, "agent_process_memory_usage_bytes") == {"shop,1,self,rss": 70}


def test_a_program_that_has_changed(bench):
    """When a process has left, what no other of its agent tells counts from whoever else tells it."""
    executions = "agent.tool.executions"
    library(bench, *(total(executions, number(1, {"tool": tool, **OK})) for tool in ("search", "write")))
    other = WHO | {"service.instance.id": "2"}
    identity = 0
    for second in range(2, 3600, 15):
        bench.now += 15 * SECOND
        point = number(1, {"tool": "search", **OK}, start=2, time=second)
        bench.send(total(executions, point), resource=other, scope=told.SCOPE)
        bench.ingest.sweep()
        for tool in ("search", "write"):
            identity += 1
            tool_span(bench, identity % 200 + 1, tool)

    found = shown(bench, "agent_tool_executions_total")
    assert found.pop("shop,ok,search,function") == 2
    assert found.pop("shop,ok,write,function") == 1
    assert found.pop("shop,ok,write,unknown") > 0
    assert found == {}


def test_what_is_remembered_has_a_limit(bench, monkeypatch):
    """Beyond the limit nothing more is remembered, and nothing is lost."""
    monkeypatch.setattr(told, "SUBJECTS", 1)
    for tool in ("search", "write"):
        library(bench, total("agent.tool.executions", number(1, {"tool": tool, **OK})))
        tool_span(bench, len(tool), tool)

    executions = shown(bench, "agent_tool_executions_total")
    assert executions == {"shop,ok,search,function": 1, "shop,ok,write,function": 1, "shop,ok,write,unknown": 1}
