"""Right uses of the library: `mypy --strict` has nothing to say, and knows what comes out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from queue import SimpleQueue
from typing import Any, assert_type

from agent_exporter import instrument
from agent_exporter.instrument import Tool, tool, wrap_tools


@tool
def plain(query: str, *, limit: int = 3) -> list[str]:
    return [query] * limit


@tool("named", type="mcp", interface="web", sample=0.5, sizes=False, memory="rss", attributes={"a": "b"})
async def coroutine(value: int) -> str:
    return str(value)


@tool()
def generator(count: int) -> Iterator[int]:
    yield from range(count)


@instrument.operation("stream")
async def async_generator() -> AsyncIterator[bytes]:
    yield b""


class Box:
    @tool
    def method(self, value: int) -> int:
        return value

    @tool("static")
    @staticmethod
    def static(value: int) -> int:
        return value


async def main() -> None:
    assert_type(plain("x", limit=2), list[str])
    assert_type(await coroutine(1), str)
    assert_type(generator(3), Iterator[int])
    async for item in async_generator():
        assert_type(item, bytes)
    assert_type(Box().method(1), int)
    assert_type(Box.static(1), int)
    task: Coroutine[Any, Any, str] = coroutine(5)
    await task

    toolbox = wrap_tools({"a": plain})
    assert_type(toolbox["a"]("x"), list[str])
    functions: list[Callable[[str], int]] = [len]
    assert_type(wrap_tools(functions, type="builtin")[0]("x"), int)

    with tool("x") as call:
        assert_type(call, Tool)
        call.output({"anything": 1})
    call = tool("x").start()
    call.complete("error", error_type="Late")

    with instrument.turn(), instrument.session(), instrument.transition("idle"):
        instrument.feedback("up")
    block: AbstractContextManager[instrument.ModelRequest] = instrument.model_request("openai", "gpt-5")
    with block as request:
        request.tokens(input=1, output=2, cache_read=3, cache_write=4, reasoning=5)
    assert_type(instrument.pool("x", limit=1), instrument.Pool)
    assert_type(instrument.loads("x"), instrument.Loads)
    assert_type(instrument.profile("x"), instrument.Run)
    assert_type(instrument.watch_runtime(), instrument.Runtime)
    tasks: instrument.StampedQueue[int] = instrument.stamped(SimpleQueue(), "x")
    assert_type(tasks.get(), int)
    instrument.start("me", enabled=True, interval=5, runtime=False)
    assert_type(instrument.flush(), bool)
    assert_type(instrument.shutdown(1.0), bool)
