"""The HTTP server: the only file that owns an HTTP socket.

May live here: listening, the connections' limits and their timers, stopping, and the last
net under an ASGI app. What is served is given as an app; paths, OTLP and pages are not
known here. uvicorn speaks HTTP (its httptools protocol is subclassed), but neither its
server loop, its signal handlers nor its log are used, so that several servers share a loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]  # ASGI 3

log = logging.getLogger("agent_exporter")

CONNECTION_LIMIT: Final = "connection_limit"
HEADER_TIMEOUT: Final = "header_timeout"
HEADER_TOO_LARGE: Final = "header_too_large"
BAD_REQUEST: Final = "bad_request"
WRITE_TIMEOUT: Final = "write_timeout"
REASONS: Final = (CONNECTION_LIMIT, HEADER_TIMEOUT, HEADER_TOO_LARGE, BAD_REQUEST, WRITE_TIMEOUT)

# Answers to clients that have not (yet) sent a request that an app could answer.
_ANSWERS: Final = {
    CONNECTION_LIMIT: b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n",
    HEADER_TIMEOUT: b"HTTP/1.1 408 Request Timeout\r\n",
    HEADER_TOO_LARGE: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
    BAD_REQUEST: b"HTTP/1.1 400 Bad Request\r\n",
}
_END: Final = b"content-length: 0\r\nconnection: close\r\n\r\n"

_SILENT: Final = logging.getLogger("agent_exporter.uvicorn")  # what clients do wrong is counted, not logged
_SILENT.setLevel(logging.CRITICAL + 1)
_DATE_SECONDS: Final = 1.0
_GATHERED: Final = 256 * 1024  # bytes of a body before the app is given them; the usual request is given at once


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server bears; times in seconds."""

    connections: int = 512  # open at once; one more is answered 503 and closed
    header_bytes: int = 32 * 1024  # of one request's line and headers, and of anything else that is not body
    header_timeout: float = 10.0  # from the connection, or the first byte of a later request, to the end of its headers
    idle_timeout: float = 120.0  # between two requests; longer than the usual export interval of 60 s
    write_timeout: float = 30.0  # for a client to take what was written


