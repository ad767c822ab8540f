from dataclasses import replace

import pytest

from agent_exporter.dialects import traces
from agent_exporter.model import Resource, Scope, Span

SHARED = """\
vocabulary: shared
rank: 1
authority:
  agent.tokens: span
  agent.model.requests: span
  agent.model.time_to_first_token: span
  agent.tool.executions: span
  agent.tool.transitions: span
  agent.turns: span
session: conversation
roles:
  - {role: none, name: (merged)}
  - {role: model, where: {op: [chat, complete]}}
  - {role: tool, where: {op: tool}}
  - {role: agent, where: {op: agent}}
spans:
  - {role: model, to: agent.model.requests, labels: {model: model, status: "@outcome", error_type: error.type}}
  - {role: model, usage: inclusive, labels: {model: model}}
  - role: model
    to: agent.model.time_to_first_token
    value: [{from: first_s}, {from: first_ms, unit: ms}]
    labels: {model: model}
  - {role: tool, where: {"@kind": {not: client}}, to: agent.tool.executions, labels: {tool: tool, status: "@outcome"}}
  - {role: tool, where: {"@kind": client}, yields: true, to: agent.tool.executions, labels: &said {tool: tool}}
  - {role: tool, to: agent.tool.transitions, labels: {to: tool}}
  - {role: agent, where: {"@root": true}, to: agent.turns}
"""
PARENTS = """\
agent: toy
claims: {prefixes: toy.}
authority: {agent.tool.executions: span}
spans:
  - name: toy.run
    to: agent.tool.executions
    labels: {tool: {from: "@parent.tool", default: unknown}, tool_type: {from: "@parent.@name", map: {toy.call: mcp}}}
  - {name: toy.late, where: {"@parent.tool": {present: true}}, to: agent.tool.executions}
"""
pytestmark = pytest.mark.usefixtures("alone")
CHAT = {"op": "chat", "model": "m"}


def _span(name, parent="", *, attributes=None, scope="", status=0, kind=1, **more):
    resource = Resource({"service.name": "mine"})
    own = {**(attributes or {}), **more}
    return Span(name, kind, 1_000_000_000, 2_000_000_000, status, own, "t", name, parent, resource, Scope(scope))


def _told(found):
    return [(m.instrument.name, *(value for name, value in m.labels if name != "agent"), m.value) for m in found]


def _add(dialects, *spans, now=0.0):
    return [each for span in spans for each in _told(dialects.spans(span, now))]


@pytest.fixture
def shared(dialect):
    """Return dialects with a vocabulary for spans."""
    return dialect(SHARED)


REQUEST = ("agent.model.requests", "m", "ok", 1)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
@pytest.mark.parametrize("between", ["", "agent", "chain"])
def test_a_model_span_around_a_model_span(shared, order, between):
    """One request told twice counts once, in whichever order, unless something with a role lies between."""
    spans = [
        _span("inner", "middle", attributes=CHAT),
        _span("middle", "outer", op=between),
        _span("outer", "root", attributes=CHAT),
    ]

    found = _add(shared, *(spans[n] for n in order))

    assert found == [REQUEST] * (2 if between == "agent" else 1)


def test_the_outer_span_adds_what_the_inner_left_out(shared):
    """Tokens that only the outer of two model spans has are counted."""
    inner = _span("inner", "outer", attributes=CHAT)
    outer = _span("outer", "", attributes={**CHAT, "output_tokens": 3})

    assert _add(shared, inner, outer) == [REQUEST, ("agent.tokens", "m", "output", 3)]


def test_siblings_are_two(shared):
    """Model spans beside each other are two requests; the one around both is none."""
    spans = [_span(name, "outer", attributes=CHAT) for name in ("a", "b")]

    assert _add(shared, *spans, _span("outer", attributes=CHAT)) == [REQUEST] * 2


