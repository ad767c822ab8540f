"""docs/alerts.md says what alertmanager.yml does."""

from __future__ import annotations

import re

import yaml

from alerts.alertmanager_server import ALERTS, SHIPPED

PAGE = (ALERTS.parent / "docs" / "alerts.md").read_text()
CONFIG = yaml.safe_load(SHIPPED)
NAME = re.compile(r"\b(?:Agent[A-Z]\w+|Watchdog)\b")


def table(heading):
    """Give the rows of the table under a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def values(matchers):
    """Give the alerts that matchers name."""
    return {name for text in matchers if text.startswith("alertname") for name in text.split('"')[1].split("|")}


def test_inhibition_is_told_in_full():
    """The table of what mutes what is that of the configuration."""
    rules = [(values(rule["source_matchers"]), values(rule["target_matchers"])) for rule in CONFIG["inhibit_rules"]]
    told = [
        (set(NAME.findall(source)), set(NAME.findall(target)))
        for source, target in table("What is muted because of something else")
    ]

    named = [rule for rule in rules if rule[0]]

    assert all(rule in told for rule in named), [rule for rule in named if rule not in told]
    assert [row for row in told if row[0] and row not in named] == []


def test_cooldowns_are_told():
    """The cooldowns of the page are those of the routes that name alerts."""
    routes = [child for route in CONFIG["route"]["routes"] for child in route.get("routes", [])]
    seconds = {
        name: int(route["group_interval"].removesuffix("m")) * 60
        for route in routes
        if "group_interval" in route
        for name in values(route["matchers"])
    }
    told = {
        name: int(cooldown.removesuffix(" s"))
        for alerts, cooldown, _ in table("Cooldown")
        for name in NAME.findall(alerts)
    }

    assert told == seconds


def test_severities_are_told():
    """The table of severities has the receivers and the patience of the routes."""
    told = {
        row[0]: (re.search(r"`(\w+)`", row[2])[1], row[3].replace(" min", "m").replace(" ", ""))
        for row in table("Who hears of what")
    }
    default = CONFIG["route"]["group_wait"]
    there = {
        matcher.split('"')[1]: (route["receiver"], route.get("group_wait", default))
        for route in CONFIG["route"]["routes"]
        for matcher in route["matchers"]
        if matcher.startswith("severity")
    }

    assert {severity: row for severity, row in told.items() if severity != "none"} == there


def test_receivers_and_secrets_are_told():
    """Every file of receivers is on the page with the secrets that it reads."""
    told = {
        re.search(r"receivers/\w+\.yml", row[0])[0]: set(re.findall(r"`(\w+)`", row[2])) for row in table("Let it send")
    }
    there = {
        f"receivers/{path.name}": set(
            re.findall(r"^[^#]*/etc/alertmanager/secrets/(\w+)", path.read_text(), re.MULTILINE)
        )
        for path in (ALERTS / "receivers").glob("*.yml")
    }

    assert told == there


def test_links_lead_somewhere():
    """Links of the page find their files."""
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)

    assert [link for link in links if "://" not in link and not (ALERTS.parent / "docs" / link).exists()] == []
