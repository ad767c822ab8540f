"""Frameworks of which there is no capture, or not of this: made-up spans after their sources and the conventions."""

from __future__ import annotations

from collections import Counter

import pytest

from agent_exporter.dialects import Dialects
from agent_exporter.model import Resource, Scope, Span
from otlp import dialects

OK, ERROR = 1, 2
SECOND = 1_000_000_000


class Told:
    """What spans add up to, with dialects of their own."""

    def __init__(self, *, scope: str = "", service: str = "mine") -> None:
        self.dialects = Dialects(dialects().files)
        self.scope, self.resource = Scope(scope), Resource({"service.name": service})
        self.measured: list = []
        self.number = 0

    def span(self, name, attributes, *, id_="", parent="", status=OK, kind=1, trace="t", service=""):
        """Let a span of two seconds arrive."""
        self.number += 1
        id_ = id_ or f"s{self.number}"
        resource = Resource({"service.name": service}) if service else self.resource
        args = (attributes, trace, id_, parent, resource, self.scope)
        self.measured += self.dialects.spans(Span(name, kind, 0, 2 * SECOND, status, *args), float(self.number))
        return self

    def family(self, name, *labels):
        """Add up a family by some of its labels, after all that waits has been measured."""
        self.measured += self.dialects.sweep(1e6)
        found = Counter()
        for measured in self.measured:
            if measured.instrument.name == name:
                given = dict(measured.labels)
                found[tuple(given.get(label, "") for label in labels)] += measured.value
        return dict(found)

    def tokens(self):
        """Tell tokens by type, without zeros."""
        return {kind: value for (kind,), value in self.family("agent.tokens", "type").items() if value}


USAGE = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 50, "gen_ai.usage.reasoning.output_tokens": 20}


@pytest.mark.parametrize("spelling", ["cache_write.input_tokens", "cache_creation.input_tokens"])
def test_usage_of_the_conventions(spelling):
    """Cached and reasoning tokens lie within input and output, under the new name and the old."""
    told = Told().span(
        "chat m",
        USAGE
        | {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.request.model": "m",
            "gen_ai.usage.cache_read.input_tokens": 60,
            f"gen_ai.usage.{spelling}": 10,
        },
    )

    assert told.tokens() == {"input": 30, "cache_read": 60, "cache_write": 10, "output": 30, "reasoning": 20}
    assert told.family("agent.model.requests", "provider", "model", "operation", "status") == {
        ("anthropic", "m", "chat", "ok"): 1
    }
    assert told.family("agent.model.request.duration", "status") == {("ok",): 2}


@pytest.mark.parametrize(
    ("attributes", "operation"),
    [
        ({"gen_ai.operation.name": "text_completion"}, "text_completion"),
        ({"gen_ai.operation.name": "generate_content"}, "generate_content"),
        ({"gen_ai.operation.name": "embeddings"}, "embeddings"),
        ({"openinference.span.kind": "EMBEDDING"}, "embeddings"),
        ({"openinference.span.kind": "LLM"}, "chat"),
        ({"llm.request.type": "chat"}, "chat"),  # OpenLLMetry before gen_ai.operation.name
    ],
)
def test_requests_in_every_vocabulary(attributes, operation):
    """A model's span is known by any of the words, from anybody."""
    told = Told().span("x", attributes)

    assert told.family("agent.model.requests", "agent", "operation") == {("mine", operation): 1}


@pytest.mark.parametrize(
    "operation", ["create_agent", "retrieval", "fetch_response", "plan", "search_memory", "execute_task", "unknown"]
)
def test_what_is_no_request(operation):
    """Other operations are none, whatever usage they carry; fetch_response polls what was counted already."""
    assert Told().span("x", USAGE | {"gen_ai.operation.name": operation}).measured == []


@pytest.mark.parametrize("kind", ["CHAIN", "RETRIEVER", "RERANKER", "GUARDRAIL", "EVALUATOR", "PROMPT"])
def test_what_is_no_request_in_openinference(kind):
    """Other kinds are none."""
    assert Told().span("x", {"openinference.span.kind": kind, "llm.token_count.prompt": 5}).measured == []


