"""LangChain: its tools and models, with models that need no network."""

from __future__ import annotations

import asyncio
import gc
import threading
from types import FunctionType

import pytest
from langchain_core.language_models import FakeListLLM, GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import ToolException, tool

from agent_exporter.instrument.frameworks.langchain import handler

USAGE = {
    "input_tokens": 100,
    "output_tokens": 50,
    "total_tokens": 150,
    "input_token_details": {"cache_read": 30, "cache_creation": 20},
    "output_token_details": {"reasoning": 10},
}


def config(*, counts=False):
    """Make the configuration of a run that is measured."""
    return {"callbacks": [handler(counts=counts)]}


@tool
def search(query: str, limit: int) -> str:
    """Search."""
    if not limit:
        raise OSError("no network")
    return query * limit


@tool
async def wait(seconds: float) -> str:
    """Wait."""
    await asyncio.sleep(seconds)
    return "over"


def test_sizes(sizes, active, told):
    """Arguments go in, what the tool returns comes out, and nothing else is told."""
    assert search.invoke({"query": "books", "limit": 3}, config()) == "booksbooksbooks"

    assert sizes("search") == [(1, 5 + 5 + 5 + 8), (1, 15)]
    assert active() == {"search": 0}
    assert told() == {
        *("agent.tool.input.size", "agent.tool.output.size"),
        *("agent.tool.active", "agent.tool.oldest_active.age"),
    }


def test_a_tool_message(sizes):
    """Called as a model calls it, a tool gives a message, of which the content is measured."""
    call = {"name": "search", "args": {"query": "é", "limit": 2}, "id": "1", "type": "tool_call"}

    assert search.invoke(call, config()).content == "éé"

    assert sizes("search") == [(1, 5 + 5 + 2 + 8), (1, 4)]


def test_in_a_chain(sizes):
    """A handler given to a chain hears of the tools within it, in threads as well."""
    chain = RunnableLambda(lambda word: search.invoke({"query": word, "limit": 1}))

    assert chain.batch(["a", "bb", "ccc"], config()) == ["a", "bb", "ccc"]

    assert sizes("search") == [(3, 3 * (5 + 5 + 8) + 6), (3, 6)]


@pytest.mark.parametrize("counts", [False, True])
def test_a_tool_that_raises(counts, active, counted):
    """The error is the program's, nothing runs any more, and it is counted if counts are asked for."""
    with pytest.raises(OSError, match="no network"):
        search.invoke({"query": "books", "limit": 0}, config(counts=counts))

    failed = {
        ("agent.tool.executions", "search", "function", "error", "OSError"): 1,
        ("agent.tool.execution.duration", "search", "error"): 1,
        ("agent.interface.consecutive_failures", "search"): 1,
    }
    assert active() == {"search": 0}
    assert counted() == (failed if counts else {})


def test_an_error_that_the_model_is_told_of(counted):
    """A tool whose errors become messages has failed nevertheless."""

    @tool
    def refuse() -> str:
        """Refuse."""
        raise ToolException("no")

    refuse.handle_tool_error = True
    call = {"name": "refuse", "args": {}, "id": "1", "type": "tool_call"}

    assert refuse.invoke(call, config(counts=True)).status == "error"

    assert counted()["agent.tool.executions", "refuse", "function", "error", "tool_error"] == 1


@pytest.mark.parametrize("within", [False, True], ids=["alone", "in a chain"])
def test_cancelled(active, counted, within):
    """LangChain says nothing of who is cancelled; the end of its task does."""
    seen = []

    async def main():
        inside = asyncio.Event()

        @tool
        async def wait(seconds: float) -> None:
            """Wait."""
            inside.set()
            await asyncio.sleep(seconds)

        runs = RunnableLambda(wait.ainvoke) if within else wait
        run = asyncio.create_task(runs.ainvoke({"seconds": 60}, config(counts=True)))
        await asyncio.wait_for(inside.wait(), 10)
        seen.append(active())
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        await asyncio.sleep(0)  # callbacks of a task run after it

    asyncio.run(main())

    assert seen == [{"wait": 1}]
    assert active() == {"wait": 0}
    assert counted()["agent.tool.executions", "wait", "function", "unknown", "CancelledError"] == 1


