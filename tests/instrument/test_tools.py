"""Tools: whatever is decorated stays what it is, and every call counts once."""

import asyncio
import dis
import functools
import gc
import inspect
import itertools
import os
import sys
import threading
import traceback
import tracemalloc
import types
import weakref

import agents
import langchain_core.tools
import pydantic_ai
import pytest
import trio

from agent_exporter.instrument import cells, operation, tool, tools, wrap_tools
from agent_exporter.instrument.families import ATTRIBUTED
from agent_exporter.instrument.memory import TRACES
from agent_exporter.instrument.sizes import MAX_PARTS, MAX_TEXT, size
from agent_exporter.instrument.tracks import MAX_TRACKS, TRACKS

EXECUTIONS, DURATION = "agent.tool.executions", "agent.tool.execution.duration"
FAILURES = "agent.telemetry.failures"


def released():
    """Make a view of nothing any more."""
    view = memoryview(b"abc")
    view.release()
    return view


@pytest.fixture(autouse=True)
def nothing(points):
    """Begin without tools."""
    TRACKS.forget()
    yield
    TRACKS.forget()


@pytest.fixture
def calls(points):
    """List the calls by (tool, status, error type), those that are 0 left out."""

    def calls():
        found = points(EXECUTIONS)
        return {(key[1], *key[3:]): value for key, value in found.items() if value}

    return calls


class Refused(Exception):
    """What tools raise here."""


class Silent:
    """What has no text."""

    def __str__(self):
        raise ValueError


# -- kinds -------------------------------------------------------------------


def test_a_function(calls, points):
    """A plain function is called, timed and counted; its result is what it was."""

    @tool
    def search(query, *, limit=3):
        """Search."""
        return [query] * limit

    assert search("x", limit=2) == ["x", "x"]
    assert (search.__name__, search.__doc__, str(inspect.signature(search))) == (
        "search",
        "Search.",
        "(query, *, limit=3)",
    )
    assert calls() == {("search", "ok"): 1}
    assert sum(points(DURATION)[DURATION, "search", "ok"].counts) == 1


def test_an_error_passes_unchanged(calls, points):
    """What a tool raises reaches the caller as it was, with one more frame, and is counted by its class."""
    error = Refused("x")

    @tool("deny")
    def refuse():
        raise error

    with pytest.raises(Refused) as caught:
        refuse()
    assert caught.value is error
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)][1:] == ["measured", "refuse"]
    assert calls() == {("deny", "error", "Refused"): 1}
    assert sum(points(DURATION)[DURATION, "deny", "error"].counts) == 1


def test_a_coroutine(calls):
    """A coroutine function stays one; it is timed until it is done."""

    @tool
    async def fetch(value):
        await asyncio.sleep(0)
        if value is None:
            raise Refused
        return value

    async def main():
        with pytest.raises(Refused):
            await fetch(None)
        return await fetch(5)

    assert (inspect.iscoroutinefunction(fetch), asyncio.run(main())) == (True, 5)
    assert calls() == {("fetch", "ok"): 1, ("fetch", "error", "Refused"): 1}


def test_a_generator(calls):
    """A generator function stays one: what is sent, thrown and returned goes through."""

    @tool
    def steps():
        try:
            got = yield 1
        except Refused:
            got = "refused"
        yield got
        return 3

    sent = steps()
    assert (next(sent), sent.send("a")) == (1, "a")
    with pytest.raises(StopIteration) as end:
        next(sent)
    thrown = steps()
    assert (next(thrown), thrown.throw(Refused()), [*thrown]) == (1, "refused", [])
    assert (inspect.isgeneratorfunction(steps), end.value.value) == (True, 3)
    assert calls() == {("steps", "ok"): 2}


def test_a_generator_nobody_asks_any_more(calls):
    """Who stops asking has what he wants; a generator that was never asked was never called."""

    @tool
    def forever():
        while True:
            yield 1

    asked = forever()
    next(asked)
    asked.close()
    forever()

    assert calls() == {("forever", "ok"): 1}