def test_the_same_tool_within_itself(shared):
    """A tool's span within another of the same tool is one call; another tool is another."""
    found = _add(
        shared,
        _span("server", "client", op="tool", tool="a"),
        _span("client", "outer", op="tool", tool="a", conversation="c"),
        _span("outer", "", op="tool", tool="b", conversation="c"),
    )

    assert found == [
        ("agent.tool.executions", "a", "ok", 1),
        ("agent.tool.executions", "b", "ok", 1),
        ("agent.tool.transitions", "a", "b", 1),
    ]


def test_agents_sums_are_not_counted(shared):
    """The usage of an agent's span is that of the model spans in it; merged spans are nobody's."""
    usage = {"input_tokens": 10, "op": "agent"}

    assert _add(shared, _span("run", "x", attributes=usage), _span("(merged)", attributes=CHAT)) == []
    assert _add(shared, _span("root", attributes=usage)) == [("agent.turns", 1)]


@pytest.mark.parametrize(
    ("attributes", "status", "labels"),
    [
        ({}, 0, ("ok",)),
        ({}, 1, ("ok",)),
        ({}, 2, ("error",)),
        ({"error.type": "timeout"}, 0, ("error", "timeout")),
    ],
)
def test_outcome(shared, attributes, status, labels):
    """A span failed if its status or its error.type says so."""
    span = _span("chat", attributes={**CHAT, **attributes}, status=status)

    assert _add(shared, span) == [("agent.model.requests", "m", *labels, 1)]


def test_token_types_become_disjoint(shared):
    """What is part of another is taken off it once, whatever its spellings; more than the whole is 0 and counted."""
    usage = {
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 30,
        "gen_ai.usage.cache_read_input_tokens": 30,
        "output_tokens": 5,
        "reasoning_token_count": "8",
    }

    assert _add(shared, _span("chat", attributes=CHAT | usage))[1:] == [
        ("agent.tokens", "m", "input", 70),
        ("agent.tokens", "m", "output", 0),
        ("agent.tokens", "m", "cache_read", 30),
        ("agent.tokens", "m", "reasoning", 8),
    ]
    assert shared.memory.counts == {("agent_exporter.clamped.values", (("agent", "mine"),)): 1}


@pytest.mark.parametrize("first", [{"first_s": 0.5}, {"first_ms": 500}, {"first_ms": 9, "first_s": "0.5"}])
def test_alternative_values(shared, first):
    """The first alternative that is there counts, in its own unit."""
    assert _add(shared, _span("chat", attributes=CHAT | first))[1:] == [("agent.model.time_to_first_token", "m", 0.5)]


def test_the_same_span_again(shared):
    """A span that was sent twice counts once; without an id it cannot be told."""
    span = _span("chat", "p", attributes=CHAT)

    assert _add(shared, span, span) == [REQUEST]
    assert shared.memory.counts == {("agent_exporter.dropped.points", (("reason", "repeated_span"),)): 1}
    assert _add(shared, *[replace(span, span_id="")] * 2) == [REQUEST] * 2


# -- waiting ------------------------------------------------------------------


def test_a_span_waits_for_its_parent(dialect):
    """What only the parent knows is read from it, in whichever order the two come."""
    dialects = dialect(PARENTS)
    call = _span("toy.call", tool="ls", secret="s")
    want = [("agent.tool.executions", "ls", "mcp", 1)]

    assert dialects.spans(_span("toy.run", "toy.call", prompt="p")) == []
    (held,) = dialects.memory.tree._orphans.values()
    assert held.what.moment.attributes == {}
    assert _told(dialects.spans(call)) == want
    assert _told(dialects.spans(replace(_span("toy.run", "toy.call"), span_id="2"))) == want
    assert dialects.memory.tree.waiting == 0
    assert all("secret" not in repr(node.kept) for node in dialects.memory.tree._nodes.values())


def test_the_agent_of_the_parent(dialect):
    """A span may be counted for the sender of its parent, by the name that it has itself; without one for its own."""
    text = PARENTS.replace("{tool: {from", '{agent: "@parent.@agent", tool: {from', 1)
    dialects = dialect(text.replace(", map: {toy.call: mcp}", ", map: {toy.call: mcp}, default: unknown"))
    runs = [replace(_span("toy.run", "call", tool="ls"), span_id=name) for name in ("1", "2")]

    assert _add(dialects, *runs) == []
    found = dialects.spans(_span("call", tool="ls"))
    alone = dialects.spans(_span("toy.run"))

    assert [dict(each.labels)["agent"] for each in (*found, *alone)] == ["mine", "mine", "toy"]


