"""Every query of every board, asked of a real Prometheus over a real exporter's pages: something comes back."""

import re
import time

import pytest
import yaml

from agent_exporter.catalog import CATALOG
from agent_exporter.expose.names import Strategy, metric_name
from dashboards.boards import DASHBOARDS, annotations, choices, filled, queries
from dashboards.fleet import settled

ALERTS = DASHBOARDS.parent / "alerts"
RULES = sorted((ALERTS / "rules").glob("*.yml"))
HOUR, MINUTE = 3600, 60
MACROS = {"$__rate_interval": "2m", "$__range": "1h", "$__interval": "1m"}  # of a range of an hour
PROMQL = re.compile(r"^```promql\n(.*?)^```$", re.MULTILINE | re.DOTALL)
UNSEEN = {"+Inf", "-Inf", "NaN"}
STRATEGY = Strategy("UnderscoreEscapingWithSuffixes")


@pytest.fixture(scope="module")
def fleet(program, tmp_path_factory):
    """Run a Prometheus that has seen the fleet's week; a function asks it: (query, instant) to its values."""
    now = int(time.time())
    with settled(program, tmp_path_factory.mktemp("fleet"), now, RULES) as prometheus:

        def ask(query, *, instant=True):
            """Ask about the end of the week, or about its last hour."""
            if instant:
                return [[row["value"][1]] for row in prometheus.ask("query", query=query, time=now)["result"]]
            span = {"start": now - HOUR, "end": now, "step": MINUTE}
            rows = prometheus.ask("query_range", query=query, **span)["result"]
            return [[value for _, value in row["values"]] for row in rows]

        yield ask


def _silent(fleet, asked):
    """Name the queries that have no answer, or one that is no number."""
    return [
        (each.board, each.panel, each.letter, filled(each.expression, macros=MACROS))
        for each in asked
        if not (found := fleet(filled(each.expression, macros=MACROS), instant=each.instant))
        or UNSEEN & {value for values in found for value in values}
    ]


@pytest.mark.timeout(600)  # the fixture's week is made in it
def test_every_panel_has_data(fleet):
    """No query of any panel is empty or NaN, when all agents and all the machine are there."""
    assert _silent(fleet, queries()) == []


def test_every_annotation_has_data(fleet):
    """Alerts, restarts and new versions show where there were some."""
    assert _silent(fleet, annotations()) == []


def test_every_variable_has_values(fleet):
    """Every choice of a board offers something."""
    assert [
        (each.board, each.panel)
        for each in choices()
        if not fleet(f"count by ({each.letter}) ({filled(each.expression)}{{}})".replace("}{}", "}"))
    ] == []


def test_every_recorded_series_has_data(fleet):
    """Every series that a rule records is there at the end of the week, and is a number."""
    rules = [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
    recorded = sorted({rule["record"] for rule in rules if "record" in rule})
    found = {name: {value for values in fleet(f'{{__name__="{name}"}}') for value in values} for name in recorded}
    assert {name: values for name, values in found.items() if not values or values & UNSEEN} == {}


def test_every_alert_can_be_asked(fleet):
    """Every alert's expression is one that Prometheus evaluates over such data, without a NaN."""
    rules = [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
    expressions = {rule["alert"]: rule["expr"] for rule in rules if "alert" in rule}
    found = {name: {value for values in fleet(text) for value in values} for name, text in expressions.items()}
    assert {name: values for name, values in found.items() if values & UNSEEN} == {}


def test_every_query_of_a_runbook_can_be_asked(fleet):
    """What a runbook asks fits together where there are many of everything; most of it finds something."""
    pages = sorted((DASHBOARDS.parent / "docs" / "runbooks").glob("*.md"))
    queries = [query for page in pages for query in PROMQL.findall(page.read_text())]
    assert len([query for query in queries if fleet(query)]) > 0.9 * len(queries)


def test_the_fleet_tells_every_family(fleet):
    """The week has every family of the catalogue, so that a panel without data is the panel's fault."""
    names = {metric_name(row.name, row.unit, row.kind, STRATEGY).sample: row.name for row in CATALOG.values()}
    told = {name for name in names if fleet(f'count({{__name__=~"{name}(_bucket)?"}})')}
    assert {*names} == told