def test_in_parallel(active, sizes):
    """Calls of one tool at the same time are several, in tasks and in threads."""
    meeting = threading.Barrier(3)
    together = []

    @tool
    def meet(word: str) -> str:
        """Meet."""
        meeting.wait()
        together.append(active())
        meeting.wait()
        return word

    async def main():
        await asyncio.gather(*(meet.ainvoke({"word": word}, config()) for word in ("a", "bb", "ccc")))

    asyncio.run(main())

    assert together == [{"meet": 3}] * 3
    assert active() == {"meet": 0}
    assert sizes("meet") == [(3, 3 * 4 + 6), (3, 6)]


def test_a_long_task_keeps_nothing():
    """A task that calls many tools does not remember them."""
    measured = handler()

    async def main():
        for _ in range(5):
            await wait.ainvoke({"seconds": 0}, {"callbacks": [measured]})
        functions = [each for each in gc.get_objects() if isinstance(each, FunctionType)]
        return [each for each in functions if each.__qualname__.startswith("Running._with_task.")]

    assert asyncio.run(main()) == []
    assert measured._running.keys() == ()


class Stub(GenericFakeChatModel):
    """A model that says its name, as real ones do."""

    model: str = "stub-1"

    def _generate(self, *args, **kwargs):
        try:
            return super()._generate(*args, **kwargs)
        except StopIteration:
            raise TimeoutError from None


def model():
    """Make a chat model that tells its tokens."""
    return Stub(messages=iter([AIMessage("hello you", usage_metadata=USAGE)]))


def test_a_chat_model(counted):
    """Asked to, it counts requests and tokens, of which no two types overlap."""
    model().invoke("hi", config(counts=True))

    assert counted() == {
        ("agent.model.requests", "stub", "stub-1", "chat", "ok"): 1,
        ("agent.model.request.duration", "stub", "stub-1", "ok"): 1,
        ("agent.tokens", "stub", "stub-1", "input"): 50,
        ("agent.tokens", "stub", "stub-1", "cache_read"): 30,
        ("agent.tokens", "stub", "stub-1", "cache_write"): 20,
        ("agent.tokens", "stub", "stub-1", "output"): 40,
        ("agent.tokens", "stub", "stub-1", "reasoning"): 10,
    }


def test_a_streamed_answer(counted):
    """The first token is the first piece."""

    async def main():
        return [piece.content async for piece in model().astream("hi", config(counts=True))]

    assert "".join(asyncio.run(main())) == "hello you"
    assert counted()["agent.model.time_to_first_token", "stub", "stub-1", "ok"] == 1
    assert counted()["agent.model.requests", "stub", "stub-1", "chat", "ok"] == 1


def test_a_model_that_completes(counted):
    """A model that is no chat model is counted, tokens that it does not tell are not."""
    assert FakeListLLM(responses=["hello"]).invoke("hi", config(counts=True)) == "hello"

    assert counted() == {
        ("agent.model.requests", "fakelist", "unknown", "chat", "ok"): 1,
        ("agent.model.request.duration", "fakelist", "unknown", "ok"): 1,
    }


def test_a_model_that_fails(counted):
    """A request that raises is an error."""
    with pytest.raises(TimeoutError):
        Stub(messages=iter([])).invoke("hi", config(counts=True))

    found = {key: value for key, value in counted().items() if key[0] == "agent.model.requests"}
    assert found == {("agent.model.requests", "stub", "stub-1", "chat", "error", "TimeoutError"): 1}


def test_models_are_left_out(told):
    """Not asked to, it tells nothing of models."""
    model().invoke("hi", config())

    assert told() == set()
