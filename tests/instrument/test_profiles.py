"""Profiles: steps, checkpoints, averages and what of them is exported."""

import asyncio
import os
import threading
import time
import tracemalloc

import pytest

from agent_exporter.instrument import cells
from agent_exporter.instrument import profiles as module
from agent_exporter.instrument.profiles import Cost, profile

DURATION = "agent.operation.duration"
GROWTH = "agent.operation.memory.growth"
MEBIBYTE = 1 << 20


@pytest.fixture(autouse=True)
def recording():
    """Record into empty cells."""
    cells.reset()
    cells.SWITCH.on = True
    yield
    cells.SWITCH.on = False
    module._TOTALS.reset()
    cells.reset()


def operations():
    """Give the count of each operation and status that was exported."""
    return {
        " ".join(dict(point.labels).values()): sum(point.value.counts)
        for point in cells.collect()
        if point.name == DURATION
    }


def growth():
    """Give the exported growth by operation."""
    return {dict(point.labels)["operation"]: point.value for point in cells.collect() if point.name == GROWTH}


def test_a_run_has_steps():
    """Steps and the whole are known from the run, with how long they took at least and at most."""
    began = time.perf_counter()
    with profile("index") as run:
        with run.step("load"):
            time.sleep(0.05)
        with run.step("write"):
            pass
        with run.step("write"):
            pass
    outer = time.perf_counter() - began

    costs = run.costs
    assert {name: cost.times for name, cost in costs.items()} == {"index": 1, "index.load": 1, "index.write": 2}
    assert 0.05 <= costs["index.load"].seconds <= costs["index"].seconds <= outer


def test_checkpoints_divide_a_run():
    """A checkpoint ends the step that began with the last one; together they take no more than the run."""
    with profile("index") as run:
        time.sleep(0.02)
        run.checkpoint("load")
        time.sleep(0.03)
        run.checkpoint("write")

    costs = run.costs
    assert costs["index.load"].seconds >= 0.02
    assert costs["index.write"].seconds >= 0.03
    assert costs["index.load"].seconds + costs["index.write"].seconds <= costs["index"].seconds


def test_runs_and_steps_are_operations():
    """What is measured is exported by name and by how it ended."""
    with profile("index") as run, run.step("load"):
        pass
    with pytest.raises(LookupError), profile("index") as run, run.step("load"):
        raise LookupError

    assert operations() == {
        "profile.index ok": 1,
        "profile.index error": 1,
        "profile.index.load ok": 1,
        "profile.index.load error": 1,
    }


def test_averages_are_of_all_runs():
    """Averages divide by the runs, whatever object they are asked of, and leave out other profiles."""
    for seconds in (0.01, 0.03):
        with profile("index", memory=None) as run, run.step("load"):
            time.sleep(seconds)
    with profile("index2"):
        pass

    averages = profile("index").averages

    assert {name: (cost.times, cost.growth) for name, cost in averages.items()} == {
        "index": (2, None),
        "index.load": (2, None),
    }
    assert 0.02 <= averages["index.load"].seconds <= averages["index"].seconds


def test_threads_do_not_mix():
    """Runs of one name in many threads are apart, and all of them count."""

    def work(number):
        for _ in range(200):
            with profile("index", memory=None) as run, run.step(f"part {number}"):
                pass
            assert set(run.costs) == {"index", f"index.part {number}"}

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {name: cost.times for name, cost in profile("index").averages.items()} == {
        "index": 800,
        **{f"index.part {number}": 200 for number in range(4)},
    }


def test_tasks_do_not_mix():
    """In async code a run is measured as long as it waits, also while others of its name run."""

    async def work(seconds):
        with profile("index") as run:
            with run.step("wait"):
                await asyncio.sleep(seconds)
            await asyncio.gather(*(one(run) for _ in range(3)))
        return run.costs

    async def one(run):
        with run.step("part"):
            await asyncio.sleep(0)

    async def main():
        return await asyncio.gather(work(0.02), work(0.05))

    first, second = asyncio.run(main())

    assert first["index.wait"].seconds >= 0.02
    assert second["index.wait"].seconds >= 0.05
    assert first["index.part"].times == second["index.part"].times == 3
    assert operations()["profile.index.part ok"] == 6


# -- memory ------------------------------------------------------------------


def test_the_resident_set_grows():
    """By default memory is what the process has more of, at least what a step filled and nobody freed."""
    with profile("index") as run:
        with run.step("load"):
            ballast = b"\1" * (64 * MEBIBYTE)
        with run.step("look"):
            pass

    assert run.costs["index.load"].growth > len(ballast) / 2
    assert run.costs["index.look"].growth < len(ballast) / 2