def test_only_roles_that_ask_wait(dialect):
    """A span does not wait for what only rules of another role ask for."""
    text = SHARED.replace("{tool: tool, status", '{tool: [tool, "@parent.tool"], status')
    dialects = dialect(text)

    assert _add(dialects, _span("chat", "p", attributes=CHAT)) == [REQUEST]
    assert _add(dialects, _span("run", "p", op="tool")) == []
    assert _add(dialects, _span("p", "x", tool="t")) == [("agent.tool.executions", "t", "ok", 1)]


def test_a_parent_that_never_comes(dialect):
    """When time is up a span is measured without its parent, and counted; a rule that needs it does not apply."""
    dialects = dialect(PARENTS.replace(", map: {toy.call: mcp}", ", map: {toy.call: mcp}, default: unknown"))
    dialects.spans(_span("toy.run", "gone"), 100.0)
    dialects.spans(_span("toy.late", "gone"), 100.0)

    assert dialects.sweep(100.0 + traces.PARENT_SECONDS - 1) == []
    assert _told(dialects.due(100.0 + traces.PARENT_SECONDS)) == [("agent.tool.executions", "unknown", "unknown", 1)]
    assert dialects.memory.counts == {("agent_exporter.orphaned.spans", (("reason", "expired"),)): 2}
    assert dialects.memory.tree.waiting == 0


def test_a_root_does_not_wait(dialect):
    """A span without a parent is measured at once."""
    assert dialect(PARENTS).spans(_span("toy.late")) == []
    assert dialect(PARENTS).memory.tree.waiting == 0


def test_too_many_wait(dialect, monkeypatch):
    """When too many wait, the first is measured as it is."""
    monkeypatch.setattr(traces, "WAITING", 2)
    text = PARENTS.replace(", map: {toy.call: mcp}", ", map: {toy.call: mcp}, default: unknown")
    dialects = dialect(text)

    found = [dialects.spans(replace(_span("toy.run", f"p{n}"), span_id=str(n))) for n in range(4)]

    assert [len(each) for each in found] == [0, 0, 1, 1]
    assert dialects.memory.tree.waiting == 2
    assert dialects.memory.counts == {("agent_exporter.orphaned.spans", (("reason", "full"),)): 2}


@pytest.mark.parametrize(
    "order",
    ["server client framework", "client server framework", "client framework server", "server client", "client server"],
)
def test_a_client_yields_to_its_server(shared, order):
    """A call that client, server and framework tell of counts once; the client's word only if there is no other."""
    spans = {
        "server": _span("server", "client", op="tool", tool="a", **{"error.type": "tool_error"}),
        "client": _span("client", "framework", op="tool", tool="a", kind=3),
        "framework": _span("framework", "", op="tool", tool="a", **{"error.type": "x"}),
    }

    found = _add(shared, *(spans[name] for name in order.split()))
    found += _told(shared.sweep(traces.INNER_SECONDS))

    assert found == [("agent.tool.executions", "a", "error", 1)]


def test_a_client_without_a_server(shared):
    """A span that yields is measured when nothing came."""
    assert _add(shared, _span("client", "x", op="tool", tool="a", kind=3)) == []
    assert _told(shared.sweep(traces.INNER_SECONDS)) == [("agent.tool.executions", "a", 1)]
    assert shared.memory.counts == {}


def test_memory_of_spans_is_bounded(shared, monkeypatch):
    """Spans are forgotten when there are too many, and after some time."""
    monkeypatch.setattr(traces, "NODES", 5)
    for number in range(20):
        shared.spans(replace(_span("chat", f"p{number}", attributes=CHAT), span_id=str(number)), 1.0)
    assert len(shared.memory.tree) == 5

    shared.sweep(1.0 + traces.NODE_SECONDS)
    assert len(shared.memory.tree) == 0
