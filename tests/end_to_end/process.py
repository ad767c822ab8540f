"""The real collector in a process of its own, and the least that is needed to talk to it.

What may live here: starting, pushing, reading pages, waiting and ending. No expectations of a
test but the one that holds for all: the log has no traceback and no error that was not expected.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import grpc
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agent_exporter.receive.grpc import METHODS

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from captures import Payload

ANY = "127.0.0.1:0"
DOORS = ("--otlp.grpc-address", ANY, "--otlp.http-address", ANY, "--web.listen-address", ANY)
READY = re.compile(r"ready grpc=127\.0\.0\.1:(\d+) http=127\.0\.0\.1:(\d+) web=127\.0\.0\.1:(\d+)\n")
PROTOBUF, JSON = "application/x-protobuf", "application/json"
EXPORT = {signal: method for method, signal in METHODS.items()}
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
PATIENCE = 60  # seconds; for what has to come true, on a machine that is busy with other things

# What moves by itself: the collector about itself and its own process.
OWN = ("agent_exporter_", "agent_process_", "agent_runtime_", "agent_source_", "system_", "container_")


class Collector:
    """A running `agent-exporter serve`: its ports, and its log in a file."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.log = folder / "collector.log"
        self.has_guide = "--demo" in arguments  # a text for people goes where the log goes
        self.expected_errors: tuple[str, ...] = ()  # parts of lines with level=error that a test provokes
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_EXPORTER_")}
        command = [sys.executable, "-W", "default", "-m", "agent_exporter", "serve", *DOORS, *arguments]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        line = self.process.stdout.readline()
        ready = READY.fullmatch(line)
        if not ready:
            self.kill()
            raise AssertionError(line, self.log.read_text())
        self.grpc, self.http, self.web = (int(port) for port in ready.groups())

    # -- pushing ------------------------------------------------------------

    def push(self, signal: str, body: bytes | Iterable[bytes], kind: str = PROTOBUF, **headers: str) -> Answer:
        """Push over HTTP; keyword arguments are headers (`content_encoding`), an iterable body is chunked."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return request(self.http, "POST", f"/v1/{signal}", body, {"content-type": kind, **named})

    @contextlib.contextmanager
    def channel(self, *options: tuple[str, Any]) -> Iterator[Callable[..., bytes]]:
        """Open a gRPC channel; yields a function that exports raw bytes: (signal, body) to the answer's bytes."""
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc}", options) as channel:
            yield lambda signal, body, **rest: channel.unary_unary(EXPORT[signal])(body, timeout=PATIENCE, **rest)

    @contextlib.contextmanager
    def sender(self, protocol: str, *, partly: bool = False) -> Iterator[Callable[[Payload, bytes], None]]:
        """Yield a function that sends a captured payload (with this body) as it came; taken in full, or `partly`."""
        with self.channel() as export:

            def send(payload: Payload, body: bytes) -> None:
                if protocol == "grpc":
                    assert export(payload.signal, body) == b"" or partly, (payload.seq, "something was rejected")
                    return
                encoding = {"content_encoding": payload.content_encoding} if payload.content_encoding else {}
                content = iter([body[:1000], body[1000:]]) if payload.chunked else body
                answer = self.push(payload.signal, content, payload.content_type, **encoding)
                whole = b"{}" if "json" in payload.content_type else b""
                assert answer.status == 200, (payload.seq, answer)
                assert answer.body == whole or partly, (payload.seq, answer)

            yield send

    # -- reading ------------------------------------------------------------

    def get(self, path: str = "/metrics", **headers: str) -> Answer:
        """Read a page."""
        return request(self.web, "GET", path, None, {name.replace("_", "-"): value for name, value in headers.items()})

    def page(self, accept: str = "text/plain") -> str:
        """Read /metrics."""
        answer = self.get(accept=accept)
        assert answer.status == 200, answer
        return answer.body.decode()

    def pushed(self) -> str:
        """Read /metrics without what moves by itself."""
        return "".join(line for line in lines(self.page()) if not _is_own(line))

    def totals(self) -> dict[Series, float]:
        """Read every sample of the text page, by (name, labels)."""
        return samples(self.page())

    def counter(self, name: str, **labels: str) -> float:
        """Sum the samples of a name that have these labels."""
        return sum(
            value
            for (found, pairs), value in self.totals().items()
            if found == name and labels.items() <= dict(pairs).items()
        )

    # -- the end ------------------------------------------------------------

    def __enter__(self) -> Self:
        """Run until the end of a block."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """End the process whatever happened; look through its log if nothing did."""
        self.kill()
        if kind is None:
            self.check_log()

    def kill(self) -> None:
        """End the process by force if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def check_log(self) -> None:
        """Hold the log to what is true of every test."""
        written = self.log.read_text().splitlines()
        errors = [line for line in written if "level=error" in line or "level=critical" in line]
        assert self.has_guide or [line for line in written if not line.startswith("time=")] == []
        assert [line for line in written if "raceback" in line or "Warning" in line] == []
        assert [line for line in errors if not any(part in line for part in self.expected_errors)] == []


Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]


class Answer:
    """An HTTP answer; header names in lower case."""

    def __init__(self, made: http.client.HTTPResponse) -> None:
        self.status = made.status
        self.headers = {name.lower(): value for name, value in made.getheaders()}
        self.body = made.read()

    def __repr__(self) -> str:
        """Show what an assertion needs."""
        return f"{self.status} {self.headers} {self.body[:500]!r}"


def request(
    port: int,
    method: str,
    path: str,
    body: bytes | Iterable[bytes] | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send one HTTP request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    chunked = body is not None and not isinstance(body, bytes)
    try:
        named = (headers or {}) | ({"transfer-encoding": "chunked"} if chunked else {})
        connection.request(method, path, body, named, encode_chunked=chunked)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def samples(page: str) -> dict[Series, float]:
    """Parse a text page; a series must not be there twice."""
    found: dict[Series, float] = {}
    for family in parse_text(page):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def lines(page: str) -> list[str]:
    """Split a page at its line feeds only: a label may hold what else Unicode calls a line's end."""
    return [f"{line}\n" for line in page.removesuffix("\n").split("\n")]


def until(condition: Callable[[], Any]) -> Any:
    """Poll until something holds; returns it."""
    limit = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < limit, "never came true"
        time.sleep(0.05)
    return found


def _is_own(line: str) -> bool:
    name = line.split(" ")[2] if line.startswith("#") else line
    return name.startswith(OWN) or 'job="agent-exporter"' in line
