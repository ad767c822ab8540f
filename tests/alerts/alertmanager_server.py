"""A real Alertmanager with a configuration made of the shipped one, and places it can notify.

What may live here: merging and changing configuration, starting, posting, asking, ending, and what was received.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import socket
import socketserver
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from end_to_end.process import request, until

if TYPE_CHECKING:
    from collections.abc import Iterator

ALERTS = Path(__file__).parents[2] / "alerts"
SHIPPED = (ALERTS / "alertmanager.yml").read_text()
SECRETS = "/etc/alertmanager/secrets"


def with_receivers(path: Path) -> str:
    """Put a file of receivers in place of the shipped ones, as alertmanager.yml says one does."""
    return SHIPPED[: SHIPPED.index("\nreceivers:") + 1] + path.read_text()


def at_once(text: str) -> str:
    """Let a configuration tell the first notification of a group without waiting, at any hour."""
    return re.sub(r"group_wait: \w+", "group_wait: 0s", text).replace("mute_time_intervals: [off-hours]", "")


class Alertmanager:
    """An Alertmanager of our own, with its data and its log in a folder."""

    def __init__(self, program: str, folder: Path, text: str) -> None:
        (folder / "templates").symlink_to(ALERTS / "templates")
        (folder / "alertmanager.yml").write_text(text)
        self.port = free_port()
        self.log = folder / "alertmanager.log"
        command = [
            program,
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
            "--log.level=debug",
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TZ": "UTC"})

    def is_ready(self) -> bool:
        """Ask whether it serves by now."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            return request(self.port, "GET", "/-/ready").status == 200
        except OSError:
            return False

    def post(self, *alerts: dict[str, Any]) -> None:
        """Tell it of alerts, as Prometheus does."""
        body = json.dumps(alerts).encode()
        answer = request(self.port, "POST", "/api/v2/alerts", body, {"content-type": "application/json"})
        assert answer.status == 200, answer

    def states(self) -> dict[str, str]:
        """Give each alert's state (active, suppressed), by its label `id`."""
        found = json.loads(request(self.port, "GET", "/api/v2/alerts").body)
        return {alert["labels"]["id"]: alert["status"]["state"] for alert in found}

    def held_back(self) -> int:
        """Count the groups that it did not tell because of the hour; only its log says so."""
        return self.log.read_text().count("route is within mute time")


@contextmanager
def running(program: str, folder: Path, text: str) -> Iterator[Alertmanager]:
    """Run an Alertmanager for a block."""
    server = Alertmanager(program, folder, text)
    try:
        until(server.is_ready)
        yield server
    finally:
        server.process.terminate()
        server.process.wait(30)


@contextmanager
def http_inbox() -> Iterator[tuple[str, list[tuple[str, dict[str, str], Any]]]]:
    """Take every POST; yields the address and, growing, (path, headers in lower case, JSON)."""
    received: list[tuple[str, dict[str, str], Any]] = []

    class Door(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the server's own name for it
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            received.append((self.path, headers, json.loads(body)))
            answer = b'{"status":"success","dedup_key":"x"}' if "pagerduty" in self.path else b"ok"
            self.send_response(202 if "pagerduty" in self.path else 200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with _serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)) as port:
        yield f"http://127.0.0.1:{port}", received


@contextmanager
def mail_inbox() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Take mail with a password; yields the address and, growing, (credentials, message)."""
    received: list[tuple[str, str]] = []

    class Door(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(line.encode() + b"\r\n")

        def handle(self) -> None:
            credentials = ""
            self.say("220 inbox")
            for line in iter(lambda: self.rfile.readline().decode().strip(), ""):
                verb, _, rest = line.partition(" ")
                if verb == "EHLO":
                    self.say("250-inbox\r\n250 AUTH PLAIN")
                elif verb == "AUTH":
                    credentials = rest
                    self.say("235 welcome")
                elif verb == "DATA":
                    self.say("354 go on")
                    lines = iter(lambda: self.rfile.readline().decode(), ".\r\n")
                    received.append((credentials, "".join(lines)))
                    self.say("250 taken")
                else:
                    self.say("221 bye" if verb == "QUIT" else "250 fine")

    with _serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Door)) as port:
        yield f"127.0.0.1:{port}", received


@contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def free_port() -> int:
    """Find a port for a program that cannot be asked which one it took."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]
