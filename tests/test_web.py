"""The HTTP server over real sockets: what it answers, whom it turns away, how it stops."""

import asyncio
import http.client
import logging
import socket
import threading
import time

import pytest

from agent_exporter.web import Limits, serve
from serving import dial, loop_thread, request, serving, until_closed

TINY = Limits(connections=2, header_bytes=1000, header_timeout=0.2, idle_timeout=0.2, write_timeout=0.3)


async def echo(scope, receive, send):
    """Answer with method, path and body."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    text = f"{scope['method']} {scope['path']} ".encode() + body
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text})


async def broken(_scope, _receive, _send):
    """Fail before any answer."""
    raise KeyError("a secret")


async def half_broken(_scope, _receive, send):
    """Fail in the middle of an answer."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise KeyError("a secret")


@pytest.fixture(params=["uvloop", "asyncio"])
def kind(request):
    """Name an event loop."""
    return request.param


def test_answers(kind):
    """A request is answered, with a date and without the name of the software."""
    with serving(echo, kind=kind) as server:
        status, headers, body = request(server.port, "POST", "/x%20y", b"hello")

    assert (status, body) == (200, b"POST /x y hello")
    assert "date" in headers
    assert "server" not in headers


def test_address_has_the_real_port():
    """Port 0 takes a free port and the server says which."""
    with serving(echo) as server:
        assert server.address == f"127.0.0.1:{server.port}"
        assert server.port > 0


def test_several_servers_share_a_loop():
    """Two servers on one loop answer apart and stop apart."""
    with loop_thread() as run:
        first = run(serve(echo, "127.0.0.1", 0))
        second = run(serve(echo, "127.0.0.1", 0))
        run(first.stop(1))

        assert request(second.port, "GET", "/")[0] == 200
        with pytest.raises(ConnectionRefusedError):
            dial(first.port)
        run(second.stop(1))


def test_taken_address_is_named(kind):
    """Who cannot listen says where."""
    with serving(echo, kind=kind) as server, pytest.raises(OSError, match=f"cannot listen on {server.address}: Addr"):
        server.run(serve(echo, "127.0.0.1", server.port))


def test_unknown_host_is_named():
    """A host that does not resolve is named as well."""
    with loop_thread() as run, pytest.raises(OSError, match=r"cannot listen on no\.such\.host\.invalid:0: "):
        run(serve(echo, "no.such.host.invalid", 0))


def test_keep_alive(kind):
    """One connection carries several requests."""
    with serving(echo, kind=kind) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        answers = []
        for path in ("/a", "/b"):
            connection.request("GET", path)
            answers.append(connection.getresponse().read())
        connection.close()

    assert answers == [b"GET /a ", b"GET /b "]


