"""Pydantic AI: its agents with models that need no network."""

from __future__ import annotations

import asyncio

import pytest
from pydantic_ai import Agent, ModelRetry
from pydantic_ai.exceptions import ApprovalRequired
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturn
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.tools import DeferredToolRequests
from pydantic_ai.usage import RequestUsage

from agent_exporter.instrument.frameworks.pydantic_ai import capability

USAGE = RequestUsage(
    input_tokens=100, cache_read_tokens=30, cache_write_tokens=20, output_tokens=50, output_reasoning_tokens=10
)


def calling(*calls):
    """Make a model that asks for calls of tools, and then says that it is done."""

    def answer(messages, _):
        asked = any(isinstance(message, ModelResponse) for message in messages)
        parts = [TextPart("done")] if asked else [ToolCallPart(name, args) for name, args in calls]
        return ModelResponse(parts=parts, usage=USAGE, model_name="stub-1")

    return FunctionModel(answer, model_name="stub-1")


def agent(*calls, counts=False, **rest):
    """Make an agent that is measured."""
    return Agent(calling(*calls), capabilities=[capability(counts=counts)], **rest)


def test_sizes(sizes, active, told):
    """What the model wrote goes in, what the tool returns comes out, and nothing else is told."""
    measured = agent(("search", {"query": "books", "limit": 3}), ("search", '{"query":"é","limit":1}'))
    during = []

    @measured.tool_plain
    def search(query: str, limit: int) -> str:
        during.append(active())
        return query * limit

    asyncio.run(measured.run("go"))

    # The first: query, books, limit and a number; the second as text, é being two bytes.
    assert sizes("search") == [(2, (5 + 5 + 5 + 8) + 24), (2, 15 + 2)]
    assert max(each["search"] for each in during) in {1, 2}
    assert active() == {"search": 0}
    assert told() == {
        *("agent.tool.input.size", "agent.tool.output.size"),
        *("agent.tool.active", "agent.tool.oldest_active.age"),
    }


def test_a_tool_return(sizes):
    """Of a return with more to it, the value is measured."""
    measured = agent(("search", {}))

    @measured.tool_plain
    def search() -> ToolReturn:
        return ToolReturn(return_value="found", content="for the model alone", metadata={"a": 1})

    asyncio.run(measured.run("go"))

    assert sizes("search") == [(1, 0), (1, 5)]


@pytest.mark.parametrize("counts", [False, True])
def test_a_tool_that_raises(counts, active, counted):
    """The error is the program's, nothing runs any more, and it is counted if counts are asked for."""
    measured = agent(("search", {}), counts=counts)

    @measured.tool_plain
    def search() -> str:
        raise OSError("no network")

    with pytest.raises(OSError, match="no network"):
        asyncio.run(measured.run("go"))

    failed = {
        ("agent.tool.executions", "search", "function", "error", "OSError"): 1,
        ("agent.tool.execution.duration", "search", "error"): 1,
        ("agent.interface.consecutive_failures", "search"): 1,
    }
    assert active() == {"search": 0}
    assert {key: value for key, value in counted().items() if "model" not in key[0] and key[0] != "agent.tokens"} == (
        failed if counts else {}
    )


def test_cancelled(active, counted):
    """Who is cancelled runs no more, and nobody knows how it would have ended."""
    measured = agent(("wait", {}), counts=True)
    seen = []

    async def main():
        inside = asyncio.Event()

        @measured.tool_plain
        async def wait() -> str:
            inside.set()
            await asyncio.sleep(60)
            return ""

        run = asyncio.create_task(measured.run("go"))
        await inside.wait()
        seen.append(active())
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)

    asyncio.run(main())

    assert seen == [{"wait": 1}]
    assert active() == {"wait": 0}
    assert counted()["agent.tool.executions", "wait", "function", "unknown", "CancelledError"] == 1


def test_in_parallel(active, sizes):
    """Calls of one tool at the same time are several."""
    measured = agent(("meet", {"a": "x"}), ("meet", {"a": "yy"}), ("meet", {"a": "zzz"}))
    together = []

    async def main():
        meeting = asyncio.Barrier(3)

        @measured.tool_plain
        async def meet(a: str) -> str:
            await meeting.wait()
            together.append(active())
            await meeting.wait()
            return a

        await measured.run("go")

    asyncio.run(main())

    assert together == [{"meet": 3}] * 3
    assert active() == {"meet": 0}
    assert sizes("meet") == [(3, 9), (3, 6)]


def test_counts(counted):
    """Asked to, it counts calls, requests and tokens, of which no two types overlap."""
    measured = agent(("search", {}), counts=True)

    @measured.tool_plain
    def search() -> str:
        return "found"

    asyncio.run(measured.run("go"))

    assert counted() == {
        ("agent.tool.executions", "search", "function", "ok"): 1,
        ("agent.tool.execution.duration", "search", "ok"): 1,
        ("agent.model.requests", "function", "stub-1", "chat", "ok"): 2,
        ("agent.model.request.duration", "function", "stub-1", "ok"): 2,
        ("agent.tokens", "function", "stub-1", "input"): 100,
        ("agent.tokens", "function", "stub-1", "cache_read"): 60,
        ("agent.tokens", "function", "stub-1", "cache_write"): 40,
        ("agent.tokens", "function", "stub-1", "output"): 80,
        ("agent.tokens", "function", "stub-1", "reasoning"): 20,
    }


def test_a_model_that_fails(counted):
    """A request that raises is an error."""

    def answer(*_):
        raise TimeoutError

    measured = Agent(FunctionModel(answer, model_name="stub-1"), capabilities=[capability(counts=True)])
    with pytest.raises(TimeoutError):
        asyncio.run(measured.run("go"))

    assert counted()["agent.model.requests", "function", "stub-1", "chat", "error", "TimeoutError"] == 1


def test_a_retry_and_a_deferral(counted):
    """A tool that asks to be called again failed; one that waits for approval did not."""
    measured = agent(("again", {}), ("ask", {}), counts=True, output_type=[str, DeferredToolRequests])

    @measured.tool_plain
    def again() -> str:
        raise ModelRetry("with more")

    @measured.tool_plain
    def ask() -> str:
        raise ApprovalRequired

    asyncio.run(measured.run("go"))

    found = {key[1:]: value for key, value in counted().items() if key[0] == "agent.tool.executions"}
    assert found == {
        ("again", "function", "error", "ToolRetryError"): 1,
        ("ask", "function", "unknown", "ApprovalRequired"): 1,
    }


def test_streamed(sizes, counted):
    """A run whose answer is streamed is measured as any other."""

    async def stream(messages, _):
        if any(isinstance(message, ModelResponse) for message in messages):
            yield "done"
        else:
            from pydantic_ai.models.function import DeltaToolCall

            yield {0: DeltaToolCall("search", "{}")}

    measured = Agent(FunctionModel(stream_function=stream, model_name="stub-1"), capabilities=[capability(counts=True)])

    @measured.tool_plain
    def search() -> str:
        return "found"

    async def main():
        async with measured.run_stream("go") as run:
            assert await run.get_output() == "done"

    asyncio.run(main())

    assert sizes("search") == [(1, 2), (1, 5)]
    assert counted()["agent.model.requests", "function", "stub-1", "chat", "ok"] == 2
