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
    "keep without a table": (
        HEAD + "events:\n  - name: toy.a\n    to: agent.tool.executions\n    labels: {tool: {from: a, keep: true}}\n",
        11,
        "events[0].labels.tool",
        "`keep` goes with `map`",
    ),
    "agent from anything": (
        HEAD + "events:\n  - name: toy.a\n    to: agent.tool.executions\n    labels: {agent: who}\n",
        11,
        "events[0].labels.agent",
        "`agent.tool.executions` has no such label to set",
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
    "part of a counter": (
        HEAD + "metrics:\n  - name: a\n    to: agent.tokens\n    part: mean\n",
        11,
        "metrics[0].part",
        "`agent.tokens` is a counter: only `part: count` or `sum` can feed it",
    ),
    "part for a histogram": (
        HEAD.replace("turn.duration: event", "turn.duration: metric")
        + "metrics:\n  - {name: a, to: agent.turn.duration, part: sum}\n",
        9,
        "metrics[0].part",
        "`agent.turn.duration` is a histogram: no part of a histogram can feed it",
    ),
    "part unknown": (
        HEAD + "metrics:\n  - {name: a, to: agent.tokens, part: max}\n",
        9,
        "metrics[0].part",
        "Input should be '', 'count', 'sum' or 'mean'",
    ),
    "neither name nor role": (
        HEAD.replace("turns: event", "turns: span") + "spans:\n  - to: agent.turns\n",
        9,
        "spans[0].name",
        "give `name`, `role` or both",
    ),
    "role unknown": (
        HEAD + "roles:\n  - {role: llm, name: a}\n",
        9,
        "roles[0].role",
        "Input should be 'model', 'tool'",
    ),
    "role of anything": (
        HEAD + "roles:\n  - role: tool\n",
        9,
        "roles[0]",
        "says nothing: give `name`, `where` or both",
    ),
    "role by the parent": (
        HEAD + "roles:\n  - role: tool\n    where: {'@parent.x': y}\n",
        10,
        "roles[0].where.@parent.x",
        "a role is known before the parent comes",
    ),
    "no role": (
        HEAD.replace("turns: event", "turns: span") + "spans:\n  - {role: none, to: agent.turns}\n",
        9,
        "spans[0].role",
        "spans of the role `none` are not counted",
    ),
    "attribute that nobody sends": (
        HEAD + "events:\n  - name: a\n    to: agent.turns\n    where:\n      '@duration': x\n",
        12,
        "events[0].where.@duration",
        "there is no `@duration` for an event; there are @service, @scope, @session, @resource.NAME",
    ),
    "label by session": (
        HEAD + "events:\n  - {name: a, to: agent.tool.executions, labels: {tool: '@session'}}\n",
        9,
        "events[0].labels.tool",
        "`@session` is never a label",
    ),
    "label by the resource": (
        HEAD + "events:\n  - {name: a, to: agent.tool.executions, labels: {tool: '@resource.user.id'}}\n",
        9,
        "events[0].labels.tool",
        "`@resource.user.id` is never a label",
    ),
    "usage with a value": (
        HEAD.replace("tokens: metric", "tokens: event") + "events:\n  - {name: a, usage: inclusive, value: x}\n",
        9,
        "events[0].usage",
        "`usage` sets the value and the label `type` itself",
    ),
    "usage elsewhere": (
        HEAD.replace("tokens: metric", "tokens: event") + "events:\n  - {name: a, to: agent.turns, usage: inclusive}\n",
        9,
        "events[0].to",
        "`usage` says already that it is agent.tokens",
    ),
    "to nothing": (HEAD + "events:\n  - name: a\n", 9, "events[0].to", "must be given"),
    "value from nowhere": (
        HEAD + "events:\n  - name: a\n    to: agent.turn.duration\n    value:\n      unit: s\n",
        11,
        "events[0].value",
        "give either `from` (attributes) or `since` (an event)",
    ),
    "since for a count": (
        HEAD + "events:\n  - name: a\n    to: agent.turns\n    value: {since: b}\n",
        11,
        "events[0].value.since",
        "goes with events and families in seconds",
    ),
    "second value": (
        HEAD
        + "events:\n  - name: a\n    to: agent.turn.duration\n    value:\n      - b\n      - {from: c, unit: By}\n",
        13,
        "events[0].value[1].unit",
        "`By` cannot be turned into `s`",
    ),
    "failures of a counter": (
        HEAD + "events:\n  - {name: a, to: agent.turns, failed: {x: y}}\n",
        9,
        "events[0].failed",
        "counts failures in a row: for a gauge",
    ),
    "transition from somewhere": (
        HEAD.replace("turns: event", "tool.transitions: event")
        + "events:\n  - {name: a, to: agent.tool.transitions, labels: {from: x}}\n",
        9,
        "events[0].labels.from",
        "`agent.tool.transitions` has no such label to set; it has to",
    ),
    "instrument of the catalogue": (
        HEAD + "instruments:\n  agent.mine: {kind: counter, unit: '', help: Mine.}\n",
        9,
        "instruments.agent.mine",
        "a name of your own",
    ),
    "instrument without bounds": (
        HEAD + "instruments:\n  mine:\n    kind: histogram\n    unit: s\n    help: Mine.\n",
        9,
        "instruments.mine",
        "a histogram has `bounds`, nothing else has any",
    ),
    "bounds that fall": (
        HEAD + "instruments:\n  mine: {kind: histogram, unit: s, help: Mine., bounds: [2, 1]}\n",
        9,
        "instruments.mine.bounds",
        "must be finite numbers that ascend",
    ),
    "label of an instrument": (
        HEAD + "instruments:\n  mine: {kind: gauge, unit: s, help: Mine., labels: [a.b]}\n",
        9,
        "instruments.mine.labels[0]",
        "`a.b` cannot be a label",
    ),
    "private label of an instrument": (
        HEAD + "instruments:\n  mine: {kind: gauge, unit: s, help: Mine., labels: [session_id]}\n",
        9,
        "instruments.mine.labels[0]",
        "`session_id` is never a label",
    ),
    "framework without a name": (
        "agent: '@service'\nclaims: {scopes: x}\n",
        1,
        "agent",
        "is a name or @service; with that, `dialect` must be given",
    ),
    "process of a framework": (
        "agent: '@service'\ndialect: x\nclaims: {scopes: x}\nprocesses:\n  - name: x\n",
        5,
        "processes[0]",
        "whose process is it?",
    ),
    "process that is anything": (
        HEAD + "processes:\n  - role: x\n",
        9,
        "processes[0]",
        "give `name`, `command` or both",
    ),
    "process by no expression": (
        HEAD + "processes:\n  - command: '('\n",
        9,
        "processes[0].command",
        "is no regular expression: missing )",
    ),
    "vocabulary that claims": (
        "vocabulary: x\nrank: 1\nclaims: {scopes: x}\n",
        3,
        "claims",
        "there is no such key",
    ),
    "vocabulary without a rank": ("vocabulary: x\n", 1, "rank", "must be given"),
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
        ["none.yaml", "cannot be read"],
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
    assert "a.yaml: cannot be read: 'utf-8' codec" in first
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


def test_an_instrument_has_one_file(tmp_path):
    """Two files that define the same metric are a mistake."""
    for name in ("a", "b"):
        text = f"vocabulary: {name}\nrank: 1\ninstruments: {{mine: {{kind: gauge, unit: s, help: Mine.}}}}\n"
        (tmp_path / f"{name}.yaml").write_text(text)

    with pytest.raises(DialectError, match=r"b\.yaml:1: instruments\.mine: is also in .*a\.yaml"):
        Dialects.load([tmp_path])


def test_a_vocabulary_may_have_more_than_one_signal(dialect):
    """Where a file is for any sender, the dialect's authority chooses between its rules."""
    rules = "metrics: [{name: a, to: agent.turns}]\nevents: [{name: a, to: agent.turns}]\n"

    assert dialect(f"vocabulary: x\nrank: 1\nauthority: {{agent.turns: event}}\n{rules}").files
