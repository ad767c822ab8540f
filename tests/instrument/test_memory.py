"""Memory: profiles, tools and the runtime share tracemalloc, and none of them ends it for another."""

import os
import threading
import tracemalloc

import pytest

from agent_exporter.instrument import profile, tool, watch_runtime
from agent_exporter.instrument.memory import TRACES, Traces, resident, traced
from agent_exporter.instrument.tracks import TRACKS

HEAP = ("agent.runtime.heap.usage", "cpython")


@pytest.fixture(autouse=True)
def nothing(points):
    """Begin and end without tools, and without anybody who traces."""
    TRACKS.forget()
    yield
    watch_runtime().stop()
    TRACKS.forget()
    TRACES.leave(TRACKS)
    assert not tracemalloc.is_tracing()


def test_the_end_of_a_profile_leaves_the_heap(points):
    """A heap that is watched since the middle of a run is told after it as well."""
    with profile("index", memory="tracemalloc"):
        watch_runtime(heap=True)

    assert points()[HEAP] > 0


def test_the_end_of_a_watch_leaves_profiles(points):
    """A run that began while the heap was watched is measured to its end."""
    watched = watch_runtime(heap=True)
    with profile("index", memory="tracemalloc") as run:
        watched.stop()
        ballast = bytearray(1 << 20)

    assert run.costs["index"].growth > len(ballast) / 2


def test_a_tool_stays(points):
    """A tool that is measured goes on being measured, whichever of the others ends."""
    watched = watch_runtime(heap=True)
    kept = []
    keep = tool("keep", memory="tracemalloc")(lambda: kept.append(bytearray(1 << 20)))
    keep()
    watched.stop()
    with profile("index", memory="tracemalloc"):
        pass
    keep()

    assert points("agent.tool.memory")["agent.tool.memory.growth", "keep"].sum >= 2 << 20
    assert tracemalloc.is_tracing()


def test_a_tool_begins_again(points):
    """When somebody else stops tracing, a tool's next call traces again."""
    keep = tool("keep", memory="tracemalloc")(lambda: None)
    tracemalloc.start()
    keep()
    tracemalloc.stop()
    keep()

    assert sum(points("agent.tool.memory")["agent.tool.memory.growth", "keep"].counts) == 2


def test_the_end_of_tracing_within_a_call(points):
    """A call in which tracing is stopped and begun anew left nothing that could be told, and fails at nothing."""
    tool("stop", memory="tracemalloc")(tracemalloc.stop)()

    assert points("agent.tool.memory")["agent.tool.memory.growth", "stop"].sum == 0
    assert points("agent.telemetry") == {}


def test_the_last_one_ends_it():
    """Tracing goes on until all have left; entering twice is once, and leaving without entering is nothing."""
    traces = Traces()
    traces.enter("a")
    traces.enter("a")
    traces.enter("b")
    traces.leave("a")
    traces.leave("c")
    assert tracemalloc.is_tracing()

    traces.leave("b")
    assert not tracemalloc.is_tracing()


def test_who_was_first_keeps_it():
    """What somebody else started is his to stop."""
    traces = Traces()
    tracemalloc.start()
    traces.enter("a")
    traces.leave("a")
    assert tracemalloc.is_tracing()

    tracemalloc.stop()


def test_a_fork_while_it_is_locked():
    """A forked child can trace, though a thread that it has not was just about to."""
    locked, done = threading.Event(), threading.Event()

    def hold():
        with TRACES._lock:
            locked.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait()
    if (child := os.fork()) == 0:
        free = TRACES._lock.acquire(timeout=1)
        os._exit(0 if free else 1)
    done.set()
    holder.join()

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_readings():
    """What is in use is in bytes, and nothing is told of objects that nobody traces."""
    assert 1 << 20 < resident() < 1 << 36
    assert traced() is None
