"""`check --rules … --dashboards …`: what a user edited is held to the catalogue."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from agent_exporter.cli import main
from agent_exporter.cli.shipped import RULES, shipped

MINE = """\
groups:
- name: mine
  rules:
  - record: team:calls:rate5m
    expr: sum by (job, agent) (rate(agent_tool_executions_total[5m]))
  - alert: TooMany
    expr: team:calls:rate5m > 10 and on (job, agent) agent:agent_tool_executions:increase15m > 20
    for: 5m
    labels: {severity: warning}
    annotations:
      summary: "{{ $labels.agent }} is busy: {{ $value | humanize }}"
"""
BOARD = {
    "title": "Mine",
    "templating": {
        "list": [
            {"name": "datasource", "type": "datasource", "query": "prometheus"},
            {"name": "window", "type": "interval", "query": "10m,1h", "current": {"value": "10m"}},
            {"name": "by", "type": "custom", "query": "agent,tool"},
            {"name": "agent", "type": "query", "query": {"query": 'label_values(agent_turns_total{job="$job"},agent)'}},
            {"name": "job", "type": "textbox", "query": "agents"},
            {"name": "tool", "type": "query", "definition": "query_result(agent_tool_active > 0)"},
            {"name": "names", "type": "query", "query": "metrics(agent_.*)"},
        ]
    },
    "annotations": {"list": [{"name": "Alerts", "expr": 'ALERTS{alertstate="firing"}'}]},
    "panels": [
        {
            "title": "Calls",
            "targets": [
                {
                    "refId": "A",
                    "expr": 'sum by (${by}) (rate(agent_tool_executions_total{agent=~"$agent"}[$__rate_interval]))',
                    "legendFormat": "{{agent}}",
                },
                {"refId": "B", "expr": "sum(increase(agent_turns_total[$window]))", "legendFormat": "all"},
            ],
        },
        {"type": "row", "title": "More", "panels": [{"title": "Old", "targets": [{"refId": "A", "expr": "up"}]}]},
        {"title": "Log", "targets": [{"refId": "A", "expr": "{app=~`x`}", "datasource": {"type": "loki"}}]},
    ],
}  # fmt: skip


def missing(name, meant):
    """Write what is said of a name that is not there."""
    return f"there is no series `{name}`; did you mean `{meant}`?"


@pytest.fixture
def check():
    """Run `agent-exporter check`; returns its exit code, and what it said and complained of, in lines."""

    def run(*arguments):
        done = CliRunner().invoke(main, ["check", *map(str, arguments)])
        return done.exit_code, done.stdout.splitlines(), done.stderr.splitlines()

    return run


@pytest.fixture
def mine(tmp_path):
    """Write a file of rules, with something replaced."""

    def write(old="", new="", name="mine.yml"):
        assert old in MINE
        file = tmp_path / name
        file.write_text(MINE.replace(old, new) if old else MINE)
        return file

    return write


@pytest.fixture
def board(tmp_path):
    """Write a board, with something replaced."""

    def write(old="", new=""):
        text = json.dumps(BOARD, indent=1)
        assert old in text
        file = tmp_path / "mine.json"
        file.write_text(text.replace(old, new, 1) if old else text)
        return file

    return write


def test_all_that_is_shipped(check):
    """Nothing is wrong with what comes with the exporter."""
    rules, boards = shipped(RULES), shipped("dashboards/*.json")
    code, told, wrong = check("--rules", *rules.values(), *boards.values())

    assert (code, wrong) == (0, [])
    assert len([line for line in told if line.endswith("queries name is there")]) == len(rules) + len(boards)
    assert rules


def test_rules_of_ones_own(check, mine):
    """Rules may build on their own recordings and on ours."""
    assert check("--rules", mine()) == (0, [f"{mine()}: all that its 2 queries name is there"], [])


def test_boards_of_ones_own(check, board):
    """Variables stand for what they can be, folded rows are opened, other data sources are left alone."""
    assert check("--dashboards", board()) == (0, [f"{board()}: all that its 6 queries name is there"], [])


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "tool_executions_total",
            "tool_execution_total",
            ":5: team:calls:rate5m: " + missing("agent_tool_execution_total", "agent_tool_executions_total"),
        ),
        ("calls:rate5m > 10", "calls:rate1m > 10", ":7: TooMany: " + missing("team:calls:rate1m", "team:calls:rate5m")),
        (
            "(job, agent) agent:",
            "(job, agnet) agent:",
            ":7: TooMany: `and on`: there is no label `agnet`; did you mean `agent`?",
        ),
        ("$labels.agent", "$labels.tool", ":11: TooMany: `annotations.summary`: the alert has no label `tool`"),
        (
            "{{ $value | humanize }}",
            "{{ $value | humanize",
            ":11: TooMany: `annotations.summary`: `{{ $value | humanize` is not closed by `}}`",
        ),
        ("for: 5m", "for: 5 minutes", ":8: TooMany: `for`: `5 minutes` is not a duration such as 5m"),
        ("for: 5m", "fro: 5m", ":8: TooMany: `fro` is not a key here; did you mean `for`?"),
        ("- alert: TooMany", "- alarm: TooMany", ":6: group mine: a rule has `expr`, and either `record` or `alert`"),
        ("{severity: warning}", "[warning]", ":9: TooMany: `labels` is not a mapping"),
    ],
)
def test_a_mistake_in_rules(check, mine, old, new, expected):
    """A mistake is told with its file, line and rule, and the exit code is 1."""
    file = mine(old, new)
    code, told, wrong = check("--rules", file)

    assert (code, told, wrong[:1]) == (1, [], [f"{file}{expected}"])
    assert [line for line in wrong[1:] if not line.startswith("a series of your own ")] == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "agent_turns_total[",
            "agent_turn_total[",
            ": panel «Calls», query B: " + missing("agent_turn_total", "agent_turns_total"),
        ),
        ("{{agent}}", "{{tool}}", ": panel «Calls», query A: there is no label `tool` to show"),
        ('"agent,tool"', '"model,tool"', ": panel «Calls», query A: `sum by`: there is no label `model`"),
        ("[$window]", "[$windwo]", ": panel «Calls», query B: there is no variable `$windwo`; did you mean `window`?"),
        ("${by}", "${buy:csv}", ": panel «Calls», query A: there is no variable `$buy`; did you mean `by`?"),
        ('"$job', '"[[jobs]]', ": variable `agent`: there is no variable `$jobs`; did you mean `job`?"),
        ("},agent)", "},model)", ": variable `agent`: there is no label `model` to show"),
        ("tool_active", "tools_active", ": variable `tool`: " + missing("agent_tools_active", "agent_tool_active")),
        ('\\"firing', '\\"fires', ": annotation «Alerts»: `ALERTS`: `alertstate` is never `fires`"),
        ('"expr": "up"', '"expr": "up{"', ": panel «Old», query A: is not PromQL: "),
    ],
)
def test_a_mistake_in_a_board(check, board, old, new, expected):
    """A mistake is told with its file, panel and query, and the exit code is 1."""
    file = board(old, new)
    code, told, wrong = check("--dashboards", file)

    assert (code, told) == (1, [])
    assert wrong[0].startswith(f"{file}{expected}")


def test_groups_of_an_expression(check, board):
    """What `label_replace` calls a group is no variable of the board."""
    labelled = r"label_replace(up, \"to\", \"$host\", \"instance\", \"(?P<host>.+):${1}\")"

    assert check("--dashboards", board('"expr": "up"', f'"expr": "{labelled}"'))[::2] == (0, [])


def test_what_may_be_of_the_users_own(check, mine, board):
    """How to allow what would be ours is said once, for all files; a name that a rule should record is not among it."""
    rules = mine("team:calls:rate5m > 10", "agent_mine > 1 and on (agent) agent_weather_total and a:b:c")
    file = board("agent_turns_total[", "agent_mine[")

    code, _, wrong = check("--rules", rules, "--dashboards", file)

    assert code == 1
    assert f"{rules}:7: TooMany: there is no series `agent_mine`" in wrong  # and no hint, as nothing is like it
    assert [line for line in wrong if "--allow" in line] == [
        "a series of your own is allowed with: --allow agent_mine --allow agent_weather_total"
    ]


@pytest.mark.parametrize(
    "text",
    [
        '{{ printf \\"}} {{\\" }} and } {',
        "{{- /* it's not {{ closed */ -}} x }}",
        "{{ with $labels.agent }}{{ . }}{{ end }}",
        "{{ `{{` }}",
    ],
)
def test_templates_that_are_closed(check, mine, text):
    """Braces in texts and comments of a template open none, and single ones are text."""
    assert check("--rules", mine("{{ $value | humanize }}", text))[2] == []


def test_names_of_others(check, mine):
    """What others tell is left alone, and said; a name that begins as ours do has to be vouched for."""
    file = mine("team:calls:rate5m > 10", "node_load1 > 10 and on (agent) agent_weather_total")
    wrong = f"{file}:7: TooMany: there is no series `agent_weather_total`"
    alone = f"{file}: not looked at, because others tell it: node_load1"

    assert check("--rules", file)[:2] == (1, [alone])
    assert check("--rules", file)[2][0].startswith(wrong)
    code, told, wrong = check("--rules", file, "--allow", "agent_weather_total")
    assert (code, told[1:], wrong) == (0, [alone], [])


def test_a_file_of_ours_that_was_edited(check, mine):
    """A user's file takes the place of ours of that name: what it no longer records is missed."""
    guard = "agent:agent_tool_executions:increase15m"
    name = next(each.name for each, file in shipped(RULES).items() if f"record: {guard}" in file.read_text())
    edited, own = mine(f"team:calls:rate5m > 10 and on (job, agent) {guard}", "vector(1)", name), mine()

    assert check("--rules", own)[0] == 0
    assert f"there is no series `{guard}`" in check("--rules", own, edited)[2][0]