def test_expect_continue_and_chunks():
    """A client that waits for 100 Continue gets it; a chunked body arrives whole."""
    with serving(echo) as server, dial(server.port) as client:
        head = b"POST /c HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n"
        client.sendall(head + b"connection: close\r\n\r\n")
        first = client.recv(1000)
        client.sendall(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        rest = until_closed(client)

    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert rest.endswith(b"\r\n\r\nPOST /c abcde")


def test_half_closed_client_is_answered(kind):
    """A client that closes its half after the request still gets its answer."""
    with serving(echo, kind=kind) as server, dial(server.port) as client:
        client.sendall(b"POST /h HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi")
        client.shutdown(socket.SHUT_WR)
        answer = until_closed(client)

    assert answer.endswith(b"POST /h hi")


def test_upgrade_is_ignored():
    """A request that offers HTTP/2 is served over HTTP/1.1, body and all."""
    with serving(echo) as server:
        headers = {
            "Connection": "Upgrade, HTTP2-Settings",
            "Upgrade": "h2c",
            "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA",
        }
        status, _, body = request(server.port, "POST", "/u", b"body", headers)

    assert (status, body) == (200, b"POST /u body")


SLOW = [
    b"",
    b"POST / HT",
    b"POST / HTTP/1.1\r\nhost: x\r\nx-slow: ",
    b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET /ag",
]


@pytest.mark.parametrize("start", SLOW)
def test_slow_headers(start, kind):
    """Headers that do not come in time close the connection, at first and later."""
    reasons = []
    with serving(echo, TINY, kind, reasons.append) as server, dial(server.port) as client:
        client.sendall(start)
        answer = until_closed(client)

    assert reasons in (["header_timeout"], []) if b"GET" in start else ["header_timeout"]
    assert answer.startswith(b"HTTP/1.1 200" if b"GET" in start else b"HTTP/1.1 408")


def test_idle_connection_is_closed(kind):
    """A connection without a next request is closed without a word, and is nobody's fault."""
    reasons = []
    with serving(echo, TINY, kind, reasons.append) as server, dial(server.port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = until_closed(client)

    assert answer.count(b"HTTP/1.1") == 1
    assert reasons == []


OVERSIZE = [
    b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 500 + b"\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 2000,
    b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"trailer: x\r\n" * 500,
    b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3;" + b"e" * 2000,
]


@pytest.mark.parametrize("start", OVERSIZE)
def test_oversize_headers(start, kind):
    """Headers, trailers and chunk extensions have one limit."""
    reasons = []
    with serving(echo, TINY, kind, reasons.append) as server, dial(server.port) as client:
        client.sendall(start)
        answer = until_closed(client)

    assert answer.startswith(b"HTTP/1.1 431")
    assert reasons == ["header_too_large"]


NONSENSE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"CONNECT example.com:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET http://[ HTTP/1.1\r\nhost: x\r\n\r\n",
]


@pytest.mark.parametrize("start", NONSENSE)
def test_nonsense(start, kind, caplog):
    """What is no HTTP/1.1 is answered 400, counted, and not logged."""
    reasons = []
    caplog.set_level(logging.DEBUG)
    with serving(echo, TINY, kind, reasons.append) as server, dial(server.port) as client:
        client.sendall(start)
        answer = until_closed(client)

    assert answer.startswith(b"HTTP/1.1 400")
    assert reasons == ["bad_request"]
    assert [record for record in caplog.records if record.name != "asyncio"] == []


def test_connection_limit(kind):
    """A connection beyond the limit is answered 503 and closed; a place that is freed is given again."""
    reasons = []
    limits = Limits(connections=2)
    with serving(echo, limits, kind, reasons.append) as server:
        with dial(server.port) as first, dial(server.port) as second, dial(server.port) as third:
            answer = until_closed(third)
            for client in (first, second):
                client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                assert until_closed(client).startswith(b"HTTP/1.1 200")
        status, _, _ = request(server.port, "GET", "/")

    assert answer.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1\r\n" in answer
    assert (status, reasons) == (200, ["connection_limit"])


async def flood(_scope, _receive, send):
    """Answer with more than a socket takes."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % (1 << 26))]})
    await send({"type": "http.response.body", "body": bytes(1 << 26)})


@pytest.mark.parametrize("connection", [b"close", b"keep-alive"])
def test_client_that_does_not_read(connection, kind):
    """A client that takes nothing of its answer is cut off."""
    reasons = []
    limits = Limits(write_timeout=0.2)
    with serving(flood, limits, kind, reasons.append) as server, dial(server.port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: " + connection + b"\r\n\r\n")
        for _ in range(200):
            if reasons:
                break
            time.sleep(0.01)
        size = len(until_closed(client))

    assert reasons == ["write_timeout"]
    assert size < 1 << 26


@pytest.mark.parametrize(("app", "start"), [(broken, b"HTTP/1.1 500"), (half_broken, b"HTTP/1.1 200")])
def test_bug_in_the_app(app, start, caplog, kind):
    """An exception in the app is one line with its type and place, without its text."""
    with serving(app, kind=kind) as server, dial(server.port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = until_closed(client)

    assert answer.startswith(start)
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (record.name, record.error, record.exc_info) == ("agent_exporter", "KeyError", None)
    assert record.at.startswith("test_web.py:")
    assert "secret" not in caplog.text


def test_stop_lets_a_request_finish(kind):
    """Stop waits for the request in flight, refuses new connections and closes idle ones."""
    entered = threading.Event()

    async def slow(scope, receive, send):
        if scope["path"] == "/slow":
            entered.set()
            await asyncio.sleep(0.2)
        await echo(scope, receive, send)

    with serving(slow, kind=kind) as server, dial(server.port) as idle, dial(server.port) as busy:
        idle.sendall(b"GET /fast HTTP/1.1\r\nhost: x\r\n\r\n")
        busy.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        assert entered.wait(5)
        server.run(server.stop(5))
        answers = until_closed(idle), until_closed(busy)
        with pytest.raises(ConnectionRefusedError):
            dial(server.port)

    assert answers[0].endswith(b"GET /fast ")
    assert answers[1].endswith(b"GET /slow ")
    assert b"connection: close" in answers[1]


def test_stop_has_a_limit(kind, caplog):
    """What does not finish in time is cut, said once."""
    entered = threading.Event()

    async def stuck(_scope, _receive, _send):
        entered.set()
        await asyncio.Event().wait()

    with serving(stuck, kind=kind) as server, dial(server.port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert entered.wait(5)
        server.run(server.stop(0.1))
        answer = until_closed(client)

    assert answer == b""
    assert [record.getMessage() for record in caplog.records] == ["requests cut"]
