"""A framework's own spans and an adapter together, in a collector: each call counts once."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic_ai import Agent
from pydantic_ai.capabilities import Instrumentation
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.usage import RequestUsage

from agent_exporter.collector.ingest import Ingest
from agent_exporter.config import Config
from agent_exporter.dialects import Dialects
from agent_exporter.instrument import cells, otlp
from agent_exporter.instrument.frameworks.pydantic_ai import capability
from agent_exporter.model import Signal
from otlp import Bench, dialects

WHO = {"service.name": "shop", "service.instance.id": "1"}


@pytest.fixture
def bench():
    """Begin with a collector that remembers nothing, which other tests' dialects do."""
    made = Bench()
    made.ingest = Ingest(Config(), Dialects(dialects().files), lambda: made.now)
    return made


def answer(messages, _):
    """Ask for two calls of a tool, then be done."""
    asked = any(isinstance(message, ModelResponse) for message in messages)
    parts = [TextPart("done")] if asked else [ToolCallPart("search", {"query": word}) for word in ("a", "bb")]
    return ModelResponse(parts=parts, usage=RequestUsage(input_tokens=10, output_tokens=5), model_name="stub-1")


def run(bench, capabilities):
    """Run an agent that is instrumented by the framework as well; push what both tell, as they come to it."""
    spans = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource(WHO))
    provider.add_span_processor(SimpleSpanProcessor(spans))
    own = Instrumentation(settings=InstrumentationSettings(tracer_provider=provider))
    agent = Agent(FunctionModel(answer, model_name="stub-1"), capabilities=[own, *capabilities])

    def push():
        found = cells.collect()
        if found:
            told = encode_metrics(otlp.data(found, WHO)).SerializeToString()
            assert bench.ingest(Signal.METRICS, told).rejected == 0

    @agent.tool_plain
    async def search(query: str) -> str:
        push()  # as when a family is new
        return query

    asyncio.run(agent.run("go"))
    bench.ingest(Signal.TRACES, encode_spans(spans.get_finished_spans()).SerializeToString())
    push()
    provider.shutdown()


def total(bench, name, **labels):
    """Add up a family's series."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    page = {key: values for key, values in bench.page().items() if key.startswith(f"{name}{{")}
    return sum(values[0] for key, values in page.items() if all(each in key for each in wanted))


FAMILIES = {
    "agent_tool_executions_total": {"tool": "search"},
    "agent_model_requests_total": {},
    "agent_tokens_total": {},
    "agent_tool_active": {},
}


@pytest.mark.parametrize("counts", [False, True])
def test_each_call_counts_once(points, bench, counts):
    """Calls, requests and tokens are the same with an adapter as by the framework's spans alone."""
    run(bench, [capability(counts=counts)])

    assert {name: total(bench, name, **labels) for name, labels in FAMILIES.items()} == {
        "agent_tool_executions_total": 2,
        "agent_model_requests_total": 2,
        "agent_tokens_total": 30,
        "agent_tool_active": 0,
    }


def test_by_the_framework_alone(points, bench):
    """The framework's spans tell calls, requests and tokens, and no sizes."""
    run(bench, [])

    assert total(bench, "agent_tool_executions_total", tool="search") == 2
    assert total(bench, "agent_model_requests_total") == 2
    assert total(bench, "agent_tokens_total") == 30
    assert [key for key in bench.page() if key.startswith("agent_tool_input_size_bytes{")] == []


@pytest.mark.parametrize("counts", [False, True])
def test_sizes_are_there(points, bench, counts):
    """What the framework leaves out is on the page in both modes."""
    run(bench, [capability(counts=counts)])

    assert [key for key in bench.page() if key.startswith("agent_tool_input_size_bytes{")] != []
    assert [key for key in bench.page() if key.startswith("agent_tool_output_size_bytes{")] != []
