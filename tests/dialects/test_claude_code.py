from collections import Counter

import pytest

import captures
from agent_exporter.dialects import Dialects
from agent_exporter.model import Form, Metric, Resource, Scope

RUNS = [name for name in captures.names() if name.startswith("claude-code-")]
SESSIONS = [(run, session) for run in RUNS for session in captures.load(run).expected["sessions"]]
TYPES = {"input": "input_uncached", "cache_read": "cache_read", "cache_write": "cache_write"}
SCOPE = "com.anthropic.claude_code.events"


@pytest.fixture(scope="module")
def totals_of(add_up):
    """Return a function that gives the totals of a run, each run read once."""
    runs = {}

    def totals_of(run):
        if run not in runs:
            runs[run] = add_up(run)
        return runs[run]

    return totals_of


def _sum(totals, session, instrument, *labels):
    """Sum what a session added to an instrument, by labels; without those it does not have."""
    found = Counter()
    for (of, name, pairs), value in totals.items():
        if (of, name) == (session, instrument):
            given = dict(pairs)
            found[tuple(given[label] for label in labels)] += value
    return {key: value for key, value in found.items() if value}


def _session(run, name):
    return captures.load(run).expected["sessions"][name]


@pytest.mark.parametrize(("run", "session"), SESSIONS)
def test_tools(totals_of, run, session):
    """Tool executions by tool and status are what the agent was made to do."""
    reported = _session(run, session)["reported"]
    expected = Counter((call["tool"], "ok" if call["success"] else "error") for call in reported.get("tool_events", ()))
    if session == "s6":
        expected["Bash", "rejected"] = 1

    assert _sum(totals_of(run), session, "agent.tool.executions", "tool", "status") == expected


@pytest.mark.parametrize(("run", "session"), SESSIONS)
def test_requests(totals_of, run, session):
    """Model requests are those that were answered, and those that failed for good."""
    truth = _session(run, session)
    expected = {
        ("ok",): truth["design"]["requests_answered"],
        ("error",): truth["reported"]["events"].get("api_error", 0),
    }

    assert _sum(totals_of(run), session, "agent.model.requests", "status") == {k: v for k, v in expected.items() if v}


@pytest.mark.parametrize(("run", "session"), SESSIONS)
def test_tokens(totals_of, run, session):
    """Tokens by type are those that the model server answered."""
    design = _session(run, session)["design"]["tokens"]
    expected = {(kind,): design[name] for kind, name in TYPES.items()}
    expected["output",] = design["output_incl_reasoning"]

    assert _sum(totals_of(run), session, "agent.tokens", "type") == {k: v for k, v in expected.items() if v}


@pytest.mark.parametrize(("run", "session"), SESSIONS)
def test_cost_and_sessions(totals_of, run, session):
    """Cost and sessions are the sums that the agent reports, turns the prompts it was given."""
    reported = _session(run, session)["reported"]
    sums = Counter()
    for row in reported["metrics"]:
        sums[row["metric"]] += row["value"]
    totals = totals_of(run)

    cost = sum(_sum(totals, session, "agent.cost.usd", "basis").values())
    assert cost == pytest.approx(sums["claude_code.cost.usage"], abs=1e-9)
    assert _sum(totals, session, "agent.sessions") == {(): sums["claude_code.session.count"]}
    assert _sum(totals, session, "agent.turns") == {(): reported["events"]["user_prompt"]}


@pytest.mark.parametrize("run", RUNS)
def test_everything_is_said_by_one_agent(totals_of, run):
    """Every series has the canonical agent name."""
    assert {dict(labels)["agent"] for _, _, labels in totals_of(run)} == {"claude-code"}


