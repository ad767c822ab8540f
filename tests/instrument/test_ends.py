"""Ends and forks: what is pushed last by processes of every kind, and what a fork leaves behind."""

import http.client
import io
import os
import subprocess
import sys
import threading
import time
import types

import pytest

from agent_exporter.instrument import cells, export
from agent_exporter.instrument.export import Library, Pusher
from instrument.receiving import receiver
from instrument.servers import free_port, listens, wait_for

ENV = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}


@pytest.fixture(scope="module")
def received():
    """Receive what all programs here push, each under its own names."""
    with receiver() as running:
        yield running


def run(received, code, *args, path=None):
    """Run a program to its end, from a file if a path is given; returns what it printed."""
    env = ENV | {"OTEL_EXPORTER_OTLP_ENDPOINT": received.url, "NO_PROXY": "127.0.0.1"}
    if path is not None:
        path.write_text(code)
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", *([path] if path else ["-c", code])]
    done = subprocess.run([*command, *args], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


WORKERS = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from agent_exporter.instrument import feedback, flush, start

def work(name):
    start(interval=60, runtime=False)
    flush()  # what is counted from here on only the end can push
    for _ in range(10):
        feedback(name)

if __name__ == "__main__":
    method, kind = sys.argv[1:]
    context = multiprocessing.get_context(method)
    if kind == "pool":
        with ProcessPoolExecutor(2, context, initializer=start) as pool:
            list(pool.map(work, [method + kind] * 2))
    else:
        workers = [context.Process(target=work, args=(method + kind,)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
"""


@pytest.mark.parametrize("kind", ["process", "pool"])
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_started_in_a_worker(received, tmp_path, method, kind):
    """Workers of multiprocessing that start the library themselves push at their end, which passes by `atexit`."""
    run(received, WORKERS, method, kind, path=tmp_path / "workers.py")

    assert received.total("agent.feedback", rating=method + kind) == 20


FORKING = """
import multiprocessing.util, os, sys, time
from agent_exporter.instrument import feedback, flush, start
start(runtime=False)
flush()
feedback("parent")
before = len(multiprocessing.util._afterfork_registry)
for _ in range(20):
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)
print(len(multiprocessing.util._afterfork_registry) - before)

def work():
    flush()
    feedback("child")

child = multiprocessing.get_context("fork").Process(target=work)
child.start()
child.join()
"""


def test_forks_leave_nothing_behind(received):
    """Only once multiprocessing is asked to tell its workers' ends, however often the program forks."""
    assert int(run(received, FORKING)) <= 1
    assert [received.total("agent.feedback", rating=who) for who in ("parent", "child")] == [1, 1]


@pytest.fixture
def library(monkeypatch):
    """Make a library that pushes to nowhere and is not told of forks."""
    made = Library()
    monkeypatch.setattr(Pusher, "_load", lambda self: setattr(self, "exporter", None))
    monkeypatch.setattr(Pusher, "_push", lambda self: setattr(self, "delivered", True))
    monkeypatch.setattr(made, "_remember", lambda: None)
    on = cells.SWITCH.on
    yield made
    made.stop(1)
    cells.SWITCH.on = on


class Handed:
    """A lock that whoever waits for it has before its release is over."""

    def __init__(self):
        self.lock, self.taken = threading.Lock(), threading.Event()
        self.locked = self.lock.locked

    def acquire(self, timeout):
        """Take it."""
        return self.lock.acquire(timeout=timeout)

    def release(self):
        """Let another thread have it."""
        self.lock.release()
        self.taken.wait(0.2)


def test_forks_of_two_threads(points, library):
    """A fork that ends while another begins leaves the thread of ours as free as it was."""
    library.start("x", 60)
    library.pusher.loaded.wait()
    busy = library.pusher.busy = Handed()
    library.before_fork()
    first_is_over = threading.Event()
    steps = (library.before_fork, busy.taken.set, first_is_over.wait, library.after_fork)
    other = threading.Thread(target=lambda: [step() for step in steps])
    other.start()
    library.after_fork()
    first_is_over.set()
    other.join()

    assert not busy.locked()


def test_a_shutdown_within_a_fork(points, library):
    """What a fork waited for it lets go of, also if the library was shut down in between."""
    library.start("x", 60)
    library.pusher.loaded.wait()
    busy = library.pusher.busy
    library.before_fork()
    library.stop(1)
    library.after_fork()

    assert not busy.locked()


def test_an_end_just_before_a_push(points, library, monkeypatch):
    """Who asks for the end while the thread looks what it is asked for is heard, and not an interval later."""
    library.start("x", 60)
    pusher = library.pusher
    pusher.push(5)

    def monotonic():
        if threading.current_thread() is pusher.thread and not pusher.ending:
            pusher.ending = True
            pusher.wake.set()
        return time.monotonic()

    monkeypatch.setattr(export, "time", types.SimpleNamespace(monotonic=monotonic, sleep=time.sleep))
    pusher.push(5)

    assert pusher.done.wait(5)


@pytest.mark.parametrize("timeout", [float("inf"), 10**400, "long"], ids=["inf", "huge", "text"])
def test_odd_timeouts(points, library, monkeypatch, timeout):
    """Who wants to wait for ever waits long, and who says no number as long as usual."""
    monkeypatch.setattr(export, "_LIBRARY", library)
    library.start("x", 60)

    assert (export.flush(timeout), export.shutdown(timeout)) == (True, True)
    assert (export.flush(float("nan")), export.flush(-1)) == (True, True)


def test_a_thread_that_died(points, library, monkeypatch):
    """A thread of ours that an error has ended has delivered nothing since."""
    library.start("x", 60)
    pusher = library.pusher
    assert pusher.push(5)
    monkeypatch.setattr(pusher, "_answer", lambda _: 1 / 0 if pusher.ending and not pusher.done.is_set() else None)

    assert library.stop(5) is False


POOL = """
import multiprocessing, sys
from agent_exporter.instrument import feedback, flush, start

def work(rating):
    flush()  # what is counted from here on only the end can push
    feedback(rating)

start(runtime=False)
pool = multiprocessing.get_context("fork").Pool(2)
pool.map(work, ["pool"] * 10, chunksize=1)
pool.close()
pool.join()
"""


def test_a_pool_that_is_closed(received):
    """A pool's workers push at their end if they are let come to it."""
    run(received, POOL)

    assert received.total("agent.feedback", rating="pool") == 10


LIFESPAN = """
import asyncio
from contextlib import asynccontextmanager
from agent_exporter.instrument import feedback, flush, start

start(interval=60, runtime=False)

@asynccontextmanager
async def lifespan():
    yield
    await asyncio.to_thread(flush)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        async with lifespan():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
    else:
        await asyncio.to_thread(flush)  # what is counted from here on only the end can push
        feedback("uvicorn")
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_uvicorn(received, tmp_path, workers):
    """What ends by a signal pushes before, at the end of the lifespan (docs/library.md)."""
    (tmp_path / "app.py").write_text(LIFESPAN)
    port, before = free_port(), received.total("agent.feedback", rating="uvicorn")
    command = [sys.executable, "-m", "uvicorn", "app:app", "--app-dir", tmp_path, "--port", str(port)]
    env = ENV | {"OTEL_EXPORTER_OTLP_ENDPOINT": received.url, "NO_PROXY": "127.0.0.1"}
    with subprocess.Popen([*command, "--workers", str(workers), "--log-level", "critical"], env=env) as server:
        wait_for(server, lambda: listens(port), io.BytesIO())
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", "/")
            assert connection.getresponse().status == 204
            connection.close()
        server.terminate()
        server.wait(30)

    assert received.total("agent.feedback", rating="uvicorn") - before == 3
