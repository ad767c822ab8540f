"""Every alert keeps silent and fires as the cases say, in promtool, which evaluates the rules as Prometheus does."""

from __future__ import annotations

import importlib.util
import subprocess
from collections import Counter

import pytest
import yaml

from alerts.cases import (
    ALERTS,
    HERE,
    KINDS,
    Case,
    cases,
    expand,
    group,
    histogram,
    load,
    needed,
    page,
    shipped,
    written,
)

TESTS = load()
GROUPS = shipped()
RULES = [rule for each in GROUPS for rule in each["rules"]]
THRESHOLDS = yaml.safe_load((ALERTS / "thresholds.yaml").read_text())
ROOMS = sorted({test["rules"] for test in TESTS.values()})
ALWAYS = {"Watchdog"}  # fires whatever happens, so it has a test of its own


def generator():
    """Import alerts/generate.py, which is a script."""
    spec = importlib.util.spec_from_file_location("generate_alerts", ALERTS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def overridden(test):
    """Give the groups of rules with a test's thresholds in place of the shipped ones."""
    made = yaml.safe_load((ALERTS / "thresholds.yaml").read_text())
    for path, value in test.get("thresholds", {}).items():
        room, name = path.split(".")
        made[room][name] = value
    source = ALERTS / "source" / f"{test['rules']}.yaml"
    return yaml.safe_load(generator().page(source, made))["groups"]


def pages(folder, alert, test):
    """Write promtool's files for an alert: one for each set of series that its cases give."""
    groups = overridden(test) if "thresholds" in test else GROUPS
    tests = {}
    for case in cases(alert, test):
        given = frozenset(series.partition("{")[0] for series in case.series)
        tests.setdefault(given, []).append(case)
    for given, mine in tests.items():
        rules = folder / f"{alert.replace('/', '-')}-{len(list(folder.iterdir()))}.yml"
        left = needed(groups, alert, given)
        rules.write_text(yaml.dump({"groups": left}, Dumper=yaml.CSafeDumper))
        made = page(left, rules, mine[0], [group(case, test, THRESHOLDS["links"]) for case in mine])
        path = rules.with_suffix(".test.yml")
        path.write_text(yaml.dump(made, Dumper=yaml.CSafeDumper))
        yield path


def promtool(program, *pages):
    """Run tests, and give what promtool has to say about those that failed."""
    done = subprocess.run([program("promtool"), "test", "rules", *pages], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("room", ROOMS)
def test_alerts_fire_and_keep_silent(program, tmp_path, room):
    """Alerts fire after their time and not before, say what they must, resolve, and are silent in all other cases."""
    made = [path for alert, test in TESTS.items() if test["rules"] == room for path in pages(tmp_path, alert, test)]

    assert promtool(program, *made) == ""


def test_the_watchdog_fires_when_there_is_nothing_at_all(program, tmp_path):
    """The watchdog fires without a single series, from the first moment."""
    rule = next(rule for rule in RULES if rule.get("alert") == "Watchdog")
    expected = {"exp_labels": rule["labels"], "exp_annotations": rule["annotations"]}
    expected["exp_annotations"]["dashboard_url"] = f"{THRESHOLDS['links']['dashboards']}/agent-slo?"
    moments = [{"eval_time": each, "alertname": "Watchdog", "exp_alerts": [expected]} for each in ("0s", "1h")]
    path = tmp_path / "watchdog.yml"
    test = {"interval": "1m", "alert_rule_test": moments}
    path.write_text(yaml.safe_dump({"rule_files": [str(ALERTS / "rules/exporter.yml")], "tests": [test]}))

    assert promtool(program, path) == ""


def test_a_day_like_any_other_raises_nothing(program, tmp_path):
    """All rules together keep silent while agents work and rest, an exporter restarts and a scrape is lost."""
    series = yaml.safe_load((HERE / "day.yaml").read_text())
    names = sorted({rule["alert"] for rule in RULES if "alert" in rule} - ALWAYS)
    moments = [
        {"eval_time": f"{at}m", "alertname": name, "exp_alerts": []} for at in range(0, 361, 3) for name in names
    ]
    case = Case("", "quiet", "day", series, [], 60)
    test = {**group(case, {}, {}), "alert_rule_test": moments}
    path = tmp_path / "day.yml"
    made = page(GROUPS, ALERTS / "rules" / "*.yml", case, [test])
    path.write_text(yaml.dump(made, Dumper=yaml.CSafeDumper))

    assert promtool(program, path) == ""


def test_every_alert_has_a_case_of_every_kind():
    """No alert, and no severity of it, lacks a case of a kind."""
    kinds = {alert: {case.kind for case in cases(alert, test)} for alert, test in TESTS.items()}
    rules = Counter(rule["alert"] for rule in RULES if "alert" in rule and rule["alert"] not in ALWAYS)

    tests = Counter(alert.partition("/")[0] for alert in TESTS)

    assert tests.keys() == rules.keys()
    assert tests >= rules
    assert {alert: kinds for alert, kinds in kinds.items() if kinds != set(KINDS)} == {}


def test_silence_is_tested_more_often_than_firing():
    """More moments, and more cases, ask for silence than for an alert."""
    moments = Counter(
        bool(says) for alert, test in TESTS.items() for case in cases(alert, test) for _, says in case.moments
    )
    found = Counter(case.kind == "incident" for alert, test in TESTS.items() for case in cases(alert, test))

    assert moments[False] > 5 * moments[True]
    assert found[False] > found[True]


def test_series_of_a_case_are_of_one_length():
    """No series ends before the others, unless it says so: an end would look like an agent that is gone."""
    lengths = {
        (alert, case.name): {len(values) for _, values in written(case.series)}
        for alert, test in TESTS.items()
        for case in cases(alert, test)
    }

    assert {name: found for name, found in lengths.items() if max(found) - min(found) > 3} == {}


def test_expanding():
    """A series in words is what promtool is told."""
    assert expand("+2x2 +0x1 =0 +1x1") == [0, 2, 4, 4, 0, 1]
    assert expand("5x2 1:2x3 stalex2 _x1") == [5, 5, 1, 1.5, 2, "stale", "stale", "_"]
    assert dict(histogram('x_seconds{agent="a"}', {1: "+1x1", 5: "+2x1"}))['x_seconds_sum{agent="a"}'] == [0, 11]
