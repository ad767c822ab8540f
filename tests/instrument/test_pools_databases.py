import asyncio
import threading
import time

import asyncpg
import psycopg_pool
import pytest
import redis
import redis.asyncio
import sqlalchemy
import sqlalchemy.exc
from sqlalchemy.ext.asyncio import create_async_engine

from agent_exporter.instrument.pools import watch_pool

WAIT, TIMEOUTS, WAITING = "agent.pool.wait.duration", "agent.pool.timeouts", "agent.pool.waiting"
SIZE, LIMIT = "agent.pool.size", "agent.pool.limit"
SHORT = 0.2  # seconds until a caller gives up
HELD = 0.3  # seconds that a member is kept from others


def waits(points, name="db"):
    """Say how many waits there were, and how long they were together."""
    found = points(WAIT)[WAIT, name]
    return sum(found.counts), found.sum


def sizes(points, name="db"):
    """List members used and idle, the limit, callers waiting and timeouts."""
    found = points("agent.pool")
    keys = (SIZE, name, "used"), (SIZE, name, "idle"), (LIMIT, name), (WAITING, name), (TIMEOUTS, name)
    return tuple(found.get(key) for key in keys)


def sync_engine(address):
    """Make an engine with one connection."""
    return sqlalchemy.create_engine(f"postgresql+psycopg://{address}", pool_size=1, max_overflow=0, pool_timeout=SHORT)


def test_sqlalchemy_tells_used_and_idle(points, postgres):
    """Connections of an engine are used while they are checked out and idle afterwards; the limit is as given."""
    engine = watch_pool(sync_engine(postgres), "db", limit=1)

    with engine.connect():
        used = sizes(points)
    idle = sizes(points)
    engine.dispose()

    assert used == (1, 0, 1, 0, 0)
    assert idle == (0, 1, 1, 0, 0)
    assert waits(points)[0] == 1


def test_sqlalchemy_counts_who_went_without(points, postgres):
    """A caller that gives up has waited as long as the pool let him, and is counted."""
    engine = watch_pool(sync_engine(postgres), "db")

    with engine.connect(), pytest.raises(sqlalchemy.exc.TimeoutError):
        engine.connect()
    engine.dispose()

    assert sizes(points)[-1] == 1
    assert waits(points)[0] == 2
    assert waits(points)[1] >= SHORT


def test_sqlalchemy_pool_may_be_replaced(points, postgres):
    """An engine whose pool was disposed of is watched with its new pool."""
    engine = watch_pool(sync_engine(postgres), "db")
    engine.dispose()

    with engine.connect():
        used = sizes(points)
    engine.dispose()

    assert used[:2] == (1, 0)
    assert waits(points)[0] == 1


def test_sqlalchemy_async_engine(points, postgres):
    """An async engine is watched like a sync one, and so is who waits for it."""

    async def main():
        engine = create_async_engine(
            f"postgresql+asyncpg://{postgres}", pool_size=1, max_overflow=0, pool_timeout=5 * SHORT
        )
        assert watch_pool(engine, "db", limit=1) is engine
        async with engine.connect() as connection:
            assert await connection.scalar(sqlalchemy.text("select 1")) == 1
            waiter = asyncio.create_task(engine.connect().__aenter__())
            await asyncio.sleep(SHORT / 4)
            during = sizes(points)
            with pytest.raises(sqlalchemy.exc.TimeoutError):
                await waiter
        await engine.dispose()
        return during

    assert asyncio.run(main()) == (1, 0, 1, 1, 0)
    assert sizes(points)[-1] == 1
    assert waits(points)[0] == 2


def test_sqlalchemy_reads_only_without_waits(points, postgres):
    """A pool that is only read keeps its class, and nothing is known of waits."""
    engine = sync_engine(postgres)
    kind = type(engine.pool)
    watch_pool(engine, "db", waits=False)

    with engine.connect():
        found = sizes(points)
    engine.dispose()

    assert type(engine.pool) is kind
    assert found == (1, 0, None, None, None)


