import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_exporter.catalog import CATALOG
from agent_exporter.dialects import DROP_ATTRIBUTES, Dialects, engine, words
from agent_exporter.dialects.bounds import VALUES_PER_LABEL
from agent_exporter.model import Event, Form, Metric, Resource, Scope, Span

TOY = """\
agent: toy
claims: {prefixes: [toy., t2.], scopes: com.toy*, services: toy}
authority:
  agent.sessions: metric
  agent.tokens: metric
  agent.turn.duration: metric
  agent.context.utilization: metric
  agent.cost.usd: event
  agent.tool.executions: event
  agent.process.cpu.time: event
  agent.model.requests: span
  agent.model.request.duration: span
  agent.model.retries: event
metrics:
  - {name: toy.started, to: agent.sessions}
  - {name: toy.turn, to: agent.turn.duration, unit: ms}
  - {name: toy.context, to: agent.context.utilization}
  - name: toy.tokens
    where: {kind: [all, cached]}
    to: agent.tokens
    labels: {model: [model, model_name], type: {from: kind, map: {all: input, cached: cache_read}}}
  - name: toy.tokens  # `all` contains `cached`
    where: {kind: cached}
    to: agent.tokens
    labels: {model: [model, model_name], type: {is: input}}
    factor: -1
events:
  - name: [toy.tool, toy.tools.*]
    where: {dry: {not: true}, call: {present: true}}
    to: agent.tool.executions
    labels:
      tool: {from: tool, default: none}
      tool_type: {from: tool, map: {a*: function, ab*: mcp}, default: unknown}
      status: status
      error_type: error_type
  - {name: toy.cpu, to: agent.process.cpu.time, value: seconds}
  - {name: toy.paid, to: agent.cost.usd, value: {from: [usd, cost], minus: [rebate, tax]}, labels: {basis: basis}}
  - {name: toy.absent, where: {call: {present: false}}, to: agent.model.retries}
spans:
  - name: "*"
    where: {"@kind": client, op: chat}
    to: agent.model.requests
    labels: {status: {from: "@status", map: {error: error}, default: ok}, operation: op}
  - name: "chat *"
    to: agent.model.request.duration
    value: "@duration"
    labels: {status: {is: ok}}
ignored: {toy.tools.secret: not ours to count}
"""
OTHER = """\
agent: other
claims: {prefixes: [toy., other.], scopes: com.other}
"""
SERVICE = Resource({"service.name": "toy"})
COUNTER = {"form": Form.SUM, "monotonic": True}


def _feeds(dialects, metric, attributes=None, resource=SERVICE):
    return [
        (feed.instrument.name, dict(feed.labels), feed.scale)
        for feed in dialects.feeds(resource, Scope(), metric, attributes or {})
    ]


def _events(dialects, event):
    return [(found.instrument.name, dict(found.labels), found.value) for found in dialects.events(event)]


@pytest.fixture
def toy(dialect):
    """Return the dialects with the toy agent's among them."""
    return dialect(TOY)


@pytest.mark.parametrize("name", ["toy.started", "t2.started", "started"])
def test_metric(toy, name):
    """A metric feeds its family, whichever of the dialect's prefixes its name has."""
    assert _feeds(toy, Metric(name, **COUNTER)) == [("agent.sessions", {"agent": "toy"}, 1)]


@pytest.mark.parametrize(("unit", "scale"), [("", 1e-3), ("ms", 1e-3), ("s", 1), ("min", 60), ("Count", 1e-3)])
def test_unit_of_a_metric(toy, unit, scale):
    """A metric's own unit decides, the rule's only if that says nothing."""
    assert _feeds(toy, Metric("toy.turn", Form.HISTOGRAM, unit)) == [("agent.turn.duration", {"agent": "toy"}, scale)]


@pytest.mark.parametrize(("unit", "feeds"), [("%", [0.01]), ("1", [1]), ("", [1]), ("By", [])])
def test_unit_that_does_not_fit(toy, unit, feeds):
    """A metric whose unit cannot be the family's feeds nothing."""
    assert [scale for _, _, scale in _feeds(toy, Metric("toy.context", Form.GAUGE, unit))] == feeds


@pytest.mark.parametrize(
    ("name", "form", "monotonic", "fits"),
    [
        ("toy.started", Form.SUM, True, True),
        ("toy.started", Form.SUM, False, False),
        ("toy.started", Form.GAUGE, False, False),
        ("toy.started", Form.HISTOGRAM, False, False),
        ("toy.context", Form.GAUGE, False, True),
        ("toy.context", Form.SUM, False, True),
        ("toy.context", Form.SUM, True, False),
        ("toy.turn", Form.HISTOGRAM, False, True),
        ("toy.turn", Form.EXPONENTIAL_HISTOGRAM, False, True),
        ("toy.turn", Form.SUMMARY, False, False),
    ],
)
def test_form_that_does_not_fit(toy, name, form, monotonic, fits):
    """A metric feeds a family only if its numbers are of the same kind."""
    assert bool(_feeds(toy, Metric(name, form, monotonic=monotonic))) is fits


