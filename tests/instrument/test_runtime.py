"""The runtime as the library tells it, against what others measure."""

import asyncio
import gc
import json
import os
import resource
import subprocess
import sys
import threading
import time
import tracemalloc
import weakref

import psutil
import pytest
import uvloop

from agent_exporter.instrument import cells, runtime
from agent_exporter.instrument.runtime import BEAT, watch_runtime

PAUSE = "agent.runtime.gc.pause"
DELAY = "agent.runtime.event_loop.delay"
TASKS = "agent.runtime.tasks"
MEBIBYTE = 1 << 20
TICK = 0.02  # seconds: the kernel counts processor time in hundredths, user and system each


@pytest.fixture(autouse=True)
def recording():
    """Record into empty cells, and run the garbage collector only where a test says so."""
    cells.reset()
    cells.SWITCH.on = True
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    runtime._ALL.stop()
    cells.SWITCH.on = False
    cells.reset()


def told(name, **labels):
    """Collect, and give the value of the one point with these labels among others."""
    [value] = [point.value for point in cells.collect() if point.name == name and labels.items() <= set(point.labels)]
    return value


def names():
    """Name the families that have points."""
    return {point.name for point in cells.collect()}


def failures():
    """Count what went wrong inside the library."""
    return sum(point.value for point in cells.collect() if point.name == cells.FAILURES)


def litter(count):
    """Leave objects behind that only the garbage collector can free."""
    for _ in range(count):
        ring = []
        ring.append(ring)


# -- garbage collector -------------------------------------------------------


def test_a_pause_is_as_long_as_others_measure():
    """The pause is not shorter than what two hooks around the collector see, nor longer than the call took."""
    watch_runtime()
    inner = {}
    first = lambda phase, _: inner.setdefault(phase, time.perf_counter()) if phase == "stop" else None  # noqa: E731
    last = lambda phase, _: inner.setdefault(phase, time.perf_counter()) if phase == "start" else None  # noqa: E731
    gc.callbacks.insert(0, first)
    gc.callbacks.append(last)
    litter(100_000)
    try:
        began = time.perf_counter()
        gc.collect()
        outer = time.perf_counter() - began
    finally:
        gc.callbacks.remove(first)
        gc.callbacks.remove(last)

    pause = told(PAUSE, generation="2")

    assert inner["stop"] - inner["start"] <= pause.sum <= outer
    assert sum(pause.counts) == 1


def test_runs_and_objects_are_counted_by_generation():
    """Each run counts for its own generation, with the objects that it freed."""
    watch_runtime()
    litter(1_000)

    gc.collect(0)
    gc.collect(1)
    gc.collect(1)

    counts = {each: told("agent.runtime.gc.collections", generation=each) for each in "012"}
    assert counts == {"0": 1, "1": 2, "2": 0}
    assert told("agent.runtime.gc.objects", generation="0", state="collected") >= 1_000
    assert told("agent.runtime.gc.objects", generation="0", state="uncollectable") == 0


def test_every_run_is_a_pause():
    """With threads that allocate, as many pauses are recorded as the collector says that it ran."""
    watch_runtime()
    threads = [threading.Thread(target=litter, args=(20_000,)) for _ in range(4)]
    gc.enable()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.disable()

    points = cells.collect()

    pauses = {dict(point.labels)["generation"]: sum(point.value.counts) for point in points if point.name == PAUSE}
    runs = {
        dict(point.labels)["generation"]: point.value
        for point in points
        if point.name == "agent.runtime.gc.collections" and point.value
    }
    assert runs == pauses
    assert runs["0"] > 50


def test_an_end_without_a_beginning_is_no_pause():
    """What another thread began, or nobody, is not measured."""
    watch_runtime()
    hook = runtime._ALL._garbage._hook

    hook("stop", {"generation": 0})
    thread = threading.Thread(target=hook, args=("start", {"generation": 0}))
    thread.start()
    thread.join()
    hook("stop", {"generation": 0})

    assert PAUSE not in names()


# -- the process -------------------------------------------------------------


