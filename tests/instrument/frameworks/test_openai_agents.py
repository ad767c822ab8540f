"""OpenAI Agents: its runner, with a model that needs no network."""

from __future__ import annotations

import asyncio
import gc

import pytest
from agents import Agent, Model, ModelResponse, RunConfig, Runner, Usage, function_tool, set_trace_processors
from agents.exceptions import UserError
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails

from agent_exporter.instrument.frameworks.openai_agents import hooks


@pytest.fixture(autouse=True)
def _no_network():
    """Trace as ever, but send it nowhere."""
    set_trace_processors([])


class Stub(Model):
    """A model that asks for calls of tools, and then says that it is done."""

    model = "stub-1"

    def __init__(self, *calls):
        self.calls = calls

    async def get_response(self, **said):
        """Answer."""
        asked = any(isinstance(item, dict) and item.get("type") == "function_call" for item in said["input"])
        usage = Usage(
            requests=1,
            input_tokens=100,
            output_tokens=50,
            total_tokens=150,
            input_tokens_details=InputTokensDetails(cached_tokens=30, cache_write_tokens=20),
            output_tokens_details=OutputTokensDetails(reasoning_tokens=10),
        )
        return ModelResponse(output=[DONE] if asked else self._asked(), usage=usage, response_id=None)

    def stream_response(self, **_):
        """Stream nothing."""
        raise NotImplementedError

    def _asked(self):
        return [
            ResponseFunctionToolCall(name=name, arguments=text, call_id=f"call_{number}", type="function_call")
            for number, (name, text) in enumerate(self.calls)
        ]


DONE = ResponseOutputMessage(
    id="1",
    type="message",
    role="assistant",
    status="completed",
    content=[ResponseOutputText(text="done", type="output_text", annotations=[])],
)


async def run(tools, *calls, counts=False, **rest):
    """Run an agent that is measured."""
    return await Runner.run(Agent("a", model=Stub(*calls), tools=tools), "go", hooks=hooks(counts=counts), **rest)


def test_sizes(sizes, active, told):
    """What the model wrote goes in, what the tool returns comes out, and nothing else is told."""

    @function_tool
    def search(query: str, limit: int) -> str:
        return query * limit

    done = asyncio.run(run([search], ("search", '{"query":"é","limit":3}')))

    assert done.final_output == "done"
    assert sizes("search") == [(1, 23 + 1), (1, 6)]
    assert active() == {"search": 0}
    assert told() == {
        *("agent.tool.input.size", "agent.tool.output.size"),
        *("agent.tool.active", "agent.tool.oldest_active.age"),
    }


def test_in_parallel(active, sizes):
    """Calls of one tool at the same time are several."""
    together = []

    async def main():
        meeting = asyncio.Barrier(3)

        @function_tool
        async def meet(word: str) -> str:
            await meeting.wait()
            together.append(active())
            await meeting.wait()
            return word

        await run([meet], *(("meet", f'{{"word":"{word}"}}') for word in ("a", "bb", "ccc")))

    asyncio.run(main())

    assert together == [{"meet": 3}] * 3
    assert active() == {"meet": 0}
    assert sizes("meet") == [(3, 3 * 11 + 6), (3, 6)]


def test_counts(counted):
    """Asked to, it counts calls, requests and tokens, of which no two types overlap."""

    @function_tool
    def search() -> str:
        return "found"

    asyncio.run(run([search], ("search", "{}"), counts=True))

    assert counted() == {
        ("agent.tool.executions", "search", "function", "ok"): 1,
        ("agent.tool.execution.duration", "search", "ok"): 1,
        ("agent.model.requests", "openai", "stub-1", "chat", "ok"): 2,
        ("agent.model.request.duration", "openai", "stub-1", "ok"): 2,
        ("agent.tokens", "openai", "stub-1", "input"): 100,
        ("agent.tokens", "openai", "stub-1", "cache_read"): 60,
        ("agent.tokens", "openai", "stub-1", "cache_write"): 40,
        ("agent.tokens", "openai", "stub-1", "output"): 80,
        ("agent.tokens", "openai", "stub-1", "reasoning"): 20,
    }


def tools_counted(counted):
    """List the calls by how they ended."""
    return {key[1:]: value for key, value in counted().items() if key[0] == "agent.tool.executions"}


def test_an_error_that_the_model_is_told_of(active, counted):
    """A tool that raises has failed, though the model gets a text instead; the framework's span says so."""

    @function_tool
    def search() -> str:
        raise OSError("no network")

    asyncio.run(run([search], ("search", "{}"), counts=True))

    assert active() == {"search": 0}
    assert tools_counted(counted) == {("search", "function", "error", "tool_error"): 1}


def test_without_tracing_errors_are_not_seen(counted):
    """With the framework's tracing off there is no span that could say so."""

    @function_tool
    def search() -> str:
        raise OSError("no network")

    asyncio.run(run([search], ("search", "{}"), counts=True, run_config=RunConfig(tracing_disabled=True)))

    assert tools_counted(counted) == {("search", "function", "ok"): 1}


def test_an_error_that_ends_the_run(active, counted):
    """The hooks hear nothing of a tool that ends the run; it is over as soon as its context is."""

    @function_tool(failure_error_function=None)
    def search() -> str:
        raise OSError("no network")

    def attempt():
        with pytest.raises((OSError, UserError)):
            asyncio.run(run([search], ("search", "{}"), counts=True))

    attempt()
    gc.collect()

    assert active() == {"search": 0}
    assert tools_counted(counted) == {("search", "function", "unknown"): 1}


def test_cancelled(active, counted):
    """A run that is cancelled leaves nothing that runs."""
    seen = []

    async def main():
        inside = asyncio.Event()

        @function_tool(failure_error_function=None)
        async def wait() -> str:
            inside.set()
            await asyncio.sleep(60)
            return ""

        running = asyncio.create_task(run([wait], ("wait", "{}"), counts=True))
        await asyncio.wait_for(inside.wait(), 10)
        seen.append(active())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())
    gc.collect()

    assert seen == [{"wait": 1}]
    assert active() == {"wait": 0}
    assert sum(tools_counted(counted).values()) == 1


def test_a_model_that_fails(counted):
    """Nor do they hear of a request that fails: it is over with the run, and nobody knows how."""

    class Broken(Stub):
        async def get_response(self, **_):
            raise TimeoutError

    def attempt():
        with pytest.raises(TimeoutError):
            asyncio.run(Runner.run(Agent("a", model=Broken()), "go", hooks=hooks(counts=True)))

    attempt()
    gc.collect()

    found = {key: value for key, value in counted().items() if key[0] == "agent.model.requests"}
    assert found == {("agent.model.requests", "openai", "stub-1", "chat", "unknown"): 1}