def place(error: BaseException) -> str:
    """Say where an exception was raised, as `file.py:line`; never its text, which may quote a payload."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "unknown"  # noqa: PTH119  # a name is enough


class Server:
    """A listening HTTP server on the running loop; made by `serve`."""

    def __init__(self, app: App, limits: Limits, refused: Callable[[str], None]) -> None:
        guarded = _guard(app)
        self._config = Config(guarded, interface="asgi3", ws="none", lifespan="off", log_config=None)
        self._config.load()
        self._config.loaded_app = guarded  # without the wrappers that uvicorn adds for proxies and tracing
        self._limits = limits
        self._refused = refused
        self._state = ServerState()
        self._closed = asyncio.Event()  # set by the last connection to go
        self._clock: asyncio.TimerHandle | None = None
        self._listener: asyncio.Server | None = None
        self.host = ""
        self.port = 0

    @property
    def address(self) -> str:
        """Name where the server listens, as HOST:PORT with the real port."""
        return _address(self.host, self.port)

    async def listen(self, host: str, port: int) -> None:
        """Open the socket; port 0 takes a free one."""
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(self._connect, host, port, reuse_port=False)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror)
            raise OSError(error.errno, f"cannot listen on {_address(host, port)}: {reason}") from error
        self.host, self.port = self._listener.sockets[0].getsockname()[:2]
        self._tick()

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109  # a limit of the protocol, not of the caller
        """Stop accepting, close idle connections, let requests in flight finish for `timeout` seconds, cut the rest."""
        if self._listener is None:
            return
        self._listener.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(timeout):
                await self._drained()
        except TimeoutError:
            log.warning("requests cut", extra={"address": self.address, "requests": len(self._state.tasks)})
            await self._cut()
        await self._listener.wait_closed()
        self._listener = None
        if self._clock is not None:
            self._clock.cancel()

    async def _drained(self) -> None:
        while self._state.connections:
            self._closed.clear()
            await self._closed.wait()
        if self._state.tasks:
            await asyncio.wait(list(self._state.tasks))

    async def _cut(self) -> None:
        for connection in list(self._state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # the connections learn of it first, so that nothing is written to them any more
        for task in list(self._state.tasks):
            task.cancel()
        await self._drained()

    def _connect(self) -> _Connection:
        return _Connection(self._config, self._state, self._limits, self._refused, self._closed)

    def _tick(self) -> None:
        """Write the Date header once a second for all answers."""
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._clock = asyncio.get_running_loop().call_later(_DATE_SECONDS, self._tick)


async def serve(
    app: App,
    host: str,
    port: int,
    limits: Limits | None = None,
    refused: Callable[[str], None] = lambda _reason: None,
) -> Server:
    """Serve an ASGI app over HTTP/1.1 until `stop`.

    `refused` is called with one of REASONS for each client that was turned away before its
    request reached the app. Raises OSError, which names the address, if it cannot listen.
    """
    server = Server(app, limits or Limits(), refused)
    await server.listen(host, port)
    return server


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _guard(app: App) -> App:
    """Keep an app's exceptions from uvicorn: log them as one line and answer 500 if nothing was sent yet."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await app(scope, receive, watched)
        except asyncio.CancelledError:
            return  # the server was told to stop and has cut the connection
        except Exception as error:  # the last net: whatever it is, it is our bug and must not go unseen
            log.error("request failed", extra={"error": type(error).__name__, "at": place(error)})  # noqa: TRY400  # the text may quote a payload
            if started:
                raise  # uvicorn closes the connection, so that the client sees a broken answer
            await send({"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

    return guarded


class _Connection(HttpToolsProtocol):
    """One client: uvicorn's protocol, with limits on everything that a client can drag out."""

    def __init__(
        self,
        config: Config,
        state: ServerState,
        limits: Limits,
        refused: Callable[[str], None],
        closed: asyncio.Event,
    ) -> None:
        super().__init__(config, state, app_state={}, _loop=asyncio.get_running_loop())
        self.logger = self.access_logger = _SILENT
        self.access_log = False
        self.timeout_keep_alive = limits.idle_timeout  # type: ignore[assignment]  # call_later takes fractions
        self._limits = limits
        self._refused = refused
        self._closed = closed
        self._dry = 0  # bytes in a row that were neither body nor the end of a request
        self._parts: list[bytes] = []  # of the body, not yet given to the app
        self._gathered = 0  # their bytes
        self._declined = False  # the parser has stopped at a request that offers another protocol
        self._header_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    # --- the connection ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(CONNECTION_LIMIT)
        else:
            self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        for timer in (self._header_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        if not self.connections:
            self._closed.set()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._dry += len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except HttpParserError:
            self._malformed()
        if self.transport.is_closing():
            return
        if self._dry > self._limits.header_bytes:
            self._refuse(HEADER_TOO_LARGE)
        elif self._header_timer is None and self.timeout_keep_alive_task is None and not self._busy():
            self._await_headers()  # part of a later request, or nothing but empty lines

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio: true keeps our half open
        """Answer a client that has closed its half after a whole request; close on any other."""
        if not self._busy() or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        return True

    def _busy(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete

    def _refuse(self, reason: str) -> None:
        """Count a client that is turned away, and close; the answer is left out where an app's has begun."""
        self._refused(reason)
        if not (self._busy() and self.cycle.response_started):
            self.transport.write(_ANSWERS[reason] + _END)
        self.transport.close()
        self._watch_write()

    # --- headers ---

    def _await_headers(self) -> None:
        self._header_timer = self.loop.call_later(self._limits.header_timeout, self._headers_late)

    def _headers_late(self) -> None:
        self._header_timer = None
        if not self.transport.is_closing():
            self._refuse(HEADER_TIMEOUT)

    def on_headers_complete(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
        if self._dry > self._limits.header_bytes and self._header_size() > self._limits.header_bytes:
            self._refuse(HEADER_TOO_LARGE)
            raise ValueError(HEADER_TOO_LARGE)  # ends the parser; nobody else sees it
        self._declined = self.parser.should_upgrade()
        if not self._declined:
            super().on_headers_complete()

    def _decline_upgrade(self, rest: bytes) -> None:
        """Read a request again without its offer of HTTP/2 or WebSocket, for httptools skips the body of such a one.

        Clients that offer it with every request, bodies included: java.net.http, curl --http2.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._malformed()
            return
        headers = ((name, value) for name, value in self.headers if name != b"upgrade")
        head = b"".join(
            [method, b" ", self.url, b" HTTP/1.1\r\n", *(b"%b: %b\r\n" % pair for pair in headers), b"\r\n"]
        )
        self.parser = HttpRequestParser(self)
        self.data_received(head + rest)

    def _header_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _malformed(self) -> None:
        if not self.transport.is_closing():
            self._refuse(BAD_REQUEST)

    # --- progress ---

    def on_body(self, body: bytes) -> None:
        """Gather the body: an app that is woken for every piece of it costs more than all the rest."""
        self._dry = 0
        self._parts.append(body)
        self._gathered += len(body)
        if self._gathered > _GATHERED:
            self._hand_over()
            self.flow.pause_reading()
            self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._dry = 0
        self._hand_over()
        if not self._declined:
            super().on_message_complete()

    def _hand_over(self) -> None:
        """Give what is gathered to the app, which takes it with `receive`; one piece is not copied."""
        if self._parts and not self.cycle.response_complete:
            whole: Any = b"".join([self.cycle.body, *self._parts] if self.cycle.body else self._parts)
            self.cycle.body = whole
        self._parts, self._gathered = [], 0

    # --- answers ---

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_write()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_write()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # the last answer was never taken
        else:
            super().timeout_keep_alive_handler()

    def _watch_write(self) -> None:
        if self._write_timer is None and self.transport.get_write_buffer_size():
            self._write_timer = self.loop.call_later(self._limits.write_timeout, self._write_late)

    def _write_late(self) -> None:
        self._write_timer = None
        if self.transport.get_write_buffer_size():
            self._refused(WRITE_TIMEOUT)
            self.transport.abort()