def test_memory_is_what_psutil_sees():
    """Resident and virtual size lie between two readings of psutil, give or take a MiB."""
    watch_runtime()
    ballast = bytearray(64 * MEBIBYTE)
    process = psutil.Process()

    before = process.memory_info()
    rss, vms = (told("agent.process.memory.usage", role="self", type=each) for each in ("rss", "vms"))
    after = process.memory_info()

    assert min(before.rss, after.rss) - MEBIBYTE <= rss <= max(before.rss, after.rss) + MEBIBYTE
    assert min(before.vms, after.vms) - MEBIBYTE <= vms <= max(before.vms, after.vms) + MEBIBYTE
    assert rss > len(ballast)


def test_processor_time_is_what_psutil_sees():
    """Processor time, children that ended included, lies between two readings of psutil."""
    watch_runtime()
    subprocess.run([sys.executable, "-c", "sum(range(2_000_000))"], check=True)
    process = psutil.Process()

    before = sum(process.cpu_times()[:4])
    value = told("agent.process.cpu.time", role="self")
    after = sum(process.cpu_times()[:4])

    assert before - TICK <= value <= after + TICK


def test_disk_bytes_are_what_psutil_sees(tmp_path):
    """Bytes written to disks lie between two readings of psutil."""
    watch_runtime()
    with (tmp_path / "file").open("wb") as file:
        file.write(bytes(MEBIBYTE))
        file.flush()
        os.fsync(file.fileno())
    process = psutil.Process()

    before = process.io_counters().write_bytes
    value = told("agent.process.disk.io", role="self", direction="write")
    after = process.io_counters().write_bytes

    assert before <= value <= after


def test_threads():
    """Threads are counted by Python and by the kernel."""
    watch_runtime()
    python, kernel = told(TASKS, kind="thread"), told("agent.process.threads")
    go = threading.Event()
    threads = [threading.Thread(target=go.wait) for _ in range(3)]
    for thread in threads:
        thread.start()

    found = told(TASKS, kind="thread") - python, told("agent.process.threads") - kernel
    go.set()
    for thread in threads:
        thread.join()

    assert found == (3, 3)


def test_descriptors(tmp_path):
    """Open descriptors are counted without the one that counting needs; their limit is the soft one."""
    watch_runtime()
    before = told("agent.process.open_fds", role="self")

    files = [(tmp_path / str(number)).open("w") for number in range(5)]
    after = told("agent.process.open_fds", role="self")
    expected = psutil.Process().num_fds() - 1  # psutil counts the one that it lists with
    for file in files:
        file.close()

    assert (5, expected) == (after - before, after)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == told("agent.process.fd_limit", role="self")


def test_no_limit_is_no_number(monkeypatch):
    """Without a limit of descriptors none is told."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    watch_runtime()

    assert "agent.process.fd_limit" not in names()


def test_when_the_process_started():
    """The start lies within two seconds of psutil's, which knows the boot to the second."""
    watch_runtime()

    assert abs(told("agent.process.start_time") - psutil.Process().create_time()) < 2


def test_what_the_platform_lacks_is_left_out(monkeypatch, tmp_path):
    """Without /proc there is no memory to tell of, and that is no failure."""
    monkeypatch.setattr(runtime, "_PROC", tmp_path)

    watch_runtime()

    assert {name for name in names() if name.startswith("agent.process")} == {
        "agent.process.cpu.time",
        "agent.process.fd_limit",
    }
    assert failures() == 0


def test_the_heap_is_told_on_demand():
    """With heap=True Python's objects are measured by tracemalloc, which stops with the watch."""
    watch_runtime()
    assert "agent.runtime.heap.usage" not in names()

    watched = watch_runtime(heap=True)
    before = told("agent.runtime.heap.usage", runtime="cpython")
    ballast = bytearray(10 * MEBIBYTE)
    grown = told("agent.runtime.heap.usage", runtime="cpython") - before
    watched.stop()

    assert len(ballast) <= grown < len(ballast) + MEBIBYTE
    assert not tracemalloc.is_tracing()


