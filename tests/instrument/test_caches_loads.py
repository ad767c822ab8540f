import asyncio
import faulthandler
import functools
import inspect
import os
import threading
import time

import pytest

from agent_exporter.instrument.caches import loads, single_flight

LOADS, TOOK, WAITED = "agent.cache.loads", "agent.cache.load.duration", "agent.cache.load.wait.duration"
SHORT = 0.05  # seconds that a load takes


def found(points):
    """List loads that succeeded and failed, and how many waited for another's."""
    values = points("agent.cache")
    waited = values.get((WAITED, "it"))
    return values[LOADS, "it", "ok"], values[LOADS, "it", "error"], sum(waited.counts) if waited else 0


def all_at_once(*calls):
    """Run calls in threads that begin together; lists what each returned or raised."""
    results, together = [None] * len(calls), threading.Barrier(len(calls))

    def run(place, call):
        together.wait()
        try:
            results[place] = call()
        except LookupError as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_loads_of_ones_own_loader(points):
    """Loads and waits of any loader can be recorded, failures among them."""
    recorded = loads("it")

    with recorded.loading():
        time.sleep(SHORT)
    with recorded.waiting():
        time.sleep(SHORT)
    with pytest.raises(LookupError), recorded.loading():
        raise LookupError

    assert found(points) == (1, 1, 1)
    assert sum(points(TOOK)[TOOK, "it"].counts) == 2
    assert points(TOOK)[TOOK, "it"].sum >= SHORT
    assert points(WAITED)[WAITED, "it"].sum >= SHORT


def test_threads_share_a_load(points):
    """Of threads that want the same at once one loads, and the others wait and get the same."""
    calls = []

    @single_flight("it")
    def load(key, *, unit="s"):
        calls.append((key, unit))
        time.sleep(SHORT)
        return object()

    same = all_at_once(*[lambda: load(1)] * 4)
    other = all_at_once(lambda: load(1, unit="m"), lambda: load(2))

    assert len(set(map(id, same))) == 1
    assert len(set(map(id, other))) == 2
    assert sorted(calls) == [(1, "m"), (1, "s"), (2, "s")]
    assert found(points) == (3, 0, 3)
    assert load.__name__ == "load"


def test_nothing_is_kept(points):
    """A load that is over is forgotten; keeping is for a cache around it."""
    calls = []
    load = single_flight("it")(calls.append)
    cached = functools.cache(single_flight("cached")(calls.append))

    load(1)
    load(1)
    cached(2)
    cached(2)

    assert calls == [1, 1, 2]


def test_threads_share_a_failure(points):
    """An error is everybody's who waited for the load."""

    @single_flight("it")
    def load():
        time.sleep(SHORT)
        raise LookupError

    assert [type(each) for each in all_at_once(load, load, load)] == [LookupError] * 3
    assert found(points) == (0, 1, 2)


def test_interrupted_thread_leaves_the_load_to_another(points):
    """When whoever loads is interrupted, somebody who waited loads instead."""
    begun = threading.Event()
    calls = []

    @single_flight("it")
    def load():
        calls.append(1)
        if len(calls) > 1:
            return "loaded"
        begun.set()
        time.sleep(SHORT)
        raise KeyboardInterrupt

    def first():
        with pytest.raises(KeyboardInterrupt):
            load()

    def second():
        begun.wait()
        return load()

    assert all_at_once(first, second) == [None, "loaded"]
    assert found(points) == (1, 1, 1)


def test_load_that_asks_for_itself(points):
    """A load may come back to itself in its own thread without waiting for ever."""

    @single_flight("it")
    def load(deep=False):
        seen.append(deep)
        return load() if len(seen) < 3 else "end"

    seen = []

    assert load() == "end"
    assert found(points) == (1, 0, 0)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_is_no_key_is_loaded_by_everyone(points, kind):
    """A call whose arguments cannot be a key shares nothing, and works."""
    if kind == "sync":
        assert single_flight("it")(sum)([1, 2]) == 3
    else:

        @single_flight("it")
        async def total(numbers):
            return sum(numbers)

        assert asyncio.run(total([1, 2])) == 3

    assert found(points) == (1, 0, 0)


