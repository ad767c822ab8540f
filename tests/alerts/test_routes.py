"""Who hears of which alert: amtool's answers for the shipped configuration and each of its variants."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from alerts.alertmanager_server import ALERTS, SHIPPED, with_receivers

CONFIG = yaml.safe_load(SHIPPED)
VARIANTS = sorted((ALERTS / "receivers").glob("*.yml"))
RULES = [
    rule
    for path in sorted((ALERTS / "rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
]
COMPONENTS = sorted({rule["labels"]["component"] for rule in RULES} | {"cost"})
RECEIVER = {"critical": "page", "warning": "team", "info": "digest", "none": "team"}


def amtool(program: object, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run amtool."""
    command = [program("amtool"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def receiver(labels: dict[str, str]) -> str:
    """Say who shall hear of an alert."""
    if labels.get("alertname") == "Watchdog":
        return "heartbeat"
    if labels["severity"] == "warning" and labels["component"] == "cost":
        return "budget"
    return RECEIVER[labels["severity"]]


def routed(program: object, labels: dict[str, str]) -> None:
    """Hold amtool's answer to what shall be."""
    pairs = [f"{name}={value}" for name, value in labels.items()]
    verify = f"--verify.receivers={receiver(labels)}"
    made = amtool(program, "config", "routes", "test", f"--config.file={ALERTS / 'alertmanager.yml'}", verify, *pairs)
    assert (0, labels) == (made.returncode, labels), made.stdout + made.stderr


def test_the_shipped_configuration_is_valid(program):
    """The shipped configuration passes amtool, and finds its templates."""
    made = amtool(program, "check-config", ALERTS / "alertmanager.yml")

    assert made.returncode == 0, made.stdout + made.stderr
    assert "1 templates" in made.stdout


@pytest.mark.parametrize("path", VARIANTS, ids=lambda path: path.stem)
def test_every_variant_is_valid(path, program, tmp_path):
    """Each file of receivers in place of the shipped ones passes amtool, by the command that the file names."""
    (tmp_path / "templates").symlink_to(ALERTS / "templates")
    command = f"sed '/^receivers:/,$d' alertmanager.yml | cat - receivers/{path.name}"
    assert command.replace(path.name, "slack.yml") in SHIPPED
    text = subprocess.run(command, shell=True, cwd=ALERTS, capture_output=True, text=True, check=True).stdout
    file = tmp_path / "my-alertmanager.yml"
    file.write_text(text)

    made = amtool(program, "check-config", file)

    assert made.returncode == 0, made.stdout + made.stderr
    assert text == with_receivers(path)


@pytest.mark.parametrize("path", VARIANTS, ids=lambda path: path.stem)
def test_every_variant_has_the_same_doors(path):
    """A file of receivers names each receiver that the routes lead to, and no other."""
    names = [entry["name"] for entry in yaml.safe_load(path.read_text())["receivers"]]

    assert [entry["name"] for entry in CONFIG["receivers"]] == names


@pytest.mark.parametrize("path", [ALERTS / "alertmanager.yml", *VARIANTS], ids=lambda path: path.stem)
def test_no_secret_is_written_down(path):
    """What is secret is named by file only; the shipped configuration names none."""
    keys = {
        key
        for node in walk(yaml.safe_load(path.read_text()))
        for key in node
        if any(word in key for word in ("password", "api_url", "routing_key", "service_key", "credentials", "token"))
    }

    assert [key for key in keys if not key.endswith("_file")] == []
    assert (path.name == "alertmanager.yml") == (not keys)


def walk(node: object) -> list[dict[str, object]]:
    """List every mapping in a document."""
    if isinstance(node, list):
        return [found for part in node for found in walk(part)]
    if isinstance(node, dict):
        return [node, *(found for part in node.values() for found in walk(part))]
    return []


@pytest.mark.parametrize("severity", ["critical", "warning", "info"])
@pytest.mark.parametrize("component", COMPONENTS)
def test_severity_and_component_decide(severity, component, program):
    """Each pair of severity and component reaches one receiver, the one that it shall."""
    routed(program, {"alertname": "Anything", "severity": severity, "component": component})


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_every_alert_has_its_receiver(rule, program):
    """Each shipped alert reaches the receiver of its severity."""
    routed(program, {"alertname": rule["alert"], **rule["labels"]})


def test_an_alert_of_somebody_else_reaches_the_team(program):
    """An alert without a severity is not lost."""
    routed(program, {"alertname": "Foreign", "severity": "none", "component": "foreign"})


def leaves(route: dict[str, object], above: tuple[dict[str, object], ...] = ()) -> list[tuple[dict[str, object], ...]]:
    """List every route with those above it, as routing walks them."""
    here = (*above, route)
    return [here, *(found for child in route.get("routes", []) for found in leaves(child, here))]


def test_only_warnings_and_infos_wait_for_the_morning():
    """Off-hours mute each route of warnings and infos, which does not inherit it, and no other."""
    paths = leaves(CONFIG["route"])
    muted = [path[-1] for path in paths if "mute_time_intervals" in path[-1]]
    below = [
        path[-1]
        for path in paths
        if {'severity="warning"', 'severity="info"'}
        & {matcher for route in path for matcher in route.get("matchers", [])}
    ]

    assert below == muted
    assert {"off-hours"} == {name for route in muted for name in route["mute_time_intervals"]}


def settings(alertname: str, severity: str) -> dict[str, str]:
    """Merge what the routes that an alert takes say of its timing."""
    taken = {f'alertname="{alertname}"', f'severity="{severity}"'}
    made, routes = dict(CONFIG["route"]), CONFIG["route"]["routes"]
    while found := [route for route in routes if any(fits(matcher, taken, alertname) for matcher in route["matchers"])]:
        made |= found[0]
        routes = found[0].get("routes", [])
    return made


def fits(matcher: str, taken: set[str], alertname: str) -> bool:
    """Say whether one of the two ways in which our routes name alerts fits."""
    names = matcher.removeprefix('alertname=~"').removesuffix('"').split("|")
    return matcher in taken or alertname in names


@pytest.mark.parametrize(
    ("alertname", "severity", "cooldown"),
    [
        ("AgentResponseSlow", "warning", "5m"),
        ("AgentToolSlow", "warning", "5m"),
        ("AgentToolErrorRateHigh", "warning", "5m"),
        ("AgentSuccessRateLow", "warning", "10m"),
        ("AgentProcessMemoryCritical", "critical", "5m"),
    ],
)
def test_the_cooldowns_are_those_that_were_asked_for(alertname, severity, cooldown):
    """Notifications of one group are 300 s apart, of the success rate 600 s; what lasts is told every 4 h."""
    made = settings(alertname, severity)

    assert (cooldown, "4h") == (made["group_interval"], made["repeat_interval"])
    assert made["group_by"] == ["alertname", "job", "agent"]


def test_critical_comes_sooner():
    """Criticals wait 10 s for company, the rest 30 s."""
    assert settings("AgentExporterDown", "critical")["group_wait"] == "10s"
    assert settings("AgentToolSlow", "warning")["group_wait"] == "30s"


def test_every_name_in_the_configuration_is_an_alert():
    """Routes and inhibition name alerts that there are: a renamed one would be forgotten in silence."""
    nodes = [matcher for node in walk(CONFIG) for key in node if key.endswith("matchers") for matcher in node[key]]
    named = {name for text in nodes if text.startswith("alertname") for name in text.split('"')[1].split("|")}

    assert sorted(named - {rule["alert"] for rule in RULES}) == []


def test_the_secrets_of_the_receivers_are_ignored_by_git():
    """A secret beside the configuration does not get into a commit."""
    lines = (Path(__file__).parents[2] / ".gitignore").read_text().splitlines()

    assert "/alerts/secrets/" in lines
