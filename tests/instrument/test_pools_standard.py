import asyncio
import concurrent.futures
import multiprocessing
import queue
import threading
import time

import aiohttp
import asyncpg
import httpx
import psycopg_pool
import pytest
import redis
import sqlalchemy

from agent_exporter.instrument.pools import pool, watch_pool
from agent_exporter.instrument.pools.waits import Waits, timed

WAIT, TIMEOUTS, WAITING = "agent.pool.wait.duration", "agent.pool.timeouts", "agent.pool.waiting"
SIZE, LIMIT = "agent.pool.size", "agent.pool.limit"
SHORT = 0.05  # seconds until a caller gives up
SPAWN = multiprocessing.get_context("spawn")


def found(points):
    """List members used, the limit, callers waiting, timeouts, and the number of waits."""
    values = points("agent.pool")
    waits = values.get((WAIT, "it"))
    keys = (SIZE, "it", "used"), (LIMIT, "it"), (WAITING, "it"), (TIMEOUTS, "it")
    return *(values.get(key) for key in keys), sum(waits.counts) if waits else 0


def until(condition):
    """Wait until something is so."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_threads(points):
    """Calls of an executor wait for a thread and then use one."""
    gate = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        assert watch_pool(executor, "it", limit=1) is executor
        calls = [executor.submit(gate.wait) for _ in range(3)]
        until(lambda: found(points)[0] == 1)
        during = found(points)
        time.sleep(SHORT)
        gate.set()
        assert [call.result() for call in calls] == [True] * 3
        until(lambda: found(points)[0] == 0)

    assert during == (1, 1, 2, 0, 1)
    assert found(points) == (0, 1, 0, 0, 3)
    assert points(WAIT)[WAIT, "it"].sum >= 2 * SHORT


def test_threads_of_a_cancelled_call(points):
    """A call that is cancelled while it waits does not wait any more, and was no wait."""
    gate = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        watch_pool(executor, "it")
        executor.submit(gate.wait)
        late = executor.submit(gate.wait)
        until(lambda: found(points)[0] == 1)
        late.cancel()
        after = found(points)
        gate.set()

    assert after == (1, None, 0, 0, 1)


def test_threads_refused_after_shutdown(points):
    """A call that the executor does not take does not wait."""
    executor = watch_pool(concurrent.futures.ThreadPoolExecutor(1), "it")
    executor.shutdown()

    with pytest.raises(RuntimeError):
        executor.submit(print)

    assert found(points) == (0, None, 0, 0, 0)


def test_threads_of_a_loop(points):
    """What an event loop hands to an executor counts too."""

    async def main():
        return await asyncio.get_running_loop().run_in_executor(executor, sum, (1, 2))

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        watch_pool(executor, "it")
        assert asyncio.run(main()) == 3

    assert found(points)[-1] == 1


def test_processes(points):
    """Calls to other processes are seen running and waiting; how long they wait is not known."""
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=SPAWN) as executor:
        watch_pool(executor, "it", limit=1)
        calls = [executor.submit(time.sleep, 0.3) for _ in range(4)]
        until(lambda: found(points)[0] == 1)
        during = found(points)
        for call in calls:
            call.result()
        until(lambda: found(points)[0] == 0)

    assert during[:3] == (1, 1, 3)
    assert found(points) == (0, 1, 0, None, 0)


@pytest.mark.parametrize("kind", [threading.Semaphore, threading.BoundedSemaphore])
def test_semaphore(points, kind):
    """A semaphore's permits are used until they are released; who gets none in time is counted."""
    semaphore = watch_pool(kind(2), "it", limit=2)

    with semaphore:
        assert semaphore.acquire()
        assert not semaphore.acquire(timeout=SHORT)
        assert not semaphore.acquire(blocking=False)  # asking is no waiting
        during = found(points)
        semaphore.release()

    assert during == (2, 2, 0, 1, 3)
    assert found(points)[0] == 0
    assert points(WAIT)[WAIT, "it"].sum >= SHORT


def test_semaphore_released_at_once(points):
    """Several permits can be given back in one call."""
    semaphore = watch_pool(threading.Semaphore(2), "it")
    semaphore.acquire()
    semaphore.acquire()

    semaphore.release(2)

    assert found(points)[0] == 0


@pytest.mark.parametrize("kind", [lambda: asyncio.Semaphore(1), lambda: asyncio.BoundedSemaphore(1), asyncio.Lock])
def test_async_semaphore(points, kind):
    """Tasks that wait for a semaphore or lock are seen waiting."""

    async def main():
        semaphore = watch_pool(kind(), "it", limit=1)
        async with semaphore:
            waiter = asyncio.create_task(semaphore.acquire())
            await asyncio.sleep(SHORT)
            during = found(points)
        await waiter
        semaphore.release()
        return during

    assert asyncio.run(main()) == (1, 1, 1, 0, 1)
    assert points(WAIT)[WAIT, "it"].sum >= SHORT