def test_tracemalloc_of_somebody_else_goes_on():
    """Who traced before us keeps tracing; when he stops, there is nothing to tell."""
    tracemalloc.start()
    try:
        watched = watch_runtime(heap=True)
        assert told("agent.runtime.heap.usage") > 0
        watched.stop()
        assert tracemalloc.is_tracing()
        watch_runtime(heap=True)
    finally:
        tracemalloc.stop()

    assert "agent.runtime.heap.usage" not in names()


# -- event loops -------------------------------------------------------------


def blocked(seconds):
    """Watch a loop, block it, and give the delays, how long it was blocked and how long all took."""

    async def main():
        began = time.monotonic()
        watch_runtime()
        await asyncio.sleep(2 * BEAT)
        blocking = time.monotonic()
        time.sleep(seconds)  # noqa: ASYNC251
        ended = time.monotonic()
        await asyncio.sleep(2 * BEAT)
        return told_delays(), ended - blocking, time.monotonic() - began

    return main()


def told_delays():
    """Collect once, as every reading begins a new interval."""
    return {dict(point.labels)["stat"]: point.value for point in cells.collect() if point.name == DELAY}


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_delay_is_as_long_as_the_loop_was_blocked(new_loop):
    """The longest delay is the blocking sleep, less at most one beat, and no more than everything took."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        delays, slept, all_of_it = runner.run(blocked(0.5))

    assert slept - BEAT <= delays["max"] <= all_of_it
    assert 0 <= delays["mean"] <= delays["max"]


def test_a_loop_that_is_still_blocked():
    """Other threads see a loop hang while it hangs."""
    blocked_since, go, seen = threading.Event(), threading.Event(), {}

    async def main():
        watch_runtime()
        await asyncio.sleep(2 * BEAT)
        seen["since"] = time.monotonic()
        blocked_since.set()
        go.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    began = time.monotonic()
    thread.start()
    blocked_since.wait()
    time.sleep(5 * BEAT)
    at_least = time.monotonic() - seen["since"] - BEAT
    longest = told_delays()["max"]
    at_most = time.monotonic() - began
    go.set()
    thread.join()

    assert at_least <= longest <= at_most


def test_tasks_are_counted():
    """Tasks that are not done count, read from another thread as the exporter does."""

    async def main():
        watch_runtime()
        go = asyncio.Event()
        tasks = [asyncio.create_task(go.wait()) for _ in range(7)]
        count = await asyncio.to_thread(told, TASKS, kind="asyncio_task")
        go.set()
        await asyncio.gather(*tasks)
        return count, await asyncio.to_thread(told, TASKS, kind="asyncio_task")

    assert asyncio.run(main()) == (8, 1)


def test_two_loops_are_told_as_one():
    """Delays and tasks of several loops are those of the process, and a loop that is watched twice counts once."""

    async def main():
        loop = asyncio.get_running_loop()
        watch_runtime(loop)
        watch_runtime()
        other = asyncio.new_event_loop()
        thread = threading.Thread(target=other.run_forever)
        thread.start()
        watch_runtime(other)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), other).result()
        sleeper = asyncio.run_coroutine_threadsafe(asyncio.sleep(3600), other)
        await asyncio.sleep(2 * BEAT)
        found = set(told_delays()), told(TASKS, kind="asyncio_task"), len(runtime._ALL._beats)
        sleeper.cancel()
        await asyncio.sleep(BEAT)
        other.call_soon_threadsafe(other.stop)
        thread.join()
        other.close()
        return found

    assert asyncio.run(main()) == ({"mean", "max"}, 2, 2)


def test_a_loop_that_ended_is_forgotten():
    """The heartbeat ends with its loop: nothing is told any more, and nothing holds the loop."""

    async def main():
        watch_runtime()
        await asyncio.sleep(2 * BEAT)
        return weakref.ref(asyncio.get_running_loop())

    loop = asyncio.run(main())
    gc.collect()

    assert loop() is None
    assert DELAY not in names()
    assert [dict(point.labels)["kind"] for point in cells.collect() if point.name == TASKS] == ["thread"]
    assert failures() == 0


def test_a_loop_that_stands_still_is_not_late():
    """Between two runs of a loop no time is lost: what was due is not measured."""
    loop = asyncio.new_event_loop()
    watch_runtime(loop)
    loop.run_until_complete(asyncio.sleep(BEAT / 2))
    [beat] = runtime._ALL._beats
    assert beat._due is not None

    told_delays()

    assert beat._due is None
    loop.close()


def test_stop_ends_the_heartbeat():
    """After stop the loop has no timer of ours any more."""

    async def main():
        watched = watch_runtime()
        await asyncio.sleep(BEAT)
        [beat] = watched._beats
        watched.stop()
        await asyncio.sleep(2 * BEAT)
        beat.read()
        await asyncio.sleep(2 * BEAT)
        return list(beat._late)

    assert asyncio.run(main()) == []


def test_a_heartbeat_without_a_loop():
    """A heartbeat whose loop is gone does nothing."""
    loop = asyncio.new_event_loop()
    beat = runtime.Heartbeat(loop)
    loop.close()
    del loop
    gc.collect()

    beat.start()
    beat._beat()

    assert (beat.read(), beat.tasks()) == ([], 0)


@pytest.mark.parametrize("loop", ["closed", "no loop at all"])
def test_a_loop_that_cannot_be_watched(loop):
    """What cannot be watched is counted and not raised; the process is watched all the same."""
    if loop == "closed":
        loop = asyncio.new_event_loop()
        loop.close()

    watch_runtime(loop)

    assert failures() == 1
    assert "agent.process.cpu.time" in names()


# -- all of it ---------------------------------------------------------------


def test_twice_is_once():
    """The process is watched once, however often it is asked for."""
    hooks, threads = len(gc.callbacks), threading.active_count()

    assert watch_runtime() is watch_runtime()
    gc.collect()

    assert (hooks + 1, threads) == (len(gc.callbacks), threading.active_count())
    assert told("agent.runtime.gc.collections", generation="2") == 1


def test_stop():
    """After stop there is no hook and no watch, and it can begin again."""
    hooks = len(gc.callbacks)
    watched = watch_runtime()

    watched.stop()
    watched.stop()
    assert (hooks, set()) == (len(gc.callbacks), names())

    watch_runtime()
    assert told("agent.runtime.gc.collections", generation="2") == 0


def test_nothing_is_recorded_while_it_is_off():
    """With the library switched off a run of the collector leaves no trace."""
    watch_runtime()
    cells.SWITCH.on = False

    gc.collect()

    assert PAUSE not in names()


FORK = """
import asyncio, gc, json, os, sys, time
from agent_exporter.instrument import cells, runtime