@pytest.mark.parametrize("order", [1, -1])
def test_two_instrumentations_of_one_request(order):
    """A framework's span around the client library's span is the same request, in either order."""
    spans = [
        ("ChatCompletion", {"openinference.span.kind": "LLM", "llm.token_count.prompt": 100}, "inner", "between"),
        ("node", {"openinference.span.kind": "CHAIN"}, "between", "outer"),
        ("chat m", USAGE | {"gen_ai.operation.name": "chat"}, "outer", ""),
    ]
    told = Told()
    for name, attributes, id_, parent in spans[::order]:
        told.span(name, attributes, id_=id_, parent=parent)

    assert sum(told.family("agent.model.requests").values()) == 1
    assert told.tokens()["input"] == 100


def test_failures_in_a_row():
    """Failures in a row count for the provider and end with a success."""
    told, chat = Told(), {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"}
    told.span("chat", chat, status=ERROR).span("chat", chat | {"error.type": "timeout"}).span("chat", chat)

    found = [each.value for each in told.measured if each.instrument.name == "agent.interface.consecutive_failures"]
    assert found == [1, 2, 0]
    assert told.family("agent.model.requests", "status", "error_type") == {
        ("error", ""): 1,
        ("error", "timeout"): 1,
        ("ok", ""): 1,
    }


def test_sessions_are_conversations():
    """Sessions are those with an id, once each; a run without one is none."""
    told, agent = Told(), {"gen_ai.operation.name": "invoke_agent"}
    for number, session in enumerate(("a", "a", "b", "")):
        told.span("invoke_agent x", agent | ({"gen_ai.conversation.id": session} if session else {}), trace=str(number))
    told.span("invoke_agent x", agent | {"session.id": "c"}, trace="5")

    assert told.family("agent.sessions") == {(): 3}
    assert told.family("agent.turns") == {(): 5}


@pytest.mark.parametrize("operation", ["chat.completions", "chat.streaming_completions", "text.completions"])
def test_semantic_kernel(operation):
    """Until 1.37 Semantic Kernel for Python had operations of its own."""
    told = Told(scope="semantic_kernel.utils.telemetry.model_diagnostics.decorators")
    told.span(f"{operation} m", USAGE | {"gen_ai.operation.name": operation, "gen_ai.system": "openai"})

    assert told.family("agent.model.requests", "agent", "provider") == {("mine", "openai"): 1}
    assert told.tokens() == {"input": 100, "output": 30, "reasoning": 20}


def test_agent_framework():
    """Microsoft's Agent Framework uses the conventions, under its default name or another."""
    told = Told(scope="agent_framework", service="agent_framework")
    told.span("execute_tool look", {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look"}, parent="a")
    told.span("chat m", USAGE | {"gen_ai.operation.name": "chat"}, parent="a")
    told.span("invoke_agent x", USAGE | {"gen_ai.operation.name": "invoke_agent"}, id_="a", parent="w")
    told.span("workflow.run", {}, id_="w")

    assert told.family("agent.tool.executions", "agent", "tool", "status") == {("agent_framework", "look", "ok"): 1}
    assert told.tokens() == {"input": 100, "output": 30, "reasoning": 20}
    assert told.family("agent.turns") == {(): 1}


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", {"input": 100, "cache_read": 60, "output": 50}),
        ("us.amazon.nova-pro-v1:0", {"input": 100, "cache_read": 60, "output": 50}),
        ("claude-sonnet-4-5", {"input": 100, "cache_read": 60, "output": 50}),
        ("gpt-5-mini", {"input": 40, "cache_read": 60, "output": 50}),
    ],
)
def test_strands_leaves_the_cached_tokens_of_bedrock_out(model, tokens):
    """Of Bedrock's and Anthropic's models the input is what was not cached, of others it is everything."""
    usage = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 50}
    usage["gen_ai.usage.cache_read_input_tokens"] = 60
    told = Told(scope="strands.telemetry.tracer")
    told.span("chat", usage | {"gen_ai.operation.name": "chat", "gen_ai.request.model": model})

    assert told.tokens() == tokens


def test_older_adk_has_only_the_outer_span():
    """Before generate_content was a span of its own, call_llm is the request."""
    told = Told(scope="gcp.vertex.agent")
    told.span("call_llm", USAGE | {"gen_ai.system": "gcp.vertex.agent", "gen_ai.request.model": "m"})

    assert told.family("agent.model.requests", "model") == {("m",): 1}
    assert told.tokens() == {"input": 100, "output": 30, "reasoning": 20}


