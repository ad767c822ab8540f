"""Every capture of a framework, replayed: what is normalised is what was scripted.

`GAPS` is all that the telemetry itself cannot tell, with the reason and the exact difference; nothing
else is tolerated. The MCP captures call a tool that does not exist, which no tool's own log knows: `EXTRA`.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import NamedTuple

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

import captures
from agent_exporter.collector.ingest import Ingest
from agent_exporter.config import Config
from agent_exporter.dialects import Dialects
from agent_exporter.model import Signal
from captures import Capture
from otlp import EPOCH, SECOND, dialects
from replay import protobuf
from rewrite import LATER, another

FRAMEWORKS = (
    *("crewai-", "google-adk-", "langchain-", "mcp-", "openai-", "openai-agents-", "pydantic-ai-"),
    *("smolagents-", "strands-agents-", "vercel-ai-"),
)
RUNS = [name for name in captures.names() if name.startswith(FRAMEWORKS)]
AGENT = "weather-agent"  # the service.name that every framework was given

# What happened is told as a Counter of ("requests", status), ("tokens", type) and ("tools", tool, status).


class Gap(NamedTuple):
    """What the telemetry says less (below 0) or more than the truth, and why."""

    reason: str
    difference: dict[tuple[str, ...], int]


def _uncached(cached: int, reasoning: int, reason: str) -> Gap:
    """Say that cached or reasoning tokens are told as plain input and output."""
    moved = {("tokens", "input"): cached, ("tokens", "cache_read"): -cached}
    moved |= {("tokens", "output"): reasoning, ("tokens", "reasoning"): -reasoning}
    return Gap(reason, {what: number for what, number in moved.items() if number})


_NO_TOOLS = "the program's own loop calls the tools, and no instrumentation sees that"
_NO_CACHE = "cached and reasoning tokens are not told"
_NO_REASONING = "reasoning tokens are not told"
_BEYOND = Gap(
    "the Responses API is not instrumented: three requests, one of them failed; one stream without usage (25, 5)",
    {
        ("requests", "ok"): -2,
        ("requests", "error"): -1,
        ("tokens", "input"): -(510 + 600 - 512) - 25,
        ("tokens", "cache_read"): -512,
        ("tokens", "output"): -(44 + 33) - 5,
    },
)


def _no_tools(calls: int) -> Gap:
    return Gap(_NO_TOOLS, {("tools", "lookup_weather", "ok"): -calls, ("tools", "delete_record", "error"): -calls})


def _no_models(requests: int, types: tuple[int, int, int, int]) -> Gap:
    names = ("input", "cache_read", "output", "reasoning")
    missing = {("tokens", name): -number for name, number in zip(names, types, strict=True)}
    return Gap("requests are not instrumented, tools only", {("requests", "ok"): -requests, **missing})


GAPS: dict[str, list[Gap]] = {
    "crewai-1.15.30-openinference/http-protobuf": [_no_models(4, (1749, 2176, 124, 16))],
    "langchain-1.4.7-openllmetry/http-protobuf": [_uncached(0, 16, _NO_REASONING)],
    "langchain-1.4.7-openllmetry/grpc": [_uncached(0, 16, _NO_REASONING)],
    "mcp-1.30.0-openllmetry/http-protobuf": [_no_models(3, (1724, 2176, 119, 16))],
    "mcp-2.3.0/http-protobuf": [_uncached(2176, 16, _NO_CACHE)],
    "mcp-2.3.0/grpc": [_uncached(2176, 16, _NO_CACHE)],
    "openai-2.54.0-otel-v2/http-protobuf": [_uncached(2176, 16, _NO_CACHE), _no_tools(1)],
    "openai-2.54.0-otel-v2/grpc": [_uncached(2176, 16, _NO_CACHE), _no_tools(2), _BEYOND],
    "openai-2.54.0-otel-v2-latest-semconv/http-protobuf": [_uncached(2176, 16, _NO_CACHE), _no_tools(2), _BEYOND],
    "openai-3.52.0-openllmetry/http-protobuf": [_no_tools(1)],
    "openai-3.52.0-openllmetry/grpc": [
        _no_tools(2),
        _uncached(0, 16, "reasoning tokens of streams are not told"),
        Gap("one stream without usage", {("tokens", "input"): -25, ("tokens", "output"): -5}),
    ],
    "openai-agents-0.24.0-otel-v2/http-protobuf": [_uncached(2176, 16, _NO_CACHE)],
    "openai-agents-0.24.0-otel-v2/grpc": [_uncached(2432, 16, _NO_CACHE)],
    "pydantic-ai-2.68.0/grpc": [
        Gap(
            "a tool is cancelled, because its sibling failed, after its body ran to the end",
            {("tools", "lookup_weather", "ok"): -1, ("tools", "lookup_weather", "error"): 1},
        )
    ],
    "smolagents-1.26.0-openinference/http-protobuf": [_uncached(2176, 16, _NO_CACHE)],
    "smolagents-1.26.0-openinference/grpc": [_uncached(2688, 16, _NO_CACHE)],
    "strands-agents-1.62.0/http-protobuf": [_uncached(0, 16, _NO_REASONING)],
    "strands-agents-1.62.0/grpc": [_uncached(0, 16, _NO_REASONING)],
}
EXTRA = {("tools", "no_such_tool", "error"): 1}


def truth(capture: Capture) -> Counter:
    """Read what was scripted, in the words of the catalogue."""
    expected = capture.expected or {}
    tokens, failed = expected["tokens"], expected["model_requests_failed"]
    told = Counter(
        {
            ("requests", "ok"): expected["model_requests"] - failed,
            ("requests", "error"): failed,
            ("tokens", "input"): tokens["input"] - tokens["cached"],
            ("tokens", "cache_read"): tokens["cached"],
            ("tokens", "output"): tokens["output"] - tokens["reasoning"],
            ("tokens", "reasoning"): tokens["reasoning"],
        }
    )
    for tool, calls in expected["by_tool"].items():
        told["tools", tool, "ok"] += calls["ok"]
        told["tools", tool, "error"] += calls["failed"]
    if expected["tool_calls_failed_before_the_tool_body"]:
        told.update(EXTRA)
    return told


class Replay:
    """An ingest whose clock goes with the payloads."""

    def __init__(self) -> None:
        self.now = EPOCH
        self.ingest = Ingest(Config(), Dialects(dialects().files), lambda: self.now)

    def run(self, capture: Capture, *, session: int = 0, times: int = 1) -> None:
        """Push a capture's payloads in order, each so many times."""
        begin = self.now
        for payload in capture.payloads:
            self.now = begin + int(payload.elapsed * SECOND)
            body = protobuf(payload)
            for _ in range(times):
                sent = another(payload.signal, body, later=session * LATER) if session else body
                assert self.ingest(Signal(payload.signal), sent).rejected == 0

    def series(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Tell labels and value of every series of a family, after all that waits has been measured."""
        self.now += 3600 * SECOND
        self.ingest.sweep()
        return [
            (
                dict(part.split("=", 1) for part in text.decode().replace('"', "").split(",")),
                table.values[(row + 1) * table.width - 1],  # of a histogram the count
            )
            for family in self.ingest.snapshot()
            if family.name == name
            for table in family.tables
            for row, text in enumerate(table.texts)
            if row not in table.hidden and text
        ]

    def told(self) -> Counter:
        """Tell what was normalised, in the words of `truth`."""
        found = Counter()
        for labels, value in self.series("agent_model_requests_total"):
            found["requests", labels["status"]] += value
        for labels, value in self.series("agent_tokens_total"):
            found["tokens", labels["type"]] += value
        for labels, value in self.series("agent_tool_executions_total"):
            found["tools", labels["tool"], labels["status"]] += value
        return found


@cache
def replayed(name: str) -> Replay:
    """Replay a capture once."""
    replay = Replay()
    replay.run(captures.load(name))
    return replay


def difference(told: Counter, expected: Counter) -> dict[tuple[str, ...], float]:
    """Say what is told more or less than expected."""
    return {what: delta for what in {*told, *expected} if (delta := told[what] - expected[what])}


@pytest.mark.parametrize("name", RUNS)
def test_a_capture_says_what_happened(name):
    """Requests, tokens by type and tools by status are the scripted ones but for the gaps that are named."""
    expected = Counter()
    for gap in GAPS.get(name, ()):
        expected.update(gap.difference)

    found = difference(replayed(name).told(), truth(captures.load(name)))

    assert found == {what: number for what, number in expected.items() if number}


@pytest.mark.parametrize("name", RUNS)
def test_a_second_session_doubles_everything(name):
    """The same work by another process, later: every number is twice what it was."""
    replay = Replay()
    replay.run(captures.load(name))
    replay.run(captures.load(name), session=1)

    once = replayed(name).told()
    assert replay.told() == Counter({what: 2 * number for what, number in once.items()})


@pytest.mark.parametrize("name", RUNS)
def test_a_payload_that_is_sent_again_counts_once(name):
    """A client's retry of every payload changes nothing."""
    replay = Replay()
    replay.run(captures.load(name), times=2)

    assert replay.told() == replayed(name).told()


def _spans(capture):
    """Yield every span of a capture in a request of its own."""
    for payload in capture.payloads:
        if payload.signal == "traces":
            for outer in ExportTraceServiceRequest.FromString(protobuf(payload)).resource_spans:
                for inner in outer.scope_spans:
                    for span in inner.spans:
                        scope = ScopeSpans(scope=inner.scope, spans=[span])
                        yield ExportTraceServiceRequest(
                            resource_spans=[ResourceSpans(resource=outer.resource, scope_spans=[scope])]
                        )


@pytest.mark.parametrize("name", RUNS)
def test_the_order_of_spans_does_not_matter(name):
    """Spans one by one, the last first, so that parents come before their children: the same numbers."""
    replay = Replay()
    for request in reversed([*_spans(captures.load(name))]):
        assert replay.ingest(Signal.TRACES, request.SerializeToString()).rejected == 0

    assert replay.told() == replayed(name).told()


TURNS = {  # runs that a program started, by hand from FRAMEWORKS.md
    **dict.fromkeys((name for name in RUNS if name.endswith("http-protobuf")), 2),
    **dict.fromkeys((name for name in RUNS if name.endswith("grpc")), 3),
    **dict.fromkeys((name for name in RUNS if name.startswith(("openai-2", "openai-3", "mcp-"))), 0),  # no agent
    "openai-agents-0.24.0-openinference/grpc": 4,  # with the hand-off
    "openai-agents-0.24.0-otel-v2/grpc": 4,
    "smolagents-1.26.0-openinference/grpc": 1,  # a failed run's span never comes, and the next is its child
    "vercel-ai-6.0.326/http-json": 3,
}


@pytest.mark.parametrize("name", RUNS)
def test_turns(name):
    """A run is a turn, whatever agents it hands over to and however many spans say that it is one."""
    replay = replayed(name)

    assert sum(value for _, value in replay.series("agent_turns_total")) == TURNS[name]
    assert sum(value for _, value in replay.series("agent_turn_duration_seconds")) == TURNS[name]


@pytest.mark.parametrize("name", RUNS)
def test_requests_have_models_and_providers(name):
    """The model is the one asked for, or what the framework knows instead; the provider is one of the conventions."""
    models = {"gpt-5-mini", "gpt-5-mini-2025-08-07", "gemini-2.5-flash", "text-embedding-3-small"}

    for labels, _ in replayed(name).series("agent_tokens_total"):
        assert labels["model"] in models
        assert labels.get("provider") in {"openai", "gcp.gemini"} or name.startswith("strands-")


@pytest.mark.parametrize("name", RUNS)
def test_everything_took_time(name):
    """Requests and tool calls have a duration each."""
    told, replay = replayed(name).told(), replayed(name)

    for family, kind in (
        ("agent_model_request_duration_seconds", "requests"),
        ("agent_tool_execution_duration_seconds", "tools"),
    ):
        counted = sum(number for what, number in told.items() if what[0] == kind)
        assert sum(value for _, value in replay.series(family)) == counted


@pytest.mark.parametrize("name", RUNS)
def test_an_agent_is_called_by_its_service_name(name):
    """The label agent is service.name."""
    families = ("agent_model_requests_total", "agent_tokens_total", "agent_tool_executions_total")
    agents = {labels["agent"] for family in families for labels, _ in replayed(name).series(family)}

    assert agents == {AGENT}


def test_every_gap_is_of_a_capture():
    """No gap is named for a capture that is not there."""
    assert set(GAPS) <= set(RUNS)
