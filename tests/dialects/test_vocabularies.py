import pytest

from agent_exporter.dialects import Dialects
from agent_exporter.model import Form, Metric, Resource, Scope, Span

FIRST = """\
vocabulary: first
rank: 1
authority: {agent.tokens: metric, agent.turns: event, agent.cache.entries: metric, agent.model.requests: span}
metrics:
  - {name: tokens, part: sum, to: agent.tokens, labels: {type: {is: input}}}
  - {name: entries, part: mean, to: agent.cache.entries, labels: {cache: "@resource.cache"}}
events:
  - {name: turn, to: agent.turns}
  - {name: usage, usage: exclusive}
ignored: {hidden: on purpose}
roles: [{role: model, name: chat *}]
spans:
  - {role: model, to: agent.model.requests, labels: {operation: {is: first}}}
  - {role: model, usage: inclusive}
"""
SECOND = """\
vocabulary: second
rank: 2
authority: {agent.tokens: event, agent.turns: event, agent.cache.requests: metric}
metrics:
  - {name: [tokens, other], part: count, to: agent.tokens, labels: {type: {is: output}}}
  - {name: calls, part: count, factor: 2, to: agent.cache.requests, labels: {cache: "@unit", result: {is: hit}}}
events:
  - {name: [turn, hidden], to: agent.turns}
roles: [{role: tool, name: "*"}]
spans:
  - {role: model, to: agent.turns}
"""
FRAMEWORK = """\
dialect: frame
agent: "@service"
claims: {scopes: frame*}
authority: {agent.tokens: span, agent.cache.entries: none, agent.model.requests: span}
ignored: {turn: not here}
spans:
  - {role: model, to: agent.model.requests, labels: {operation: {is: frame}}}
"""
pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def dialects(tmp_path):
    """Return two vocabularies, in files whose names say the opposite of their ranks, and a framework."""
    for name, text in (("b", FIRST), ("a", SECOND), ("c", FRAMEWORK)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return Dialects.load([tmp_path])


def _feeds(dialects, name, unit="", *, scope="", service="mine", form=Form.HISTOGRAM):
    resource = Resource({"service.name": service, "cache": "big"})
    return [
        (feed.instrument.name, dict(feed.labels), feed.scale, feed.part)
        for feed in dialects.feeds(resource, Scope(scope), Metric(name, form, unit), {})
    ]


def _spans(dialects, name="chat m", scope="", **attributes):
    span = Span(name, 3, 0, 1, 0, attributes, "t", scope, "", Resource({"service.name": "mine"}), Scope(scope))
    return [(m.instrument.name, *(value for _, value in m.labels), m.value) for m in dialects.spans(span)]


def test_the_lower_rank_is_asked_first(dialects):
    """The first vocabulary that knows a name feeds by it; its part of a histogram is named."""
    assert _feeds(dialects, "tokens") == [("agent.tokens", {"agent": "mine", "type": "input"}, 1, "sum")]
    assert _feeds(dialects, "calls", "ms") == [
        ("agent.cache.requests", {"agent": "mine", "cache": "ms", "result": "hit"}, 2, "count")
    ]
    assert _feeds(dialects, "entries") == [("agent.cache.entries", {"agent": "mine", "cache": "big"}, 1, "mean")]


def test_a_part_needs_a_histogram(dialects):
    """A sum does not feed by a rule for a part of a histogram."""
    assert _feeds(dialects, "tokens", form=Form.SUM) == []


def test_one_authority_for_all(dialects):
    """A signal feeds a family only if the dialect, else the first vocabulary that says, names it."""
    assert _feeds(dialects, "other") == [("agent.tokens", {"agent": "mine", "type": "output"}, 1, "count")]
    assert _feeds(dialects, "other", scope="frame") == []  # spans, says the dialect
    assert _feeds(dialects, "entries", scope="frame") == []  # none, says the dialect


def test_events_of_vocabularies(dialects, event):
    """An event is taken by the first that knows it, unless somebody asked before ignores it."""
    assert len(dialects.events(event("turn"))) == 1
    assert dialects.events(event("hidden")) == []
    assert dialects.events(event("turn", scope="frame")) == []
    assert dialects.events(event("usage", {"input_tokens": 1})) == []  # metrics feed tokens


def test_roles_and_families_go_through_all_files(dialects):
    """The first file with a rule for role and family feeds it; the authority opens what others left closed."""
    assert _spans(dialects, input_tokens=5) == [("agent.model.requests", "mine", "first", 1)]
    assert _spans(dialects, scope="frame.x", input_tokens=5) == [
        ("agent.model.requests", "mine", "frame", 1),
        ("agent.tokens", "mine", "input", 5),
    ]


@pytest.mark.parametrize(
    ("service", "agent"),
    [("mine", "mine"), ("", "frame"), ("unknown_service", "frame"), ("unknown_service:python", "frame")],
)
def test_agents_of_a_framework(dialects, service, agent):
    """An agent written with a framework is called by its service, or by the framework if that has no name."""
    assert dialects.agent(Resource({"service.name": service}), Scope("frame")) == agent


def test_a_users_vocabulary_replaces_a_built_in_one(dialect):
    """Vocabularies are replaced by their name."""
    dialects = dialect("vocabulary: v\nrank: 3\n", "v.yaml")

    assert [file.called for file in dialects.files].count("v") == 1


def test_rules_that_were_never_used(dialects, event):
    """Each rule has a name that says what it does, and the ones that fed nothing can be listed."""
    before = dialects.unexercised
    dialects.events(event("turn"))
    _spans(dialects, scope="frame", output_tokens=1)

    assert "first: span model -> agent.tokens[reasoning]" in before
    assert set(before) - set(dialects.unexercised) == {
        "first: event turn -> agent.turns",
        "frame: span model -> agent.model.requests",
        "first: span model -> agent.tokens[output]",
    }
    assert len(set(before)) == len(before)


# -- what belongs to a file besides -------------------------------------------

CUSTOM = """\
agent: acme
claims: {prefixes: acme.}
authority: {agent.turns: event}
instruments:
  acme.documents: {kind: histogram, unit: "{document}", help: Found., labels: [index], bounds: [1, 10]}
  acme.searches: {kind: counter, unit: "{search}", help: Made.}
metrics: [{name: acme.found, to: acme.documents, labels: {index: where}}]
events: [{name: acme.search, to: acme.documents, value: hits, labels: {index: where}}]
spans: [{name: search, where: {"@scope": acme}, to: acme.searches}]
processes:
  - {name: acme*, role: main}
  - {name: node, command: /acme/cli, role: helper}
"""


def test_metrics_of_ones_own(dialect, event):
    """A file may define a metric and feed it from any signal."""
    dialects = dialect(CUSTOM)

    (fed,) = _feeds(dialects, "acme.found")
    (measured,) = dialects.events(event("acme.search", {"hits": "3", "where": "web"}))
    assert fed == ("acme.documents", {"agent": "acme"}, 1, "")
    assert measured.instrument.bounds == (1, 10)
    assert (measured.labels, measured.value) == ((("agent", "acme"), ("index", "web")), 3)
    assert list(dialects.instruments) == ["acme.documents", "acme.searches"]
    span = Span("search", 3, 0, 1, 0, {}, "t", "s", "", Resource({"service.name": "acme"}), Scope("acme"))
    assert dialects.spans(span) == []  # the service is not claimed


@pytest.mark.parametrize(
    ("name", "command", "roles"),
    [
        ("acme-cli", ["acme-cli"], ["main"]),
        ("node", ["node", "/usr/lib/acme/cli.js"], ["helper"]),
        ("node", ["node", "x.js"], []),
    ],
)
def test_processes(dialect, name, command, roles):
    """A file says how the agent's processes are known."""
    found = [(rule.agent, rule.role) for rule in dialect(CUSTOM).processes if rule.fits(name, command)]

    assert [each for each in found if each[0] == "acme"] == [("acme", role) for role in roles]


class Table:
    """Prices of one model."""

    def price(self, provider, model):
        """Price `m`."""
        return {"input": 2.0, "output": 3.0} if (provider, model) == ("p", "m") else None


COSTS = """\
agent: toy
claims: {prefixes: toy.}
authority: {agent.tokens: event}
events: [{name: toy.answer, usage: exclusive, labels: {provider: provider, model: model}}]
"""


def _costs(dialects, event, **attributes):
    found = dialects.events(event("toy.answer", attributes))
    return [(m.instrument.name, m.labels[1:], m.value) for m in found if m.instrument.name != "agent.tokens"]


def test_tokens_are_priced(tmp_path, event):
    """Tokens of a known model cost, those of others are counted as without a price."""
    (tmp_path / "toy.yaml").write_text(COSTS)
    dialects = Dialects.load([tmp_path], prices=Table())
    usage = {"input_tokens": 10, "output_tokens": 5, "cache_read_tokens": 1, "provider": "p"}
    labels = (("provider", "p"), ("model", "m"), ("basis", "estimated"))

    assert _costs(dialects, event, model="m", **usage) == [
        ("agent.cost.usd", labels, 20),
        ("agent.cost.usd", labels, 15),
        ("agent.cost.unpriced_tokens", (("model", "m"),), 1),
    ]
    assert _costs(dialects, event, model="n", **usage) == [
        ("agent.cost.unpriced_tokens", (("model", "n"),), count) for count in (10, 5, 1)
    ]


def test_who_reports_cost_is_believed(tmp_path, event):
    """Nothing is estimated for an agent whose authority names a signal for cost."""
    (tmp_path / "toy.yaml").write_text(COSTS.replace("tokens: event", "tokens: event, agent.cost.usd: metric"))

    assert _costs(Dialects.load([tmp_path], prices=Table()), event, model="m", input_tokens=1) == []


def test_streams_of_tokens_are_priced(tmp_path):
    """A metric that feeds tokens feeds their cost, by the price as scale, and the same part."""
    (tmp_path / "a.yaml").write_text(FIRST.replace("type: {is: input}", "type: {is: input}, model: model"))
    dialects = Dialects.load([tmp_path], prices=Table())

    assert [(name, scale, part) for name, _, scale, part in _feeds(dialects, "tokens")] == [
        ("agent.tokens", 1, "sum"),
        ("agent.cost.unpriced_tokens", 1, "sum"),
    ]
