import asyncio
import multiprocessing
import queue
import threading
import time

import pytest

from agent_exporter.instrument.queues import StampedQueue, stamped, watch_queue

WAIT, SIZE, LIMIT = "agent.queue.wait.duration", "agent.queue.size", "agent.queue.limit"
KINDS = [queue.Queue, queue.LifoQueue, queue.PriorityQueue, asyncio.Queue, asyncio.LifoQueue, asyncio.PriorityQueue]
HELD = 0.05  # seconds that items wait
SPAWN = multiprocessing.get_context("spawn")


@pytest.mark.parametrize("kind", [*KINDS, SPAWN.Queue, queue.SimpleQueue])
def test_size(points, kind):
    """A queue is read for what waits in it and for what it takes, and keeps its class."""
    watched = kind()
    before = type(watched)
    assert watch_queue(watched, "it") is watched

    put = getattr(watched, "put_nowait", watched.put)
    put(1)
    put(2)

    assert points("agent.queue") == {(SIZE, "it"): 2}
    assert type(watched) is before
    if kind is SPAWN.Queue:
        watched.cancel_join_thread()
        watched.close()


@pytest.mark.parametrize("kind", KINDS)
def test_limit(points, kind):
    """A queue that takes only so much says how much."""
    watched = watch_queue(kind(3), "it")

    assert points(LIMIT) == {(LIMIT, "it"): watched.maxsize}


@pytest.mark.parametrize("kind", KINDS)
def test_waits(points, kind):
    """Each item's wait is recorded, and what comes out, in which order, is what it was."""
    plain, watched = kind(), watch_queue(kind(), "it", waits=True)
    for item in (2, 1, 2):
        plain.put_nowait(item)
        watched.put_nowait(item)
    time.sleep(HELD)

    found = [watched.get_nowait() for _ in range(3)]

    assert found == [plain.get_nowait() for _ in range(3)]
    assert isinstance(watched, kind)
    assert sum(points(WAIT)[WAIT, "it"].counts) == 3
    assert points(WAIT)[WAIT, "it"].sum >= 3 * HELD


def test_waits_between_threads(points):
    """Threads that wait for items do not count as items that wait."""
    watched = watch_queue(queue.Queue(1), "it", waits=True)
    taken = []
    taker = threading.Thread(target=lambda: taken.extend(iter(watched.get, None)))
    taker.start()

    time.sleep(2 * HELD)
    for item in (*range(50), None):
        watched.put(item)
    taker.join()

    assert taken == list(range(50))
    assert sum(points(WAIT)[WAIT, "it"].counts) == 51


def test_waits_of_what_was_there_before(points):
    """Items from before the watch come out, without a wait."""
    watched = queue.Queue()
    watched.put("early")
    watch_queue(watched, "it", waits=True)
    watched.put("late")

    assert [watched.get(), watched.get()] == ["early", "late"]
    assert sum(points(WAIT)[WAIT, "it"].counts) == 1


@pytest.mark.parametrize("make", [queue.Queue, queue.LifoQueue, asyncio.Queue])
def test_waits_in_a_queue_that_was_emptied(points, make):
    """Items that were thrown away leave no times for those that come after them."""
    watched, item = watch_queue(make(), "it", waits=True), object()
    watched.put_nowait(item)
    (watched.queue if hasattr(watched, "queue") else watched._queue).clear()
    time.sleep(HELD)
    watched.put_nowait(item)

    assert watched.get_nowait() is item
    assert points(WAIT)[WAIT, "it"].sum < HELD


def test_waits_of_tasks(points):
    """An asyncio queue's consumers get what was put in."""

    async def main():
        watched = watch_queue(asyncio.Queue(1), "it", waits=True)

        async def produce():
            for item in range(5):
                await watched.put(item)

        producer = asyncio.create_task(produce())
        found = [await watched.get() for _ in range(5)]
        await producer
        return found

    assert asyncio.run(main()) == list(range(5))
    assert sum(points(WAIT)[WAIT, "it"].counts) == 5


def test_waits_that_cannot_be_measured(points, caplog):
    """A queue that has no place for a stamp is read all the same, and it is said that waits are not known."""
    watched = watch_queue(queue.SimpleQueue(), "it", waits=True)
    watched.put(1)

    assert points("agent.queue") == {(SIZE, "it"): 1}
    assert [record.message for record in caplog.records] == [
        (
            "cannot watch the waits in a queue of type _queue.SimpleQueue: nothing is known of it; "
            "stamped(queue, name) measures those of any queue"
        )
    ]


@pytest.mark.parametrize("kind", [queue.SimpleQueue, queue.Queue, SPAWN.SimpleQueue, SPAWN.Queue])
def test_stamped(points, kind):
    """A wrapped queue carries the time of each item with it."""
    wrapped = stamped(kind(), "it")
    wrapped.put("item")
    time.sleep(HELD)

    assert wrapped.get() == "item"
    assert wrapped.empty()
    assert points(WAIT)[WAIT, "it"].sum >= HELD


def test_stamped_between_processes(points):
    """What another process put in waited from when it was put in there."""
    wrapped = stamped(SPAWN.Queue(), "it")
    process = SPAWN.Process(target=wrapped.put, args=("from afar",))
    process.start()
    process.join()
    time.sleep(HELD)

    assert wrapped.get(timeout=10) == "from afar"
    assert points(WAIT)[WAIT, "it"].sum >= HELD
    wrapped.close()


def test_stamped_without_waiting(points):
    """The methods that do not wait are wrapped too."""
    wrapped = stamped(queue.Queue(1), "it")
    wrapped.put_nowait("item")

    assert wrapped.get_nowait() == "item"
    with pytest.raises(queue.Empty):
        wrapped.get_nowait()
    assert sum(points(WAIT)[WAIT, "it"].counts) == 1


def test_queue_that_is_gone_is_not_read(points):
    """Watching keeps nothing alive."""
    watched = watch_queue(queue.Queue(), "it", waits=True)
    assert points(SIZE)
    del watched

    assert points(SIZE) == {}


def test_queues_of_one_name_add_up(points):
    """Several queues of one name are one number."""
    queues = [watch_queue(queue.Queue(), "it") for _ in range(3)]
    for each in queues:
        each.put(1)

    assert points(SIZE) == {(SIZE, "it"): 3}


def test_unknown_queue(points, caplog):
    """What tells no size is said to be unknown, and comes back as it was."""
    assert watch_queue([], "it") == []
    assert len(caplog.records) == 1


def test_failing_queue(points, caplog):
    """A queue that fails while it is looked at is an unknown one; one whose system tells no size is none."""

    class Broken:
        def __getattr__(self, name):
            raise RuntimeError(name)

    class Silent:
        def qsize(self):
            raise NotImplementedError

    watch_queue(Broken(), "it")
    silent = watch_queue(Silent(), "it")

    assert points("agent.queue") == {}
    assert len(caplog.records) == 1
    assert silent


def test_stamped_travels(points):
    """What another process gets of a wrapped queue records for itself."""
    wrapped = stamped(queue.SimpleQueue(), "it")
    state = wrapped.__getstate__()
    arrived = StampedQueue.__new__(StampedQueue)
    assert not hasattr(arrived, "_queue")
    arrived.__setstate__(state)

    wrapped.put("item")

    assert arrived.get() == "item"
    assert sum(points(WAIT)[WAIT, "it"].counts) == 1
