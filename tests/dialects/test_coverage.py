"""What a dialect covers, read from its file; what real agents feed is held against it in tests/docs/test_agents.py."""

import pytest

from agent_exporter.dialects import DialectError, Dialects
from agent_exporter.dialects.coverage import GROUPS, coverage

AGENT = """\
agent: toy
claims: {services: toy}
authority: {agent.tokens: event, agent.turns: metric, agent.turn.duration: span, agent.cost.usd: none}
session: [id, "@trace"]
metrics:
  - {name: turns, to: agent.turns}
events:
  - {name: answer, usage: inclusive, labels: {model: model}}
spans:
  - {name: turn, to: agent.turn.duration, value: "@duration"}
processes:
  - {name: toy}
"""
FRAMEWORK = """\
dialect: toys
agent: "@service"
claims: {scopes: toys}
session: "@trace"
untold:
  agent.turns: it never ends
"""


@pytest.fixture
def told(tmp_path):
    """Return a function that says what the file of a text tells."""

    def told(text):
        path = tmp_path / "toy.yaml"
        path.write_text(text)
        return next(each for each in coverage(Dialects.load([path]).files) if each.file.called in ("toy", "toys"))

    return told


def test_an_agent(told):
    """What an agent's rules feed is told by their signals; cost, open sessions and processes come of themselves."""
    toy = told(AGENT)

    cells = {group.title: toy.cell(group) for group in GROUPS if toy.cell(group)}
    assert cells == {"tokens": "E", "cost": "~", "sessions": "~", "turns": "MS", "processes": "P"}
    assert toy.families("S") == ["agent.turn.duration"]
    assert toy.families("~") == ["agent.cost.usd", "agent.cost.unpriced_tokens", "agent.sessions.active"]
    assert "tools" in toy.missing
    assert "turns" not in toy.missing


def test_a_framework(told):
    """Vocabularies say what a framework's own file does not, but for what it lists; a trace is no session."""
    toys = told(FRAMEWORK)

    assert toys.told["agent.model.requests"] == "S"
    assert toys.told["agent.turn.duration"] == "S"
    assert not {"agent.turns", "agent.sessions.active", "agent.operation.duration", "agent.runtime.gc.pause"} & {
        *toys.told
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "untold: {agent.token: no}",
            "untold.agent.token: the catalogue has no `agent.token`; did you mean `agent.tokens`",
        ),
        ("untold: {agent.turns: no}", "untold.agent.turns: there is a rule for it"),
        ("untold: {agent.tokens: no}", "untold.agent.tokens: there is a rule for it"),
        ("gaps: It has none.", "gaps: Input should be a valid"),
    ],
)
def test_mistakes(told, line, message):
    """What cannot be told is checked too, and the error says where the mistake is."""
    with pytest.raises(DialectError, match=r"toy\.yaml:13: ") as error:
        told(AGENT + line)

    assert message in str(error.value)
