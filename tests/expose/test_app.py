"""The application, called as a server calls it, and once behind a real one."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import socket
import subprocess
import threading
from array import array

import pytest
import uvicorn

from agent_exporter.expose.app import RENDERINGS, App
from agent_exporter.expose.page import Status
from agent_exporter.expose.render import Renderer
from agent_exporter.model import Family, Kind, Table

PAGE = b"# TYPE up gauge\nup 1.0\n# TYPE x_total counter\nx_total 2.0\n"


def families():
    """Make a page of two families."""
    return [
        Family(name, kind, "", "", [Table(1, (), [b""], array("d", [value]), array("d", [1.0]), layout=1)])
        for name, kind, value in (("up", Kind.GAUGE, 1.0), ("x_total", Kind.COUNTER, 2.0))
    ]


def application(**changes):
    """Make an application with callables that do little."""
    options = {
        "snapshot": families,
        "status": lambda: Status("1.2.3", started=0.0, now=10.0, grpc="127.0.0.1:4317"),
        "reload": lambda: "reloaded",
        "ready": lambda: True,
        "observe": lambda _seconds, _size: None,
    }
    return App(**{**options, **changes})


async def call(app, path="/metrics", method="GET", query="", **headers):
    """Call an application once and return status, headers and body."""
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.disconnect"}

    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], dict(sent[0]["headers"]), body


def get(app, *arguments, **headers):
    """Call an application once, outside a loop."""
    try:
        return asyncio.run(call(app, *arguments, **headers))
    finally:
        app.close()


def test_scrape():
    """A scrape without wishes gets text 0.0.4, and its size and time are observed."""
    seen = []
    status, headers, body = get(application(observe=lambda *measured: seen.append(measured)))
    assert (status, headers[b"content-type"], body) == (200, b"text/plain; version=0.0.4; charset=utf-8", PAGE)
    assert headers[b"content-length"] == str(len(PAGE)).encode()
    assert [(seconds > 0, size) for seconds, size in seen] == [(True, len(PAGE))]


def test_openmetrics():
    """A scraper that asks for OpenMetrics gets it."""
    accept = "application/openmetrics-text;version=1.0.0"
    _, headers, body = get(application(), accept=accept)
    assert headers[b"content-type"].startswith(accept.replace(";", "; ").encode())
    assert body.endswith(b"x_total 2.0\n# EOF\n")


def test_renderer_and_format_can_be_chosen():
    """The renderer brings its options; a strategy without suffixes is served as text."""
    accept = "application/openmetrics-text;version=1.0.0"
    created = get(application(renderer=Renderer(created=True)), accept=accept)[2]
    assert (b"x_created 1.0" in created, get(application(openmetrics=False), accept=accept)[2]) == (True, PAGE)


def test_gzip():
    """Compression on request, as one member."""
    _, headers, body = get(application(), accept_encoding="gzip")
    assert (headers[b"content-encoding"], gzip.decompress(body)) == (b"gzip", PAGE)


def test_head():
    """HEAD has the headers of GET and no body."""
    _, headers, body = get(application(), "/metrics", "HEAD")
    assert (headers[b"content-length"], body) == (str(len(PAGE)).encode(), b"")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("name[]=up", b"# TYPE up gauge\nup 1.0\n"),
        ("name%5B%5D=x_total&name[]=nothing", b"# TYPE x_total counter\nx_total 2.0\n"),
        ("name[]=none", b""),
        ("other=1", PAGE),
    ],
)
def test_names(query, expected):
    """`name[]` picks families."""
    assert get(application(), "/metrics", "GET", query)[2] == expected


def test_too_many_names():
    """A request cannot ask for any number of names."""
    assert get(application(), "/metrics", "GET", "name[]=a&" * 101)[0] == 400


def test_same_scrapes_share_one_rendering():
    """Scrapes of the same page at the same time cost one snapshot; a scraper that goes away spoils nothing."""
    calls, gate = [], threading.Event()

    def snapshot():
        calls.append(1)
        gate.wait(5)
        return families()

    async def scrapes(app):
        waiting = [asyncio.create_task(call(app)) for _ in range(5)]
        await asyncio.sleep(0.01)
        waiting[0].cancel()
        gate.set()
        return await asyncio.gather(*waiting, return_exceptions=True)

    app = application(snapshot=snapshot)
    first, *others = asyncio.run(scrapes(app))
    app.close()
    assert isinstance(first, asyncio.CancelledError)
    assert ([body for _, _, body in others], len(calls)) == ([PAGE] * 4, 1)


def test_scrape_timeout():
    """A page that is not there in time is 503 before the scraper gives up, and the next scrape gets it."""
    gate = threading.Event()

    def snapshot():
        gate.wait(5)
        return families()

    async def scrapes(app):
        late = await call(app, x_prometheus_scrape_timeout_seconds="0.02")
        gate.set()
        return late, await call(app, x_prometheus_scrape_timeout_seconds="10")

    app = application(snapshot=snapshot)
    late, good = asyncio.run(scrapes(app))
    app.close()
    assert (late[0], good[0], good[2]) == (503, 200, PAGE)


class Gated:
    """A snapshot that waits at a gate and counts how often it was taken."""

    def __init__(self):
        self.taken, self.gate = 0, threading.Event()

    def __call__(self):
        """Count, and wait."""
        self.taken += 1
        self.gate.wait(5)
        return families()


def test_only_so_many_renderings_wait():
    """More different pages than the limit are 503 with a time to come back; the same page is not another."""
    snapshot = Gated()

    async def scrapes(app):
        waiting = [asyncio.create_task(call(app, query=f"name[]={n}")) for n in range(RENDERINGS)]
        await asyncio.sleep(0.01)
        refused = await call(app, query="name[]=up")
        shared = asyncio.create_task(call(app, query="name[]=0"))
        await asyncio.sleep(0.01)
        snapshot.gate.set()
        return refused, await asyncio.gather(*waiting, shared), await call(app, query="name[]=up")

    app = application(snapshot=snapshot)
    refused, shown, later = asyncio.run(scrapes(app))
    app.close()
    assert (refused[0], refused[1][b"retry-after"]) == (503, b"1")
    assert ([status for status, _, _ in shown], later[0]) == ([200] * (RENDERINGS + 1), 200)
    assert snapshot.taken == RENDERINGS + 1


def test_what_nobody_waits_for_is_not_begun():
    """Scrapers that give up or go away before their page is begun cost no rendering and leave their place."""
    snapshot = Gated()

    async def scrapes(app):
        running = asyncio.create_task(call(app))
        await asyncio.sleep(0.01)
        for n in range(3 * RENDERINGS):
            late = await call(app, query=f"name[]={n}", x_prometheus_scrape_timeout_seconds="0.0001")
            assert late[0] == 503
        gone = [asyncio.create_task(call(app, query=f"name[]={n}")) for n in range(RENDERINGS - 1)]
        await asyncio.sleep(0.01)
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
        other = asyncio.create_task(call(app, query="name[]=up"))
        await asyncio.sleep(0.01)
        snapshot.gate.set()
        return await running, await other

    app = application(snapshot=snapshot)
    running, other = asyncio.run(scrapes(app))
    app.close()
    assert (running[0], other[0], snapshot.taken) == (200, 200, 2)


def test_status_does_not_hold_up_the_loop():
    """While the page for people waits for a lock, others are answered."""
    gate = threading.Event()

    def status():
        gate.wait(5)
        return Status("1.2.3", started=0.0, now=10.0)

    async def requests(app):
        home = asyncio.create_task(call(app, "/"))
        healthy = await call(app, "/-/healthy")
        gate.set()
        return healthy[0], (await home)[0]

    app = application(status=status)
    assert asyncio.run(requests(app)) == (200, 200)
    app.close()


@pytest.mark.parametrize("header", ["nan", "-1", "0", "x", "inf", "1e999", ""])
def test_senseless_timeouts(header):
    """A timeout that is none is ignored."""
    assert get(application(), x_prometheus_scrape_timeout_seconds=header)[0] == 200


def test_failure_is_500(caplog):
    """A page that cannot be made is one line in the log, which says where and quotes nothing; so outside."""

    def fail():
        raise RuntimeError("secret")

    answers = [get(application(snapshot=fail)), get(application(status=fail), "/")]
    assert [(status, b"secret" in body) for status, _, body in answers] == [(500, False)] * 2
    assert [(each.message, each.error, each.at.split(":")[0]) for each in caplog.records] == [
        ("request failed", "RuntimeError", "test_app.py")
    ] * 2
    assert ("secret" in caplog.text, [each for each in caplog.records if each.exc_info]) == (False, [])


@pytest.mark.parametrize(
    ("path", "method", "status", "body"),
    [
        ("/-/healthy", "GET", 200, b"healthy\n"),
        ("/-/ready", "GET", 200, b"ready\n"),
        ("/-/reload", "POST", 200, b"reloaded\n"),
        ("/-/reload", "GET", 405, b"method not allowed, only POST\n"),
        ("/metrics", "POST", 405, b"method not allowed, only GET, HEAD\n"),
        ("/<script>", "GET", 404, b"not found; there is /metrics and, for people, /\n"),
    ],
)
def test_other_paths(path, method, status, body):
    """Paths beside the page."""
    found = get(application(), path, method)
    assert (found[0], found[2], found[1][b"x-content-type-options"]) == (status, body, b"nosniff")


def test_not_ready():
    """Not ready is 503."""
    assert get(application(ready=lambda: False), "/-/ready")[0] == 503


def test_reload_that_fails():
    """A configuration that cannot be read is 500 with what is wrong with it."""

    def reload():
        raise ValueError("agents.yaml: no such key «x»")

    status, _, body = get(application(reload=reload), "/-/reload", "POST")
    assert (status, body.decode()) == (500, "agents.yaml: no such key «x»\n")


def test_reload_is_not_for_browsers():
    """A page in a browser cannot reload us."""
    assert get(application(), "/-/reload", "POST", origin="https://example.org")[0] == 403


def test_home():
    """The page for people comes with headers that forbid what it does not need."""
    status, headers, body = get(application(), "/")
    assert (status, headers[b"content-type"]) == (200, b"text/html; charset=utf-8")
    assert (headers[b"cache-control"], b"default-src 'none'" in headers[b"content-security-policy"]) == (
        b"no-store",
        True,
    )
    assert b"agent-exporter" in body


def test_lifespan():
    """The application takes part in a server's start and end."""
    sent = []

    async def receive():
        return {"type": "lifespan"}

    async def send(message):
        sent.append(message["type"])

    asyncio.run(application()({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_real_server_and_clients(tmp_path):
    """Curl reads a compressed page of several segments through uvicorn, and gzip takes it apart."""
    count = 5000
    texts = [b'n="%d"' % n for n in range(count)]
    big = Table(1, (), texts, array("d", range(count)), array("d", [0.0]) * count, layout=1)
    app = application(snapshot=lambda: [*families(), Family("big", Kind.GAUGE, "", "", [big])])
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"
    try:
        fetched = [
            subprocess.run(["curl", "-sSf", *options, url], capture_output=True, check=True).stdout
            for options in ([], ["--compressed"], ["-H", "accept-encoding: gzip"])
        ]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
        app.close()
    unzipped = subprocess.run(["gzip", "-dc"], input=fetched[2], capture_output=True, check=True).stdout
    assert fetched[1] == fetched[0] == unzipped
    assert (len(fetched[0].splitlines()), len(fetched[2]) < len(fetched[0]) / 3) == (count + 5, True)