def test_an_async_generator(calls):
    """An async generator function stays one: what is sent and thrown goes through, and closing reaches it."""
    closed = []

    @tool
    async def steps():
        try:
            got = yield 1
            yield got
            try:
                yield 2
            except Refused:
                yield "refused"
            yield 3
        finally:
            closed.append(True)

    async def main():
        sent = steps()
        found = [await anext(sent), await sent.asend("a"), await anext(sent), await sent.athrow(Refused())]
        await sent.aclose()
        return found, [item async for item in steps()]

    assert asyncio.run(main()) == ([1, "a", 2, "refused"], [1, None, 2, 3])
    assert (inspect.isasyncgenfunction(steps), closed) == (True, [True, True])
    assert calls() == {("steps", "ok"): 2}


@pytest.mark.parametrize("how", ["plain", "coroutine", "generator", "async generator"])
def test_wrong_arguments(calls, points, how):
    """A call that cannot be made is an error of its kind, and does not run."""

    async def coroutine(value):
        return value

    def generator(value):
        yield value

    async def async_generator(value):
        yield value

    asked = {
        "plain": (ord, lambda made: made),
        "coroutine": (coroutine, asyncio.run),
        "generator": (generator, list),
        "async generator": (async_generator, lambda made: asyncio.run(anext(made))),
    }
    function, ask = asked[how]
    wrapped = tool("work")(function)

    with pytest.raises(TypeError):
        ask(wrapped(1, 2, 3))
    assert calls() == {("work", "error", "TypeError"): 1}
    assert points("agent.tool.active") == {("agent.tool.active", "work"): 0}


def test_an_async_generator_left_open(calls, caplog):
    """What nobody asks any more when the loop ends is closed with the loop, once and quietly."""
    closed, kept = [], []

    @tool
    async def steps():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0.01)
            closed.append(True)

    async def main():
        kept.append(steps())
        return await anext(kept[0])

    assert (asyncio.run(main()), closed, caplog.records) == (1, [True], [])
    assert calls() == {("steps", "ok"): 1}


def test_methods(calls):
    """Methods of every kind can be tools, decorated below or above."""

    class Box:
        @tool
        def plain(self):
            return self

        @tool
        @staticmethod
        def static(value):
            return value

        @classmethod
        @tool
        def below(cls):
            return cls

        @tool
        @classmethod
        def above(cls):
            return cls

    box = Box()
    assert (box.plain(), box.static(1), box.below(), Box.above()) == (box, 1, Box, Box)
    assert calls() == {(name, "ok"): 1 for name in ("plain", "static", "below", "above")}


def test_a_cache(calls):
    """A function with a cache can still be asked for it."""

    @tool
    @functools.lru_cache(maxsize=2)
    def double(value):
        return 2 * value

    assert (double(1), double(1)) == (2, 2)
    assert (double.cache_info()[:3], double.cache_parameters()["maxsize"]) == ((1, 1, 2), 2)
    double.cache_clear()
    assert double.cache_info().currsize == 0
    assert calls() == {("double", "ok"): 2}


def test_an_object_that_can_be_called(calls):
    """An object that can be called becomes a function of its kind, named after its class."""

    class Fetch:
        async def __call__(self, value):
            return value

    wrapped = tool(Fetch())
    assert (inspect.iscoroutinefunction(wrapped), asyncio.run(wrapped(2))) == (True, 2)
    assert calls() == {("Fetch", "ok"): 1}


def test_part_of_an_object_that_can_be_called(calls):
    """What is an object's with some arguments given is of the object's kind."""

    class Fetch:
        async def __call__(self, value, unit):
            await asyncio.sleep(0)
            raise Refused(value, unit)

    wrapped = tool("fetch")(functools.partial(functools.partial(Fetch(), 1), unit="s"))
    with pytest.raises(Refused):
        asyncio.run(wrapped())

    assert inspect.iscoroutinefunction(wrapped)
    assert calls() == {("fetch", "error", "Refused"): 1}


def hidden(function):
    """Put a plain function around one, as careless decorators do."""

    @functools.wraps(function)
    def call(*args):
        return function(*args)

    return call