def test_tasks_share_a_load(points):
    """Of tasks that want the same at once one loads; the function stays a coroutine function."""
    calls = []

    @single_flight("it")
    async def load(key):
        calls.append(key)
        await asyncio.sleep(SHORT)
        return object()

    async def main():
        return await asyncio.gather(load(1), load(1), load(2), load(1))

    values = asyncio.run(main())

    assert inspect.iscoroutinefunction(load)
    assert values[0] is values[1] is values[3] is not values[2]
    assert calls == [1, 2]
    assert found(points) == (2, 0, 2)


def test_tasks_share_a_failure(points):
    """An error is everybody's who waited for the load, and nobody need have waited."""

    @single_flight("it")
    async def load():
        await asyncio.sleep(0)
        raise LookupError

    async def main():
        return await asyncio.gather(load(), load(), return_exceptions=True)

    assert [type(each) for each in asyncio.run(main())] == [LookupError] * 2
    with pytest.raises(LookupError):
        asyncio.run(load())
    assert found(points) == (0, 2, 1)


def test_cancelled_task_leaves_the_load_to_another(points):
    """When whoever loads is cancelled, somebody who waited loads instead."""
    calls = []

    @single_flight("it")
    async def load():
        calls.append(1)
        await asyncio.sleep(10 if len(calls) == 1 else 0)
        return "loaded"

    async def main():
        first, second, third = (asyncio.create_task(load()) for _ in range(3))
        await asyncio.sleep(SHORT)
        first.cancel()
        return await asyncio.gather(first, second, third, return_exceptions=True)

    cancelled, *others = asyncio.run(main())

    assert isinstance(cancelled, asyncio.CancelledError)
    assert others == ["loaded", "loaded"]
    assert len(calls) == 2
    assert found(points)[:2] == (1, 1)


def test_cancelled_waiter_cancels_no_load(points):
    """Whoever waits may be cancelled without harm to the load."""

    @single_flight("it")
    async def load():
        await asyncio.sleep(SHORT)
        return "loaded"

    async def main():
        first, second = asyncio.create_task(load()), asyncio.create_task(load())
        await asyncio.sleep(0)
        second.cancel()
        return await asyncio.gather(first, second, return_exceptions=True)

    loaded, cancelled = asyncio.run(main())

    assert loaded == "loaded"
    assert isinstance(cancelled, asyncio.CancelledError)
    assert found(points) == (1, 0, 1)


def test_loops_do_not_share(points):
    """Event loops in different threads load each for itself."""

    @single_flight("it")
    async def load():
        await asyncio.sleep(SHORT)
        return "loaded"

    assert all_at_once(*[lambda: asyncio.run(load())] * 2) == ["loaded"] * 2
    assert found(points) == (2, 0, 0)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_wrong_arguments(points, kind):
    """A call that cannot be made is a failure each time, and nobody waits for it."""
    if kind == "sync":

        @single_flight("it")
        def load(key):
            return key
    else:

        @single_flight("it")
        async def fetch(key):
            return key

        def load(*args):
            return asyncio.run(asyncio.wait_for(fetch(*args), 5))

    for _ in range(2):
        with pytest.raises(TypeError, match="positional"):
            load("a", "b")
    assert found(points) == (0, 2, 0)


def test_wrong_arguments_in_one_loop(points):
    """A call that cannot be made leaves nothing that the next of the same loop would wait for."""

    @single_flight("it")
    async def load(key):
        return key

    async def main():
        for _ in range(2):
            with pytest.raises(TypeError, match="positional"):
                await asyncio.wait_for(load("a", "b"), 5)

    asyncio.run(main())
    assert found(points) == (0, 2, 0)


def test_a_fork_within_a_load(points):
    """A child does not wait for a load of its parent, which ends elsewhere."""
    go, inside = threading.Event(), threading.Event()

    @single_flight("it")
    def load(key):
        inside.set()
        go.wait(30)
        return key

    loading = threading.Thread(target=load, args=("ada",))
    loading.start()
    inside.wait()
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(10, exit=True)
        go.set()
        os._exit(0 if load("ada") == "ada" else 1)
    go.set()
    loading.join()

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_generators_are_left_alone(points, caplog):
    """What yields values one by one cannot be shared, and stays as it is."""

    def load():
        yield 1

    assert single_flight("it")(load) is load
    assert len(caplog.records) == 1
