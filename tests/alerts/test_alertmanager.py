"""What a real Alertmanager makes of the shipped configuration: what is muted, and what notifications say."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta

import pytest

from alerts.alertmanager_server import (
    ALERTS,
    SECRETS,
    SHIPPED,
    at_once,
    http_inbox,
    mail_inbox,
    running,
    with_receivers,
)
from end_to_end.process import until

JOB = {"job": "agent-exporter"}
CLAUDE, CODEX = {**JOB, "agent": "claude-code"}, {**JOB, "agent": "codex"}
CRITICAL, WARNING, INFO = ({"severity": severity} for severity in ("critical", "warning", "info"))


def alert(name, *labels, **more):
    """Make an alert; each has an `id` to be told apart by."""
    found = {name: value for part in (*labels, more) for name, value in part.items()}
    return {"labels": {"alertname": name, "id": "-".join([name, *found.values()]), **found}}


def muted(program, folder, sources, targets, others):
    """Hold a real Alertmanager to what shall be: targets are muted, sources and others are not."""
    expected = {
        made["labels"]["id"]: state
        for alerts, state in ((sources, "active"), (targets, "suppressed"), (others, "active"))
        for made in alerts
    }
    canary = alert("Canary", CRITICAL), alert("Canary", WARNING)
    with running(program("alertmanager"), folder, SHIPPED) as server:
        server.post(*sources, *targets, *others)
        server.post(*canary)  # alerts are worked on in their order: when this is muted, the rest is decided
        until(lambda: server.states().get(canary[1]["labels"]["id"]) == "suppressed")
        found = server.states()

    assert expected == {name: state for name, state in found.items() if not name.startswith("Canary")}


@pytest.mark.parametrize("name", ["AgentExporterDown", "AgentExporterAbsent"])
def test_a_collector_that_is_down_mutes_its_companions(name, program, tmp_path):
    """Warnings of the same job are muted; criticals, other jobs, and alerts without a job are not."""
    muted(
        program,
        tmp_path,
        [alert(name, JOB, CRITICAL)],
        [alert("AgentExporterScrapeSlow", JOB, WARNING), alert("AgentCacheHitRateBelowTarget", CLAUDE, INFO)],
        [
            alert("AgentInterfaceFailing", CLAUDE, CRITICAL, interface="mcp"),
            alert("AgentExporterScrapeSlow", WARNING, job="another"),
            alert("SomethingWithoutJob", WARNING),
            alert("Watchdog", severity="none"),
        ],
    )


def test_a_collector_without_a_job_mutes_nothing(program, tmp_path):
    """Two missing labels are equal to Alertmanager; here they are not enough."""
    muted(program, tmp_path, [alert("AgentExporterDown", CRITICAL)], [], [alert("SomethingWithoutJob", WARNING)])


def test_the_higher_limit_mutes_the_lower_one(program, tmp_path):
    """An outage of tools mutes the warnings about the same number, of that agent only."""
    muted(
        program,
        tmp_path,
        [alert("AgentToolErrorRateCritical", CLAUDE, CRITICAL)],
        [alert("AgentToolErrorRateHigh", CLAUDE, WARNING), alert("AgentSuccessRateLow", CLAUDE, WARNING)],
        [
            alert("AgentToolErrorRateHigh", CODEX, WARNING),
            alert("AgentToolErrorRateHigh", JOB, WARNING),
            alert("AgentToolSlow", CLAUDE, WARNING, tool="Read"),
        ],
    )


@pytest.mark.parametrize(
    ("worse", "better", "same"),
    [
        ("AgentProcessMemoryCritical", "AgentProcessMemoryHigh", {**CLAUDE, "agent_instance": "host-1"}),
        ("AgentCostBudgetDaily", "AgentCostPaceHigh", CLAUDE),
        ("AgentCacheHitRateLow", "AgentCacheHitRateBelowTarget", {**CLAUDE, "cache": "files"}),
        ("AgentToolStuck", "AgentToolLong", {**CLAUDE, "tool": "Read"}),
        ("AgentPoolTimeouts", "AgentPoolExhausting", {**CLAUDE, "agent_instance": "host-1", "name": "connections"}),
        ("AgentModelRateLimited", "AgentModelErrorRateHigh", {**CLAUDE, "provider": "acme", "model": "large"}),
        ("AgentDiskFull", "AgentDiskFilling", {**JOB, "instance": "a:9464", "system_filesystem_mountpoint": "/"}),
    ],
)
def test_pairs_of_alerts(worse, better, same, program, tmp_path):
    """Of two alerts about one thing one speaks: the same agent, and the same in all other labels."""
    others = [alert(better, {**same, name: "another"}) for name in same if name != "job"]
    muted(program, tmp_path, [alert(worse, same)], [alert(better, same)], others)


def test_one_alert_of_several_severities_speaks_once(program, tmp_path):
    """A fast burn mutes the slow burn of the same objective, and of no other objective or agent."""
    burn = "AgentSLOBudgetBurn"
    muted(
        program,
        tmp_path,
        [alert(burn, CLAUDE, CRITICAL, slo="tool-success")],
        [alert(burn, CLAUDE, WARNING, slo="tool-success")],
        [alert(burn, CLAUDE, WARNING, slo="tool-latency"), alert(burn, CODEX, WARNING, slo="tool-success")],
    )


def test_a_failing_interface_mutes_the_tools_of_its_agent(program, tmp_path):
    """Tools fail because of the interface; another agent's tools, and alerts without an agent, speak."""
    muted(
        program,
        tmp_path,
        [alert("AgentInterfaceFailing", CLAUDE, CRITICAL, interface="mcp")],
        [alert("AgentToolErrorRateHigh", CLAUDE, WARNING), alert("AgentToolErrorRateCritical", CLAUDE, CRITICAL)],
        [
            alert("AgentToolErrorRateHigh", CODEX, WARNING),
            alert("AgentToolErrorRateHigh", JOB, WARNING),
            alert("AgentResponseSlow", CLAUDE, WARNING),
        ],
    )


