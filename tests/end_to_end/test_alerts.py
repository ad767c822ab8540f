"""Alerting as it is shipped, on real servers: who is told of what, how often, and that it is over.

Exporter, Prometheus, Alertmanager, agents that push OTLP, a process that is sampled, and a program that is told. All
that goes wrong goes wrong side by side in one story, which the fixture `story` tells; each test looks at a part of it.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

import otlp
from alerts.alertmanager_server import running as running_alertmanager
from end_to_end.alerting import FASTER, OPTIONS, Inbox, Told, hog, prometheus_config, seconds, write_rules
from end_to_end.alerting import alertmanager_config as telling
from end_to_end.process import PROTOBUF, Collector, request
from end_to_end.prometheus import Prometheus
from otlp import DELTA, SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

pytestmark = pytest.mark.timeout(400)

PATIENCE = 60  # seconds for each step of the story; that a step does not come is left to the tests to tell
BEAT = 0.5  # seconds between pushes
COOLDOWN = seconds("5m")  # group_interval
MIB = 1 << 20
HOG = 160 * MIB
THRESHOLDS = {
    "agents.expected": "dying",  # which agents must report is up to each installation
    # So that a hog need not be as large as in life; the interpreter that it is takes 10 MiB.
    "processes.memory.high": 48 * MIB,
    "processes.memory.critical": 96 * MIB,
}
CONFIG = "dialects: {paths: [hog.yaml]}\nsample: {interval: 1s}\n"
DIALECT = "agent: hog\nclaims: {{prefixes: hog., services: hog}}\nprocesses:\n- {{command: {name}, role: main}}\n"

Group = tuple[str, str]  # an alert and the agent that it is about

FAILING: Group = ("AgentToolErrorRateCritical", "failing")
SLOW: Group = ("AgentToolSlow", "slow")
WARNED: set[Group] = {("AgentToolErrorRateHigh", "worsening"), ("AgentSuccessRateLow", "worsening")}
TOLD: set[Group] = {
    FAILING,
    SLOW,
    ("AgentToolErrorRateCritical", "worsening"),
    ("AgentProcessMemoryCritical", "hog"),
    ("AgentSourceDown", "dying"),
    *WARNED,
}
# What would be told too, if a worse alert did not say the same.
COMPANIONS: set[Group] = {
    ("AgentToolErrorRateHigh", "failing"),
    ("AgentSuccessRateLow", "failing"),
    ("AgentToolFailing", "failing"),
    ("AgentProcessMemoryHigh", "hog"),
}
DOWN: Group = ("AgentExporterDown", "")
AGENTS = {"failing", "worsening", "slow", "dying", "hog", "claude-code"}
# Of the machine that the tests run on, which may be full or busy, with whatever else runs there.
OF_THE_MACHINE = "host"
BAD = re.compile(r"level=(?:warn|error)")


# -- who is in it --------------------------------------------------------------


class Agents:
    """Pretend agents, whose tools work until something is `wrong`."""

    def __init__(self, port: int) -> None:
        self.wrong: set[str] = set()
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live)
        self._thread.start()

    def _live(self) -> None:
        while not self._over.wait(BEAT):
            if "failing" in self.wrong:
                self._push("failing", calls("lookup", 5, "error"), calls("read", 1))
            bad = 5 if "most" in self.wrong else 2 if "some" in self.wrong else 0
            self._push("worsening", calls("lookup", bad, "error"), calls("lookup", 5 - bad), calls("read", 1))
            self._push("slow", *took("index", slow="index" in self.wrong), *took("search", slow="search" in self.wrong))
            if "dying" not in self.wrong:
                self._push("dying", calls("read", 1))

    def _push(self, agent: str, *metrics: Any) -> None:
        body = otlp.request(*metrics, resource={"service.name": agent})
        with contextlib.suppress(OSError):  # while the exporter is down
            request(self._port, "POST", "/v1/metrics", body, {"content-type": PROTOBUF})

    def close(self) -> None:
        """End them."""
        self._over.set()
        self._thread.join()


def calls(tool: str, count: int, status: str = "ok") -> Any:
    """Tell of calls since the last beat."""
    point = otlp.number(count, {"tool": tool, "status": status}, **_lately())
    return otlp.total("agent.tool.executions", point, temporality=DELTA)


def took(tool: str, *, slow: bool) -> tuple[Any, Any]:
    """Tell of two calls since the last beat, and how long they took."""
    counts, total = ([0, 0, 2, 0], 90.0) if slow else ([2, 0, 0, 0], 0.4)
    point = otlp.histogram(counts, [0.5, 30.0, 60.0], total, {"tool": tool, "status": "ok"}, **_lately())
    name = "agent.tool.execution.duration"
    return calls(tool, 2), otlp.distribution(name, point, unit="s", temporality=DELTA)


def _lately() -> dict[str, float]:
    now = (time.time_ns() - otlp.EPOCH) / SECOND
    return {"start": now - BEAT, "time": now}


@contextlib.contextmanager
def demo(port: int) -> Iterator[None]:
    """Run the demo's agent, which is healthy, as fast as everything here."""
    arguments = ["--endpoint", f"http://127.0.0.1:{port}", "--seed", "1", "--speed", str(FASTER)]
    running = subprocess.Popen([sys.executable, "-m", "agent_exporter.demo", *arguments])
    try:
        yield
    finally:
        running.kill()
        running.wait()