def test_traced_memory_is_exact():
    """With `tracemalloc` a step's growth is what Python allocated for it, and freeing is less than nothing."""
    with profile("index", memory="tracemalloc") as run:
        with run.step("load"):
            ballast = bytearray(MEBIBYTE)
        with run.step("free"):
            del ballast

    costs = run.costs
    assert MEBIBYTE <= costs["index.load"].growth < MEBIBYTE + 65536
    assert -MEBIBYTE - 65536 < costs["index.free"].growth <= -MEBIBYTE + 65536
    assert not tracemalloc.is_tracing()


def test_tracing_ends_with_the_last_run():
    """Runs that overlap trace together; who traced before them goes on."""
    with profile("outer", memory="tracemalloc"):
        with profile("inner", memory="tracemalloc"):
            assert tracemalloc.is_tracing()
        assert tracemalloc.is_tracing()
    assert not tracemalloc.is_tracing()

    tracemalloc.start()
    try:
        with profile("index", memory="tracemalloc"):
            pass
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()


def test_tracing_that_somebody_stops():
    """When tracing ends in the middle, the growth is unknown and the time is not."""
    with profile("index", memory="tracemalloc") as run, run.step("load"):
        tracemalloc.stop()

    assert [(cost.times, cost.growth) for cost in run.costs.values()] == [(1, None), (1, None)]


def test_average_growth_is_exported():
    """The growth of a step in all its runs is a gauge; what was not measured has none."""
    for size in (1, 3):
        with profile("index", memory="tracemalloc") as run, run.step("load"):
            ballast = bytearray(size * MEBIBYTE)
        del ballast
    with profile("timed", memory=None):
        pass

    found = growth()

    assert set(found) == {"profile.index", "profile.index.load"}
    assert 2 * MEBIBYTE <= found["profile.index.load"] < 2 * MEBIBYTE + 65536
    assert found["profile.index.load"] == profile("index").averages["index.load"].growth


def test_memory_that_cannot_be_read(monkeypatch, tmp_path):
    """Where there is no /proc only the time is measured."""
    monkeypatch.setattr("agent_exporter.instrument.memory._STATM", str(tmp_path / "statm"))

    with profile("index") as run:
        pass

    assert run.costs["index"].growth is None


def test_memory_of_an_unknown_kind():
    """A word that we do not know measures time only."""
    with profile("index", memory="everything") as run:
        pass

    assert run.costs["index"].growth is None


# -- manners -----------------------------------------------------------------


def test_names_are_limited(monkeypatch):
    """What is beyond the limit is counted as `other`, and a run keeps no more than that."""
    monkeypatch.setattr(module, "MAX_NAMES", 3)

    with profile("index") as run:
        for number in range(10):
            run.checkpoint(str(number))

    assert {name: cost.times for name, cost in run.costs.items()} == {"index.0": 1, "index.1": 1, "index.2": 1}
    assert operations()["profile.other ok"] == 8
    assert set(growth()) == {"profile.index.0", "profile.index.1", "profile.index.2", "profile.other"}


def test_while_it_is_off():
    """With the library switched off nothing is measured and nothing fails."""
    cells.SWITCH.on = False
    with profile("index", memory="tracemalloc") as run:
        with run.step("load"):
            assert not tracemalloc.is_tracing()
        run.checkpoint("write")
    cells.SWITCH.on = True

    assert (run.costs, run.averages, operations()) == ({}, {}, {})


def test_switched_on_in_the_middle():
    """A step that began while the library was off has no beginning to measure from."""
    cells.SWITCH.on = False
    run = profile("index")
    step = run.step("load")
    cells.SWITCH.on = True
    step.__exit__(None, None, None)

    assert run.costs == {}


def test_a_cost_is_a_tuple():
    """Costs can be unpacked and compared."""
    total = module.Total()
    total.add(2.0, 10.0)
    total.add(4.0, None)

    assert (total.sum(), total.average()) == (Cost(2, 6.0, 10.0), Cost(2, 3.0, 10.0))


def test_a_forked_child_begins_anew():
    """Averages of the parent are not the child's."""
    with profile("index"):
        pass
    reading, writing = os.pipe()

    if (child := os.fork()) == 0:
        os.write(writing, b"none" if profile("index").averages == {} else b"some")
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)

    assert os.read(reading, 10) == b"none"
    os.close(reading)
    assert profile("index").averages["index"].times == 1