def test_cancelled_wait_is_no_timeout(points):
    """A wait that ends because its task is cancelled lasted that long, and nobody went without."""

    async def main():
        semaphore = watch_pool(asyncio.Semaphore(1), "it")
        async with semaphore:
            waiter = asyncio.create_task(semaphore.acquire())
            await asyncio.sleep(SHORT)
            waiter.cancel()
            await asyncio.wait([waiter])
            return found(points)

    assert asyncio.run(main()) == (1, None, 0, 0, 2)


def test_semaphore_of_processes(points):
    """A semaphore for processes tells what is left; what was taken follows from the limit."""
    semaphore = watch_pool(SPAWN.Semaphore(3), "it", limit=3)

    with semaphore:
        values = points("agent.pool")

    assert values == {(SIZE, "it", "idle"): 2, (SIZE, "it", "used"): 1, (LIMIT, "it"): 3}


def test_semaphore_of_processes_without_limit(points):
    """Without a limit it is known what is left only."""
    semaphore = watch_pool(SPAWN.Semaphore(3), "it")

    with semaphore:
        values = points(SIZE)

    assert values == {(SIZE, "it", "idle"): 2}


def test_semaphore_released_without_being_taken(points):
    """What was taken before the watch began and is given back later leaves the count at none."""
    semaphore = threading.Semaphore(1)
    semaphore.acquire()
    watch_pool(semaphore, "it")

    semaphore.release()

    assert found(points)[0] == 0


@pytest.mark.parametrize(
    "kind",
    [
        lambda: concurrent.futures.ThreadPoolExecutor(1),
        lambda: threading.Semaphore(1),
        lambda: httpx.Client(trust_env=False),
        lambda: redis.ConnectionPool(max_connections=1),
    ],
)
def test_reading_only(points, kind):
    """Without waits an object keeps its class, and tells what it can be asked for."""
    made = kind()
    before = type(made)

    assert watch_pool(made, "it", limit=1, waits=False) is made

    assert type(made) is before
    assert found(points)[1:] == (1, None, None, 0)


@pytest.mark.parametrize(
    "kind",
    [
        *(concurrent.futures.Future, threading.Event, asyncio.Event, aiohttp.FormData, sqlalchemy.MetaData),
        *(psycopg_pool.PoolTimeout, asyncpg.PostgresError, redis.RedisError, httpx.Headers),
        *(SPAWN.Event, SPAWN.Lock),
    ],
)
def test_other_things_of_known_libraries(points, caplog, kind):
    """What a library has besides pools is unknown, like anything else."""
    watch_pool(kind(), "it")

    assert len(caplog.records) == 1
    assert "nothing is known of it" in caplog.text
    assert points("agent.pool.s") == {}


class OlderPool(redis.ConnectionPool):
    """A pool of a redis-py that does not tell its counts yet."""

    @property
    def get_connection_count(self):
        """Have no such method."""
        raise AttributeError


def test_redis_before_it_told_its_counts(points, redis_url):
    """Connections in use of an older pool are counted; how many are idle is not known."""
    older = watch_pool(OlderPool.from_url(redis_url, max_connections=3), "it")

    connection = older.get_connection()
    during = found(points)
    older.release(connection)
    older.disconnect()

    assert during == (1, 3, 0, 0, 1)
    assert found(points)[0] == 0
    assert (SIZE, "it", "idle") not in points(SIZE)


class Told:
    """A pool of somebody's that tells what it has."""

    in_use = 3
    max_size = 5

    def idle(self):
        """Tell how many are free."""
        return 2


def test_objects_that_tell(points):
    """An object with usual names for what is used and idle is read, attributes and methods alike."""
    told = watch_pool(Told(), "it")

    assert points("agent.pool.s") == {(SIZE, "it", "used"): 3, (SIZE, "it", "idle"): 2}
    assert points(LIMIT) == {(LIMIT, "it"): told.max_size}


def test_objects_that_are_read_by_functions(points):
    """Functions can say how to read a pool of one's own."""
    members = watch_pool(Members([1, 2]), "it", limit=5, used=lambda members: 5 - len(members), idle=len)

    assert points("agent.pool") == {(SIZE, "it", "used"): 3, (SIZE, "it", "idle"): 2, (LIMIT, "it"): 5}
    assert members == [1, 2]


