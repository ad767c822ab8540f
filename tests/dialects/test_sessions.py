import pytest

from agent_exporter.dialects import Dialects, sessions
from agent_exporter.model import Event, Form, Metric, Resource, Scope, Span

TOY = """\
agent: toy
claims: {prefixes: toy.}
authority:
  agent.tool.executions: event
  agent.tool.transitions: event
  agent.interface.consecutive_failures: event
  agent.turn.duration: event
  agent.turns: event
  agent.sessions: event
session: [session.id, conversation.id]
events:
  - {name: toy.tool, to: agent.tool.transitions, labels: {to: name}}
  - {name: toy.tool, to: agent.interface.consecutive_failures, failed: {ok: false}, labels: {interface: [server, name]}}
  - {name: [toy.tool, toy.refused], once: call_id, to: agent.tool.executions, labels: {tool: name}}
  - {name: toy.end, to: agent.turn.duration, value: {since: toy.begin}}
  - {name: toy.begin, to: agent.turns}
  - {name: toy.*, once: "@session", to: agent.sessions}
"""
pytestmark = pytest.mark.usefixtures("alone")
SECOND = 1_000_000_000


@pytest.fixture
def toy(dialect):
    """Return dialects with an agent whose events have sessions."""
    return dialect(TOY)


def _event(kind, session="s", *, time=0, resource=None, **attributes):
    own = {"session.id": session} if session else {}
    return Event(f"toy.{kind}", time * SECOND, {**own, **attributes}, None, Resource(resource or {}), Scope())


def _found(dialects, family, *events, now=0.0):
    return [
        (*(value for _, value in m.labels[1:]), m.value)
        for event in events
        for m in dialects.events(event, now)
        if m.instrument.name == family
    ]


def test_transitions(toy):
    """A tool that follows another in its session is a transition; sessions do not mix."""
    calls = [("a", "x"), ("b", "y"), ("a", "y"), ("a", "x"), ("", "z"), ("b", "x")]

    found = _found(toy, "agent.tool.transitions", *(_event("tool", session, name=name) for session, name in calls))

    assert found == [("x", "y", 1), ("y", "x", 1), ("y", "x", 1)]


def test_consecutive_failures(toy):
    """Failures in a row are counted for each interface, and a success ends the row."""
    calls = [("false", "a"), (False, "a"), ("false", "b"), ("true", "a"), ("false", "a")]

    found = _found(
        toy, "agent.interface.consecutive_failures", *(_event("tool", name=name, ok=ok) for ok, name in calls)
    )

    assert found == [("a", 1), ("a", 2), ("b", 1), ("a", 0), ("a", 1)]


def test_time_between_two_events(toy):
    """A turn lasts from one event to another of the same session, by the events' own times."""
    events = [
        _event("end", time=1),
        _event("begin", time=10),
        _event("begin", "other", time=11),
        _event("end", time=13),
        _event("end", time=14),
    ]

    assert _found(toy, "agent.turn.duration", *events) == [(3.0,)]


def test_repetitions_count_once(toy):
    """The first event with a call's id counts, whichever rule it comes by; without an id each does."""
    events = [
        _event("tool", name="a", call_id="1"),
        _event("refused", name="a", call_id="1"),
        _event("refused", name="b", call_id="2"),
        _event("refused", "other", name="a", call_id="1"),
        _event("refused", name="c"),
        _event("refused", name="c"),
    ]

    assert _found(toy, "agent.tool.executions", *events) == [("a", 1), ("b", 1), ("a", 1), ("c", 1), ("c", 1)]


def test_sessions_are_counted_where_nothing_else_tells(toy):
    """`once: "@session"` counts each session once, also one that the resource names."""
    events = [_event("x"), _event("y"), _event("x", "other"), _event("x", "", resource={"session.id": "third"})]

    assert _found(toy, "agent.sessions", *events) == [(1,), (1,), (1,)]


def test_active_sessions(toy):
    """A session is active for some minutes after it was last heard of; then its agent has none."""
    toy.events(_event("x"), 100.0)
    toy.events(_event("unknown", "other"), 200.0)
    toy.feeds(Resource({}), Scope(), Metric("toy.m", Form.SUM), {"conversation.id": "third"}, 200.0)

    assert toy.active(200.0) == {"toy": 3}
    assert toy.active(100.0 + sessions.ACTIVE_SECONDS + 1) == {"toy": 2}
    assert toy.active(1000.0) == {"toy": 0}


def test_an_agent_that_tells_of_its_active_sessions_is_believed(dialect, toy):
    """Where the authority names a signal for agent.sessions.active, nothing is counted besides."""
    told = dialect(TOY.replace("authority:", "authority:\n  agent.sessions.active: metric"))
    told.events(_event("x"), 100.0)

    assert told.active(100.0) == {}


def test_ids_are_not_kept(toy):
    """A session's id is nowhere in what is remembered."""
    toy.events(_event("begin", "very-secret", name="a", call_id="very-secret"), 1.0)

    memory = toy.memory.sessions
    assert "very-secret" not in repr((memory._known, memory._once, memory._failures, memory._agents))


def test_memory_of_sessions_is_bounded(toy, monkeypatch):
    """Sessions beyond the limit are forgotten, the one silent for longest first, and counted."""
    monkeypatch.setattr(sessions, "SESSIONS", 3)
    monkeypatch.setattr(sessions, "REPEATABLE", 3)
    for number in range(5):
        toy.events(_event("tool", str(number), call_id="1"), 1.0)

    assert len(toy.memory.sessions) == 3
    assert len(toy.memory.sessions._once) == 3
    assert toy.memory.counts == {("agent_exporter.dropped.sessions", ()): 2}
    toy.sweep(2.0 + sessions.SESSION_SECONDS)
    assert len(toy.memory.sessions) == 0


def test_a_session_by_the_trace(dialect):
    """What only spans have may tell sessions apart; other signals then have none, and a trace is no active session."""
    dialects = dialect(TOY.replace("[session.id, conversation.id]", '["@trace", "@resource.run"]'))

    dialects.events(_event("x"), 100.0)
    assert dialects.active(100.0) == {}
    dialects.events(_event("x", resource={"run": "r"}), 100.0)
    span = Span("toy.x", 1, 0, 1, 0, {}, "trace", "s", "", Resource({}), Scope())
    dialects.spans(span, 100.0)
    assert dialects.active(100.0) == {"toy": 1}
    assert len(dialects.memory.sessions) == 2


def test_memory_is_handed_on(toy, dialect, tmp_path):
    """Dialects that are read again know the sessions of the ones before."""
    toy.events(_event("x"), 100.0)

    again = Dialects.load([tmp_path / "toy.yaml"], memory=toy.memory)

    assert again.active(100.0) == {"toy": 1}
    assert _found(again, "agent.sessions", _event("x")) == []