def test_psycopg_and_asyncpg_read_only_without_waits(points, postgres):
    """Pools that are only read keep their classes."""

    async def main():
        async with asyncpg.create_pool(f"postgresql://{postgres}", min_size=0, max_size=3) as pool:
            watch_pool(pool, "db", waits=False)
            return type(pool), sizes(points)

    with psycopg_pool.ConnectionPool(f"postgresql://{postgres}", min_size=1, max_size=2) as pool:
        pool.wait()
        watch_pool(pool, "sync", waits=False)
        assert (type(pool), sizes(points, "sync")) == (psycopg_pool.ConnectionPool, (0, 1, 2, None, None))
    assert asyncio.run(main()) == (asyncpg.Pool, (0, 0, 3, None, None))


def test_psycopg_pool_with_several_takers(points, postgres):
    """Those who wait for a connection are seen waiting, and how long each waited is recorded."""
    with psycopg_pool.ConnectionPool(f"postgresql://{postgres}", min_size=1, max_size=1, open=True) as pool:
        pool.wait()
        watch_pool(pool, "db")

        def take():
            with pool.connection() as connection:
                connection.execute("select 1")

        takers = [threading.Thread(target=take) for _ in range(3)]
        with pool.connection():
            for taker in takers:
                taker.start()
            until(lambda: sizes(points)[3] == 3)
            time.sleep(HELD)
        for taker in takers:
            taker.join()
        until(lambda: sizes(points)[1] == 1)  # connections come back in a thread of the pool's
        found = sizes(points)

    assert waits(points)[0] == 4
    assert waits(points)[1] >= 3 * HELD
    assert found == (0, 1, 1, 0, 0)


def test_psycopg_pool_counts_who_went_without(points, postgres):
    """A caller that gives up is counted, and one that is refused because too many wait."""
    with psycopg_pool.ConnectionPool(f"postgresql://{postgres}", min_size=1, max_size=1, max_waiting=1) as pool:
        pool.wait()
        watch_pool(pool, "db")
        with pool.connection():
            used = sizes(points)
            waiter = threading.Thread(target=give_up, args=(pool,))
            waiter.start()
            until(lambda: sizes(points)[3] == 1)
            with pytest.raises(psycopg_pool.TooManyRequests):
                pool.getconn(SHORT)
            waiter.join()

    assert used[:3] == (1, 0, 1)
    assert sizes(points)[-1] == 2


def test_async_psycopg_pool(points, postgres):
    """An async pool is watched like a sync one."""

    async def main():
        async with psycopg_pool.AsyncConnectionPool(f"postgresql://{postgres}", min_size=1, max_size=1) as pool:
            await pool.wait()
            watch_pool(pool, "db")
            async with pool.connection():
                with pytest.raises(psycopg_pool.PoolTimeout):
                    await pool.getconn(SHORT)
                return sizes(points)

    assert asyncio.run(main()) == (1, 0, 1, 0, 1)
    assert waits(points)[0] == 2
    assert waits(points)[1] >= SHORT


def test_asyncpg_pool(points, postgres):
    """However a connection is asked for, the wait counts, and so does giving up."""

    async def main():
        async with asyncpg.create_pool(f"postgresql://{postgres}", min_size=1, max_size=1) as pool:
            assert watch_pool(pool, "db") is pool
            assert isinstance(pool, asyncpg.Pool)
            assert await pool.fetchval("select 1") == 1
            connection = await pool.acquire()
            used = sizes(points)
            with pytest.raises(TimeoutError):
                await pool.acquire(timeout=SHORT)
            await pool.release(connection)
            async with pool.acquire() as connection:
                assert await connection.fetchval("select 2") == 2
            return used, sizes(points)

    assert asyncio.run(main()) == ((1, 0, 1, 0, 0), (0, 1, 1, 0, 1))
    assert waits(points)[0] == 4
    assert waits(points)[1] >= SHORT


