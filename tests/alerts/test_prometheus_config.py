"""Prometheus accepts its configuration, and scrapes and limits what it should."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "alerts"
CONFIG = yaml.safe_load((ALERTS / "prometheus.yml").read_text())
JOB = CONFIG["scrape_configs"][0]
THRESHOLDS = yaml.safe_load((ALERTS / "thresholds.yaml").read_text())
DISCOVERY = sorted((ALERTS / "discovery").glob("*.yml"))
KUBERNETES_IS_MISSING = "field kubernetes_sd_configs not found"  # Debian builds Prometheus without it


def check(program, path):
    """Ask promtool; gives the exit code and what it says."""
    command = [program("promtool"), "check", "config", str(path)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return made.returncode, made.stdout + made.stderr


def test_the_shipped_configuration_is_valid(program):
    """The shipped configuration passes promtool, with every file of rules."""
    code, said = check(program, ALERTS / "prometheus.yml")

    assert code == 0, said
    assert f"{len(list((ALERTS / 'rules').glob('*.yml')))} rule files found" in said


def bare():
    """Make the configuration for one machine without containers, by the command in the file's head."""
    command = next(line for line in (ALERTS / "prometheus.yml").read_text().splitlines() if line.startswith("#   sed "))
    shell = command.removeprefix("#   ").partition(" > ")[0]
    return subprocess.run(shell, shell=True, cwd=ALERTS, capture_output=True, text=True, check=True).stdout


def targets(config):
    """List the static targets of each job, and where alerts go."""
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    (alertmanager,) = config["alerting"]["alertmanagers"]
    return jobs | {"alerts": alertmanager["static_configs"][0]["targets"]}


def test_without_containers_only_hosts_change(program, tmp_path):
    """The command in the file makes a valid configuration whose targets are all on this machine."""
    text = bare()
    (tmp_path / "rules").symlink_to(ALERTS / "rules")
    (tmp_path / "my-prometheus.yml").write_text(text)
    made = yaml.safe_load(text)

    code, said = check(program, tmp_path / "my-prometheus.yml")

    assert code == 0, said
    assert targets(made) == {
        "agent-exporter": ["127.0.0.1:9464"],
        "prometheus": ["localhost:9090"],
        "alertmanager": ["127.0.0.1:9093"],
        "grafana": ["127.0.0.1:3000"],
        "alerts": ["127.0.0.1:9093"],
    }
    assert re.sub(r"127\.0\.0\.1|exporter|alertmanager|grafana", "HOST", str(made)) == re.sub(
        r"127\.0\.0\.1|exporter|alertmanager|grafana", "HOST", str(CONFIG)
    )


@pytest.mark.parametrize("path", DISCOVERY, ids=lambda path: path.stem)
def test_discovery_is_valid(path, program, tmp_path):
    """Each example of discovery passes promtool; one that was built without Kubernetes sees the rest of it."""
    code, said = check(program, path)
    if KUBERNETES_IS_MISSING in said:
        config = yaml.safe_load(path.read_text())
        (found,) = config["scrape_configs"][0].pop("kubernetes_sd_configs")
        assert found["role"] == "pod"
        path = tmp_path / path.name
        path.write_text(yaml.safe_dump(config))
        code, said = check(program, path)

    assert code == 0, said


@pytest.mark.parametrize("path", DISCOVERY, ids=lambda path: path.stem)
def test_discovery_changes_only_where_targets_come_from(path):
    """The job of an example is the shipped one: its name, which rules know, its limits and its labels."""
    (job,) = yaml.safe_load(path.read_text())["scrape_configs"]
    found = {key for key in job if key.endswith("_sd_configs")}

    assert len(found) == 1
    assert {key: part for key, part in job.items() if key not in found | {"relabel_configs"}} == {
        key: part for key, part in JOB.items() if key != "static_configs"
    }


def test_the_rules_know_the_job():
    """The job is called what the rules ask for, and keeps the labels that agents push."""
    assert (JOB["job_name"], JOB["honor_labels"]) == (THRESHOLDS["scrape"]["job"], True)


def test_warnings_come_before_limits():
    """A page that is refused was warned of: the alerts' limits are well below Prometheus's."""
    assert THRESHOLDS["scrape"]["samples"] * 3 <= JOB["sample_limit"]
    seconds = int(CONFIG["global"]["scrape_timeout"].removesuffix("s"))
    assert THRESHOLDS["scrape"]["seconds"] < seconds


def test_rules_see_two_scrapes_in_each_evaluation():
    """An evaluation happens at most every two scrapes, so that each sees something new."""
    every, seen = (int(CONFIG["global"][key].removesuffix("s")) for key in ("evaluation_interval", "scrape_interval"))

    assert every >= 2 * seen