def test_inclusive_tokens_become_disjoint(toy):
    """A part of a whole feeds its own series and is taken off the whole's."""
    metric = Metric("toy.tokens", **COUNTER)

    assert _feeds(toy, metric, {"kind": "all", "model_name": "m"}) == [
        ("agent.tokens", {"agent": "toy", "model": "m", "type": "input"}, 1)
    ]
    assert _feeds(toy, metric, {"kind": "cached", "model": "m", "model_name": "n"}) == [
        ("agent.tokens", {"agent": "toy", "model": "m", "type": "cache_read"}, 1),
        ("agent.tokens", {"agent": "toy", "model": "m", "type": "input"}, -1),
    ]
    assert _feeds(toy, metric, {"kind": "total"}) == []


@pytest.mark.parametrize(
    ("attributes", "labels"),
    [
        ({"tool": "ls", "status": "ok"}, {"tool": "ls", "tool_type": "unknown", "status": "ok"}),
        ({"tool": "abc", "status": "odd"}, {"tool": "abc", "tool_type": "mcp", "status": "unknown"}),
        ({"tool": "ax"}, {"tool": "ax", "tool_type": "function"}),
        ({"tool": 7, "error_type": 404.0}, {"tool": "7", "tool_type": "unknown", "error_type": "404"}),
        ({"tool": ["a"], "error_type": b"b"}, {"tool": "none", "tool_type": "unknown"}),
        ({"error_type": "no such file"}, {"tool": "none", "tool_type": "unknown", "error_type": "other"}),
    ],
)
def test_labels_of_an_event(toy, event, attributes, labels):
    """A label comes from an attribute, a table or a default; an empty one is left out."""
    found = _events(toy, event("toy.tool", {"call": 1, **attributes}))

    assert found == [("agent.tool.executions", {"agent": "toy", **labels}, 1)]


@pytest.mark.parametrize(
    ("attributes", "applies"),
    [
        ({"call": "x"}, True),
        ({"call": "x", "dry": False}, True),
        ({"call": "x", "dry": True}, False),
        ({"call": "x", "dry": "true"}, False),
        ({"call": ""}, False),
        ({}, False),
    ],
)
def test_conditions(toy, event, attributes, applies):
    """All conditions of a rule must hold; booleans are compared as the words they may be sent as."""
    assert bool(toy.events(event("toy.tool", attributes))) is applies


def test_absence_is_a_condition(toy, event):
    """A rule may ask that an attribute is not there."""
    assert _events(toy, event("toy.absent")) == [("agent.model.retries", {"agent": "toy"}, 1)]
    assert _events(toy, event("toy.absent", {"call": 1})) == []


@pytest.mark.parametrize(
    ("attributes", "value"),
    [
        ({"usd": 3, "cost": 5}, 3),
        ({"cost": "5.5"}, 5.5),
        ({"usd": "none", "cost": 5}, 5),
        ({"usd": 3, "rebate": 1, "tax": "0.5"}, 1.5),
        ({"usd": 3, "rebate": 4}, 0),
    ],
)
def test_values_of_an_event(toy, event, attributes, value):
    """A value is the first number that is there, less its parts, and never below 0."""
    assert _events(toy, event("toy.paid", {"basis": "reported", **attributes})) == [
        ("agent.cost.usd", {"agent": "toy", "basis": "reported"}, value)
    ]


@pytest.mark.parametrize("value", [None, "", "much", True, [1], float("nan"), float("inf"), "inf", 10**400, -1])
def test_no_number_adds_nothing(toy, event, value):
    """What is no number, or below 0, is not added."""
    assert toy.events(event("toy.cpu", {"seconds": value})) == []


def test_closed_values_without_unknown(toy, event):
    """A value outside a closed set that has no `unknown` is `other`, and counted."""
    found = _events(toy, event("toy.paid", {"usd": 1, "basis": "guessed"}))

    assert found == [("agent.cost.usd", {"agent": "toy", "basis": "other"}, 1)]
    assert toy.folded == {"basis": 1}


def test_names_by_pattern(toy, event):
    """A rule may be for several names and patterns; what is ignored is ignored."""
    attributes = {"call": 1}

    assert toy.events(event("toy.tools.read", attributes))
    assert not toy.events(event("toy.toolset", attributes))
    assert not toy.events(event("toy.tools.secret", attributes))