def test_asyncpg_pool_is_let_go_when_closed(points, postgres):
    """A pool that its owner closed is not read any more."""

    async def main():
        async with asyncpg.create_pool(f"postgresql://{postgres}", min_size=1, max_size=1) as pool:
            watch_pool(pool, "db")
        return points(SIZE)

    assert asyncio.run(main()) == {}


def test_redis_pool_that_refuses(points, redis_url):
    """A pool that does not let wait counts whom it refuses."""
    client = redis.Redis.from_url(redis_url, max_connections=1)
    watch_pool(client, "db")

    client.ping()
    taken = client.connection_pool.get_connection()
    with pytest.raises(redis.exceptions.MaxConnectionsError):
        client.ping()
    used = sizes(points)
    client.connection_pool.release(taken)
    idle = sizes(points)
    client.close()

    assert used == (1, 0, 1, 0, 1)
    assert idle == (0, 1, 1, 0, 1)
    assert waits(points)[0] == 3


def test_redis_pool_with_several_takers(points, redis_url):
    """Those who wait for a connection are seen waiting, and counted when they give up."""
    pool = redis.BlockingConnectionPool.from_url(redis_url, max_connections=1, timeout=5)
    client = watch_pool(redis.Redis(connection_pool=pool), "db")
    takers = [threading.Thread(target=client.ping) for _ in range(3)]

    taken = pool.get_connection()
    for taker in takers:
        taker.start()
    until(lambda: sizes(points)[3] == 3)
    time.sleep(HELD)
    pool.release(taken)
    for taker in takers:
        taker.join()

    assert sizes(points) == (0, 1, 1, 0, 0)
    assert waits(points)[0] == 4
    assert waits(points)[1] >= 3 * HELD
    pool.disconnect()


def test_redis_pool_counts_who_went_without(points, redis_url):
    """Giving up is told from a connection that fails, though redis-py raises the same."""
    pool = redis.BlockingConnectionPool.from_url(redis_url, max_connections=1, timeout=SHORT)
    closed = redis.BlockingConnectionPool.from_url("redis://127.0.0.1:1/0", max_connections=1, timeout=SHORT)
    watch_pool(pool, "db")
    watch_pool(closed, "closed")

    taken = pool.get_connection()
    with pytest.raises(redis.exceptions.ConnectionError):
        pool.get_connection()
    with pytest.raises(redis.exceptions.ConnectionError):
        closed.get_connection()
    pool.release(taken)
    pool.disconnect()

    assert sizes(points)[-1] == 1
    assert sizes(points, "closed")[-1] == 0
    assert (WAIT, "closed") not in points(WAIT)


@pytest.mark.parametrize("kind", [redis.asyncio.ConnectionPool, redis.asyncio.BlockingConnectionPool])
def test_async_redis_pool(points, redis_url, kind):
    """An async pool is watched like a sync one, be it one that lets wait or not."""

    async def main():
        options = {"timeout": SHORT} if kind is redis.asyncio.BlockingConnectionPool else {}
        client = redis.asyncio.Redis(connection_pool=kind.from_url(redis_url, max_connections=1, **options))
        watch_pool(client, "db")
        await client.ping()
        taken = await client.connection_pool.get_connection()
        with pytest.raises(redis.exceptions.ConnectionError):
            await client.connection_pool.get_connection()
        used = sizes(points)
        await client.connection_pool.release(taken)
        idle = sizes(points)
        await client.aclose()
        await client.connection_pool.disconnect()
        return used, idle

    assert asyncio.run(main()) == ((1, 0, 1, 0, 1), (0, 1, 1, 0, 1))
    assert waits(points)[0] == 3


def until(condition):
    """Wait until something is so."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def give_up(pool):
    """Wait for a connection in vain."""
    with pytest.raises(psycopg_pool.PoolTimeout):
        pool.getconn(5 * SHORT)
