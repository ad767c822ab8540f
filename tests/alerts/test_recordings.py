"""Recorded series are what recordings.yaml says, in promtool, which evaluates the rules as Prometheus does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from alerts.cases import Case, labelled, needed, page, seconds, shipped, texts, written

CASES = yaml.safe_load(Path(__file__).with_name("recordings.yaml").read_text())
GROUPS = shipped()
ALERTED = {  # quantiles, which texts of alerts in cases/ hold to a value, and volumes that they are guarded by
    rule["expr"] for group in GROUPS for rule in group["rules"] if "alert" in rule
}


def recording(given, asked):
    """Leave the rules that record what is asked for, down to series that are given."""
    alert = {"alert": "Asked", "labels": {}, "expr": " or ".join(asked)}
    left = needed([*GROUPS, {"name": "asked", "rules": [alert]}], "Asked", given)
    return [group for group in left if group["name"] != "asked"]


def sample(labels, value):
    """Write a sample as promtool wants it; recorded series have no instance but what they are told."""
    told = labels if re.search(r"\binstance=", labels) else f'{labels}, instance=""'
    return {"labels": labelled(f"{{{told}"), "value": value}


def question(query, at, answer):
    """Write a question as promtool wants it; the name that is no part of an answer is taken off."""
    return {"expr": f"({query}) + 0", "eval_time": at, "exp_samples": [sample(*each) for each in answer.items()]}


@pytest.mark.parametrize("name", CASES)
def test_recorded_series(program, tmp_path, name):
    """Recorded series have the values that their names promise."""
    case = CASES[name]
    groups = recording({series.partition("{")[0] for series in case["series"]}, case["asked"])
    rules, path = tmp_path / "rules.yml", tmp_path / "test.yml"
    rules.write_text(yaml.safe_dump({"groups": groups}))
    step = seconds(case.get("step", "30s"))
    test = {
        "interval": f"{step:.0f}s",
        "input_series": [
            {"series": labelled(series), "values": texts(values)} for series, values in written(case["series"])
        ],
        "promql_expr_test": [question(query, case["at"], answer) for query, answer in case["asked"].items()],
    }
    path.write_text(yaml.safe_dump(page(groups, rules, Case("", "", name, {}, [], step), [test])))

    done = subprocess.run([program("promtool"), "test", "rules", path], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.count("FAILED"), done.stderr.strip()) == (0, 0, "")


def test_every_recorded_series_has_a_case():
    """Every series is asked for here or fed to an alert in cases/; windows of one series stand for each other."""
    asked = " ".join([*(query for case in CASES.values() for query in case["asked"]), *ALERTED])
    families = {
        rule["record"].rstrip("0123456789mhd") for group in GROUPS for rule in group["rules"] if "record" in rule
    }

    assert [family for family in sorted(families) if family not in asked] == []