def _span(name, *, kind=3, status=0, **attributes):
    return Span(name, kind, 1_000_000_000, 3_500_000_000, status, attributes, "", "", "", SERVICE, Scope())


def test_spans(toy):
    """A span adds by what it is: name, kind, status and duration are read like attributes."""
    found = [(m.instrument.name, dict(m.labels), m.value) for m in toy.spans(_span("chat m", status=2, op="chat"))]

    assert found == [
        ("agent.model.requests", {"agent": "toy", "operation": "chat", "status": "error"}, 1),
        ("agent.model.request.duration", {"agent": "toy", "status": "ok"}, 2.5),
    ]
    assert toy.spans(_span("get", kind=1, op="chat")) == []
    assert toy.spans(_span("get", kind=99, op="chat")) == []


def test_no_dialect_has_no_rules(event):
    """What nobody claims adds nothing, and its agent is the service, or unknown."""
    dialects = Dialects.load()

    assert dialects.events(event("some.thing", service="mine")) == []
    assert dialects.spans(_span("chat m")) == []
    assert _feeds(dialects, Metric("some.metric", **COUNTER)) == []
    assert dialects.agent(SERVICE, Scope()) == "toy"
    assert dialects.agent(Resource({}), Scope()) == "unknown"


@pytest.mark.parametrize(
    ("name", "scope", "service", "agent"),
    [
        ("toy.a", "", "", "other"),  # both claim the prefix: the first file
        ("toy.a", "com.toy.events", "", "toy"),  # the scope decides
        ("toy.a", "com.other", "toy", "other"),  # before the service
        ("toy.a", "", "toy", "toy"),
        ("t2.a", "com.other", "", "toy"),  # the prefix before the scope
        ("a", "com.toy", "other", "toy"),  # the scope before the service
        ("a", "", "toy", "toy"),
        ("a", "", "mine", "mine"),
        ("a", "", "", "unknown"),
    ],
)
def test_who_sent_it(tmp_path, name, scope, service, agent):
    """A sender is known by prefix first, scope second, service last."""
    (tmp_path / "a.yaml").write_text(OTHER)
    (tmp_path / "b.yaml").write_text(TOY)
    resource = Resource({"service.name": service} if service else {})

    assert Dialects.load([tmp_path]).agent(resource, Scope(scope), name) == agent


FRAMES = """\
dialect: {dialect}
agent: "@service"
claims: {{scopes: {scopes}}}
"""


@pytest.mark.parametrize(
    ("name", "scope", "service", "session"),
    [
        ("toy.a", "frame.one", "mine", "toy"),  # an agent before a framework, by prefix,
        ("a", "frame.one", "toy", "toy"),  # and by service
        ("a", "frame.one", "mine", "narrow"),  # the longer pattern before the shorter
        ("a", "frame.two", "mine", "wide"),
    ],
)
def test_agents_before_frameworks(tmp_path, name, scope, service, session):
    """An agent is itself, whatever it is written with; a framework's own dialect comes before a wider one."""
    for dialect, scopes in (("wide", "frame*"), ("narrow", "frame.o*")):
        text = FRAMES.format(dialect=dialect, scopes=scopes) + f"session: {dialect}\n"
        (tmp_path / f"{scopes[:-1]}.yaml").write_text(text)
    (tmp_path / "z.yaml").write_text(TOY + "session: toy\n")
    dialects = Dialects.load([tmp_path])
    resource = Resource({"service.name": service})

    dialects.feeds(resource, Scope(scope), Metric(name, **COUNTER), {session: "s"})

    assert len(dialects.memory.sessions) == 1


WORDS = """\
agent: toy
claims: {prefixes: toy.}
authority: {agent.tool.executions: event, agent.model.retries: event, agent.sessions: metric, agent.turns: metric}
metrics:
  - {name: toy.new, alone: new, to: agent.sessions}
  - {name: toy.newer, alone: new, to: agent.sessions}
  - {name: toy.old, alone: old, to: agent.sessions}
  - {name: toy.old, alone: old, to: agent.turns}
events:
  - name: toy.mcp
    where: {tool: ["a*/*", plain], model: {not: "*x*"}}
    to: agent.tool.executions
    labels: {tool: tool}
  - name: toy.any
    where: {tool: "*"}
    to: agent.tool.executions
    labels: {tool: tool}
  - name: toy.none
    where: {tool: {not: "*"}}
    to: agent.tool.executions
  - {name: toy.try, to: agent.model.retries, value: {from: attempt, minus: [1]}}
  - name: toy.kept
    to: agent.tool.executions
    labels: {tool: {from: tool, map: {no*: "", a: b}, keep: true, default: d}}
"""


