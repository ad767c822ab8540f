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

from agent_exporter.expose.app import App
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


@pytest.mark.parametrize("header", ["nan", "-1", "0", "x", "inf", "1e999", ""])
def test_senseless_timeouts(header):
    """A timeout that is none is ignored."""
    assert get(application(), x_prometheus_scrape_timeout_seconds=header)[0] == 200


def test_failure_is_500(caplog):
    """A page that cannot be made is an error in the log and says nothing outside."""

    def snapshot():
        raise RuntimeError("secret")

    status, _, body = get(application(snapshot=snapshot))
    assert (status, b"secret" in body, "secret" in caplog.text) == (500, False, True)


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