def test_adk_says_merged_tools_once_more():
    """The span of merged tools repeats calls that have spans."""
    tool = {"gen_ai.operation.name": "execute_tool"}
    told = Told(scope="gcp.vertex.agent")
    told.span("execute_tool look", tool | {"gen_ai.tool.name": "look", "gen_ai.tool.type": "McpTool"})
    told.span("execute_tool (merged tools)", tool | {"gen_ai.tool.name": "(merged tools)"})

    assert told.family("agent.tool.executions", "tool", "tool_type") == {("look", "mcp"): 1}


def test_older_pydantic_ai():
    """Of the oldest format a tool's span is known by its name; the span around several is none."""
    told = Told(scope="pydantic-ai")
    told.span("running tool", {"gen_ai.tool.name": "look"}).span("running 1 tool", {})

    assert told.family("agent.tool.executions", "tool") == {("look",): 1}


@pytest.mark.parametrize(
    ("said", "provider"),
    [
        ("openai.responses", "openai"),
        ("anthropic.messages", "anthropic"),
        ("google.generative-ai", "gcp.gemini"),
        ("google.vertex.chat", "gcp.vertex_ai"),
        ("azure-openai.chat", "azure.ai.openai"),
        ("amazon-bedrock", "aws.bedrock"),
    ],
)
def test_providers_of_the_ai_sdk(said, provider):
    """The AI SDK's providers have the kind of API in their names."""
    told = Told(scope="ai")
    told.span("ai.embed.doEmbed", {"ai.operationId": "ai.embed.doEmbed", "gen_ai.system": said})

    assert told.family("agent.model.requests", "provider", "operation") == {(provider, "embeddings"): 1}


CALL = {"mcp.method.name": "tools/call"}
CLIENT, SERVER = 3, 2


def test_an_mcp_client_without_its_server():
    """Where the server sends nothing, the client's span counts; protocol errors are all that it knows."""
    told = Told().span("MCP send tools/call add", CALL, kind=CLIENT)
    told.span("tools/call add", CALL | {"gen_ai.tool.name": "add", "error.type": "-32602"}, kind=CLIENT)

    assert told.family("agent.tool.executions", "tool", "tool_type", "status", "error_type") == {
        ("add", "mcp", "ok", ""): 1,
        ("add", "mcp", "error", "-32602"): 1,
    }


def test_an_mcp_server_without_its_client():
    """Where the client sends nothing, the server's span counts."""
    told = Told().span("tools/call add", CALL | {"gen_ai.tool.name": "add"}, kind=SERVER, parent="never")

    assert told.family("agent.tool.executions", "agent", "tool") == {("mine", "add"): 1}


@pytest.mark.parametrize("order", [1, -1])
def test_an_mcp_call_is_the_callers(order):
    """The server knows how a call ended, and it was the client's agent that made it, whoever tells first."""
    told = Told()
    spans = [
        ("tools/call add", CALL | {"gen_ai.tool.name": "add"}, SERVER, "server", "client", "a-server"),
        ("MCP send tools/call add", CALL, CLIENT, "client", "", "an-agent"),
    ]
    for name, attributes, kind, id_, parent, service in spans[::order]:
        told.span(name, attributes, kind=kind, id_=id_, parent=parent, service=service, status=kind == SERVER and ERROR)

    for family in ("agent.tool.executions", "agent.tool.execution.duration", "agent.interface.consecutive_failures"):
        assert set(told.family(family, "agent")) == {("an-agent",)}
    assert told.family("agent.tool.executions", "tool", "status") == {("add", "error"): 1}


def test_a_framework_around_an_mcp_call():
    """A framework's span of a tool, the client's and the server's are one call."""
    told, tool = Told(), {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "add"}
    told.span("tools/call add", CALL | tool, kind=SERVER, id_="server", parent="client", status=ERROR)
    told.span("MCP send tools/call add", CALL, kind=CLIENT, id_="client", parent="tool")
    told.span("execute_tool add", tool, id_="tool")

    assert told.family("agent.tool.executions", "tool", "status") == {("add", "error"): 1}