@pytest.mark.parametrize(
    ("name", "attributes", "applies"),
    [
        ("mcp", {"tool": "a1/b"}, True),
        ("mcp", {"tool": "plain", "model": "m"}, True),
        ("mcp", {"tool": "b/a/"}, False),
        ("mcp", {"tool": "a1/b", "model": "axb"}, False),
        ("mcp", {}, False),
        ("any", {"tool": 1}, True),
        ("any", {}, False),
        ("none", {"tool": 1}, False),
        ("none", {}, True),
    ],
)
def test_patterns_in_conditions(dialect, event, name, attributes, applies):
    """A `*` in a condition stands for any characters of a value that is there."""
    assert bool(dialect(WORDS).events(event(f"toy.{name}", attributes))) is applies


@pytest.mark.parametrize(("attempt", "retries"), [(1, 0), ("3", 2), (0, 0)])
def test_a_number_is_taken_off(dialect, event, attempt, retries):
    """`minus` takes numbers, too."""
    assert [found.value for found in dialect(WORDS).events(event("toy.try", {"attempt": attempt}))] == [retries]


@pytest.mark.parametrize(("tool", "label"), [("a", "b"), ("c", "c"), ("nothing", None), ("", "d")])
def test_what_a_table_keeps(dialect, event, tool, label):
    """With `keep` a value that is not in the table stays; one that becomes nothing is no label."""
    (found,) = dialect(WORDS).events(event("toy.kept", {"tool": tool}))

    assert dict(found.labels).get("tool") == label


def test_values_that_are_kept_are_bounded(dialect, event):
    """What a table lets through is counted as other values are."""
    dialects = dialect(WORDS)

    found = [dialects.events(event("toy.kept", {"tool": str(n)}))[0] for n in range(VALUES_PER_LABEL + 1)]

    assert dict(found[-1].labels)["tool"] == "other"


def test_metrics_that_say_the_same(dialect, tmp_path):
    """Of words with `alone` for a family the first that is heard of a sender feeds it, also after a reload."""
    dialects = dialect(WORDS)
    others = Resource({"service.name": "x", "service.instance.id": "i"}), Resource({"a": [1], "b": "c"})

    assert _feeds(dialects, Metric("toy.new", **COUNTER)) != []
    assert [name for name, _, _ in _feeds(dialects, Metric("toy.old", **COUNTER))] == ["agent.turns"]
    for resource in others:
        assert len(_feeds(dialects, Metric("toy.old", **COUNTER), resource=resource)) == 2
    assert _feeds(dialects, Metric("toy.new", **COUNTER), resource=others[0]) == []
    again = Dialects.load([tmp_path], memory=dialects.memory)
    assert [bool(_feeds(again, Metric(f"toy.{name}", **COUNTER))) for name in ("new", "newer")] == [True, True]


def test_memory_of_words_is_bounded(dialect, monkeypatch):
    """Beyond the limit the oldest sender is forgotten."""
    monkeypatch.setattr(words, "WORDS", 3)
    dialects = dialect(WORDS)

    for number in range(5):
        assert _feeds(dialects, Metric("toy.old", **COUNTER), resource=Resource({"a": number})) != []

    assert len(dialects.memory.words) == 3


def test_catalogue_names_feed_themselves(toy):
    """A metric that has a catalogue name feeds that family by its own attributes."""
    metric = Metric("agent.tool.executions", **COUNTER)
    attributes = {"tool": "ls", "status": "ok", "session.id": "s", "prompt": "p", "tool_type": "odd"}

    assert _feeds(toy, metric, attributes, Resource({"service.name": "mine"})) == [
        ("agent.tool.executions", {"agent": "mine", "tool": "ls", "tool_type": "unknown", "status": "ok"}, 1)
    ]
    assert _feeds(toy, metric, {"agent": "me"})[0][1] == {"agent": "me"}


@pytest.mark.parametrize(
    ("resource", "instance"),
    [
        ({"service.instance.id": "i", "host.name": "h", "process.pid": 1}, "i"),
        ({"host.name": "h", "process.pid": 1}, "h:1"),
        ({"process.pid": 1}, "1"),
        ({}, None),
    ],
)
def test_instance(toy, event, resource, instance):
    """A process is told apart by service.instance.id, else host name and pid; also where an attribute says it."""
    metric = Metric("agent.process.threads", Form.GAUGE)
    found = Event("toy.cpu", 0, {"seconds": 1}, None, Resource(resource), Scope())

    ((_, labels, _),) = _feeds(toy, metric, {"role": "main"}, Resource(resource))
    ((_, measured, _),) = _events(toy, found)

    assert labels.get("agent_instance") == measured.get("agent_instance") == instance
    assert _feeds(toy, metric, {"agent_instance": "own"}, Resource(resource))[0][1]["agent_instance"] == "own"


