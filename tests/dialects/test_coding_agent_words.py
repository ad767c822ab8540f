"""Coding agents' words that no capture has, and rules that none exercises: nobody should take them for verified."""

import pytest

import captures
from agent_exporter.collector.ingest import Ingest
from agent_exporter.config import Config
from agent_exporter.dialects import Dialects
from agent_exporter.dialects.names import matcher
from agent_exporter.model import Form, Metric, Resource, Scope, Signal, Span
from otlp import EPOCH, SECOND, dialects
from replay import protobuf

AGENTS = (
    *("claude-code", "codex", "copilot-chat", "copilot-cli", "gemini-cli"),
    *("openclaw", "opencode", "opencode-plugin", "qwen-code"),
)
NOBODY = "no capture to be had; from the vendor's documentation and section 9.10, 8.1 or 7 of the reference"
LONG = "no captured session was long enough to be compacted"
OFF = "the captures were made without GEMINI_MEMORY_MONITOR_INTERVAL"
ASKED = "no captured session asked anybody for permission"
REASONS = {
    "copilot-chat: *": NOBODY,
    "openclaw: *": NOBODY,
    "opencode-plugin: *": NOBODY,
    "claude-code: event claude_code.compaction -> *": LONG,
    "claude-code: event claude_code.hook_execution_complete -> *": "no captured session had hooks",
    "codex: metric codex.task.compact -> *": LONG,
    "codex: metric codex.plugins.loaded_cache.event -> *": "nobody cleared the cache; the words are a guess",
    "codex: metric codex.hooks.run.duration_ms -> *": "no captured session had hooks",
    "codex: event codex.tool_decision -> agent.tool.executions": ASKED,
    "copilot-cli: span permission -> * #2": "no captured MCP tool needed a permission",
    "gemini-cli: metric gemini_cli.network_retry.count -> *": "the captured refusal was no failure of the network",
    "gemini-cli: metric gemini_cli.tool.call.count -> agent.tool.executions #2": ASKED,
    "gemini-cli: metric gemini_cli.memory.usage -> *": OFF,
    "gemini-cli: metric gemini_cli.event_loop.delay -> *": OFF,
    "gemini-cli: metric gemini_cli.tool.queue.depth -> *": OFF,
    "gemini-cli: event gemini_cli.chat_compression -> *": LONG,
    "gemini-cli: event gemini_cli.hook_call -> *": "no captured session had hooks",
    "opencode: span model -> agent.tokens[cache_write]": "the captured provider has no cache writes",
    "qwen-code: metric qwen-code.tool.call.count -> agent.tool.executions #2": ASKED,
    "qwen-code: event qwen-code.chat_compression -> *": LONG,
}


@pytest.fixture(scope="module")
def unexercised():
    """Replay every capture of a coding agent; return the rules that have fed nothing."""
    fresh = Dialects(dialects().files)
    ingest = Ingest(Config(), fresh, lambda: EPOCH)
    for name in captures.names():
        if name.startswith(AGENTS):
            for payload in captures.load(name).payloads:
                ingest(Signal(payload.signal), protobuf(payload))
    return {rule for rule in fresh.unexercised if rule.partition(":")[0] in AGENTS}


def test_every_unexercised_rule_has_its_reason(unexercised):
    """A rule that no capture exercises is listed with the reason, and no other is."""
    listed = matcher(REASONS)
    unneeded = {name for name in REASONS if not any(map(matcher([name]), unexercised))}

    assert {rule for rule in unexercised if not listed(rule)} == set()
    assert unneeded == set()


@pytest.fixture
def meanings():
    """Return dialects with a memory of their own."""
    return Dialects(dialects().files)


def _measured(found):
    return {
        (each.instrument.name, *sorted(f"{name}={value}" for name, value in each.labels if name != "agent")): each.value
        for each in found
    }


def test_codex_counts_a_refused_call_once(meanings, event):
    """A call that was refused is rejected, whatever its result says later."""
    call = {"tool_name": "exec_command", "tool_namespace": "functions", "call_id": "c1", "conversation.id": "one"}
    decision = {**call, "event.name": "codex.tool_decision", "decision": "denied", "source": "User"}
    result = {**call, "event.name": "codex.tool_result", "success": "false", "duration_ms": "0", "mcp_server": ""}

    first = _measured(meanings.events(event("", decision, service="codex_exec")))
    second = _measured(meanings.events(event("", result, service="codex_exec")))

    rejected = "status=rejected", "tool=exec_command", "tool_type=builtin"
    assert first["agent.tool.executions", *rejected] == 1
    assert first["agent.tool.decisions", "decision=reject", "source=user", "tool=exec_command"] == 1
    assert not any(name == "agent.tool.executions" for name, *_ in second)


def test_codex_websocket_requests_count(meanings, event):
    """Requests over a websocket count as those over HTTP do."""
    attributes = {"event.name": "codex.websocket_request", "model": "gpt-5.5", "success": "true", "duration_ms": "1500"}

    found = _measured(meanings.events(event("", attributes, service="codex_exec")))

    assert found["agent.model.requests", "model=gpt-5.5", "operation=chat", "provider=openai", "status=ok"] == 1
    assert found["agent.model.request.duration", "model=gpt-5.5", "provider=openai", "status=ok"] == 1.5


def _fed(meanings, metric, attributes, *, service="", scope=""):
    """Tell what a stream feeds: family, part and labels, each with its scale; the estimated cost left out."""
    resource = Resource({"service.name": service} if service else {})
    return {
        " ".join((feed.instrument.name, feed.part, *(f"{key}={value}" for key, value in feed.labels))): feed.scale
        for feed in meanings.feeds(resource, Scope(scope), metric, attributes)
        if not feed.instrument.name.startswith("agent.cost.")
    }


