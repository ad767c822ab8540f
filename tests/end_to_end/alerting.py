"""The shipped alerting, made to run in a minute: rules, Prometheus' and Alertmanager's settings, and who is told.

What may live here: making the configuration of a test from the shipped one, by dividing every duration in it by one
number, and the doors and processes of the test. No second configuration: what is shipped is read, and changed by rule.

What dividing cannot keep, and what is done about it:
- A scrape and an evaluation take real time: neither happens more often than once a second.
- Prometheus calls a series stale after 5 min without a sample: --query.lookback-delta says it after the same share.
- It tells Alertmanager again once a minute, and Alertmanager counts on that: --rules.alert.resend-delay.
- Thresholds that are compared with the clock are durations too (TIMES). What is measured in seconds is not: a tool
  that takes 45 s is told by an agent, and nobody waits for it.
- Hours of the day stay what they are, so nothing is muted by them here; tests/alerts holds the routes to them.
- Names of series that mention their window (`:rate5m`) stay as they are.
"""

from __future__ import annotations

import http.server
import importlib.util
import json
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from alerts.alertmanager_server import with_receivers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
FASTER = 50  # how much faster than life everything goes
LEAST = 1000  # milliseconds between scrapes, and between evaluations

UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
PART = re.compile(r"(\d+)(ms|[smhdwy])")
IN_QUERY = re.compile(r"(?<=\[)[0-9a-z]+(?=[\]:])|(?<=:)[0-9a-z]+(?=\])|(?<=offset )[0-9a-z]+")
DURATIONS = {
    *("for", "keep_firing_for", "group_wait", "group_interval", "repeat_interval", "resolve_timeout"),
    *("scrape_interval", "scrape_timeout", "evaluation_interval", "interval"),
}
OFTEN = {"scrape_interval", "scrape_timeout", "evaluation_interval", "interval"}
TIMES = ("agents.silent", "agents.silent_working")


# -- time ----------------------------------------------------------------------


def shorter(duration: str, least: int = 1) -> str:
    """Divide a duration."""
    milliseconds = sum(int(number) * UNITS[unit] for number, unit in PART.findall(duration))
    return f"{max(milliseconds // FASTER, least)}ms" if milliseconds else duration


def compressed(node: Any, key: str = "") -> Any:
    """Divide every duration in a configuration, those inside queries too."""
    if isinstance(node, dict):
        return {name: compressed(part, name) for name, part in node.items() if name != "mute_time_intervals"}
    if isinstance(node, list):
        return [compressed(part) for part in node]
    if key in DURATIONS:
        return shorter(node, LEAST if key in OFTEN else 1)
    return IN_QUERY.sub(lambda found: shorter(found[0]), node) if key == "expr" else node


def seconds(duration: str) -> float:
    """Tell how long a shipped duration is here."""
    return int(shorter(duration).removesuffix("ms")) / 1000


OPTIONS = (
    f"--query.lookback-delta={shorter('5m')}",
    f"--rules.alert.resend-delay={shorter('1m')}",
    f"--rules.alert.for-grace-period={shorter('10m')}",
)


# -- configuration -------------------------------------------------------------


def write_rules(folder: Path, thresholds: Mapping[str, Any]) -> None:
    """Generate the shipped rules with some thresholds changed, by their dotted names, and compressed."""
    spec = importlib.util.spec_from_file_location("generate_rules", ROOT / "alerts/generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    found = yaml.safe_load((ROOT / "alerts/thresholds.yaml").read_text())
    divided = {name: generate.find(found, name) / FASTER for name in TIMES}
    for name, value in (divided | dict(thresholds)).items():
        *groups, last = name.split(".")
        group = reduce(dict.__getitem__, groups, found)
        assert last in group, name
        group[last] = value
    folder.mkdir()
    for source in sorted((ROOT / "alerts/source").glob("*.yaml")):
        made = compressed(yaml.safe_load(generate.page(source, found)))
        (folder / f"{source.stem}.yml").write_text(yaml.safe_dump(made, sort_keys=False))


def prometheus_config(ports: Mapping[str, int]) -> str:
    """Compress Prometheus' shipped settings, with the machines of this test; jobs of machines that it lacks go."""
    config = compressed(yaml.safe_load((ROOT / "alerts/prometheus.yml").read_text()))
    targets = {name: [f"127.0.0.1:{port}"] for name, port in ports.items()}
    for job in (*config["scrape_configs"], *config["alerting"]["alertmanagers"]):
        for static in job["static_configs"]:
            static["targets"] = targets.get(static["targets"][0].partition(":")[0], [])
    return yaml.safe_dump(config, sort_keys=False)


def alertmanager_config(port: int, token: Path) -> str:
    """Compress Alertmanager's shipped settings with the shipped webhook receivers, which lead to a port here."""
    text = with_receivers(ROOT / "alerts/receivers/webhook.yml")
    config = compressed(yaml.safe_load(text))
    for receiver in config["receivers"]:
        for webhook in receiver["webhook_configs"]:
            webhook["url"] = re.sub(r"//[^/]+", f"//127.0.0.1:{port}", webhook["url"])
            webhook["http_config"]["authorization"]["credentials_file"] = str(token)
    return yaml.safe_dump(config, sort_keys=False)


# -- who is told ---------------------------------------------------------------


class Told(NamedTuple):
    """A notification: when it came, by which door, about which group, and what of it fires."""

    at: float
    path: str
    authorization: str
    status: str
    group: Mapping[str, str]
    alerts: list[dict[str, Any]]

    @property
    def what(self) -> tuple[str, str]:
        """Name the alert and say whether it fires or is over."""
        return self.group["alertname"], self.status

    def labels(self, name: str) -> set[str]:
        """Collect a label of the alerts that fire."""
        return {each["labels"].get(name, "") for each in self.alerts if each["status"] == "firing"}


class Inbox:
    """A program that is told of alerts: a web server that keeps what comes."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        inbox = self

        class Door(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers["content-length"])))
                token = self.headers.get("authorization", "")
                about = said["status"], said["groupLabels"], said["alerts"]
                inbox.told.append(Told(time.monotonic(), self.path, token, *about))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def about(self, label: str, value: str) -> list[Told]:
        """List what was told of an agent or an alert."""
        return [each for each in self.told if each.group.get(label) == value]

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


# -- a process that takes much memory ------------------------------------------

_HOG = """\
import sys
sys.stdin.readline()
data = b"x" * int(sys.argv[2])
sys.stdin.readline()
del data
sys.stdin.readline()
"""


class Hog:
    """A process that takes memory and gives it back when told; known by a word in its command line."""

    def __init__(self, name: str, size: int) -> None:
        command = [sys.executable, "-c", _HOG, name, str(size)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)

    def go_on(self) -> None:
        """Let it take the memory; the second time, let it give it back."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()


@contextmanager
def hog(name: str, size: int) -> Iterator[Hog]:
    """Run such a process for a block."""
    running = Hog(name, size)
    try:
        yield running
    finally:
        running._process.kill()
        running._process.communicate()
