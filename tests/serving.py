"""Real servers for tests: an event loop in a thread, and the least that a client needs."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import logging
import socket
import threading

import uvloop

from agent_exporter.web import serve

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@contextlib.contextmanager
def loop_thread(kind="uvloop"):
    """Run an event loop in a thread; yields a function that runs a coroutine there and waits for it."""
    loop = LOOPS[kind]()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def serving(app, limits=None, kind="uvloop", refused=lambda _reason: None):
    """Serve an app on a free port; yields the server, whose `run` runs a coroutine on its loop."""
    with loop_thread(kind) as run:
        server = run(serve(app, "127.0.0.1", 0, limits, refused))
        server.run = run
        try:
            yield server
        finally:
            run(server.stop(0.2))


def request(port, method, path, body=None, headers=None):
    """Send one request; returns (status, headers in lower case, body)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def dial(port):
    """Open a plain connection."""
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def until_closed(client):
    """Read all that comes until the server closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts)


class Logged(logging.Handler):
    """Collects records of a logger while it is attached."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        """Keep the record."""
        self.records.append(record)
