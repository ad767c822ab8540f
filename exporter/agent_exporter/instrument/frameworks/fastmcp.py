"""MCP servers made with FastMCP: `server.add_middleware(middleware())`.

What may live here: the middleware. A client may ask for tools that do not exist, by any name: these are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import ToolResult
from mcp_types import CallToolRequestParams

from .. import cells
from ..cells import SWITCH
from ..tools import Tool, tool
from ..tracks import MAX_TRACKS
from .running import quiet

_TEXTS: Final = ("text", "data")  # of a block of content, by its type


class Measuring(Middleware):
    """Middleware that measures; one object serves one server."""

    def __init__(self, *, counts: bool) -> None:
        self._counts = counts
        self._names: set[str] = set()  # of tools that there are

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, ToolResult],
    ) -> ToolResult:
        """Measure a call of a tool."""
        if not SWITCH.on or not await self._there(context):
            return await call_next(context)
        call = tool(context.message.name, type="mcp", counts=self._counts)
        call.start()
        call.input(context.message.arguments)
        try:
            result = await call_next(context)
        except BaseException as error:
            call.failed(error)
            raise
        _end(call, result)
        return result

    async def _there(self, context: MiddlewareContext[CallToolRequestParams]) -> bool:
        """Tell whether there is such a tool, which is asked once for each."""
        name = context.message.name
        if name not in self._names and len(self._names) < MAX_TRACKS:
            try:
                server = context.fastmcp_context.fastmcp if context.fastmcp_context else None
                if server is not None and await server.get_tool(name) is not None:
                    self._names.add(name)
            except Exception as error:  # noqa: BLE001  # the call itself will raise it, if it matters
                cells.fail("watch", "a tool of FastMCP", error)
        return name in self._names


def middleware(*, counts: bool = False) -> Measuring:
    """Measure sizes and running calls of a server's tools; `counts=True`: everything."""
    return Measuring(counts=counts)


@quiet
def _end(call: Tool, result: ToolResult) -> None:
    try:
        call.output(_parts(result.content))
    finally:
        if result.is_error:
            call.complete("error", error_type="tool_error")
        else:
            call.complete()


def _parts(content: Iterable[Any]) -> list[object]:
    """List the texts and the encoded pictures and sounds of a result, without what it says a second time."""
    return [getattr(block, name) for block in content for name in _TEXTS if hasattr(block, name)]