gc.disable()
cells.SWITCH.on = True

def report():
    found = {}
    for point in cells.collect():
        value = sum(point.value.counts) if hasattr(point.value, "counts") else point.value
        found[" ".join([point.name, *dict(point.labels).values()])] = value
    return found

async def main():
    runtime.watch_runtime()
    await asyncio.sleep(0.3)
    for _ in range(5):
        gc.collect()
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass
    sys.stdout.flush()
    if os.fork() == 0:
        cells.zero()
        gc.collect(0)
        print(json.dumps(report()), flush=True)
        os._exit(0)
    os.wait()
    print(json.dumps(report()))

asyncio.run(main())
"""


def test_a_forked_child_counts_for_itself():
    """The child has the hooks and begins at 0, also with what the kernel and the collector tell; its loop is gone."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True, timeout=60)

    child, parent = map(json.loads, done.stdout.splitlines())

    collections = "agent.runtime.gc.collections cpython"
    assert (parent[f"{collections} 0"], parent[f"{collections} 2"]) == (0, 5)
    assert (child[f"{collections} 0"], child[f"{collections} 2"]) == (1, 0)
    assert (parent[f"{PAUSE} cpython 2"], parent.get(f"{PAUSE} cpython 0")) == (5, None)
    assert (child.get(f"{PAUSE} cpython 2"), child[f"{PAUSE} cpython 0"]) == (None, 1)
    assert child["agent.process.cpu.time self"] < 0.5 <= parent["agent.process.cpu.time self"]
    assert f"{DELAY} cpython max" in parent
    assert f"{DELAY} cpython max" not in child