@pytest.mark.parametrize("said", [{}, {"sample": 0.5}, {"memory": "rss"}], ids=["plain", "sampled", "memory"])
def test_a_coroutine_behind_a_plain_function(calls, points, said):
    """A plain function that gives back a coroutine is timed until that is done."""

    @tool("fetch", **said)
    @hidden
    async def fetch(value):
        await asyncio.sleep(0.01)
        during.append(points("agent.tool.active"))
        if value is None:
            raise Refused
        return value

    async def main():
        with pytest.raises(Refused):
            await fetch(None)
        return [await fetch(5) for _ in range(9)]

    during = []
    assert asyncio.run(main()) == [5] * 9
    assert calls() == {("fetch", "ok"): 9, ("fetch", "error", "Refused"): 1}
    assert during == [{("agent.tool.active", "fetch"): 1}] * 10
    assert points("agent.tool.active") == {("agent.tool.active", "fetch"): 0}
    times = points(DURATION)[DURATION, "fetch", "ok"]
    assert times.sum >= 0.01 * sum(times.counts)
    sizes = points("agent.tool.output.size").get(("agent.tool.output.size", "fetch"))
    assert sum(times.counts) == (sum(sizes.counts) if sizes else 0)


@pytest.mark.filterwarnings("ignore:coroutine .*fetch:RuntimeWarning")
@pytest.mark.parametrize("said", [{}, {"sample": 0.5}, {"memory": "rss"}], ids=["plain", "sampled", "memory"])
def test_a_coroutine_behind_a_plain_function_that_never_runs(calls, points, said):
    """A coroutine that nobody awaits, or whose task is cancelled before it begins, runs no more."""

    @tool("fetch", **said)
    @hidden
    async def fetch():
        """Never begin."""

    async def main():
        task = asyncio.ensure_future(fetch())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    fetch()
    asyncio.run(main())

    assert calls() == {("fetch", "unknown", "GeneratorExit"): 2}
    assert points("agent.tool.active") == {("agent.tool.active", "fetch"): 0}


# -- how a call ends ---------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError, "error"),
        (TimeoutError, "error"),
        (asyncio.CancelledError, "unknown"),
        (KeyboardInterrupt, "unknown"),
        (SystemExit, "unknown"),
    ],
)
def test_how_a_call_ends(calls, points, error, status):
    """Errors are errors; nobody knows how a call would have ended that was cancelled or interrupted."""

    @tool
    def end():
        raise error

    with pytest.raises(error):
        end()
    assert calls() == {("end", status, error.__name__): 1}
    in_a_row = [*points("agent.interface").values()]
    assert in_a_row == [1] * (status == "error")


def test_a_cancelled_task(calls, points):
    """A task that is cancelled within a tool is counted, is no error, and does not run any more."""

    @tool
    async def wait():
        await asyncio.sleep(60)

    async def main():
        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0.01)
        active = points("agent.tool.active")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return active

    assert asyncio.run(main()) == {("agent.tool.active", "wait"): 1}
    assert points("agent.tool.active") == {("agent.tool.active", "wait"): 0}
    assert calls() == {("wait", "unknown", "CancelledError"): 1}


def test_a_cancelled_task_of_trio(calls):
    """Who is out of time in trio is cancelled too."""

    @tool
    async def wait():
        await trio.sleep(60)

    async def main():
        with trio.move_on_after(0.01):
            await wait()

    trio.run(main)
    assert calls() == {("wait", "unknown", "Cancelled"): 1}


def test_a_cancelled_nursery_of_trio(calls):
    """A group of nothing but cancellations is one; with an error in it, it is an error."""

    @tool
    async def wait(error):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 60)
            await trio.sleep(60 if error is None else 0)
            if error:
                raise error

    async def main():
        with trio.move_on_after(0.01):
            await wait(None)
        with pytest.raises(BaseExceptionGroup):
            await wait(Refused())

    trio.run(main)
    assert calls() == {("wait", "unknown", "BaseExceptionGroup"): 1, ("wait", "error", "ExceptionGroup"): 1}


