"""Cells: what is recorded is what is read, whoever records."""

import dis
import os
import sys
import threading

import pytest

from agent_exporter.catalog import CATALOG, DURATION_BOUNDS
from agent_exporter.instrument import cells
from agent_exporter.instrument.cells import Counter, Distribution, Gauge, Histogram
from agent_exporter.instrument.families import MAX_VALUE_LENGTH
from agent_exporter.model import Kind

EXECUTIONS = "agent.tool.executions"
HITS = "agent.cache.requests"


def test_a_counter_adds_up(points):
    """A counter is the sum of what is added, through every handle of its label set."""
    cells.counter("agent.turns").add()
    cells.counter("agent.turns").add(2.5)

    assert points("agent.turns") == {("agent.turns",): 3.5}


@pytest.mark.parametrize("wrong", [-1.0, float("nan")])
def test_a_counter_never_falls(points, wrong):
    """What is negative or no number is left out of counters and histograms."""
    cells.counter("agent.turns").add(wrong)
    cells.histogram("agent.turn.duration").record(wrong)

    assert points("agent.turn") == {("agent.turns",): 0.0}


def test_a_gauge_is_what_was_said_last(points):
    """A gauge goes up and down; it is not there before it is said."""
    gauge = cells.gauge("agent.sessions.active")
    before = points()
    gauge.set(3)
    gauge.add(-1)

    assert (before, points()) == ({}, {("agent.sessions.active",): 2})


@pytest.mark.parametrize(
    ("value", "bucket"),
    [(0.0, 0), (0.005, 0), (0.0051, 1), (600.0, len(DURATION_BOUNDS) - 1), (601.0, len(DURATION_BOUNDS))],
)
def test_a_histogram_counts_up_to_and_with_its_bounds(points, value, bucket):
    """A value that is a bound belongs to the bucket below it; what is above all has the last."""
    cells.histogram("agent.turn.duration").record(value)

    counts = tuple(int(index == bucket) for index in range(len(DURATION_BOUNDS) + 1))
    assert points() == {("agent.turn.duration",): Distribution(DURATION_BOUNDS, counts, value)}


def test_a_weight_is_many_values(points):
    """A value with a weight counts as often, and as much."""
    cells.histogram("agent.turn.duration").record(2.0, 100)

    [found] = points().values()
    assert (sum(found.counts), found.sum) == (100, 200.0)


def test_siblings_begin_together(points):
    """The first outcome of a tool brings the others at 0, without a type of error."""
    cells.counter(EXECUTIONS, tool="a", tool_type="function", status="error", error_type="ValueError").add()

    assert points() == {
        (EXECUTIONS, "a", "function", "ok"): 0.0,
        (EXECUTIONS, "a", "function", "error"): 0.0,
        (EXECUTIONS, "a", "function", "error", "ValueError"): 1.0,
    }


def test_labels_are_those_of_the_catalogue(points):
    """Labels come in the catalogue's order, cut and as text; who sends is said by the resource."""
    labels = {"state": 1, "name": "x" * 1000, "agent": "me", "agent_instance": "1", "nonsense": "y", "role": ""}
    cells.gauge("agent.pool.size", **labels).set(1)

    [point] = cells.collect()
    assert point.labels == (("name", "x" * MAX_VALUE_LENGTH), ("state", "1"))


def test_too_many_label_sets_become_other(points, monkeypatch):
    """Beyond the limit open labels are folded and closed ones kept; it is counted, and nothing is lost."""
    monkeypatch.setattr(cells, "MAX_LABEL_SETS", 4)
    for number in range(10):
        cells.counter(HITS, cache=f"cache {number}", result="hit").add()

    found = points(HITS)
    assert {key[1] for key in found} == {"cache 0", "cache 1", "other"}
    assert sum(found.values()) == 10
    assert found[HITS, "other", "hit"] == 8
    assert points("agent.telemetry") == {("agent.telemetry.failures", "labels"): 8.0}


def test_the_wrong_kind_is_our_mistake(points):
    """A name of the catalogue has one kind; a name that is not there is none."""
    with pytest.raises(TypeError):
        cells.gauge("agent.turns")
    with pytest.raises(KeyError):
        cells.gauge("agent.nonsense")


def test_switched_off_nothing_is_recorded(points):
    """Handles of a library that is switched off do nothing."""
    cells.SWITCH.on = False
    cells.counter("agent.turns").add()
    cells.gauge("agent.sessions.active").set(1)
    cells.gauge("agent.sessions.active").add(1)
    cells.histogram("agent.turn.duration").record(1)

    assert points() == {("agent.turns",): 0.0}


# -- watches -----------------------------------------------------------------


def test_a_watch_is_read_when_collected(points):
    """What is watched is read at every collection until it is stopped."""
    value = [1.0]
    watch = cells.watch("agent.queue.size", lambda: [({"name": "q"}, value[0])])
    first = points()
    value[0] = 5.0
    second = points()
    watch.stop()

    assert [first, second, points()] == [{("agent.queue.size", "q"): 1.0}, {("agent.queue.size", "q"): 5.0}, {}]


def test_a_watch_that_raises_is_counted(points, caplog):
    """A watch that cannot be read loses its own points only; it is said once and counted always."""
    cells.watch("agent.queue.size", lambda: 1 / 0)
    cells.counter("agent.turns").add()
    points()

    found = points()
    assert found["agent.turns",] == 1.0
    assert found["agent.telemetry.failures", "watch"] == 1.0  # of the first; the second is told next time
    assert [record.message for record in caplog.records] == ["agent.queue.size cannot be read (ZeroDivisionError)"]


