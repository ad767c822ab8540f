import pytest

import captures
from agent_exporter.catalog import CATALOG
from agent_exporter.dialects import DROP_ATTRIBUTES, compile_drop

drops = compile_drop(DROP_ATTRIBUTES)

# Everything that a real agent put on the points of its metrics, in the captures: what goes ...
DROPPED = {
    "session.id",
    "user.id",
    "installation.id",
    "lines",
    "cpu_usage_user",
    "cpu_usage_system",
    "error",
    "event_loop_cycle_id",
    "tool_use_id",
    "routing.reasoning",
    "server.address",
    "openai.response.system_fingerprint",
    "gen_ai.openai.response.system_fingerprint",
}
FEW = 40  # no attribute that stays has more values than this in the captures
AGENTS = ("claude-code", "codex", "gemini", "qwen", "copilot", "strands", "google-adk", "openai", "pydantic", "mcp")


@pytest.fixture(scope="module")
def values_of(metrics_of):
    """Return the values of every attribute of the points that agents sent."""
    values = {}
    for name in (name for name in captures.names() if name.startswith(AGENTS)):
        for payload in captures.load(name).payloads:
            if payload.signal == "metrics":
                for *_, attributes, _, _ in metrics_of(payload):
                    for key, value in attributes.items():
                        values.setdefault(key, set()).add(str(value))
    return values


def test_what_goes(values_of):
    """Exactly these attributes of the captures are dropped."""
    assert {key for key in values_of if drops(key)} == DROPPED


def test_what_stays_is_bounded(values_of):
    """No attribute that stays has many values."""
    assert {key: len(found) for key, found in values_of.items() if not drops(key) and len(found) > FEW} == {}


@pytest.mark.parametrize(
    "name",
    [
        "conversation.id",
        "gen_ai.conversation.id",
        "organization.id",
        "user.account_uuid",
        "user.email",
        "prompt.id",
        "request_id",
        "client_request_id",
        "gen_ai.tool.call.id",
        "call_id",
        "process.command_args",
        "process.executable.name",
        "file_path",
        "url.full",
        "http.url",
        "error.message",
        "routing.error_message",
        "exception.stacktrace",
        "gen_ai.input.messages",
        "gen_ai.tool.call.arguments",
        "llm.input_messages.0.message.content",
        "ai.prompt.messages",
        "traceloop.entity.input",
        "tokens_before",
        "prompt_length",
        "vcs.ref.head.revision",
        *("prompt", "Prompt", "PROMPT", "prompts", "userPrompt", "user-prompt", "system_prompt", "messages", "message"),
        *("response", "Response", "completion", "stdout", "stderr", "tool.stdout", "text", "thought", "thoughts"),
        *("tool.result", "toolInput", "tool_arguments", "tool-args", "input", "output", "title", "summary", "results"),
        *("session", "SessionID", "session_Id", "sessionid", "email", "userEmail", "user", "user.name", "username"),
        *("filePath", "FILE_PATH", "file", "file.name", "workdir", "workingDirectory", "url", "baseURL", "href"),
        *("sql", "db.statement", "db.query.text", "dbStatement", "exception", "error_text", "errorMessage"),
        *("gcp.vertex.agent.llm_request", "gen_ai.task.input", "requestID", "X-Request-Id", "apiKey", "password"),
    ],
)
def test_dropped(name):
    """Identities, places, texts and content go, however they are spelled."""
    assert drops(name)


@pytest.mark.parametrize(
    "name",
    [
        *("model", "type", "tool_name", "status_code", "error.type", "error_type", "success", "decision", "source"),
        *("terminal.type", "app.version", "query_source", "mcp_server.name", "agent.name", "gen_ai.token.type"),
        *("gen_ai.request.model", "gen_ai.provider.name", "gen_ai.output.type", "gen_ai.prompt.name", "phase"),
        *("server.port", "http.route", "command_category", "process.runtime.name", "team", "cost_center"),
        *("service.name", "service.instance.id", "host.name", "gen_ai.usage.input_tokens", "reason", "outcome"),
        *("toolName", "tool.name", "status", "state", "result", "role", "exception.type", "errorType", "error.code"),
        *("rpc.method", "rpc.system", "db.system", "db.system.name", "db.operation.name", "http.request.method"),
        *("http.response.status_code", "url.scheme", "gen_ai.response.model", "gen_ai.response.finish_reasons"),
        *("gen_ai.system", "gen_ai.operation.name", "gen_ai.tool.name", "embedding_model", "language", "effort"),
        *("network.io.direction", "dir", "le", "cpython.gc.generation", "v8js.heap.space.name", "session_source"),
        *("prompt.version", "input_type", "file.extension", "command_category", "anthropic.custom_base_url"),
        *(
            "bash_command_class",
            "message_type",
            "api_key_enabled",
            "credential_kind",
            "code.module.name",
            "thread.name",
        ),
    ],
)
def test_kept(name):
    """What tells kinds of things apart stays."""
    assert not drops(name)


def test_no_label_of_the_catalogue_is_dropped():
    """The catalogue's own labels can be pushed as attributes."""
    assert not [label for row in CATALOG.values() for label in row.labels if drops(label)]


@pytest.mark.parametrize(
    ("patterns", "name", "dropped"),
    [
        ((), "a", False),
        (("a",), "a", True),
        (("a",), "A", True),
        (("user.id",), "userId", True),
        (("userId",), "USER-ID", True),
        (("user.id",), "userid", False),
        (("*Id",), "user_id", True),
        (("*Id",), "grid", False),
        (("*.id",), "toolID", True),
        (("http.route",), "HTTPRoute", True),
        (("http.route",), "http.routes", False),
        (("a*", "!ab*"), "abc", False),
        (("a*", "!ab*"), "acb", True),
        (("a.*",), "a.b.c", True),
        (("a.*",), "axb", False),
        (("*.id", "b"), "b", True),
        (("*.id",), "a.id", True),
        (("*.id",), "a.idea", False),
        (("a*c",), "a\nc", True),
        (("[x]",), "x", False),
    ],
)
def test_patterns(patterns, name, dropped):
    """A star is any characters, everything else is itself in any spelling."""
    assert compile_drop(patterns)(name) is dropped
