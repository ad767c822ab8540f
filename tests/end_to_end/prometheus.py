"""A real Prometheus that scrapes a collector, and its HTTP API.

What may live here: configuring, starting, asking and ending it.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from end_to_end.process import PATIENCE, request, until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# What Prometheus 2.42 asks for; later ones begin so too.
ACCEPT = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
JOBS = {"kept": "true", "renamed": "false"}  # name of the scrape job, and its honor_labels
CONFIG = """\
global: {{scrape_interval: {interval}s, scrape_timeout: {interval}s}}
scrape_configs:
"""
JOB = """\
- job_name: {job}
  honor_labels: {honour}
  static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def scraping(port: int, jobs: Iterable[str], interval: int) -> str:
    """Write a configuration that scrapes a collector."""
    made = (JOB.format(job=job, honour=JOBS[job], port=port) for job in jobs)
    return CONFIG.format(interval=interval) + "".join(made)


class Prometheus:
    """A Prometheus of our own, with its storage (`data`) and its log in a folder."""

    def __init__(self, program: str, folder: Path, config: str, *options: str) -> None:
        (folder / "prometheus.yml").write_text(config)
        self.port = free_port()
        self.log = folder / "prometheus.log"
        command = [
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--enable-feature=exemplar-storage",
            *options,
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until(self._is_ready)
        except AssertionError:
            self.stop()
            raise

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return request(self.port, "GET", "/-/ready").status == 200
        except OSError:
            return False

    def ask(self, path: str, **parameters: Any) -> Any:
        """Call the API; returns the answer's data."""
        answer = request(self.port, "GET", f"/api/v1/{path}?{urlencode(parameters)}")
        assert answer.status == 200, answer
        return json.loads(answer.body)["data"]

    def query(self, text: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Evaluate PromQL now; values by the labels named."""
        found = self.ask("query", query=text)["result"]
        return {tuple(row["metric"].get(label, "") for label in labels): float(row["value"][1]) for row in found}

    def becomes(self, text: str, expected: dict[tuple[str, ...], float], *labels: str) -> None:
        """Wait until PromQL says what is expected."""
        limit, found = time.monotonic() + PATIENCE, None
        while (found := self.query(text, *labels)) != expected:
            assert time.monotonic() < limit, (text, found, expected)
            time.sleep(0.2)

    def stop(self) -> list[str]:
        """End it; returns all that it complained of until then."""
        lines = self.log.read_text().splitlines()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return [line for line in lines if "level=warn" in line or "level=error" in line]


def free_port() -> int:
    """Find a port for a program that cannot be asked which one it took."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]