def test_a_greenlet_that_is_killed(calls, monkeypatch):
    """What gevent kills is cancelled."""
    killed = type("GreenletExit", (BaseException,), {})
    monkeypatch.setitem(sys.modules, "greenlet", types.SimpleNamespace(GreenletExit=killed))

    with pytest.raises(killed), tool("wait"):
        raise killed
    assert calls() == {("wait", "unknown", "GreenletExit"): 1}


@pytest.mark.parametrize("memory", [None, "rss"])
def test_a_coroutine_that_is_thrown_away(calls, points, memory):
    """Nobody knows how a coroutine would have ended that nobody asks any more; a generator has given what it gave."""

    @tool("wait", memory=memory)
    async def wait():
        await asyncio.sleep(0)

    thrown = wait()
    thrown.send(None)
    thrown.close()

    assert calls() == {("wait", "unknown", "GeneratorExit"): 1}
    assert points("agent.tool.active") == {("agent.tool.active", "wait"): 0}


def test_failures_in_a_row(points):
    """Failures in a row are counted for the tool or the interface that is named, and end with a success."""

    @tool("a", interface="github")
    def work(fail):
        return 1 / (not fail)

    for fail in (True, True):
        with pytest.raises(ZeroDivisionError):
            work(fail)
    failing = points("agent.interface")
    work(False)

    name = "agent.interface.consecutive_failures"
    assert (failing, points("agent.interface")) == ({(name, "github"): 2}, {(name, "github"): 0})


def test_a_tool_is_there_before_it_is_called(points):
    """A tool has its outcomes at 0 from the moment it is named, so that a first error is an increase."""
    tool("later")(lambda: None)

    assert points(EXECUTIONS) == {(EXECUTIONS, "later", "function", status): 0 for status in ("ok", "error")}


# -- sizes, memory, attributes -----------------------------------------------


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("abc", 3),
        ("äöü", 6),
        ("\ud800", 3),
        (b"1234", 4),
        (bytearray(5), 5),
        (memoryview(b"12345678").cast("I"), 8),
        (released(), 0),
        ([released(), "ab"], 2),
        (7, 8),
        (0.5, 8),
        (["ab", {"k": b"xyz"}, ("c",), {1}], 2 + 1 + 3 + 1 + 8),
        (object(), 0),
        ([[] for _ in range(100_000)], 0),
        (["x"] * 100_000, 999),
        (set(range(100_000)), 999 * 8),
        (dict.fromkeys(range(100_000), "x"), 999 * 8),
        ("é" * 3 * MAX_TEXT, 6 * MAX_TEXT),
    ],
)
def test_sizes(points, value, size):
    """What goes in and comes out is measured in bytes, in limited time; only the size is kept."""

    @tool
    def echo(value):
        return value

    echo(value)
    echo(value=value)

    for way in ("input", "output"):
        found = points(f"agent.tool.{way}.size")[f"agent.tool.{way}.size", "echo"]
        assert (sum(found.counts), found.sum) == (2, 2 * size)


def steps():
    """Yield a few texts."""
    try:
        yield "ab"
        yield ["c", b"de"]
    except Refused:
        yield "refused"
    return "not measured"


async def async_steps():
    """Yield the same."""
    for item in steps():
        yield item


def ask(function, most=9):
    """Take so many items of either kind of generator, and close it then."""

    async def main():
        items, found = function(), []
        while len(found) < most and (item := await anext(items, None)) is not None:
            found.append(item)
        await items.aclose()
        return found

    if inspect.isasyncgenfunction(function):
        return asyncio.run(main())
    items = function()
    found = [*itertools.islice(items, most)]
    items.close()
    return found


@pytest.mark.parametrize("function", [steps, async_steps])
@pytest.mark.parametrize(("most", "size"), [(9, 5), (1, 2)], ids=["all", "some"])
def test_sizes_of_what_is_yielded(points, function, most, size):
    """What a generator yields comes out of it; the sum is recorded when it ends."""
    wrapped = tool("work")(function)
    assert ask(wrapped, most) == ask(function, most)
    ask(tool("bare", sizes=False)(function), most)

    found = points("agent.tool.output")
    assert [*found] == [("agent.tool.output.size", "work")]
    assert (sum(*[each.counts for each in found.values()]), *[each.sum for each in found.values()]) == (1, size)


