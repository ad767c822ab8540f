"""The gate of the boards: what each of them has to keep, a test a point.

What a real Prometheus answers is in test_data.py, what Grafana's own libraries say in test_vendor.py.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from functools import cache

import promql_parser as promql
import pytest
import yaml

from agent_exporter.catalog import CATALOG
from agent_exporter.expose.names import Strategy, metric_name
from agent_exporter.lint import Lexicon, RuleFile, check_board, learn
from agent_exporter.lint.promql import selected
from agent_exporter.model import Kind
from dashboards.boards import DASHBOARDS, NAMES, annotations, board, choices, filled, panels, queries, variables

RULES = sorted((DASHBOARDS.parent / "alerts" / "rules").glob("*.yml"))
THRESHOLDS = yaml.safe_load((DASHBOARDS.parent / "alerts" / "thresholds.yaml").read_text())
OFF = yaml.safe_load((DASHBOARDS / "off.yaml").read_text())
COMMON = ("datasource", "job", "instance", "agent", "agent_instance")
COUNTING = ("rate", "increase", "resets")
SERIOUS = ("red", "orange", "yellow")
TITLES = [(name, panel["title"]) for name in NAMES for panel in panels(name)]

every_board = pytest.mark.parametrize("name", NAMES)


@cache
def lexicon():
    """Know the catalogue and what the recording rules make of it."""
    known = Lexicon.of_catalog()
    learn([RuleFile.load(path) for path in RULES], known)
    return known


def selectors(expression):
    """Find every selector in an expression, each with the functions that it is in, the innermost last."""
    found = []

    def visit(node, inside=()):
        if isinstance(node, promql.VectorSelector):
            found.append((node, inside))
            return
        inner = (*inside, node.func.name) if isinstance(node, promql.Call) else inside
        for part in ("expr", "lhs", "rhs", "vector_selector", "param"):
            if (below := getattr(node, part, None)) is not None:
                visit(below, inner)
        for argument in getattr(node, "args", ()):
            visit(argument, inner)

    visit(promql.parse(filled(expression, {name: f"${name}" for name in ("job", "instance", *DOMAIN)})))
    return found


DOMAIN = ("agent", "agent_instance", "tool", "provider", "model")


def steps(panel):
    """Give every list of thresholds of a panel."""
    config = panel["fieldConfig"]
    yield config["defaults"]["thresholds"]["steps"]
    for override in config["overrides"]:
        yield from (each["value"]["steps"] for each in override["properties"] if each["id"] == "thresholds")


def numbers(node):
    """Give every number in the thresholds."""
    if isinstance(node, dict | list):
        for part in node.values() if isinstance(node, dict) else node:
            yield from numbers(part)
    elif isinstance(node, int | float):
        yield node


def test_boards_are_what_the_generator_writes(tmp_path):
    """1: dashboards/*.json is, byte for byte, what dashboards/generate.py writes; `make docs` writes it again."""
    before = {path.name: path.read_bytes() for path in DASHBOARDS.glob("*.json")}
    code = "import sys, json; sys.path[0] = sys.argv[1]; from generate import pages; print(json.dumps(pages()))"
    command = [sys.executable, "-W", "error", "-c", code, str(DASHBOARDS)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)

    assert {name: text.encode() for name, text in json.loads(ran.stdout).items()} == before


@every_board
def test_keys_are_sorted_and_nothing_belongs_to_one_server(name):
    """1: keys are sorted; no id, version or data source of a server is in the file."""
    text = (DASHBOARDS / f"{name}.json").read_text(encoding="utf-8")
    found = json.loads(text)

    assert json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False) + "\n" == text
    assert (found["id"], found["schemaVersion"], "version" in found, "__inputs" in found) == (None, 42, False, False)


@every_board
def test_ids_are_unique(name):
    """3: the uid is the file's name, and no two panels or rows have the same id."""
    ids = [panel["id"] for panel in (*panels(name), *rows(name))]

    assert board(name)["uid"] == name
    assert [number for number, times in Counter(ids).items() if times > 1] == []


def rows(name):
    """List a board's rows."""
    return [each for each in board(name)["panels"] if each["type"] == "row"]


def test_ids_stay_when_panels_move():
    """3: a panel's id comes from its names, so links to it survive a new panel above it."""
    code = """
import sys; sys.path[0] = sys.argv[1]
from dataclasses import replace
from source import tools
from source.sdk import plain
def ids(board):
    rows = plain(board.build())["panels"]
    return {each["title"]: each["id"] for row in rows for each in (row, *row.get("panels", ()))}
print(ids(tools.BOARD) == ids(replace(tools.BOARD, rows=tools.BOARD.rows[::-1])) != {})
"""
    ran = subprocess.run([sys.executable, "-c", code, str(DASHBOARDS)], capture_output=True, text=True, check=True)

    assert ran.stdout == "True\n"


@every_board
def test_everything_asks_the_chosen_data_source(name):
    """4: one variable chooses a Prometheus; panels, queries, variables and annotations all go to it."""
    kinds = [each for each in variables(name).values() if each["type"] == "datasource"]
    asking = [
        *panels(name),
        *(target for panel in panels(name) for target in panel["targets"]),
        *(each for each in variables(name).values() if each["type"] == "query"),
        *board(name)["annotations"]["list"],
    ]

    assert [(each["name"], each["query"]) for each in kinds] == [("datasource", "prometheus")]
    assert {json.dumps(each["datasource"]) for each in asking} == {'{"type": "prometheus", "uid": "${datasource}"}'}


@every_board
def test_variables_are_there_and_follow_the_time(name):
    """5: the common variables come first, take several values and all, and are asked again when the time changes."""
    chosen = [each for each in variables(name).values() if each["type"] == "query"]

    assert tuple(variables(name))[:5] == COMMON
    assert {(each["multi"], each["includeAll"], each["refresh"]) for each in chosen} == {(True, True, 2)}
    assert {each["allValue"] for each in chosen if each["name"] in ("job", "instance", "agent")} == {".+"}


@every_board
def test_queries_match_all_variables_that_apply(name):
    """5: each series is matched by every variable of the board whose label it has, and by no other."""
    names = [each for each in variables(name) if each != "datasource"]
    wrong = []
    for query in (*queries(name), *annotations(name)):
        for selector, _ in selectors(query.expression):
            if selector.name.startswith("ALERTS"):
                wanted = {(each, f"${each}|") for each in ("job", "instance", "agent")}
            else:
                wanted = {(each, f"${each}") for each in names if each in lexicon().labels(selector.name)}
            matched = {(each.name, each.value) for each in selector.matchers.matchers if "$" in each.value}
            if matched != wanted:
                wrong.append((query.panel, query.letter, selector.name, sorted(matched ^ wanted)))

    assert wrong == []
    assert sum(len(selectors(query.expression)) for query in queries(name)) >= len(queries(name))


@every_board
def test_a_variable_that_is_shown_changes_something(name):
    """5: a variable that no query of the board uses is hidden; it is there to be handed on."""
    asked = " ".join(query.expression for query in queries(name))
    used = {each for each in variables(name) if re.search(rf"\${each}\b", asked)} | {"datasource"}

    assert {each for each, what in variables(name).items() if what["hide"] == 0} == used


@pytest.mark.parametrize(("name", "title"), TITLES)
def test_a_panel_says_what_it_answers(name, title):
    """6: a panel has a title, a question, a unit, and words for when there is nothing to show."""
    panel = next(each for each in panels(name) if each["title"] == title)
    defaults = panel["fieldConfig"]["defaults"]

    assert 3 < len(title) < 60
    assert "? " in panel["description"] + " "
    assert defaults["unit"]
    assert len(defaults["noValue"]) > 2


@every_board
def test_queries_have_letters_and_names_for_their_series(name):
    """7: refIds are A, B, C in order, no legend is empty, and labels in legends are in the answer."""
    for panel in panels(name):
        assert [each["refId"] for each in panel["targets"]] == list("ABCDEFGHIJKLM"[: len(panel["targets"])])
        assert all(each["legendFormat"] for each in panel["targets"])

    assert [str(finding) for finding in check_board(DASHBOARDS / f"{name}.json", lexicon()).findings] == []


@every_board
def test_counters_are_only_rated(name):
    """8: counters and histograms stand under rate or increase; as they are, they only say how old a process is."""
    counters = {
        sample
        for family, row in CATALOG.items()
        if row.kind in (Kind.COUNTER, Kind.HISTOGRAM)
        for sample in samples(family)
    }
    found = [
        (query.panel, query.letter, selector.name)
        for query in queries(name)
        for selector, inside in selectors(query.expression)
        if selector.name in counters and not set(inside) & set(COUNTING)
    ]

    assert found == []


@every_board
def test_windows_are_those_of_the_panel(name):
    """8: what goes over time takes $__rate_interval, what stands for the time range $__range; no fixed window."""
    wrong = [
        (query.panel, window)
        for query in queries(name)
        for function, window in re.findall(r"(\w+)\([\w:]+(?:\{[^}]*\})?\[([^\]]+)\]", query.expression)
        if window not in (("$__rate_interval", "$__range") if query.instant else ("$__rate_interval",))
        and function in COUNTING
    ]

    assert wrong == []


@every_board
def test_neither_topk_nor_irate(name):
    """9: no topk, whose lines change with every step, and no irate, which sees two samples of many."""
    assert [query for query in queries(name) if re.search(r"\b(topk|bottomk|irate|idelta)\b", query.expression)] == []


@every_board
def test_panels_fill_the_grid(name):
    """10: rows span the whole width; in each no two panels overlap and no cell is empty."""
    expected = 0
    for row, inside in by_row(name):
        assert (row["gridPos"]["x"], row["gridPos"]["y"], row["gridPos"]["w"]) == (0, expected, 24)
        cells = Counter(
            (x, y)
            for panel in inside
            for at in [panel["gridPos"]]
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        )
        bottom = max(y for _, y in cells) + 1
        assert cells == Counter((x, y) for x in range(24) for y in range(expected + 1, bottom))
        expected = expected + 1 if row["collapsed"] else bottom


def by_row(name):
    """Give each row with its panels."""
    found = []
    for each in board(name)["panels"]:
        if each["type"] == "row":
            found.append((each, list(each["panels"])))
        else:
            found[-1][1].append(each)
    return found


def test_every_family_is_on_a_board_or_off_on_purpose():
    """11: what the catalogue has is shown, by itself or in a recorded series, or off.yaml says why not."""
    recorded = {}
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                recorded.setdefault(rule.get("record"), set()).update(selected(rule["expr"]))
    names, todo = set(), [name for query in queries() for name in selected(filled(query.expression))]
    while todo:
        if (name := todo.pop()) not in names:
            names.add(name)
            todo += recorded.get(name, ())
    shown = {family for family in CATALOG if names & set(samples(family))}

    assert sorted(set(CATALOG) - shown) == sorted(OFF)
    assert all(len(reason) > 20 for reason in OFF.values())


def samples(family):
    """Name the samples of a family in Prometheus."""
    row = CATALOG[family]
    name = metric_name(row.name, row.unit, row.kind, Strategy.UNDERSCORES_SUFFIXES).sample
    return [name + end for end in ("_bucket", "_sum", "_count")] if row.kind is Kind.HISTOGRAM else [name]


@every_board
def test_recorded_series_are_recorded(name):
    """12: each recorded series that a board asks for is in alerts/rules."""
    recorded = {
        rule["record"]
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    asked = {each for query in queries(name) for each in selected(filled(query.expression)) if ":" in each}

    assert asked - recorded == set()


@every_board
def test_links_lead_to_boards_and_hand_on_what_was_chosen(name):
    """14: links in cells open a board of ours or a runbook, with its time and variables; a menu has all boards."""
    links = [
        link["url"]
        for panel in panels(name)
        for override in panel["fieldConfig"]["overrides"]
        for each in override["properties"]
        if each["id"] == "links"
        for link in each["value"]
    ]
    own = [url for url in links if url.startswith("/")]
    parts = [re.fullmatch(r"/d/([a-z-]+)\?(.*)", url).groups() for url in own]

    assert links
    assert {uid for uid, _ in parts} <= set(NAMES)
    for uid, query in parts:
        given = re.findall(r"\$\{(\w+):queryparam\}|var-(\w+)=", query)
        assert {a or b for a, b in given} >= set(COMMON)
        assert {a or b for a, b in given} <= set(variables(uid))
        assert query.endswith("&${__url_time_range}")
    assert {url.rsplit("/", 1)[0] for url in set(links) - set(own)} <= {THRESHOLDS["links"]["runbooks"]}
    menu = board(name)["links"]
    assert [(each["type"], each["keepTime"], each["includeVars"]) for each in menu] == [("dashboards", True, True)]
    assert set(menu[0]["tags"]) <= set(board(name)["tags"])


@every_board
def test_links_name_columns_that_there_are(name):
    """14: a link that takes a value from its row names a column of the same table."""
    for panel in panels(name):
        text = json.dumps(panel["fieldConfig"]["overrides"])
        named = re.findall(r'__data\.fields(?:\[\\"([^"\\]+)\\"\]|\.(\w+))', text)
        titles = [set(each["options"].get("renameByName", {}).values()) for each in panel.get("transformations", ())]
        assert {a or b for a, b in named} <= set().union(*titles), panel["title"]


@every_board
def test_numbers_are_those_of_the_thresholds(name):
    """15: every mark of a panel is a number of alerts/thresholds.yaml; only 0 and 1 stand for themselves."""
    known = {*numbers(THRESHOLDS), 0, 1}
    marks = {step["value"] for panel in panels(name) for each in steps(panel) for step in each} - {None}
    edges = {float(found) for query in queries(name) for found in re.findall(r'\ble=~?"([\d.]+)', query.expression)}

    assert marks - known == set()
    assert edges - known == set()


@every_board
def test_boards_are_small(name):
    """16: fewer than 30 panels and 60 queries; the rows that are open ask fewer than 45."""
    opened = [
        target for row, inside in by_row(name) if not row["collapsed"] for each in inside for target in each["targets"]
    ]

    assert len(list(panels(name))) < 30
    assert len(queries(name)) < 60
    assert len(opened) < 45


@every_board
def test_no_traffic_is_no_alarm(name):
    """17: without data a number has a word for it and no colour that alarms."""
    for panel in panels(name):
        if panel["type"] in ("stat", "gauge"):
            special = [each for each in panel["fieldConfig"]["defaults"]["mappings"] if each["type"] == "special"]
            assert [each["options"]["match"] for each in special] == ["null+nan"]
            assert special[0]["options"]["result"]["color"] not in SERIOUS
            assert special[0]["options"]["result"]["text"] == panel["fieldConfig"]["defaults"]["noValue"]


@every_board
def test_colour_is_never_alone(name):
    """18: beside every colour there is the value or a word, and marks on curves are written in the description."""
    for panel in panels(name):
        options, defaults = panel["options"], panel["fieldConfig"]["defaults"]
        marks = [step["value"] for step in defaults["thresholds"]["steps"] if step["value"] is not None]
        if panel["type"] == "stat":
            assert (options["textMode"] != "none", options["colorMode"]) == (True, "value")
        if panel["type"] == "state-timeline":
            assert options["showValue"] != "never"
        if panel["type"] == "table":
            assert "color-background" not in json.dumps(panel["fieldConfig"])
        if panel["type"] == "timeseries":
            assert (defaults["custom"]["thresholdsStyle"]["mode"] == "dashed") == bool(marks)
            said = re.search(r"Marks: (.*)\.$", panel["description"])
            needed = len([mark for mark in marks if mark not in (0, 1)])  # of those two, only some are thresholds
            assert needed <= len(said[1].split(", ") if said else ()) <= len(marks)


def test_variables_hand_their_choice_to_each_other():
    """5: a variable offers only what fits the ones before it."""
    for name in NAMES:
        before = []
        for choice in choices(name):
            used = set(re.findall(r"\$(\w+)", choice.expression))
            assert used <= set(before)
            before.append(choice.panel)