def test_folders(check, mine, board):
    """A folder stands for the files in it, and further files may follow the first."""
    file, json_file = mine(), board()

    assert check("--rules", file.parent, "--dashboards", file.parent)[1] == [
        f"{file}: all that its 2 queries name is there",
        f"{json_file}: all that its 6 queries name is there",
    ]
    assert check("--rules", file, json_file)[0] == 0


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.yml", "- a", ":1: is not a file of Prometheus rules: it has no list `groups`"),
        ("a.yml", "groups: [", ":1: is not YAML: "),
        ("a.json", '{"a":\n}', ":2: is not JSON: "),
        ("a.json", "[]", ": is not a dashboard in Grafana's classic JSON: it has no list `panels`"),
    ],
)
def test_what_is_no_such_file(check, tmp_path, name, text, expected):
    """A file that is something else is told as such."""
    file = tmp_path / name
    file.write_text(text)
    code, told, wrong = check("--rules" if name.endswith("yml") else "--dashboards", file)

    assert (code, told) == (1, [])
    assert wrong[0].startswith(f"{file}{expected}")


def test_wrong_usage(check, tmp_path, mine):
    """A file of no kind, or without an option that says its kind, and an empty folder are refused."""
    file = mine()
    text = tmp_path / "a.txt"
    text.write_text("")
    empty = tmp_path / "empty"
    empty.mkdir()

    assert (check(text)[0], check("--rules", file, text)[0], check("--rules", empty)[0]) == (2, 2, 2)