def test_sizes_of_sampled_generators(points):
    """Of a sampled generator the timed ones stand for the others, with their sizes too."""
    work = tool("work", sample=0.5)(steps)
    for _ in range(200):
        ask(work)

    [sizes] = points("agent.tool.output").values()
    assert sum(sizes.counts) == sum(points(DURATION)[DURATION, "work", "ok"].counts)
    assert sizes.sum == 5 * sum(sizes.counts)


@pytest.mark.parametrize("decorate", [tool, operation("x")], ids=["tool", "operation"])
@pytest.mark.parametrize("function", [steps, async_steps])
def test_what_is_thrown_in_is_not_kept(decorate, function):
    """An error that is thrown into a generator and comes out of it is in no circle that needs a garbage collector."""

    async def throw(items):
        await anext(items)
        with pytest.raises(KeyError):
            await items.athrow(KeyError())

    gc.disable()
    try:
        items = decorate(function)()
        alive = weakref.ref(items)
        if function is steps:
            next(items)
            with pytest.raises(KeyError):
                items.throw(KeyError())
        else:
            asyncio.run(throw(items))
        del items
        assert alive() is None
    finally:
        gc.enable()


def test_what_is_recursive_has_a_size(points):
    """A list that holds itself ends."""
    value = ["a"]
    value.append(value)
    tool("echo")(lambda value: value)(value)

    found = points("agent.tool.output.size")["agent.tool.output.size", "echo"]
    assert 0 < found.sum <= MAX_PARTS


def test_sizes_need_no_copy():
    """What is large is measured without a copy of all of it, which would take as much memory again."""
    values = ([0] * 1_000_000, (0,) * 1_000_000, set(range(100_000)), dict.fromkeys(range(100_000)), "é" * 1_000_000)
    tracemalloc.start()
    try:
        for value in values:
            size(value)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 500_000


def test_sizes_can_be_left_out(points):
    """`sizes=False` measures none; nothing in and nothing out is no size."""
    tool("small", sizes=False)(len)("abc")
    tool("empty")(lambda: None)()

    assert points("agent.tool.input") | points("agent.tool.output") == {}


@pytest.mark.parametrize("memory", ["tracemalloc", "rss"])
def test_memory_that_is_left(points, memory):
    """Memory that a call leaves allocated is measured if that is asked for."""
    kept = []

    @tool(memory=memory)
    def keep():
        kept.append(bytearray(os.urandom(1)) * 40_000_000)

    try:
        keep()
    finally:
        TRACES.leave(TRACKS)  # leave the process as it was
    found = points("agent.tool.memory.growth")["agent.tool.memory.growth", "keep"]
    assert 38_000_000 < found.sum < 45_000_000


def test_memory_that_cannot_be_read(points, calls, monkeypatch, tmp_path):
    """Where there is no /proc a tool works, and tells of no memory."""
    monkeypatch.setattr("agent_exporter.instrument.memory._STATM", str(tmp_path / "statm"))

    assert tool("it", memory="rss")(len)("abc") == 3
    assert points("agent.tool.memory") == {}
    assert points("agent.telemetry") == {}
    assert calls() == {("it", "ok"): 1}


def test_attributes(points):
    """Attributes of the program's own count beside the catalogue's family, never in it."""

    @tool("pay", attributes={"region": "eu", "tool": "ignored"})
    def pay(fail=False):
        return 1 / (not fail)

    pay()
    with pytest.raises(ZeroDivisionError):
        pay(fail=True)

    own = ATTRIBUTED.name
    assert points(own) == {(own, "pay", "ok", "eu"): 1, (own, "pay", "error", "eu"): 1}
    assert all(len(key) <= 5 for key in points(EXECUTIONS))


# -- now ---------------------------------------------------------------------