def test_labels_of_a_run(totals_of):
    """The labels of a run are these, with nothing of a session among them."""
    totals = totals_of("claude-code-2.1.329/http-protobuf")

    values = {}
    for _, _, labels in totals:
        for label, value in labels:
            values.setdefault(label, set()).add(value)

    assert values == {
        "agent": {"claude-code"},
        "tool": {"Bash", "Read", "Write", "Edit", "Agent", "mcp_tool"},
        "tool_type": {"builtin", "mcp"},
        "status": {"ok", "error", "rejected"},
        "error_type": {"TelemetrySafeError", "ShellError", "McpToolCallError", "400"},
        "decision": {"accept", "reject"},
        "source": {"config"},
        "provider": {"anthropic"},
        "model": {"claude-sonnet-5-5"},
        "operation": {"chat", "mcp.connect", "subagent"},
        "mode": {"stdio", "general-purpose"},
        "interface": {"Bash", "Read", "Write", "Edit", "Agent", "mcp_tool", "mcp.connect", "claude-sonnet-5-5"},
        "from": {"Bash", "Read", "Write", "mcp_tool"},
        "to": {"Agent", "Bash", "Edit", "Read", "mcp_tool"},
        "type": {"input", "output", "cache_read", "cache_write"},
        "basis": {"reported"},
    }


def test_durations_are_seconds(event):
    """A duration in milliseconds that came as a string is seconds."""
    attributes = {"event.name": "tool_result", "tool_name": "Bash", "success": "true", "duration_ms": "1500"}

    found = {m.instrument.name: m.value for m in Dialects.load().events(event("", attributes, scope=SCOPE))}

    assert found == {
        "agent.tool.executions": 1,
        "agent.tool.execution.duration": 1.5,
        "agent.interface.consecutive_failures": 0,
    }


@pytest.mark.parametrize(
    ("name", "attributes", "body"),
    [
        ("", {"event.name": "user_prompt"}, "claude_code.user_prompt"),
        ("", {"event.name": "claude_code.user_prompt"}, None),
        ("claude_code.user_prompt", {}, None),
        ("", {}, "claude_code.user_prompt"),
        ("user_prompt", {}, "claude_code.user_prompt"),
    ],
)
def test_event_names(event, name, attributes, body):
    """An event is known by its name with or without prefix, in the attribute, the field or the body."""
    found = Dialects.load().events(event(name, attributes, body=body))

    assert [(m.instrument.name, m.labels, m.value) for m in found] == [
        ("agent.turns", (("agent", "claude-code"),), 1.0)
    ]


@pytest.mark.parametrize(("success", "compactions"), [("true", 1), (False, 0)])
def test_compaction(event, success, compactions):
    """A compaction that failed took time and compacted nothing."""
    attributes = {
        "event.name": "compaction",
        "trigger": "auto",
        "success": success,
        "duration_ms": 2000,
        "precompute_reuse": "miss_stale",
    }

    found = [(m.instrument.name, m.value) for m in Dialects.load().events(event("", attributes, scope=SCOPE))]

    assert found.count(("agent.context.compactions", 1)) == compactions
    assert ("agent.operation.duration", 2) in found
    assert ("agent.cache.requests", 1) in found


def test_user_decisions_are_one_source(event):
    """All the ways in which a user decides are `user`."""
    attributes = {"event.name": "tool_decision", "decision": "accept", "source": "user_temporary", "tool_name": "Bash"}

    (found,) = Dialects.load().events(event("", attributes, scope=SCOPE))

    assert dict(found.labels)["source"] == "user"


def test_unknown_token_types_feed_nothing():
    """A type of tokens that may overlap with the others is not added to them."""
    metric = Metric("claude_code.token.usage", Form.SUM, "tokens", monotonic=True)

    feeds = Dialects.load().feeds(Resource({}), Scope(), metric, {"type": "total", "model": "m"})

    assert feeds == []


def test_desktop_is_the_same_agent():
    """The desktop application is Claude Code."""
    resource = Resource({"service.name": "claude-code-desktop"})

    assert Dialects.load().agent(resource, Scope()) == "claude-code"
