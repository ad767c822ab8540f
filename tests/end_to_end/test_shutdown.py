"""SIGTERM under load, and reloading under load: nothing acknowledged is lost, and nothing is said twice."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import threading
import time
from functools import partial

import grpc
import pytest

from end_to_end.process import EXPORT, PROTOBUF, request, samples, until
from otlp import CUMULATIVE, DELTA, gauge, number, total
from otlp import request as otlp

LOADED = "load_done_total"
LIMIT = 10  # seconds: the default of limits.shutdown_timeout
BALLAST = 1000  # series that make the page too large for one read


class Load:
    """Clients that push deltas of 1 as fast as they are answered; each counts what was acknowledged."""

    def __init__(self, collector, protocols):
        self.collector = collector
        self.acknowledged = [0] * len(protocols)
        self.faults = []
        push = {"http": self.push_http, "grpc": self.push_grpc}
        self.threads = [
            threading.Thread(target=push[protocol], args=(index,)) for index, protocol in enumerate(protocols)
        ]
        for thread in self.threads:
            thread.start()

    def count(self):
        """Tell what has been acknowledged by now."""
        return sum(self.acknowledged)

    def bodies(self, index):
        """Make one delta after the other; each may only be asked for when the one before was acknowledged."""
        for second in range(1, 1_000_000):
            point = number(1, {"client": index}, start=second, time=second + 1)
            yield otlp(total("load.done", point, temporality=DELTA))
            self.acknowledged[index] += 1

    def push_http(self, index):
        """Push on one connection until it is closed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.collector.http, timeout=60)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            for body in self.bodies(index):
                connection.request("POST", "/v1/metrics", body, {"content-type": PROTOBUF})
                answer = connection.getresponse()
                if (answer.status, answer.read()) != (200, b""):
                    self.faults.append(answer.status)
                    return
                if answer.getheader("connection") == "close":  # acknowledged all the same
                    self.acknowledged[index] += 1
                    return

    def push_grpc(self, index):
        """Push on one channel until it is refused."""
        with grpc.insecure_channel(f"127.0.0.1:{self.collector.grpc}") as channel:
            export = channel.unary_unary(EXPORT["metrics"])
            try:
                for body in self.bodies(index):
                    assert export(body, timeout=60) == b""
            except grpc.RpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                    self.faults.append(error)

    def end(self):
        """Wait until all have been turned away."""
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads)
        assert self.faults == []


def _slow_scrape(port, midway=None):
    """Read the page in small pieces with pauses; None when the door is closed, or closes on the way."""
    try:
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            parts = []
            while part := client.recv(16384):
                parts.append(part)
                if len(parts) == 1 and midway:
                    midway()
                time.sleep(0.002)
    except OSError:
        return None
    head, _, page = b"".join(parts).partition(b"\r\n\r\n")
    length = [line.split()[1] for line in head.lower().splitlines() if line.startswith(b"content-length")]
    return page.decode() if length and int(length[0]) == len(page) else None


def _loaded(page):
    return sum(value for (name, _), value in samples(page).items() if name == LOADED)


def test_sigterm_under_load(collector):
    """Every scrape that is served, the last ones during the stop too, has all that was acknowledged before it."""
    running = collector()
    ballast = [number(float(index), {"n": index}) for index in range(BALLAST)]
    assert running.push("metrics", otlp(gauge("ballast", *ballast))).status == 200
    load = Load(running, ["http", "http", "http", "grpc", "grpc"])
    until(lambda: all(load.acknowledged))
    scrapes = []
    while True:
        stop = partial(running.process.send_signal, signal.SIGTERM) if len(scrapes) == 3 else None
        before = load.count()
        page = _slow_scrape(running.web, stop)
        if page is None:
            break
        scrapes.append((before, _loaded(page), load.count()))
    code = running.process.wait(2 * LIMIT)
    load.end()

    assert code == 0
    assert len(scrapes) >= 4  # the fourth was being read when the signal came
    print(f"{load.count()} points acknowledged, {len(scrapes)} scrapes served")
    in_flight = len(load.threads)
    assert [(before, seen, after) for before, seen, after in scrapes if not before <= seen <= after + in_flight] == []
    assert "message=stopped" in running.log.read_text()


def test_sigterm_with_clients_that_stall(collector, tmp_path):
    """Clients in the middle of a request do not keep the process from ending in time."""
    (tmp_path / "config.yaml").write_text("limits: {shutdown_timeout: 2s}\n")
    running = collector("--config", str(tmp_path / "config.yaml"))
    head = b"POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 99\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for door, begin in ((running.http, head), (running.web, b"GET /me"), (running.grpc, b"PRI * HTTP/2.0\r\n")):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", door), 30))
            client.sendall(begin)
        assert running.get("/-/ready").status == 200
        running.process.send_signal(signal.SIGTERM)

        assert running.process.wait(2 * LIMIT) == 0


# -- reload -------------------------------------------------------------------

DIALECT = """\
agent: mine
claims: {{prefixes: mine.}}
authority: {{{to}: metric}}
metrics:
  - name: mine.calls
    to: {to}
ignored: {{}}
"""
BROKEN = DIALECT.format(to="agent.nonsense")