def test_a_long_fallback_mutes_its_interface(program, tmp_path):
    """An interface that has long been replaced is not told again; another one is."""
    muted(
        program,
        tmp_path,
        [alert("AgentFallbackActiveTooLong", CLAUDE, WARNING, interface="mcp")],
        [alert("AgentInterfaceFailing", CLAUDE, CRITICAL, interface="mcp")],
        [alert("AgentInterfaceFailing", CLAUDE, CRITICAL, interface="model")],
    )


def test_nothing_mutes_itself(program, tmp_path):
    """Each source of an inhibition alone, and two agents' alerts beside each other, are heard."""
    names = {
        *("AgentExporterDown", "AgentExporterAbsent", "AgentToolErrorRateCritical", "AgentProcessMemoryCritical"),
        *("AgentCostBudgetDaily", "AgentInterfaceFailing"),
    }
    alone = [alert(name, CRITICAL, job=f"job-{name}", agent="a", interface="mcp") for name in sorted(names)]
    muted(
        program, tmp_path, alone, [], [alert("AgentToolSlow", CODEX, WARNING), alert("AgentToolSlow", CLAUDE, WARNING)]
    )


# -- notifications ------------------------------------------------------------

LINKS = {
    "runbook_url": "https://example.org/runbooks/AgentToolErrorRateCritical.md",
    "dashboard_url": "http://localhost:3000/d/agent-tools?&var-agent=claude-code&var-tool=Bash%26more",
}
SUMMARY, DESCRIPTION = "Most tool calls fail.", "60% of the tool calls of claude-code failed."


def failing(severity="critical", **labels):
    """Make an alert with everything that a rule gives one."""
    made = alert("AgentToolErrorRateCritical", CLAUDE, severity=severity, component="tools", **labels)
    return {**made, "annotations": {"summary": SUMMARY, "description": DESCRIPTION, **LINKS}}


