"""Pools of connections to HTTP servers: httpx and aiohttp.

What may live here: how these clients ask for a connection. Both keep how many connections are open and
idle to themselves, so those in use are counted here; httpx does not tell its limit either.
"""

from __future__ import annotations

import inspect
from typing import Any

from ..graft import Method, graft
from ..watched import Row, is_a, observe
from .waits import Waits, timed


def httpx(client: Any, name: str, limit: float | None, waits: Waits | None) -> bool:
    """Watch a client, sync or async, by its documented `trace` extension."""
    if not is_a(client, "httpx:BaseClient"):
        return False
    rows = [] if limit is None else [Row("agent.pool.limit", {}, lambda _: limit)]
    if waits:
        rows += waits.open(counts_used=True)
        graft(client, lambda base: {"send": _send(base.send, waits)})
    observe(client, ("name", name), rows)
    return True


class Trace:
    """What becomes of one request, told by httpx as it happens; a redirect asks for another connection.

    Nothing says that waiting is over but the request's first bytes on a connection.
    """

    __slots__ = ("_before", "_begun", "_using", "_waits")

    def __init__(self, waits: Waits, before: Any) -> None:
        self._waits, self._before, self._using = waits, before, False
        self._begun: float | None = waits.begin()

    def __call__(self, event: str, info: Any) -> Any:
        """Take note of an event, and hand it to whoever else wanted it."""
        if event.endswith(".send_request_headers.started"):
            self._use()
        elif event.endswith(".response_closed.complete"):
            self._free()
        return self._before(event, info) if self._before else None

    async def tell(self, event: str, info: Any) -> None:
        """Take note of an event of an async client."""
        told = self(event, info)
        if inspect.isawaitable(told):
            await told

    def _use(self) -> None:
        if self._using:
            return
        if self._begun is None:  # a redirect
            self._begun = self._waits.begin()
        self._waits.end(self._begun)
        self._begun, self._using = None, True
        self._waits.take()

    def _free(self) -> None:
        if self._using:
            self._using = False
            self._waits.give()

    def failed(self, error: BaseException) -> None:
        """End whatever was under way."""
        self._free()
        if self._begun is not None:
            self._waits.end(self._begun, error)
            self._begun = None


def _send(send: Method, waits: Waits) -> Method:
    if inspect.iscoroutinefunction(send):

        async def send_async(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            before = request.extensions
            trace = Trace(waits, before.get("trace"))
            request.extensions = {**before, "trace": trace.tell}
            try:
                return await send(self, request, *args, **kwargs)
            except BaseException as error:
                trace.failed(error)
                raise
            finally:
                request.extensions = before

        return send_async

    def send_sync(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        before = request.extensions
        trace = Trace(waits, before.get("trace"))
        request.extensions = {**before, "trace": trace}
        try:
            return send(self, request, *args, **kwargs)
        except BaseException as error:
            trace.failed(error)
            raise
        finally:
            request.extensions = before

    return send_sync


def aiohttp(client: Any, name: str, limit: float | None, waits: Waits | None) -> bool:
    """Watch a session or its connector; a server that takes too long to connect to counts as none free."""
    connector = getattr(client, "connector", client)
    if not is_a(connector, "aiohttp:BaseConnector"):
        return False
    rows = [Row("agent.pool.limit", {}, lambda connector: limit if limit is not None else connector.limit or None)]
    if waits:
        rows += waits.open(counts_used=True)
        graft(connector, lambda base: {"connect": _connect(base.connect, waits)})
    observe(connector, ("name", name), rows)
    return True


def _connect(connect: Method, waits: Waits) -> Method:
    def took(connection: Any) -> None:
        waits.take()
        connection.add_callback(waits.give)

    return timed(connect, waits, took)