# -- the story -----------------------------------------------------------------


class Story:
    """What happened: who was told of what, and what Alertmanager held back."""

    def __init__(self, inbox: Inbox, alertmanager: int) -> None:
        self.inbox = inbox
        self.suppressed: set[Group] = set()
        self.pending: set[Group] = set()
        self.complaints: list[str] = []  # of Prometheus and Alertmanager
        self.crashed = self.mended = float("inf")
        self._alertmanager = alertmanager

    def until(self, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Go on when something holds; that it never did is for the tests to tell."""
        limit = time.monotonic() + patience
        while not condition() and time.monotonic() < limit:
            found = json.loads(request(self._alertmanager, "GET", "/api/v2/alerts").body)
            self.suppressed |= {group(each["labels"]) for each in found if each["status"]["state"] == "suppressed"}
            time.sleep(0.2)

    def rest(self, duration: float) -> None:
        """Let real time pass."""
        self.until(lambda: False, duration)

    def told(self, about: Group) -> list[Told]:
        """List the notifications about a group."""
        return [each for each in self.inbox.told if group(each.group) == about]

    def fired(self, groups: set[Group]) -> bool:
        """Tell whether all of these were told of."""
        return all(self.told(each) for each in groups)

    def over(self, groups: set[Group]) -> bool:
        """Tell whether the last that was told of all of these is that they are over."""
        return all((told := self.told(each)) and told[-1].status == "resolved" for each in groups)


def group(labels: Mapping[str, str]) -> Group:
    """Name what is told together: an alert about an agent."""
    return labels["alertname"], labels.get("agent", "")


@pytest.fixture(scope="module")
def story(program: Any, tmp_path_factory: Any) -> Iterator[Story]:
    """Let everything go wrong at once and be mended, and let the exporter crash in the end."""
    folder = tmp_path_factory.mktemp("alerts")
    name = f"hog-of-{folder.parent.name}-{folder.name}"
    (folder / "hog.yaml").write_text(DIALECT.format(name=name))
    (folder / "exporter.yml").write_text(CONFIG)
    (folder / "token").write_text("secret")
    write_rules(folder / "rules", THRESHOLDS)
    with contextlib.ExitStack() as stack:
        inbox = stack.enter_context(contextlib.closing(Inbox()))
        alertmanager = stack.enter_context(
            running_alertmanager(program("alertmanager"), folder, telling(inbox.port, folder / "token"))
        )
        exporter = stack.enter_context(Collector(folder, "--config", str(folder / "exporter.yml")))
        ports = {"exporter": exporter.web, "alertmanager": alertmanager.port}
        prometheus = Prometheus(program("prometheus"), folder, prometheus_config(ports), *OPTIONS)
        stack.callback(prometheus.stop)
        agents = stack.enter_context(contextlib.closing(Agents(exporter.http)))
        stack.enter_context(demo(exporter.http))
        memory = stack.enter_context(hog(name, HOG))
        told = Story(inbox, alertmanager.port)
        _begin(told, prometheus)
        _go_wrong(told, agents, memory)
        pending = prometheus.query('last_over_time(ALERTS{alertstate="pending"}[1h])', "alertname", "agent")
        told.pending |= pending.keys()
        _mend(told, agents, memory)
        _crash(told, exporter, lambda *doors: stack.enter_context(Collector(folder, *doors)))
        told.complaints += prometheus.stop()
        told.complaints += [line for line in alertmanager.log.read_text().splitlines() if BAD.search(line)]
        yield told


def _begin(story: Story, prometheus: Prometheus) -> None:
    """Wait until every agent is known, and a little longer."""
    known = 'count by (agent) ({__name__=~"agent_tool_executions_total|agent_process_memory_usage_bytes"})'
    story.until(lambda: {(agent,) for agent in AGENTS - {"failing"}} <= prometheus.query(known, "agent").keys())
    story.rest(3)


def _go_wrong(story: Story, agents: Agents, memory: Any) -> None:
    """Break everything; when that has been told, break more, or mend it when the cooldown is over.

    Nothing is broken for as long as half an hour would be: the objectives have alerts of their own for that.
    """
    agents.wrong |= {"failing", "some", "index", "dying"}
    memory.go_on()
    story.rest(0.7 * COOLDOWN)
    agents.wrong.add("search")  # so that it fires within the cooldown of the first
    story.until(lambda: story.fired(WARNED))
    agents.wrong.add("most")
    story.until(lambda: story.fired({FAILING}))
    story.rest(1.2 * COOLDOWN)
    agents.wrong.remove("failing")
    story.until(lambda: any("search" in each.labels("tool") for each in story.told(SLOW)))
    agents.wrong -= {"index", "search"}
    story.until(lambda: story.fired(TOLD) and story.suppressed >= WARNED)
    story.rest(1.2 * COOLDOWN)


def _mend(story: Story, agents: Agents, memory: Any) -> None:
    """Mend the rest, and wait until it is said that all is over."""
    agents.wrong.clear()
    memory.go_on()
    story.until(lambda: story.over(TOLD))
    story.rest(1.2 * COOLDOWN)


def _crash(story: Story, exporter: Collector, start: Callable[..., Collector]) -> None:
    """Kill the exporter, and start it again where it was when that has been told and the cooldown is over."""
    story.crashed = time.monotonic()
    exporter.kill()
    story.until(lambda: story.fired({DOWN}))
    story.rest(1.2 * COOLDOWN)
    doors = {"otlp.grpc": exporter.grpc, "otlp.http": exporter.http, "web.listen": exporter.web}
    start(*(f"--{door}-address=127.0.0.1:{port}" for door, port in doors.items()))
    story.mended = time.monotonic()
    story.until(lambda: story.over({DOWN}))
    story.rest(2)


# -- what was told -------------------------------------------------------------


@pytest.mark.parametrize("about", sorted(TOLD - {SLOW}))
def test_it_is_told_once_and_that_it_is_over(story: Story, about: Group) -> None:
    """A fault is told of once, for longer than a cooldown, and once that it is over."""
    assert [each.status for each in story.told(about)] == ["firing", "resolved"]


def test_the_cooldown_holds(story: Story) -> None:
    """A second tool that is slow soon after the first is told of when the cooldown is over, and that all is, once."""
    first, second, last = story.told(SLOW)

    assert [first.status, second.status, last.status] == ["firing", "firing", "resolved"]
    assert [{"index"}, {"index", "search"}] == [first.labels("tool"), second.labels("tool")]
    assert second.at - first.at > 0.95 * COOLDOWN  # two clocks, on a busy machine


def test_a_worse_alert_mutes_what_was_told(story: Story) -> None:
    """What was told of before it became worse goes on, muted: its end is told, and nothing before."""
    assert story.suppressed >= WARNED


def test_companions_are_not_told(story: Story) -> None:
    """What a worse alert says already was on its way, and nobody is told of it, then or when all is over."""
    assert story.pending >= COMPANIONS
    assert {each: story.told(each) for each in COMPANIONS if story.told(each)} == {}


def test_a_crash_of_the_exporter(story: Story) -> None:
    """A killed exporter is told of once, alone, and that it is back."""
    since = [each for each in story.inbox.told if each.at > story.crashed and _is_ours(each)]

    assert [each.what for each in since] == [("AgentExporterDown", "firing"), ("AgentExporterDown", "resolved")]
    assert since[0].at < story.mended < since[1].at


def test_nobody_else_is_told_of(story: Story) -> None:
    """All that was told is what was provoked: the healthy agent beside is silent, and so is every other alert."""
    assert {group(each.group) for each in story.inbox.told if _is_ours(each)} == TOLD | {DOWN}


def test_what_is_told_helps(story: Story) -> None:
    """Each notification came by its door, with the secret, a sentence and a runbook."""
    for each in story.inbox.told:
        assert each.authorization == "Bearer secret"
        assert each.path == ("/heartbeat" if each.what[0] == "Watchdog" else "/alerts")
        for alert in each.alerts:
            assert alert["annotations"]["summary"].endswith(".")
            assert alert["annotations"]["runbook_url"].endswith(f"/{alert['labels']['alertname']}.md")


def test_the_heart_beats(story: Story) -> None:
    """The Watchdog comes again and again, whatever else happens, and never says that it is over."""
    beats = [each for each in story.inbox.told if each.path == "/heartbeat"]
    gaps = [after.at - before.at for before, after in pairwise(beats)]

    assert {each.status for each in beats} == {"firing"}
    assert len(gaps) > 10
    assert sorted(gaps)[len(gaps) // 2] < 2 * seconds("1m")


def test_no_server_complains(story: Story) -> None:
    """Every rule could be evaluated on what real agents tell, and every notification was sent at once."""
    assert story.complaints == []


def _is_ours(told: Told) -> bool:
    """Tell whether a notification is about what happens here."""
    components = {each["labels"]["component"] for each in told.alerts}
    return told.path != "/heartbeat" and components != {OF_THE_MACHINE}
