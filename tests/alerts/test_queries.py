"""What every query of a rule keeps, whatever it asks for; in the spirit of pint, by the syntax tree."""

from __future__ import annotations

import re

import promql_parser as promql
import pytest
import yaml

from agent_exporter.catalog import CATALOG, DURATION_BOUNDS
from agent_exporter.expose.names import Strategy, metric_name
from agent_exporter.lint import Lexicon, RuleFile, check_rules, learn
from agent_exporter.model import Kind
from alerts.cases import ALERTS, seconds, shipped
from alerts.queries import asked_only_for_being_there, compared, functions, nodes

FILES = sorted((ALERTS / "rules").glob("*.yml"))
RULES = [rule for group in shipped() for rule in group["rules"]]
QUERIES = sorted({rule["expr"] for rule in RULES})
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
KINDS = {
    metric_name(row.name, row.unit, row.kind, Strategy.UNDERSCORES_SUFFIXES).sample: row.kind
    for row in CATALOG.values()
}
OF_PROMETHEUS = {
    "ALERTS",
    "up",
    "scrape_duration_seconds",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
}
GROWTH = {"rate", "increase", "resets"}
SCRAPE = 15  # seconds, as alerts/prometheus.yml has it
WINDOWLESS = {"AgentInterfaceFailing", "AgentCostBudgetDaily"}  # the exporter counted; the recorded series has a window
RAW = {  # asked whether they are there at all: what is counted first is no increase
    "agent_model_requests_total",
    "agent_exporter_overflowed_streams_total",
    "agent_exporter_folded_labels_total",
    "agent_exporter_dropped_sessions_total",
    "agent_exporter_config_reloads_total",
}
NEVER_ZERO = {"agent:agent_sessions:max15m"}  # recorded with clamp_min(..., 1)
KEPT = {  # for people with a query in hand; boards ask for the window that they show instead
    "agent_model_type:agent_tokens:rate5m",
    "agent_tool:agent_tool_executions:rate5m",
    "agent_tool:agent_tool_execution_duration_seconds:p50_5m",
    "agent_tool:agent_tool_execution_duration_seconds:p95_5m",
    "agent_model:agent_cost_usd:increase1h",
}


def kind(name):
    """Say of what kind a series is: counters and the parts of histograms grow."""
    family = re.sub(r"_(bucket|count|sum)$", "", name)
    return KINDS.get(name) or (Kind.HISTOGRAM if KINDS.get(family) is Kind.HISTOGRAM else None)


def grows(name):
    """Say whether a series is a counter or a part of a histogram."""
    return kind(name) in (Kind.COUNTER, Kind.HISTOGRAM)


def test_every_name_label_and_value_is_there():
    """What rules name is in the catalogue, recorded by a rule or made by Prometheus; labels in texts exist too."""
    lexicon = Lexicon.of_catalog()
    files = [RuleFile.load(path) for path in FILES]
    learn(files, lexicon)
    names = {node.name for query in QUERIES for node, _ in nodes(query, promql.VectorSelector)}

    assert [finding for file in files for finding in check_rules(file, lexicon).findings] == []
    assert {name for name in names if not kind(name)} - RECORDED == OF_PROMETHEUS


def test_only_steady_functions():
    """Nothing that picks other series from one evaluation to the next, and no rate of two samples only."""
    operators = {str(node.op) for query in QUERIES for node, _ in nodes(query, promql.AggregateExpr)}
    called = {node.func.name for query in QUERIES for node, _ in nodes(query, promql.Call)}

    assert operators == {"sum", "max", "avg"}
    assert called & {"irate", "idelta", "delta", "absent_over_time"} == set()


def misused(query):
    """Find counters that do not stand in rate() or increase() by themselves, and gauges that do."""
    for node, above in nodes(query, promql.VectorSelector):
        inside = (functions(above) or [""])[-1] in GROWTH
        fine = inside or asked_only_for_being_there(node, above) or node.name in RAW
        if (grows(node.name) and not fine) or (inside and not grows(node.name)):
            yield node.name
        if inside and not isinstance(above[-1], promql.MatrixSelector):
            yield f"{node.name} in a subquery"


def test_counters_are_asked_for_their_growth():
    """A counter stands in rate() or increase(), by itself: sums of counters fall when one goes. A gauge never does."""
    assert {query: found for query in QUERIES if (found := list(misused(query)))} == {}


