"""FastMCP: its servers, with a client in the same process."""

from __future__ import annotations

import asyncio

import pytest
from fastmcp import Client, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.tools.base import ToolResult
from fastmcp.utilities.types import Image

from agent_exporter.instrument.frameworks.fastmcp import middleware
from agent_exporter.instrument.tracks import TRACKS


def server(*, counts=False):
    """Make a server that is measured."""
    made = FastMCP("shop")
    made.add_middleware(middleware(counts=counts))
    return made


def call(measured, *calls):
    """Call tools one after the other; return what came last."""

    async def main():
        async with Client(measured) as client:
            return [await client.call_tool(name, arguments) for name, arguments in calls][-1]

    return asyncio.run(main())


def test_sizes(sizes, active, told):
    """Arguments go in, texts come out, once though the protocol says them twice, and nothing else is told."""
    measured = server()

    @measured.tool
    def search(query: str, limit: int) -> str:
        return query * limit

    assert call(measured, ("search", {"query": "é", "limit": 3})).data == "ééé"

    assert sizes("search") == [(1, 5 + 5 + 2 + 8), (1, 6)]
    assert active() == {"search": 0}
    assert told() == {
        *("agent.tool.input.size", "agent.tool.output.size"),
        *("agent.tool.active", "agent.tool.oldest_active.age"),
    }


def test_a_picture(sizes):
    """A picture is as large as it is sent, in base64."""
    measured = server()

    @measured.tool
    def draw() -> Image:
        return Image(data=b"123456", format="png")

    call(measured, ("draw", {}))

    assert sizes("draw") == [(1, 0), (1, 8)]


@pytest.mark.parametrize("counts", [False, True])
def test_a_tool_that_raises(counts, active, counted):
    """The error is the client's, nothing runs any more, and it is counted if counts are asked for."""
    measured = server(counts=counts)

    @measured.tool
    def search() -> str:
        raise OSError("no network")

    with pytest.raises(ToolError):
        call(measured, ("search", {}))

    failed = {
        ("agent.tool.executions", "search", "mcp", "error", "ToolError"): 1,
        ("agent.tool.execution.duration", "search", "error"): 1,
        ("agent.interface.consecutive_failures", "search"): 1,
    }
    assert active() == {"search": 0}
    assert counted() == (failed if counts else {})


def test_a_result_that_is_an_error(counted):
    """A tool that says that it failed has failed."""
    measured = server(counts=True)

    @measured.tool
    def refuse() -> ToolResult:
        return ToolResult("no", is_error=True)

    with pytest.raises(ToolError):
        call(measured, ("refuse", {}))

    assert counted()["agent.tool.executions", "refuse", "mcp", "error", "tool_error"] == 1


def test_counts(counted):
    """Asked to, it counts calls."""
    measured = server(counts=True)

    @measured.tool
    def search() -> str:
        return "found"

    call(measured, ("search", {}), ("search", {}))

    assert counted() == {
        ("agent.tool.executions", "search", "mcp", "ok"): 2,
        ("agent.tool.execution.duration", "search", "ok"): 2,
    }


def test_in_parallel_and_cancelled(active, counted):
    """Calls of one tool at the same time are several; those that the client leaves run no more."""
    measured = server(counts=True)
    seen = []

    async def main():
        meeting = asyncio.Barrier(4)

        @measured.tool
        async def wait() -> str:
            await meeting.wait()
            await asyncio.sleep(60)
            return ""

        async with Client(measured) as client:
            calls = [asyncio.create_task(client.call_tool("wait", {})) for _ in range(3)]
            await asyncio.wait_for(meeting.wait(), 10)
            seen.append(active())
            for each in calls:
                each.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    asyncio.run(main())

    assert seen == [{"wait": 3}]
    assert active() == {"wait": 0}
    assert counted()["agent.tool.executions", "wait", "mcp", "unknown", "CancelledError"] == 3


def test_tools_that_do_not_exist():
    """Names that clients make up are not remembered, as there is no end of them."""
    measured = server()

    @measured.tool
    def search() -> str:
        return "found"

    for name in ("made", "up", "search"):
        with pytest.raises(ToolError) if name != "search" else pytest.MonkeyPatch.context():
            call(measured, (name, {}))

    assert [said.name for said in TRACKS.known] == ["search"]


def test_a_mounted_server(sizes):
    """Tools of a server within a server are measured where the middleware is, by the name there."""
    inner, outer = FastMCP("inner"), server()
    outer.mount(inner, namespace="inner")

    @inner.tool
    def search() -> str:
        return "found"

    call(outer, ("inner_search", {}))

    assert sizes("inner_search") == [(1, 0), (1, 5)]