@pytest.mark.parametrize(("name", "value"), [("agent.queue.size", 7.0), ("agent.runtime.event_loop.utilization", 4.0)])
def test_two_of_a_name_are_one_point(points, name, value):
    """Amounts of the same labels add up, as a point may be there once; of shares the newest counts."""
    label = CATALOG[name].labels[-1]
    cells.watch(name, lambda: [({label: "x"}, 3.0)])
    cells.watch(name, lambda: [({label: "x"}, 4.0)])

    assert points() == {(name, "x"): value}


def test_watches_have_a_limit(points, monkeypatch):
    """More watches than the limit are refused and counted."""
    monkeypatch.setattr(cells, "MAX_WATCHES", 1)
    for name in "ab":
        cells.watch("agent.queue.size", lambda name=name: [({"name": name}, 1.0)])

    assert points() == {("agent.queue.size", "a"): 1.0, ("agent.telemetry.failures", "labels"): 1.0}


# -- forks -------------------------------------------------------------------


def test_a_child_begins_anew(points):
    """After a fork handles still count, from zero; watched totals count from the fork on."""
    hits = [5.0]
    counter = cells.counter("agent.turns")
    cells.gauge("agent.sessions.active").set(1)
    cells.watch(HITS, lambda: [({"cache": "c", "result": "hit"}, hits[0])])
    counter.add(7)
    assert points(HITS) == {(HITS, "c", "hit"): 5.0}

    def child():
        counter.add(1)
        first = points()
        hits[0] = 8.0
        return first, points()

    first, second = in_a_child(child)
    assert first == {("agent.turns",): 1.0, (HITS, "c", "hit"): 0.0}
    assert second == {("agent.turns",): 1.0, (HITS, "c", "hit"): 3.0}
    assert points("agent.turns") == {("agent.turns",): 7.0}


def test_a_watch_that_is_fresh_counts_in_full(points):
    """A total that begins at 0 in a child by itself is told as it is."""
    cells.watch("agent.process.cpu.time", lambda: [({"role": "self"}, 2.0)], fresh=True)

    assert in_a_child(points) == {("agent.process.cpu.time", "self"): 2.0}


def test_a_watched_total_that_falls_begins_anew(points):
    """What is watched was reset: it counts from zero, not from what a parent had."""
    hits = [5.0]
    cells.watch(HITS, lambda: [({"cache": "c", "result": "hit"}, hits[0])])

    def child():
        points()
        hits[0] = 2.0
        return points()

    assert in_a_child(child) == {(HITS, "c", "hit"): 2.0}


def in_a_child(work):
    """Do something in a forked child; returns its result."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, repr(work()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        found = answer.read()
    os.waitpid(pid, 0)
    return eval(found, {"Distribution": Distribution})


# -- threads -----------------------------------------------------------------

STOPS = ("CALL", "JUMP_BACKWARD", "RESUME", "FOR_ITER", "SEND", "YIELD")


@pytest.mark.parametrize(
    ("function", "written"), [(Counter.add, "total"), (Gauge.add, "value"), (Histogram.record, "sum")]
)
def test_no_thread_can_come_between(function, written):
    """Between reading and writing back an attribute there is nothing at which CPython changes threads."""
    code = [*dis.get_instructions(function)]
    stores = [index for index, each in enumerate(code) if each.opname == "STORE_ATTR" and each.argval == written]
    for store in stores:
        load = max(
            index for index in range(store) if code[index].opname == "LOAD_ATTR" and code[index].argval == written
        )
        between = [each.opname for each in code[load:store]]
        assert [name for name in between if name.startswith(STOPS)] == []
    assert len(stores) == 1


def test_no_thread_can_come_between_a_bucket(points):
    """Between reading and writing back a bucket there is nothing at which CPython changes threads either."""
    code = [each.opname for each in dis.get_instructions(Histogram.record)]
    store = code.index("STORE_SUBSCR")
    between = code[code.index("BINARY_SUBSCR") : store]

    assert [name for name in between if name.startswith(STOPS)] == []


def test_threads_lose_nothing(points):
    """Many threads that record at once, and are interrupted as often as possible, lose no update."""
    counter, histogram = cells.counter("agent.turns"), cells.histogram("agent.turn.duration")
    gauge = cells.gauge("agent.sessions.active")

    def record():
        for _ in range(20_000):
            counter.add()
            gauge.add(1)
            histogram.record(1.0)

    threads = [threading.Thread(target=record) for _ in range(8)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)

    found = points()
    [spent] = [value for value in found.values() if isinstance(value, Distribution)]
    assert (found["agent.turns",], found["agent.sessions.active",]) == (160_000, 160_000)
    assert (sum(spent.counts), spent.sum) == (160_000, 160_000.0)


def test_every_family_can_be_recorded(points):
    """Every row of the catalogue has a kind of cell, and is collected under its name."""
    makers = {Kind.COUNTER: cells.counter, Kind.GAUGE: cells.gauge, Kind.HISTOGRAM: cells.histogram}
    for instrument in CATALOG.values():
        made = makers[instrument.kind](instrument.name)
        {Kind.COUNTER: lambda made: made.add(1), Kind.GAUGE: lambda made: made.set(1)}.get(
            instrument.kind, lambda made: made.record(1)
        )(made)

    assert {point.name for point in cells.collect()} == set(CATALOG)