def test_windows_hold_four_scrapes():
    """A window has at least four samples, so that one lost scrape leaves enough."""
    windows = [node.range.total_seconds() for query in QUERIES for node, _ in nodes(query, promql.MatrixSelector)]

    assert [window for window in windows if window < 4 * SCRAPE] == []


def test_subqueries_have_the_step_of_recorded_windows():
    """What is added up over a long window is taken every five minutes, as long as the recorded windows are."""
    steps = {
        node.step and node.step.total_seconds() for query in QUERIES for node, _ in nodes(query, promql.SubqueryExpr)
    }

    assert steps == {300.0}


def test_divisors_are_not_zero():
    """A quotient divides by what is above 0; one NaN would spoil a sum, and every comparison with it."""
    divisors = [node.rhs for query in QUERIES for node, _ in nodes(query, promql.BinaryExpr) if str(node.op) == "/"]
    doubtful = [each for each in divisors if not (compared(each) or isinstance(each, promql.NumberLiteral))]

    assert {str(each).removesuffix("{}") for each in doubtful} == NEVER_ZERO


def test_quantiles_are_compared_at_once():
    """A quantile of nothing is NaN; a comparison drops it."""
    calls = [
        found for query in QUERIES for found in nodes(query, promql.Call) if found[0].func.name == "histogram_quantile"
    ]

    assert [str(node) for node, above in calls if not (above and compared(above[-1]))] == []


def test_sums_keep_the_job():
    """Whatever is summed is summed by labels that are named, and two installations stay two."""
    groups = {str(node.modifier) for query in QUERIES for node, _ in nodes(query, promql.AggregateExpr)}

    assert [each for each in groups if not re.match(r"by \(.*job", each)] == []


def test_sets_are_matched_by_name():
    """Who asks for `and` or `unless` says on which labels; but for a series and its own count."""
    sets = [
        node for query in QUERIES for node, _ in nodes(query, promql.BinaryExpr) if str(node.op) in ("and", "unless")
    ]

    assert [
        str(node)
        for node in sets
        if not str(node.modifier).startswith("on (") and "count_over_time" not in str(node.rhs)
    ] == []


def test_edges_are_bounds_of_the_catalogue():
    """A bucket that is asked for exists, in the words of Prometheus 2 and of Prometheus 3, and no other is meant."""
    asked = {text.replace(r"\\", "\\") for query in QUERIES for text in re.findall(r'\ble=~"([^"]*)"', query)}
    words = [word for bound in DURATION_BOUNDS for word in {f"{bound:g}", str(bound)}]

    assert {text: {float(word) for word in words if re.fullmatch(text, word)} for text in asked} == {
        r"1|1\.0": {1.0},
        "0.5": {0.5},
    }


def test_thresholds_of_quantiles_lie_between_bounds():
    """A quantile can exceed its threshold only if a finite bound lies above it, and tells apart only at a bound."""
    numbers = yaml.safe_load((ALERTS / "thresholds.yaml").read_text())
    asked = [
        numbers["tools"]["slow"],
        numbers["response"]["slow"],
        numbers["models"]["slow"],
        numbers["pools"]["queue_wait"],
    ]

    assert [number for number in asked if number not in DURATION_BOUNDS or number >= max(DURATION_BOUNDS)] == []


@pytest.mark.parametrize("rule", [rule for rule in RULES if "alert" in rule], ids=lambda rule: rule["alert"])
def test_one_look_is_not_enough(rule):
    """An alert waits for two evaluations and two scrapes, unless its query has a window of its own; absence waits."""
    waits = seconds(rule.get("for", "0s"))
    windows = [*nodes(rule["expr"], promql.MatrixSelector), *nodes(rule["expr"], promql.SubqueryExpr)]

    assert waits >= 60 or windows or rule["alert"] in {*WINDOWLESS, "Watchdog"}
    assert waits >= 60 or "absent(" not in rule["expr"]


def test_every_recorded_series_is_used():
    """A recorded series feeds a rule or a board, or is kept on purpose, and then by nobody else."""
    boards = [path.read_text() for path in sorted((ALERTS.parent / "dashboards").glob("*.json"))]
    used = {name for text in [*QUERIES, *boards] for name in re.findall(r"[a-z_0-9]+(?::\w+)+", text)}

    assert RECORDED - used == KEPT
    assert KEPT <= RECORDED