def test_what_runs_now(points):
    """Calls that run are counted, and the oldest has an age; a call that hangs never ends in a histogram."""
    inside, leave = threading.Semaphore(0), threading.Event()

    @tool
    def hang():
        inside.release()
        leave.wait(30)

    threads = [threading.Thread(target=hang) for _ in range(3)]
    for thread in threads:
        thread.start()
        inside.acquire()
    running, ages = points("agent.tool.active"), [points("agent.tool.oldest") for _ in range(2)]
    leave.set()
    for thread in threads:
        thread.join()

    assert running == {("agent.tool.active", "hang"): 3}
    [first], [second] = (age.values() for age in ages)
    assert 0 < first < second
    assert points("agent.tool.active") | points("agent.tool.oldest") == {
        ("agent.tool.active", "hang"): 0,
        ("agent.tool.oldest_active.age", "hang"): 0,
    }


def test_a_fork_within_a_call(points):
    """A child has no calls that run, and the end of the call that it was forked in does no harm."""

    @tool
    def fork():
        pid = os.fork()
        if pid == 0:
            os._exit(0 if points("agent.tool.active") == {("agent.tool.active", "fork"): 0} else 1)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert fork() == 0


# -- sampling ----------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: lambda: None, lambda: some_coroutine], ids=["plain", "coroutine"])
def test_sampling_counts_all(calls, points, make):
    """A sampled tool counts every call, times some, and each timed one stands for many."""
    work = tool("hot", sample=0.1)(make())
    for _ in range(10_000):
        result = work()
        if inspect.iscoroutine(result):
            with pytest.raises(StopIteration):
                result.send(None)

    times = points(DURATION)[DURATION, "hot", "ok"]
    assert calls() == {("hot", "ok"): 10_000}
    assert sum(times.counts) % 10 == 0
    assert sum(times.counts) == pytest.approx(10_000, rel=0.2)  # six standard deviations
    assert points("agent.tool.active") == {("agent.tool.active", "hot"): 0}


async def some_coroutine():
    """Do nothing."""


def test_sampling_counts_errors(calls):
    """Errors of a sampled tool are all counted, timed or not."""

    @tool(sample=0.5)
    def fail():
        raise Refused

    for _ in range(100):
        with pytest.raises(Refused):
            fail()

    assert calls() == {("fail", "error", "Refused"): 100}


def test_sampling_leaves_the_programs_chance_alone():
    """A program that has seeded `random` draws the same numbers with us as without."""
    import random

    random.seed(5)
    expected = [random.random() for _ in range(3)]
    hot = tool("hot", sample=0.5)(lambda: None)
    random.seed(5)
    found = []
    for _ in range(3):
        hot()
        found.append(random.random())

    assert found == expected


# -- calls without a function ------------------------------------------------


def test_a_block(calls, points):
    """A block is a call of a tool; what goes in and comes out can be said."""
    with tool("search") as call:
        call.input("abc")
        call.output(["defg"])
    with pytest.raises(Refused), tool("search"):
        raise Refused

    assert calls() == {("search", "ok"): 1, ("search", "error", "Refused"): 1}
    assert points("agent.tool.output")["agent.tool.output.size", "search"].sum == 4


def test_start_and_complete(calls, points):
    """A call that cannot be a block is started and completed, once, as what the program says."""
    call = tool("ask", type="mcp").start()
    active = points("agent.tool.active")
    call.complete("rejected")
    call.complete("error", error_type="Late")
    tool("ask", type="mcp").complete()

    assert active == {("agent.tool.active", "ask"): 1}
    assert points(EXECUTIONS)[EXECUTIONS, "ask", "mcp", "rejected"] == 1
    assert calls() == {("ask", "rejected"): 1}


def test_toolboxes(calls):
    """A whole toolbox is wrapped: a mapping by its names, a list by its functions' names."""
    named = wrap_tools({"sum": lambda a, b: a + b}, type="builtin")
    listed = wrap_tools([len, max])

    assert (named["sum"](1, 2), listed[0]("abc"), listed[1](1, 2)) == (3, 3, 2)
    assert calls() == {("sum", "ok"): 1, ("len", "ok"): 1, ("max", "ok"): 1}


