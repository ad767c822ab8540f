"""The sources of the rules: where their numbers come from, and what every alert says of itself."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter

import promql_parser as promql
import pytest
import yaml

from agent_exporter.catalog import DURATION_BOUNDS
from alerts.cases import ALERTS, seconds
from alerts.queries import nodes
from alerts.test_rules import generator

SOURCES = sorted((ALERTS / "source").glob("*.yaml"))
GROUPS = [group for path in SOURCES for group in yaml.safe_load(path.read_text())["groups"]]
WRITTEN = [rule for group in GROUPS for rule in group["rules"]]
MADE = [
    group for path in sorted((ALERTS / "rules").glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"]
]
FIRING = [rule for group in MADE for rule in group["rules"] if "alert" in rule]
BOARDS = {"agent-overview", "agent-tools", "agent-models", "agent-sessions", "agent-runtime", "agent-slo"}
MARK = 424242.0  # stands for a threshold
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

each_alert = pytest.mark.parametrize(
    "rule", FIRING, ids=lambda rule: "-".join([rule["alert"], *rule["labels"].values()])
)


def marked(query):
    """Put a mark for every threshold, and a window for every threshold that is one."""
    return re.sub(r"\$\{[^}]*\}", f"{MARK:.0f}", re.sub(r"\[\$\{[^}]*\}h?", "[5m", query))


def components():
    """Read the closed list of components in the README."""
    text = (ALERTS / "README.md").read_text()
    return re.findall(r"`(\w+)`", text.split("<!-- components -->")[1].split("<!-- /components -->")[0])


def leaves(node, path=()):
    """Give the path of every threshold; a list is one."""
    if not isinstance(node, dict):
        yield ".".join(path)
        return
    for name, part in node.items():
        yield from leaves(part, (*path, name))


def test_rules_are_what_the_generator_writes():
    """Writing the rules again changes no byte, and no other file of rules is there."""
    made = generator().pages()

    assert {path: path.read_text() for path in sorted((ALERTS / "rules").glob("*"))} == made


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  slow: 30 ", "  slow: abc ", "thresholds.yaml: tools.slow is 'abc', which is no number from 0 on"),
        ("  slow: 30 ", "  slow: 30s ", "thresholds.yaml: tools.slow is '30s', which is no number from 0 on"),
        ("  slow: 30 ", "  slow: -5 ", "thresholds.yaml: tools.slow is '-5', which is no number from 0 on"),
        ("high: 0.10", "high: 10", "thresholds.yaml: tools.error_ratio.high: 10 is no share from 0 to 1"),
        ("latency: 1 ", "latency: 3 ", "thresholds.yaml: tools.latency: 3 is no bound of a bucket; those are 0.005, "),
        (
            'expected: ""',
            'expected: "support("',
            "thresholds.yaml: agents.expected: 'support(' is no regular expression",
        ),
        ("[5m, 30m,", "[5, 30m,", "thresholds.yaml: each is '5', which is no duration such as 5m"),
        ("period: 7d", "period: 30d", "thresholds.yaml: slo.period is '30d', which is not one of slo.windows.summed"),
        ("  slow: 30 ", "  slaw: 30 ", "thresholds.yaml: there is no tools.slow"),
        ("tools:\n", "tools: [\n", 'thresholds.yaml", line '),
        ("calls: 150", "call: 150", "thresholds.yaml: there is no each.calls"),
    ],
)
def test_a_mistake_in_the_thresholds(tmp_path, old, new, said):
    """A threshold that nobody can use is named, and no rules are written."""
    shutil.copytree(ALERTS, tmp_path / "alerts")
    file, rules = tmp_path / "alerts" / "thresholds.yaml", tmp_path / "alerts" / "rules" / "tools.yml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    before = rules.stat().st_mtime_ns
    done = subprocess.run(
        [sys.executable, tmp_path / "alerts" / "generate.py"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, rules.stat().st_mtime_ns) == (1, before)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_what_may_be_in_an_expression(tmp_path, program):
    """A regular expression of a user's comes out as it was meant, quotes and backslashes too."""
    made = yaml.safe_load((ALERTS / "thresholds.yaml").read_text())
    made["agents"]["expected"] = 'shop\\.(eu|"us")'
    rules = tmp_path / "exporter.yml"
    rules.write_text(generator().page(ALERTS / "source" / "exporter.yaml", made))
    done = subprocess.run([program("promtool"), "check", "rules", rules], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert r'agent=~"shop\\.(eu|\"us\")"' in rules.read_text()


def test_a_size_of_nothing():
    """Nothing has a size as well."""
    assert generator().size(0) == "0 B"


def test_bounds_are_those_of_the_catalogue():
    """The bounds that a threshold of a latency may have are those of the histograms."""
    assert generator().BOUNDS == DURATION_BOUNDS


def test_promtool_finds_nothing(program):
    """Promtool's own lint is clean."""
    files = [str(path) for path in sorted((ALERTS / "rules").glob("*.yml"))]
    done = subprocess.run(
        [program("promtool"), "check", "rules", "--lint=all", "--lint-fatal", *files],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def bare(rule):
    """Find numbers in a query of the sources: all but 0, 1, thresholds and the quantile that the name tells."""
    numbers = {node.val for node, _ in nodes(marked(rule["expr"]), promql.NumberLiteral)}
    return numbers - {0.0, 1.0, MARK} - {QUANTILES[word] for word in re.findall(r"p\d\d", rule.get("record", "p95"))}


def test_numbers_come_from_the_thresholds():
    """No query in the sources has a number of its own; windows are durations and stay in plain sight."""
    assert {rule.get("alert") or rule["record"]: found for rule in WRITTEN if (found := bare(rule))} == {}


def test_texts_have_no_numbers_but_windows():
    """A text names thresholds by reference; other numbers in it are windows."""
    texts = {rule["alert"]: " ".join(rule["annotations"].values()) for rule in WRITTEN if "alert" in rule}
    plain = {name: re.sub(r"\$\{[^}]*\}|\{\{.*?\}\}|\d+ (minutes|hours)", "", text) for name, text in texts.items()}

    assert {name: text for name, text in plain.items() if re.search(r"\d", text)} == {}


def test_every_threshold_is_used():
    """A number that nobody reads is a number that misleads."""
    thresholds = yaml.safe_load((ALERTS / "thresholds.yaml").read_text())
    rules = " ".join(path.read_text() for path in SOURCES)
    boards = " ".join(path.read_text() for path in sorted((ALERTS.parent / "dashboards" / "source").glob("*.py")))
    unused = [path for path in leaves(thresholds) if path not in rules and not path.startswith("links.")]

    assert [path for path in unused if path not in boards and f'["{path.rpartition(".")[2]}"]' not in boards] == []


@each_alert
def test_an_alert_says_what_it_must(rule):
    """Labels are a closed set without values; texts are there, the summary without labels; links have one pattern."""
    name, labels, texts = rule["alert"], rule["labels"], rule["annotations"]
    links = yaml.safe_load((ALERTS / "thresholds.yaml").read_text())["links"]

    assert re.fullmatch(r"Watchdog|Agent([A-Z]+[a-z]*)+", name)
    assert set(labels) - {"window"} == {"severity", "component"}
    assert labels["severity"] in ("critical", "warning", "info", "none")
    assert labels["component"] in components()
    assert "{{" not in "".join(labels.values())
    assert set(texts) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert re.fullmatch(r"[A-Z][^{}.]*\.", texts["summary"])
    assert texts["description"].endswith((".", "says how."))
    assert texts["runbook_url"] == f"{links['runbooks']}/{name}.md"
    assert texts["dashboard_url"].removeprefix(f"{links['dashboards']}/").partition("?")[0] in BOARDS


@each_alert
def test_values_are_written_for_people(rule):
    """A value in a text has a unit: no bare number of a query."""
    written = re.findall(r"\{\{ ([^}]*\$value[^}]*) \}\}", rule["annotations"]["description"])

    assert [text for text in written if not re.search(r"humanize|printf", text)] == []


@each_alert
def test_alerts_hold_on_no_longer_than_needed(rule):
    """An alert that flaps is kept firing, for a quarter of an hour at most."""
    assert seconds(rule.get("keep_firing_for", "0s")) <= 900


def test_every_component_is_used():
    """The README's list is what there is, in order."""
    assert components() == sorted({rule["labels"]["component"] for rule in FIRING})


def test_groups_are_evaluated_often_enough():
    """Prometheus forgets a sample after five minutes, so no group waits longer; names are unique."""
    intervals = {group["name"]: seconds(group["interval"]) for group in MADE}

    assert max(intervals.values()) <= 300
    assert Counter(group["name"] for group in MADE).most_common(1)[0][1] == 1


def test_alerts_come_before_recorded_series_in_no_group():
    """Within a group rules run in order: what is recorded there is there for the alerts after it."""
    kinds = {group["name"]: ["alert" in rule for rule in group["rules"]] for group in MADE}

    assert {name: found for name, found in kinds.items() if found != sorted(found)} == {}


def test_filters():
    """A threshold is written as queries and people read it."""
    fill = generator().fill

    assert fill("${a|le} ${b|le} ${b|percent} ${c|bytes} ${a} ${d}", {"a": 1, "b": 0.5, "c": 3 << 20, "d": "x"}) == (
        r"1|1\\.0 0.5 50 % 3 MiB 1 x"
    )