class Members(list):
    """A list that can be referenced weakly."""


def test_pool_that_is_gone_is_not_read(points):
    """Watching keeps nothing alive, and what is gone has no values."""
    told = watch_pool(Told(), "it")
    assert points(SIZE)
    del told

    assert points(SIZE) == {}


def test_unknown_object_is_told_of_once(points, caplog):
    """What cannot be watched is said in one line for each type, and comes back as it was."""
    things = [watch_pool(each, "it") for each in (object(), object())]

    assert all(type(each) is object for each in things)
    assert [record.message for record in caplog.records] == [
        (
            "cannot watch a pool of type builtins.object: nothing is known of it; "
            "watch_pool(it, name, used=…, idle=…) reads any object, and pool(name) measures how members are taken"
        )
    ]
    assert points("agent.telemetry") == {("agent.telemetry.failures", "misuse"): 2}


def test_object_that_fails_does_not_raise(points, caplog):
    """An object that fails while it is looked at is an unknown one; one that fails later is counted."""

    class Broken:
        def __getattr__(self, name):
            raise RuntimeError(name)

    watch_pool(Broken(), "it")
    late = watch_pool(Told(), "late", used=lambda _: 1 / 0, idle=lambda _: 1)

    assert points(SIZE) == {(SIZE, "late", "idle"): 1}
    assert points("agent.telemetry") == {
        ("agent.telemetry.failures", "misuse"): 1,
        ("agent.telemetry.failures", "watch"): 1,
    }
    assert late.in_use == 3
    assert len(caplog.records) == 2


def test_own_pool_around_functions(points):
    """A pool of one's own is measured around taking from a queue and giving back to it."""
    free = queue.Queue()
    free.put("a browser")
    browsers = pool("it", limit=1)

    with browsers.acquire(free.get, free.put) as browser:
        assert browser == "a browser"
        with pytest.raises(queue.Empty), browsers.acquire(lambda: free.get(timeout=SHORT), free.put):
            pass
        during = found(points)

    assert during == (1, 1, 0, 1, 2)
    assert found(points)[0] == 0
    assert free.qsize() == 1


def test_own_pool_around_a_context_manager(points):
    """A context manager is entered and left as it would be, whatever happens in between."""
    lock = threading.Lock()
    locks = pool("it")

    def fail():
        with locks.acquire(lock):
            assert lock.locked()
            raise LookupError

    with pytest.raises(LookupError):
        fail()

    assert not lock.locked()
    assert found(points) == (0, None, 0, 0, 1)


def test_own_pool_in_async_code(points):
    """Async context managers and functions work the same."""
    free = ["a", "b"]

    async def take():
        return free.pop()

    async def give(member):
        free.append(member)

    async def main():
        semaphore = asyncio.Semaphore(1)
        measured = pool("it")
        async with measured.acquire(semaphore), measured.acquire(take, give) as member:
            assert (member, semaphore.locked()) == ("b", True)
            during = found(points)
            waiter = asyncio.create_task(measured.acquire(semaphore).__aenter__())
            await asyncio.sleep(SHORT)
            waiting = found(points)
            waiter.cancel()
            await asyncio.wait([waiter])
        return during, waiting, found(points)

    during, waiting, after = asyncio.run(main())
    assert during == (2, None, 0, 0, 2)
    assert waiting == (2, None, 1, 0, 2)
    assert after == (0, None, 0, 0, 3)
    assert free == ["a", "b"]


def test_own_pool_with_plain_functions_in_async_code(points):
    """Functions need not be async to be used in an async statement."""
    free = ["a"]

    async def main():
        async with pool("it").acquire(free.pop, free.append) as member:
            return member

    assert asyncio.run(main()) == "a"
    assert free == ["a"]
    assert points(TIMEOUTS) == {(TIMEOUTS, "it"): 0}


def test_async_methods_that_hide_it(points):
    """A method that only returns a coroutine is timed while it is awaited."""

    class Hidden:
        def get(self):
            return self.get_soon()

        async def get_soon(self):
            await asyncio.sleep(SHORT)
            return "member"

    waits, took = Waits("it"), []
    waits.open(counts_used=False)
    get = timed(Hidden().get, waits, took.append)

    assert asyncio.run(get()) == "member"

    assert waits.waiting == 0
    assert took == ["member"]
    assert points(WAIT)[WAIT, "it"].sum >= SHORT


def test_watched_twice(points):
    """A pool that is measured under a name keeps it."""
    semaphore = watch_pool(watch_pool(threading.Semaphore(1), "it"), "other")

    with semaphore:
        assert points(SIZE) == {(SIZE, "it", "used"): 1}