# -- manners -----------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda: tool("x", sample=0)(len),
        lambda: tool("x", sample="often")(len),
        lambda: tool("x", memory="all")(len),
        lambda: tool("x", type="magic")(len),
        lambda: tool("x", interface=5)(len),
        lambda: tool("x", sizes="big")(len),
        lambda: tool("x", attributes=[1])(len),
        lambda: tool("x", attributes={str(number): "" for number in range(99)})(len),
        lambda: tool("x", colour="red")(len),
        lambda: tool(5)(len),
        lambda: tool("x").start().complete("fine") or len,
        lambda: tool("x").start().complete("error", error_type=["fine"]) or len,
        lambda: tool("x", attributes={"region": Silent()})(len),
    ],
)
def test_mistakes_are_told_once(points, caplog, use):
    """What makes no sense raises nothing: it is left out, counted, and said once; the function works."""
    for _ in range(2):
        assert use()("abc") == 3

    assert points(FAILURES) == {(FAILURES, "misuse"): 2}
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"type": "magic"}, "measured without its type, which is function, builtin, mcp or unknown"),
        ({"type": ["mcp"]}, "measured without its type, which is function, builtin, mcp or unknown"),
        ({"sample": 7}, "measured without its sample, which is a number from 0.000001 to 1"),
        ({"sizes": 1}, "measured without its sizes, which is True or False"),
        ({"attributes": [1]}, "measured without its attributes, which is a mapping of at most 8 names to texts"),
    ],
)
def test_mistakes_say_what_to_do(caplog, said, told):
    """A mistake is told of with the tool's name and what is allowed."""
    tool("search", **said)

    assert [record.message for record in caplog.records] == [f"tool('search') is {told}"]


@pytest.mark.parametrize("answer", [lambda name: [name], lambda _: 1 / 0])
def test_an_object_that_answers_with_anything(calls, answer):
    """A callable whose attributes are odd, as those of proxies are, is called by its class."""

    class Proxy:
        def __getattr__(self, name):
            return answer(name)

        def __call__(self):
            return "done"

    assert (tool(Proxy())(), tool("timed", memory="rss")(Proxy())()) == ("done", "done")
    assert calls() == {("Proxy", "ok"): 1, ("timed", "ok"): 1}


def test_what_is_no_function_stays_as_it_is(points):
    """What cannot be called is handed back."""
    thing = object()

    assert (tool("x")(thing), wrap_tools([thing])) == (thing, [thing])
    assert points(FAILURES) == {(FAILURES, "misuse"): 2}


def search(query: str) -> str:
    """Search."""
    return query


class Shelf:
    """What is no function and is decorated all the same."""

    title = tool(property(lambda _: "title"))
    pages = operation("pages")(functools.cached_property(lambda _: 7))
    sort = tool("sort")(functools.singledispatchmethod(lambda _self, by: by))
    open = operation("open")(functools.partialmethod(lambda _self, page: page, 3))


@pytest.mark.parametrize("decorate", [tool, tool("named"), operation("x")], ids=["plain", "named", "operation"])
@pytest.mark.parametrize("make", [langchain_core.tools.tool, agents.function_tool, pydantic_ai.Tool])
def test_what_a_framework_made_of_a_function(points, caplog, decorate, make):
    """A framework's own object for a tool stays that object, and a line of log says where to decorate."""
    made = make(search)

    assert decorate(made) is made
    assert points(FAILURES) == {(FAILURES, "misuse"): 1}
    assert "decorate the function inside it" in caplog.text


def test_what_a_class_calls_for_itself():
    """Properties and the like work on as they are."""
    shelf = Shelf()

    assert (shelf.title, shelf.pages, shelf.sort(2), shelf.open()) == ("title", 7, 2, 3)


@pytest.mark.parametrize("box", [3, None, "search", len])
def test_what_is_no_toolbox(points, box):
    """What holds no tools is handed back."""
    assert wrap_tools(box) is box
    assert points(FAILURES) == {(FAILURES, "misuse"): 1}


def test_switched_off_it_is_only_called(points):
    """A library that is switched off calls the function, and that is all."""
    cells.SWITCH.on = False
    wrapped = [tool(len), tool("a", sample=0.5)(len), tool("b", memory="rss")(len)]
    assert [each("abc") for each in wrapped] == [3, 3, 3]
    with tool("block") as call:
        call.output("x")

    assert {value for value in points().values() if not isinstance(value, (int, float)) or value} == set()


