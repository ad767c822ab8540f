import ast
import functools
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agent_exporter.instrument import cells, graft, watched
from agent_exporter.instrument.caches import watch_cache
from agent_exporter.instrument.watched import Row, observe, unknown

LIBRARIES = {
    *("aiocache", "aiohttp", "asyncpg", "cachetools", "diskcache", "httpx", "psycopg", "psycopg_pool", "redis"),
    "sqlalchemy",
}
GAUGE, COUNTER = "agent.queue.size", "agent.cache.evictions"


class Thing:
    """Something that tells a number."""

    def __init__(self, value):
        self.value = value


def test_importing_loads_no_library():
    """A library that has an adapter is not loaded by it."""
    code = "import sys; from agent_exporter.instrument import caches, pools, queues; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(watched.__file__).parents[2])}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)

    assert set(run.stdout.split()) & LIBRARIES == set()


@pytest.mark.parametrize("room", ["caches", "pools", "queues.py", "watched.py", "graft.py"])
def test_no_private_attributes_of_others(room):
    """Adapters use public attributes; `_put` and `_get` of queues are there to be overridden."""
    path = Path(watched.__file__).parent / room
    files = path.glob("*.py") if path.is_dir() else [path]
    private = {
        node.attr
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id == "self")
    }

    assert private <= {"_put", "_get"}


def test_thing_that_is_gone_leaves_no_trace(points):
    """What nobody else holds is neither read nor listed."""
    thing = Thing(1)
    observe(thing, ("name", "it"), [Row(GAUGE, {}, lambda thing: thing.value)])
    assert points() == {(GAUGE, "it"): 1}

    del thing

    assert watched._LIST.entries == {}
    assert points() == {}


def test_counts_that_begin_anew_together(points):
    """When one count of a thing falls, all of them began anew, also one that is back where it was."""
    thing = Thing((5, 5))
    rows = [
        Row(COUNTER, {"reason": reason}, lambda thing, place=place: thing.value[place])
        for place, reason in enumerate(("size", "ttl"))
    ]
    observe(thing, ("cache", "it"), rows)
    points()

    thing.value = (1, 5)

    assert points() == {(COUNTER, "it", "size"): 6, (COUNTER, "it", "ttl"): 10}


def test_things_of_one_name_add_up(points):
    """Counts and levels of things with one name are sums."""
    things = [Thing(1), Thing(2)]
    for thing in things:
        observe(thing, ("cache", "it"), [Row(COUNTER, {"reason": "size"}, lambda thing: thing.value)])
        observe(thing, ("name", "it"), [Row(GAUGE, {}, lambda thing: thing.value)])

    assert points() == {(COUNTER, "it", "size"): 3, (GAUGE, "it"): 3}


def test_things_come_and_go_while_they_are_read(points):
    """Other threads may watch and drop things while everything is read."""
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            observe(Thing(1), ("name", "it"), [Row(GAUGE, {}, lambda thing: thing.value)])

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(300):
        points()
    stop.set()
    for thread in threads:
        thread.join()

    assert watched._LIST.entries == {}
    assert "agent.telemetry.failures" not in {name for name, *_ in points()}


def test_child_counts_from_its_own_beginning(points):
    """A forked child does not tell again what the parent counted, nor misses what it counts itself."""
    cached = watch_cache(functools.cache(abs), "it")
    thing = Thing(5)
    observe(thing, ("cache", "thing"), [Row(COUNTER, {"reason": "size"}, lambda thing: thing.value)])
    cached(1)
    assert points("agent.cache.r")["agent.cache.requests", "it", "miss"] == 1
    cached(2)

    def child():
        cached(1)
        cached(3)
        before = points(COUNTER)
        thing.value = 7
        return before, points("agent.cache")

    before, after = in_fork(child)

    assert before == {(COUNTER, "thing", "size"): 0}
    assert after[COUNTER, "thing", "size"] == 2
    assert after["agent.cache.requests", "it", "hit"] == 1
    assert after["agent.cache.requests", "it", "miss"] == 1
    assert points("agent.cache.r")["agent.cache.requests", "it", "miss"] == 2


def in_fork(act):
    """Do something in a forked child; returns what it returned."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, pickle.dumps(act()))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(told)


def test_complaint_before_the_start(points, caplog):
    """What is unknown before the start is said and counted at the start; without one nothing is said."""
    cells.SWITCH.on = False
    unknown("a thing", Thing(1))
    assert caplog.records == []

    cells.SWITCH.on = True
    cells.begun()

    assert [record.message for record in caplog.records] == [
        f"cannot watch a thing of type {__name__}.Thing: nothing is known of it; see docs/library.md"
    ]
    assert points("agent.telemetry") == {("agent.telemetry.failures", "misuse"): 1}


def test_complaints_have_a_limit(points, caplog):
    """However many kinds of things are unknown, the log does not fill."""
    for place in range(cells.MAX_TOLD + 10):
        unknown("a thing", type(f"Thing{place}", (), {})())

    assert len(caplog.records) == cells.MAX_TOLD


def test_graft_is_on_one_object():
    """Other objects of the class stay as they are, and a second graft changes nothing."""
    one, other = Thing(1), Thing(2)
    graft.graft(one, lambda _: {"told": lambda self: self.value})
    graft.graft(one, lambda _: {"told": lambda _self: 0})

    assert one.told() == 1
    assert not hasattr(other, "told")
    assert isinstance(one, Thing)
    assert type(one).__qualname__ == "Thing"


def test_graft_on_what_is_written_in_c():
    """An object whose class cannot be changed is left alone, and whoever asked is told."""
    with pytest.raises(TypeError):
        graft.graft({}, lambda _: {})


class Reduced:
    """Something that pickles to a name."""

    def __reduce_ex__(self, _):
        return "REDUCED"


def test_graft_keeps_other_ways_to_pickle():
    """What pickles to a name goes on doing so."""
    one = Reduced()
    graft.graft(one, lambda _: {})

    assert one.__reduce_ex__(4) == "REDUCED"
