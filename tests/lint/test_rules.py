"""Files of rules: what their recordings are made of, and shapes that Prometheus would not take."""

from __future__ import annotations

import pytest

from agent_exporter.lint import Lexicon, RuleFile, check_rules, learn


@pytest.fixture
def checked(tmp_path):
    """Check a file of rules; returns what was found, without the file's name, and the lexicon that learnt it."""

    def check(*rules):
        file = tmp_path / "rules.yml"
        file.write_text("groups:\n- name: g\n  rules:\n" + "".join(f"  - {rule}\n" for rule in rules))
        loaded, lexicon = RuleFile.load(file), Lexicon.of_catalog()
        learn([loaded], lexicon)
        return [str(each).removeprefix(str(file)) for each in check_rules(loaded, lexicon).findings], lexicon

    return check


def test_recordings_are_learnt_in_their_order(checked):
    """A recording may come before those that it is made of, and has their labels and its own."""
    found, lexicon = checked(
        "{record: 'b:x', expr: 'sum by (job) (a:x)', labels: {slo: fast}}",
        "{record: 'a:x', expr: 'sum by (job, agent) (agent_turns_total)'}",
        "{record: 'a:x', expr: 'sum by (tool) (agent_tool_active)'}",
    )

    assert found == []
    assert lexicon.labels("b:x") == {"job", "slo"}
    assert lexicon.labels("a:x") == {"job", "agent", "tool"}


def test_recordings_of_each_other(checked):
    """Two recordings may be made of each other, as of the time before."""
    found, lexicon = checked("{record: 'a:x', expr: 'b:x + 1'}", "{record: 'b:x', expr: 'a:x offset 1m'}")

    assert found == []
    assert lexicon.labels("a:x") is None


def test_a_recording_of_what_others_tell(checked):
    """What is recorded from series of others may have any label."""
    assert checked("{record: 'a:x', expr: 'node_load1'}")[1].labels("a:x") is None


def test_groups_that_are_none(tmp_path):
    """A group without rules is told by its line, and the other groups are read."""
    file = tmp_path / "rules.yml"
    file.write_text("groups:\n- name: a\n- name: b\n  interval: soon\n  rules: [{record: 'a:x', expr: 1}]\n")
    loaded = RuleFile.load(file)

    assert [rule.name for rule in loaded.rules] == ["a:x"]
    assert [str(each).removeprefix(str(file)) for each in loaded.report.findings] == [
        ":2: a group has a name and a list of rules",
        ":4: group b: `interval`: `soon` is not a duration such as 5m",
    ]


def test_labels_that_a_template_asks_for(checked):
    """A label that a text takes for granted has to be there; one that it asks for need not."""
    found, _ = checked(
        "{alert: A, expr: 'sum by (agent) (agent_turns_total) > 1', annotations: {a: '{{ $labels.agent }}', "
        "b: '{{ with $labels.tool }}{{ . }}{{ end }}', c: '{{ .Labels.tool }}'}}"
    )

    assert found == [":4: A: `annotations.c`: the alert has no label `tool`"]