def test_an_error_that_lies_about_its_class(calls):
    """An error is looked at without running its own code."""

    class Odd(Exception):
        __class__ = property(lambda _: 1 / 0)

    @tool
    def odd():
        raise Odd

    with pytest.raises(Odd):
        odd()
    assert calls() == {("odd", "error", "Odd"): 1}


def test_at_the_limit_of_recursion(points):
    """A tool that calls itself too deep leaves no call behind that looks as if it ran."""

    @tool
    def deep():
        return deep()

    with pytest.raises(RecursionError):
        deep()
    assert points("agent.tool.active") == {("agent.tool.active", "deep"): 0}


def test_a_call_that_is_started_again(calls, points):
    """A second start ends the call before it, which would look like one that hangs."""
    call = tool("ask").start().start()
    assert points("agent.tool.active") == {("agent.tool.active", "ask"): 1}

    call.complete()
    assert points("agent.tool.active") == {("agent.tool.active", "ask"): 0}
    assert calls() == {("ask", "unknown"): 1, ("ask", "ok"): 1}


def test_mistakes_before_the_start(points, caplog):
    """Tools are named before the library is started: what makes no sense is told of then, once."""
    cells.SWITCH.on = False
    for _ in range(2):
        tool("x", sample=7)
    assert caplog.records == []

    cells.SWITCH.on = True
    cells.begun()
    assert points(FAILURES) == {(FAILURES, "misuse"): 2}
    assert len(caplog.records) == 1


def test_tools_have_a_limit(calls, points, monkeypatch):
    """Tools beyond the limit are called, and counted as `other`."""
    monkeypatch.setattr("agent_exporter.instrument.tracks.MAX_TRACKS", 2)
    for number in range(5):
        with tool(f"tool {number}"):
            pass

    assert calls() == {("tool 0", "ok"): 1, ("tool 1", "ok"): 1, ("other", "ok"): 3}
    assert MAX_TRACKS > 2


def test_no_thread_can_come_between():
    """Between reading and writing back a count there is nothing at which CPython changes threads."""
    [code] = [each for each in tools._hot.__code__.co_consts if isinstance(each, types.CodeType)]
    names = [(each.opname, each.argval) for each in dis.get_instructions(code)]
    for attribute in ("total", "sum"):
        stores = [index for index, name in enumerate(names) if name == ("STORE_ATTR", attribute)]
        assert stores
        for store in stores:
            load = max(index for index in range(store) if names[index] == ("LOAD_ATTR", attribute))
            assert [name for name, _ in names[load:store] if name.startswith(("CALL", "JUMP", "RESUME"))] == []
    opcodes = [name for name, _ in names]
    between = opcodes[opcodes.index("BINARY_SUBSCR") : opcodes.index("STORE_SUBSCR", opcodes.index("BINARY_SUBSCR"))]
    assert [name for name in between if name.startswith(("CALL", "JUMP", "RESUME"))] == []


# -- without counts ----------------------------------------------------------


@pytest.mark.parametrize("memory", [None, "rss"])
def test_without_counts(points, memory):
    """Sizes and what runs are told, and nothing that something else tells already, not even at 0."""
    during = []

    @tool("search", counts=False, memory=memory)
    def search(query):
        during.append(points()["agent.tool.active", "search"])
        if not query:
            raise Refused
        return query * 2

    assert search("books") == "booksbooks"
    with pytest.raises(Refused):
        search("")

    assert during == [1, 1]
    assert {key[0] for key in points()} - {"agent.tool.memory.growth"} == {
        *("agent.tool.input.size", "agent.tool.output.size"),
        *("agent.tool.active", "agent.tool.oldest_active.age"),
    }
    assert points()["agent.tool.active", "search"] == 0


def test_without_counts_one_of_too_many(points):
    """A tool beyond the limit of tools counts as little as it was to."""
    for number in range(MAX_TRACKS):
        tool(f"tool{number}", counts=False).start().complete()
    with tool("one more", counts=False) as call:
        call.input("books")

    assert points(EXECUTIONS) == {}
    assert sum(points("agent.tool.input.size")["agent.tool.input.size", "other"].counts) == 1