@pytest.fixture
def receiving(program, tmp_path):
    """Run a real Alertmanager with a variant's receivers, changed by pairs."""

    def run(variant, changes):
        text = at_once(with_receivers(ALERTS / "receivers" / f"{variant}.yml")).replace(SECRETS, str(tmp_path))
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        return running(program("alertmanager"), tmp_path, text)

    return run


@pytest.fixture
def notify(receiving):
    """Post alerts and give what arrived first."""

    def run(variant, inbox, changes, *alerts):
        with receiving(variant, changes) as server:
            server.post(*alerts)
            until(lambda: inbox)
            return list(inbox)

    return run


def test_a_webhook_gets_its_token(notify, tmp_path):
    """A program of one's own gets the payload, with the token of the file."""
    (tmp_path / "webhook_token").write_text("swordfish")
    with http_inbox() as (address, inbox):
        (path, headers, body), *rest = notify("webhook", inbox, {"http://127.0.0.1:8080": address}, failing())

    assert (path, headers["authorization"]) == ("/alerts", "Bearer swordfish")
    assert (
        body["receiver"],
        body["status"],
        [entry["annotations"]["summary"] for entry in body["alerts"]],
    ) == ("page", "firing", [SUMMARY])
    assert rest == []


def test_the_heartbeat_goes_out(notify, tmp_path):
    """Watchdog reaches its own address, and nobody else's."""
    (tmp_path / "webhook_token").write_text("swordfish")
    watchdog = {"labels": {"alertname": "Watchdog", "severity": "none", "component": "exporter"}}
    with http_inbox() as (address, inbox):
        found = notify("webhook", inbox, {"http://127.0.0.1:8080": address}, watchdog)

    assert [(path, body["commonLabels"]["alertname"]) for path, _, body in found] == [("/heartbeat", "Watchdog")]


def test_slack_says_it_in_few_words(notify, tmp_path):
    """Slack gets a title, a link to the board, two sentences and a link to the runbook."""
    with http_inbox() as (address, inbox):
        (tmp_path / "slack_url").write_text(f"{address}/hook/secret")
        ((path, _, body),) = notify("slack", inbox, {}, failing())

    (attachment,) = body["attachments"]
    assert (path, body["channel"]) == ("/hook/secret", "#agents-critical")
    assert {
        "title": "[critical] AgentToolErrorRateCritical: claude-code",
        "title_link": LINKS["dashboard_url"],
        "text": f"{SUMMARY}\n{DESCRIPTION}\n<{LINKS['runbook_url']}|What to do> · <{LINKS['dashboard_url']}|Dashboard>",
        "fallback": "[critical] AgentToolErrorRateCritical: claude-code",
        "color": "danger",
    }.items() <= attachment.items()


def test_many_alerts_are_five_and_a_number(notify, tmp_path):
    """A group of many alerts stays short; the board is that of one of them."""
    alerts = [failing(tool=f"tool-{number}") for number in range(7)]
    with http_inbox() as (address, inbox):
        (tmp_path / "slack_url").write_text(f"{address}/hook/secret")
        (_, _, body), *_ = notify("slack", inbox, {"group_wait: 0s": "group_wait: 1s"}, *alerts)

    (attachment,) = body["attachments"]
    assert attachment["title"] == "[critical ×7] AgentToolErrorRateCritical: claude-code"
    assert attachment["text"].count(SUMMARY) == 5
    assert "These are 5 of 7." in attachment["text"]
    assert attachment["title_link"] == LINKS["dashboard_url"]


def test_the_end_is_told(receiving, tmp_path):
    """What is over is told as over, with the time, and in another colour."""
    over = datetime.now(UTC)
    firing = {**failing(), "startsAt": (over - timedelta(minutes=9)).isoformat()}
    with http_inbox() as (address, inbox):
        (tmp_path / "slack_url").write_text(f"{address}/hook/secret")
        with receiving("slack", {"group_interval: 5m": "group_interval: 1s"}) as server:
            server.post(firing)
            until(lambda: inbox)
            server.post({**firing, "endsAt": over.isoformat()})
            until(lambda: len(inbox) == 2)

    (attachment,) = inbox[1][2]["attachments"]
    assert (attachment["title"], attachment["color"]) == ("[resolved] AgentToolErrorRateCritical: claude-code", "good")
    assert f"Over since {over:%H:%M} UTC: {SUMMARY}\n" in attachment["text"]


