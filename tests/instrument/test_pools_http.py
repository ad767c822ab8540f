import asyncio
import http.server
import threading

import aiohttp
import httpx
import pytest

from agent_exporter.instrument.pools import watch_pool
from agent_exporter.instrument.pools.http import Trace
from agent_exporter.instrument.pools.waits import Waits

WAIT, TIMEOUTS, WAITING = "agent.pool.wait.duration", "agent.pool.timeouts", "agent.pool.waiting"
SIZE, LIMIT = "agent.pool.size", "agent.pool.limit"
SHORT = 0.5  # seconds until a caller gives up


class Slow(http.server.BaseHTTPRequestHandler):
    """Answers when it is let, and sends on whoever asks for `/moved`."""

    protocol_version = "HTTP/1.1"
    open = threading.Event()

    def do_GET(self):
        """Answer, slowly if asked so."""
        if self.path == "/slow":
            self.open.wait(10)
        moved = self.path == "/moved"
        self.send_response(302 if moved else 200)
        if moved:
            self.send_header("Location", "/")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def url():
    """Serve on a free port."""
    Slow.open.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Slow.open.set()
    server.shutdown()
    thread.join()
    server.server_close()


def found(points):
    """List members used, the limit, callers waiting, timeouts, and the number of waits."""
    values = points("agent.pool")
    waits = values.get((WAIT, "web"))
    keys = (SIZE, "web", "used"), (LIMIT, "web"), (WAITING, "web"), (TIMEOUTS, "web")
    return *(values.get(key) for key in keys), sum(waits.counts) if waits else 0


def sync_client(**options):
    """Make a client with one connection."""
    limits = httpx.Limits(max_connections=1)
    return httpx.Client(limits=limits, timeout=httpx.Timeout(10, pool=SHORT), trust_env=False, **options)


def test_httpx_connection_is_used_until_the_answer_is_read(points, url):
    """A connection is in use from the first byte sent to the last byte read."""
    with sync_client() as client:
        assert watch_pool(client, "web", limit=1) is client
        with client.stream("GET", url) as answer:
            during = found(points)
            answer.read()
        after = found(points)

    assert isinstance(client, httpx.Client)
    assert during == (1, 1, 0, 0, 1)
    assert after == (0, 1, 0, 0, 1)


def test_httpx_counts_who_went_without(points, url):
    """A request that gets no connection in time has waited as long as it was let."""
    with sync_client() as client:
        watch_pool(client, "web", limit=1)
        with client.stream("GET", url), pytest.raises(httpx.PoolTimeout):
            client.get(url)

    assert found(points) == (0, 1, 0, 1, 2)
    assert points(WAIT)[WAIT, "web"].sum >= SHORT


def test_httpx_redirect_asks_twice(points, url):
    """Each request on the way of a redirect asks for a connection of its own."""
    with sync_client(follow_redirects=True) as client:
        watch_pool(client, "web")
        assert client.get(f"{url}/moved").text == "ok"

    assert found(points) == (0, None, 0, 0, 2)


def test_httpx_failed_connection_is_no_wait(points):
    """A server that is not there is no fault of the pool, and holds nothing."""
    with sync_client() as client:
        watch_pool(client, "web")
        with pytest.raises(httpx.ConnectError):
            client.get("http://127.0.0.1:1/")

    assert found(points) == (0, None, 0, 0, 0)


def test_httpx_keeps_the_trace_of_its_caller(points, url):
    """Whoever traces a request himself goes on hearing of it, and finds his request unchanged."""
    heard = []
    with sync_client() as client:
        watch_pool(client, "web")
        request = client.build_request("GET", url, extensions={"trace": lambda event, _: heard.append(event)})
        before = request.extensions["trace"]
        client.send(request)

    assert "http11.send_request_headers.started" in heard
    assert request.extensions["trace"] is before
    assert found(points)[-1] == 1


def test_httpx_keeps_the_trace_of_an_async_caller(points, url):
    """Whoever traces an async request himself is waited for."""
    heard = []

    async def hear(event, _):
        await asyncio.sleep(0)
        heard.append(event)

    async def main():
        async with httpx.AsyncClient(trust_env=False) as client:
            watch_pool(client, "web")
            await client.get(url, extensions={"trace": hear})

    asyncio.run(main())

    assert "http11.response_closed.complete" in heard
    assert sum(points(WAIT)[WAIT, "web"].counts) == 1