def test_too_many_tools_become_other(toy, event):
    """Beyond the limit new names are `other` and counted; known ones stay."""
    names = [f"tool {number}" for number in range(VALUES_PER_LABEL + 2)]

    found = [toy.events(event("toy.tool", {"call": 1, "tool": name}))[0] for name in [*names, names[0]]]

    tools = [dict(each.labels)["tool"] for each in found]
    assert tools == [*names[:-2], "other", "other", names[0]]
    assert toy.folded == {"tool": 2}


def test_too_many_agents_become_other():
    """Services beyond the limit are one agent, `other`."""
    dialects = Dialects.load()

    agents = {dialects.agent(Resource({"service.name": f"s{n}"}), Scope()) for n in range(VALUES_PER_LABEL + 5)}

    assert len(agents) == VALUES_PER_LABEL + 1
    assert "other" in agents
    assert dialects.folded == {"agent": 5}


def test_long_values_are_cut(toy, event):
    """A label's value has at most 128 characters; the same value is the same series again."""
    long = event("toy.tool", {"call": 1, "tool": "x" * 1000})

    first, second = toy.events(long), toy.events(long)

    assert dict(first[0].labels)["tool"] == "x" * 128
    assert first == second


def test_instances_are_not_folded(toy):
    """Process instances come and go; their number is bounded by expiry and not here."""
    metric = Metric("agent.process.threads", Form.GAUGE)

    found = {
        _feeds(toy, metric, {}, Resource({"service.instance.id": str(n)}))[0][1]["agent_instance"]
        for n in range(VALUES_PER_LABEL + 5)
    }

    assert len(found) == VALUES_PER_LABEL + 5


def test_memory_of_names_is_bounded(toy, event, monkeypatch):
    """What is remembered of senders is emptied when full, and the answers stay the same."""
    monkeypatch.setattr(engine, "PLANS", 3)

    answers = [toy.events(event(f"toy.tools.{n}", {"call": 1})) for n in range(10)]

    assert all(answers)
    assert len(toy._senders) <= 3
    assert len(toy._plans["event"]) <= 3


@pytest.mark.parametrize("body", ["two words", "x" * 500, ["a"], None, 5])
def test_a_body_that_is_no_name(toy, event, body):
    """A body that is a text is not taken for an event's name, and not remembered."""
    assert toy.events(event("", {}, body=body)) == []
    assert {name for _, _, name in toy._senders} == {""}


CONTENT_KEYS = [pattern.replace("*", "x") for pattern in DROP_ATTRIBUTES]
SECRET = st.text(alphabet="§¶", min_size=1).map(lambda text: f"secret{text}")


@given(
    name=st.sampled_from(
        ["user_prompt", "tool_result", "tool_decision", "api_request", "api_error", "compaction", "auth", ""]
    ),
    secrets=st.dictionaries(st.sampled_from(CONTENT_KEYS) | st.text(max_size=12), SECRET, max_size=12),
    body=st.none() | SECRET,
)
def test_no_content_becomes_a_label(name, secrets, body):
    """Attributes that no rule reads, prompts and ids first of all, never show up in labels."""
    read = {"tool_name", "tool_source", "success", "error_type", "model", "status_code", "trigger", "decision"}
    attributes = {**{key: value for key, value in secrets.items() if key not in read}, "event.name": name}
    event = Event("", 0, attributes, body, Resource({}), Scope("com.anthropic.claude_code.events"))

    for found in DIALECTS.events(event):
        assert not any("secret" in value for _, value in found.labels)


@given(secrets=st.dictionaries(st.sampled_from(CONTENT_KEYS), SECRET), row=st.sampled_from(list(CATALOG.values())))
def test_no_content_becomes_a_label_of_a_catalogue_name(secrets, row):
    """A metric with a catalogue name has the catalogue's labels, whatever else its points carry."""
    for form, monotonic in ((Form.SUM, True), (Form.GAUGE, False), (Form.HISTOGRAM, False)):
        for feed in DIALECTS.feeds(
            Resource({}), Scope(), Metric(row.name, form, row.unit, monotonic=monotonic), secrets
        ):
            assert {label for label, _ in feed.labels} <= set(row.labels)
            assert not any("secret" in value for _, value in feed.labels)


DIALECTS = Dialects.load()
