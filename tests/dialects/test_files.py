import pytest

from agent_exporter.dialects import DialectError, Dialects

HEAD = """\
agent: toy
claims: {prefixes: toy.}
authority:
  agent.turns: event
  agent.turn.duration: event
  agent.tokens: metric
  agent.tool.executions: event
"""
MISTAKES = {
    "not YAML": ("agent: toy\nclaims: {prefixes: toy.\n", 3, "file", "is not YAML"),
    "key twice": ("agent: toy\nagent: toy\n", 2, "file", "`agent` is given twice"),
    "key unknown": (HEAD + "event: []\n", 8, "event", "there is no such key"),
    "key missing": (HEAD + "events:\n  - to: agent.turns\n", 9, "events[0].name", "must be given"),
    "no claims": ("agent: toy\n\nclaims: {}\n", 3, "claims", "claims no sender"),
    "family unknown": (
        HEAD + "events:\n  - name: toy.a\n    to: agent.turn\n",
        10,
        "events[0].to",
        "the catalogue has no `agent.turn`; did you mean `agent.turns`?",
    ),
    "family of the exporter": (
        HEAD + "events:\n  - name: toy.a\n    to: agent_exporter.gaps\n",
        10,
        "events[0].to",
        "`agent_exporter.gaps` is the exporter's own",
    ),
    "authority unknown": (
        "agent: toy\nclaims: {services: toy}\nauthority:\n  agent.nothing: metric\n",
        4,
        "authority.agent.nothing",
        "the catalogue has no `agent.nothing`",
    ),
    "authority not said": (
        HEAD + "events:\n  - name: toy.a\n    to: agent.sessions\n",
        10,
        "events[0].to",
        "`authority` does not say which signal feeds `agent.sessions`: add `agent.sessions: event`",
    ),
    "authority is another signal": (
        HEAD + "events:\n  - name: toy.a\n    to: agent.tokens\n",
        10,
        "events[0].to",
        "events may not feed `agent.tokens`: its authority is metric",
    ),
    "authority is no signal": (
        "agent: toy\nclaims: {services: toy}\nauthority:\n  agent.turns: log\n",
        4,
        "authority.agent.turns",
        "Input should be 'metric', 'event', 'span' or 'none'",
    ),
    "label unknown": (
        HEAD + "events:\n  - name: toy.a\n    to: agent.tool.executions\n    labels:\n      model: m\n",
        12,
        "events[0].labels.model",
        "`agent.tool.executions` has no such label to set; it has tool, tool_type, status, error_type",
    ),
    "label private": (
        HEAD + "events:\n  - name: toy.a\n    to: agent.tool.executions\n    labels:\n      tool: [name, user.email]\n",
        12,
        "events[0].labels.tool",
        "`user.email` is never a label",
    ),
    "label value not allowed": (
        HEAD + "events:\n  - name: toy.a\n    to: agent.tool.executions\n    labels: {status: {is: fine}}\n",
        11,
        "events[0].labels.status",
        "`fine` is no value of `status`; allowed: ok, error, rejected, unknown",
    ),
    "label from nowhere": (
        HEAD + "events:\n  - name: toy.a\n    to: agent.tool.executions\n    labels: {tool: {default: a}}\n",
        11,
        "events[0].labels.tool",
        "give either `is` (a word) or `from` (attributes)",
    ),
    "word with a table": (
        HEAD + "events:\n  - name: toy.a\n    to: agent.tool.executions\n    labels: {tool: {is: a, map: {b: c}}}\n",
        11,
        "events[0].labels.tool",
        "`map` and `default` go with `from`",
    ),
    "value missing": (
        HEAD + "events:\n  - name: toy.a\n    to: agent.turn.duration\n",
        9,
        "events[0]",
        "`agent.turn.duration` is a histogram: say by `value` which attribute has the number",
    ),
    "unit of a value": (
        HEAD + "events:\n  - name: toy.a\n    to: agent.turn.duration\n    value: {from: a, unit: By}\n",
        11,
        "events[0].value.unit",
        "`By` cannot be turned into `s`, the unit of `agent.turn.duration`",
    ),
    "unit of a metric": (
        HEAD.replace("turn.duration: event", "turn.duration: metric")
        + "metrics:\n  - name: a\n    to: agent.turn.duration\n    unit: apples\n",
        11,
        "metrics[0].unit",
        "`apples` cannot be turned into `s`",
    ),
    "factor": (
        HEAD + "metrics:\n  - name: a\n    to: agent.tokens\n    factor: 0\n",
        11,
        "metrics[0].factor",
        "must not be 0",
    ),
    "condition empty": (
        HEAD + "events:\n  - name: toy.a\n    to: agent.turns\n    where:\n      x: {}\n",
        12,
        "events[0].where.x",
        "tests nothing",
    ),
    "rule twice": (
        HEAD + "events:\n  - {name: toy.a, to: agent.turns}\n  - {name: toy.a, to: agent.turns}\n",
        10,
        "events[1]",
        "is the same as an earlier rule",
    ),
    "ignored and used": (
        HEAD + "events:\n  - {name: toy.a, to: agent.turns}\nignored: {toy.a: no reason}\n",
        9,
        "events[0]",
        "`toy.a` is also under `ignored`",
    ),
    "loop": ("agent: toy\nclaims: &loop\n  services: [*loop]\n", 2, "file", "contains itself"),
    "key no word": ("agent: toy\n? [a, b]\n: c\n", 2, "file", "a key must be a word"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_where_they_are(dialect, tmp_path, mistake):
    """A mistake is told with file, line and rule, and says what is wrong."""
    text, line, rule, message = MISTAKES[mistake]

    with pytest.raises(DialectError) as caught:
        dialect(text)

    (problem,) = caught.value.problems
    assert problem.startswith(f"{tmp_path / 'toy.yaml'}:{line}: {rule}: {message}")


def test_all_mistakes_are_told_at_once(tmp_path):
    """Every mistake of every file is in one error."""
    (tmp_path / "a.yaml").write_text("agent: a\nclaims: {}\nauthority: {agent.nothing: metric}\n")
    (tmp_path / "b.yml").write_text("agent: [b]\n")
    (tmp_path / "notes.txt").write_text("no dialect")

    with pytest.raises(DialectError) as caught:
        Dialects.load([tmp_path, tmp_path / "none.yaml"])

    assert [problem.removeprefix(f"{tmp_path}/").split(": ")[:2] for problem in caught.value.problems] == [
        ["a.yaml:2", "claims"],
        ["a.yaml:3", "authority.agent.nothing"],
        ["b.yml:1", "agent"],
        ["b.yml:1", "claims"],
        ["none.yaml:0", "file"],
    ]
    assert str(caught.value) == "\n".join(caught.value.problems)


def test_an_agent_has_one_file(tmp_path):
    """Two files of the user for one agent are a mistake."""
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("agent: toy\nclaims: {services: toy}\n")

    with pytest.raises(DialectError, match=r"b\.yaml:1: agent: `toy` is also in .*a\.yaml"):
        Dialects.load([tmp_path])


def test_bytes_are_no_dialect(tmp_path):
    """A file that is not text cannot be read, and neither is one with characters YAML forbids."""
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\xfd")
    (tmp_path / "b.yaml").write_bytes(b"agent: \x01\n")

    with pytest.raises(DialectError) as caught:
        Dialects.load([tmp_path])

    first, second = caught.value.problems
    assert "a.yaml:0: file: cannot be read: " in first
    assert "b.yaml:1: file: is not YAML: " in second


def test_an_empty_file_lacks_everything(tmp_path):
    """An empty file is told what it needs."""
    (tmp_path / "a.yaml").write_text("")

    with pytest.raises(DialectError, match=r"a\.yaml:1: agent: must be given"):
        Dialects.load([tmp_path])


def test_a_users_file_replaces_the_built_in_one(dialect, event):
    """A file for an agent that is built in is used instead of it."""
    dialects = dialect("agent: claude-code\nclaims: {prefixes: claude_code.}\n")

    assert dialects.events(event("claude_code.user_prompt")) == []
    assert Dialects.load().events(event("claude_code.user_prompt")) != []