COUNTER = {"form": Form.SUM, "monotonic": True}
CHAT_TOOL = {"gen_ai.tool.name": "readFile", "success": True}


@pytest.mark.parametrize(
    ("agent", "metric", "attributes", "expected"),
    [
        (
            "gemini-cli",
            Metric("gemini_cli.memory.usage", Form.HISTOGRAM, "bytes"),
            {"memory_type": "rss", "component": "startup"},
            {"agent.process.memory.usage mean agent=gemini-cli role=main type=rss": 1.0},
        ),
        (
            "gemini-cli",
            Metric("gemini_cli.event_loop.delay", Form.HISTOGRAM, "ms"),
            {"percentile": "p99"},
            {"agent.runtime.event_loop.delay mean agent=gemini-cli runtime=nodejs stat=p99": 0.001},
        ),
        (
            "gemini-cli",
            Metric("gen_ai.client.token.usage", Form.HISTOGRAM, "token"),
            {"gen_ai.token.type": "input"},
            {},
        ),
        (
            "codex",
            Metric("codex.mcp.tools.list.duration_ms", Form.HISTOGRAM, "ms"),
            {"cache": "hit"},
            {
                "agent.cache.requests count agent=codex cache=codex_mcp_tools result=hit": 1.0,
                "agent.operation.duration  agent=codex operation=mcp.list_tools mode=hit": 0.001,
            },
        ),
        (
            "openclaw",
            Metric("openclaw.tokens", **COUNTER),
            {"openclaw.token": "cache_read", "openclaw.model": "m"},
            {"agent.tokens  agent=openclaw model=m type=cache_read": 1.0},
        ),
        ("openclaw", Metric("openclaw.tokens", **COUNTER), {"openclaw.token": "total", "openclaw.model": "m"}, {}),
        (
            "openclaw",
            Metric("openclaw.tool.execution.blocked", **COUNTER),
            {"gen_ai.tool.name": "exec", "openclaw.tool.source": "core"},
            {"agent.tool.executions  agent=openclaw tool=exec tool_type=builtin status=rejected": 1.0},
        ),
        (
            "copilot-chat",
            Metric("copilot_chat.tool.call.count", **COUNTER),
            CHAT_TOOL,
            {"agent.tool.executions  agent=copilot-chat tool=readFile tool_type=unknown status=ok": 1.0},
        ),
        ("copilot-chat", Metric("github.copilot.tool.call.count", **COUNTER), CHAT_TOOL, {}),
    ],
)
def test_metrics_that_no_capture_has(meanings, agent, metric, attributes, expected):
    """Metrics that are known from documentation only feed what they should, and nothing twice."""
    assert _fed(meanings, metric, attributes, service=agent) == expected


@pytest.mark.parametrize("prefix", ["opencode.", "claude_code."])
def test_opencode_plugin_is_not_claude_code(meanings, prefix):
    """The plugin's metrics are its own under whatever prefix."""
    metric = Metric(f"{prefix}token.usage", unit="tokens", **COUNTER)

    found = _fed(meanings, metric, {"type": "reasoning", "model": "m"}, service="opencode", scope="com.opencode")

    assert found == {"agent.tokens  agent=opencode-plugin model=m type=reasoning": 1.0}


@pytest.mark.parametrize("parent", ["", "aa"])
def test_copilot_chat_turns_are_root_spans(meanings, parent):
    """The run of a subagent is no turn of its own."""
    resource, scope = Resource({"service.name": "copilot-chat"}), Scope("copilot-chat")
    attributes = {"gen_ai.operation.name": "invoke_agent"}
    span = Span("invoke_agent x", 1, 0, 2 * SECOND, 0, attributes, "t", "bb", parent, resource, scope)

    found = _measured(meanings.spans(span))

    assert found == ({} if parent else {("agent.turns",): 1.0, ("agent.turn.duration",): 2.0})


@pytest.mark.parametrize(
    ("name", "command", "agents"),
    [
        ("claude", "claude --continue", {"claude-code"}),
        ("node", "/usr/bin/node /usr/lib/node_modules/@anthropic-ai/claude-code/cli.js -p x", {"claude-code"}),
        ("codex", "codex exec x", {"codex"}),
        ("node", "/opt/node/bin/node --max-old-space-size=12052 /opt/node_modules/.bin/gemini -m x", {"gemini-cli"}),
        ("node-MainThread", "node /usr/lib/node_modules/@qwen-code/qwen-code/dist/cli.js", {"qwen-code"}),
        ("MainThread", "node /usr/lib/node_modules/@github/copilot/index.js", {"copilot-cli"}),
        ("opencode", "opencode run x", {"opencode"}),
        ("openclaw-gateway", "openclaw-gateway", {"openclaw"}),
        ("node", "node server.js /home/claude/gemini", set()),
        ("vim", "vim /srv/gemini-cli/notes.js", set()),
        ("claude-desktop", "/usr/lib/claude-desktop/claude-desktop", set()),
    ],
)
def test_processes(meanings, name, command, agents):
    """An agent's processes are known by their name or by the script that Node runs."""
    assert {rule.agent for rule in meanings.processes if rule.fits(name, command.split())} == agents


@pytest.mark.parametrize("agent", AGENTS)
def test_setup_names_an_endpoint(meanings, agent):
    """What makes an agent report here has the endpoint in it."""
    text = meanings.setups[agent].model_dump_json()

    assert "{http}" in text or "{grpc}" in text