def test_off_hours_hold_back_all_but_critical(program, tmp_path):
    """In the muted hours warnings and infos are held back, and the critical alert is told."""
    always = re.sub(r"times: \[.*\]", 'times: [{start_time: "00:00", end_time: "24:00"}]', SHIPPED)
    (tmp_path / "webhook_token").write_text("swordfish")
    alerts = [alert("A", CLAUDE, CRITICAL), alert("B", CLAUDE, WARNING), alert("C", CLAUDE, INFO)]
    cost = alert("D", CLAUDE, WARNING, component="cost")
    with http_inbox() as (address, inbox):
        receivers = (ALERTS / "receivers" / "webhook.yml").read_text().replace("http://127.0.0.1:8080", address)
        text = always[: always.index("\nreceivers:") + 1] + receivers.replace(SECRETS, str(tmp_path))
        soon = re.sub(r"group_wait: \w+", "group_wait: 0s", text)
        with running(program("alertmanager"), tmp_path, soon) as server:
            server.post(cost, *alerts[1:])
            until(lambda: server.held_back() == 3)
            server.post(alerts[0])
            until(lambda: inbox)

    assert [body["commonLabels"]["alertname"] for _, _, body in inbox] == ["A"]


def test_an_email_has_two_forms(notify, tmp_path):
    """Mail is sent with the password of the file; as text and as HTML, with both links."""
    (tmp_path / "smtp_password").write_text("swordfish")
    with mail_inbox() as (address, inbox):
        changes = {"smtp.example.com:587": address, "require_tls: true": "require_tls: false"}
        ((credentials, message),) = notify("email", inbox, changes, failing())

    assert credentials == "PLAIN AGFsZXJ0bWFuYWdlckBleGFtcGxlLmNvbQBzd29yZGZpc2g="
    assert base64.b64decode(credentials.split()[1]).endswith(b"\x00swordfish")
    assert "Subject: [critical] AgentToolErrorRateCritical: claude-code\r\n" in message
    assert "To: agents-on-call@example.com\r\n" in message
    plain, html = message.partition("text/html")[::2]
    whole = plain.replace("=\r\n", "").replace("=3D", "=").replace("\r\n", "\n")
    assert (
        f"{SUMMARY}\n{DESCRIPTION}\nWhat to do: {LINKS['runbook_url']}\nDashboard: {LINKS['dashboard_url']}\n" in whole
    )
    assert f"<b>{SUMMARY}</b><br>{DESCRIPTION}" in html.replace("=\r\n", "")


def test_pagerduty_gets_links(notify, tmp_path):
    """PagerDuty gets the key of the file, the title, and where to look."""
    (tmp_path / "pagerduty_key").write_text("k" * 32)
    with http_inbox() as (address, inbox):
        changes = {"- routing_key_file": f"- url: {address}/pagerduty\n        routing_key_file"}
        ((_, _, body),) = notify("pagerduty", inbox, changes, failing())

    payload = body["payload"]
    assert (body["routing_key"], body["event_action"]) == ("k" * 32, "trigger")
    assert payload["summary"] == "[critical] AgentToolErrorRateCritical: claude-code"
    assert (payload["severity"], payload["component"], payload["group"]) == ("critical", "tools", "claude-code")
    assert f"{SUMMARY}\n{DESCRIPTION}\n" == payload["custom_details"]["alerts"]
    assert [
        {"text": "What to do", "href": LINKS["runbook_url"]},
        {"text": "Dashboard", "href": LINKS["dashboard_url"]},
    ] == body["links"]