class Reloading:
    """A collector with a configuration and a folder of dialects of the user's, which a test changes."""

    def __init__(self, start, folder):
        self.config, self.dialects = folder / "config.yaml", folder / "dialects"
        self.dialects.mkdir()
        self.config.write_text(f"dialects: {{paths: [{self.dialects}]}}\n")
        self.write(DIALECT.format(to="agent.turns"))
        self.process = start("--config", str(self.config))
        self.second = 0

    def write(self, text):
        """Change the dialect."""
        (self.dialects / "mine.yaml").write_text(text)

    def push(self):
        """Count 1 as delta, and 1 more of a running total."""
        self.second += 1
        answer = self.process.push(
            "metrics",
            otlp(
                total("mine.calls", number(1, start=self.second, time=self.second + 1), temporality=DELTA),
                total("other.calls", number(self.second, time=self.second + 1), temporality=CUMULATIVE),
                gauge("other.level", number(7.0, time=self.second + 1)),
            ),
        )
        assert (answer.status, answer.body) == (200, b"")

    def totals(self):
        """Tell the turns, the sessions, and what is passed through."""
        names = ("agent_turns_total", "agent_sessions_total", "mine_calls_total", "other_calls_total")
        return [self.process.counter(name) for name in names]

    def reloads(self):
        """Tell how many reloads went well and how many did not."""
        return [
            self.process.counter("agent_exporter_config_reloads_total", result=result)
            for result in ("success", "failure")
        ]


def _post(reloading):
    """Reload by request; returns status and text."""
    answer = request(reloading.process.web, "POST", "/-/reload")
    return answer.status, answer.body.decode()


def _hang_up(reloading):
    """Reload by signal; the counter says when it is done."""
    before = sum(reloading.reloads())
    reloading.process.process.send_signal(signal.SIGHUP)
    until(lambda: sum(reloading.reloads()) == before + 1)


@pytest.fixture
def reloading(collector, tmp_path):
    """Start a collector whose configuration can be changed."""
    return Reloading(collector, tmp_path)


@pytest.mark.parametrize("reload", [_post, _hang_up], ids=["POST", "SIGHUP"])
def test_reload(reloading, reload):
    """A changed dialect is followed, a broken one is not and is named; totals stay as they are."""
    reloading.push()
    assert reloading.totals() == [1, 0, 1, 1]

    reloading.write(DIALECT.format(to="agent.sessions"))
    reload(reloading)
    assert reloading.totals() == [1, 0, 1, 1]
    reloading.push()
    assert reloading.totals() == [1, 1, 2, 2]
    assert reloading.reloads() == [1, 0]

    reloading.process.expected_errors = ("reload failed",)
    reloading.write(BROKEN)
    said = reload(reloading)
    assert said is None or (said[0], "mine.yaml" in said[1], "agent.nonsense" in said[1]) == (500, True, True)
    assert reloading.totals() == [1, 1, 2, 2]
    reloading.push()
    assert reloading.totals() == [1, 2, 3, 3]
    assert reloading.reloads() == [1, 1]
    (line,) = [line for line in reloading.process.log.read_text().splitlines() if "reload failed" in line]
    assert "mine.yaml" in line
    assert "agent.nonsense" in line

    reloading.write(DIALECT.format(to="agent.turns"))
    said = reload(reloading)
    assert said is None or said == (200, "reloaded\n")
    reloading.push()
    assert reloading.totals() == [2, 2, 4, 4]
    assert reloading.reloads() == [2, 1]


def test_reload_of_the_configuration(reloading):
    """A changed key is followed, one that needs a restart is named, a wrong one changes nothing."""
    reloading.push()
    paths = reloading.config.read_text()
    changed = "metrics: {pass_through: {exclude: [other.*]}}\nlimits: {body_bytes: 2MiB, series_per_metric: 9}\n"
    reloading.config.write_text(paths + changed)
    assert _post(reloading) == (200, "reloaded; a change of limits.body_bytes needs a restart\n")
    reloading.push()
    assert reloading.totals() == [2, 0, 2, 1]

    reloading.process.expected_errors = ("reload failed",)
    reloading.config.write_text(f"{paths}metrics: {{pass_trough: yes}}\n")
    status, text = _post(reloading)
    assert (status, "config.yaml" in text, "pass_trough" in text) == (500, True, True)
    reloading.config.unlink()
    assert _post(reloading)[0] == 500
    reloading.push()
    assert reloading.totals() == [3, 0, 3, 1]


def test_reload_under_load(collector, tmp_path):
    """Reloads while clients push cost no point, and no request fails."""
    reloading = Reloading(collector, tmp_path)
    load = Load(reloading.process, ["http", "grpc"])
    until(lambda: all(load.acknowledged))
    for index in range(6):
        reloading.write(DIALECT.format(to=("agent.sessions", "agent.turns")[index % 2]))
        (_post, _hang_up)[index % 2](reloading)
        before = load.count()
        until(lambda before=before: load.count() > before + 50)
    assert reloading.process.counter(LOADED) >= before
    assert reloading.process.stop(signal.SIGTERM) == 0
    load.end()


def test_gauges_survive_a_reload(reloading):
    """What a gauge said last is on the page after a reload too, without its client sending again."""
    reloading.push()
    assert reloading.process.counter("other_level") == 7

    assert _post(reloading)[0] == 200
    assert reloading.process.counter("other_level") == 7