def test_httpx_through_a_tunnel(points):
    """What a proxy is asked first, and what is closed twice, is one use of one connection."""
    waits = Waits("web")
    waits.open(counts_used=True)
    trace = Trace(waits, None)
    for event in ("send_request_headers.started", "send_request_headers.started", "response_closed.complete"):
        trace(f"http11.{event}", {})
    trace("http11.response_closed.complete", {})
    trace.failed(OSError())

    assert sum(points(WAIT)[WAIT, "web"].counts) == 1


def test_httpx_async_failed_connection_is_no_wait(points):
    """A server that is not there is no fault of an async client's pool either."""

    async def main():
        async with httpx.AsyncClient(trust_env=False) as client:
            watch_pool(client, "web")
            with pytest.raises(httpx.ConnectError):
                await client.get("http://127.0.0.1:1/")
            return found(points)

    assert asyncio.run(main()) == (0, None, 0, 0, 0)


def test_httpx_async_client(points, url):
    """An async client is watched like a sync one, and so are those who wait."""

    async def main():
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(limits=limits, timeout=httpx.Timeout(10, pool=SHORT), trust_env=False) as client:
            watch_pool(client, "web", limit=1)
            slow = asyncio.create_task(client.get(f"{url}/slow"))
            await until(lambda: found(points)[0] == 1)
            late = asyncio.create_task(client.get(url))
            await until(lambda: found(points)[2] == 1)
            during = found(points)
            with pytest.raises(httpx.PoolTimeout):
                await late
            Slow.open.set()
            await slow
            return during

    assert asyncio.run(main()) == (1, 1, 1, 0, 1)
    assert found(points) == (0, 1, 0, 1, 2)


def test_aiohttp_session(points, url):
    """A session's connector tells its limit; connections in use, waits and who went without are counted."""

    async def main():
        async with session() as client:
            assert watch_pool(client, "web") is client
            slow = asyncio.create_task(fetch(client, f"{url}/slow"))
            await until(lambda: found(points)[0] == 1)
            late = asyncio.create_task(fetch(client, url, timeout=aiohttp.ClientTimeout(connect=SHORT)))
            await until(lambda: found(points)[2] == 1)
            during = found(points)
            with pytest.raises(aiohttp.ConnectionTimeoutError):
                await late
            Slow.open.set()
            await slow
            await fetch(client, url)
            return during

    assert asyncio.run(main()) == (1, 1, 1, 0, 1)
    assert points(TIMEOUTS)[TIMEOUTS, "web"] == 1
    assert sum(points(WAIT)[WAIT, "web"].counts) == 3


def test_aiohttp_connection_is_free_when_the_answer_is_read(points, url):
    """A connection is free again when the answer was read, also when only the connector is watched."""

    async def main():
        async with session() as client:
            watch_pool(client.connector, "web")
            await fetch(client, url)
            return found(points)

    assert asyncio.run(main()) == (0, 1, 0, 0, 1)


def test_aiohttp_reading_only(points):
    """Without waits a connector keeps its class and tells its limit."""

    async def main():
        async with session() as client:
            watch_pool(client, "web", waits=False)
            return type(client.connector), found(points)

    assert asyncio.run(main()) == (aiohttp.TCPConnector, (None, 1, None, None, 0))


def test_aiohttp_failed_connection_is_no_wait(points):
    """A server that is not there is no fault of the pool, and holds nothing."""

    async def main():
        async with session() as client:
            watch_pool(client, "web")
            with pytest.raises(aiohttp.ClientConnectorError):
                await fetch(client, "http://127.0.0.1:1/")
            return found(points)

    assert asyncio.run(main()) == (0, 1, 0, 0, 0)


def session():
    """Make a session with one connection."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1))


async def fetch(client, url, **options):
    """Get a page and read it."""
    async with client.get(url, **options) as answer:
        return await answer.text()


async def until(condition):
    """Wait until something is so."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    assert condition()
