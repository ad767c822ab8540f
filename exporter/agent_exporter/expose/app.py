"""The scrape endpoint and its neighbours as a plain ASGI application.

What may live here turns requests into calls of the callables it was given, and what they
return into answers. Pages are rendered in one thread of their own, off the event loop;
requests for the same page at the same time share one rendering, one that nobody waits for
any more is not begun, and only so many wait.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from ..model import Family
from ..web import place
from .names import Escaping
from .negotiate import accepts_gzip, negotiate
from .page import Status, page
from .render import Renderer
from .shape import Format

log = logging.getLogger("agent_exporter")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PIECE_SIZE = 1 << 18  # bytes sent at once: enough to keep a socket busy, little enough not to hold a page twice
NAMES_LIMIT = 100  # of `name[]` in one request
RENDERINGS = 8  # different pages in the making at once, one of them running; a page in one form is one of 16
RETRY_AFTER = 1  # seconds
# An answer must be on its way before the scraper gives up: a tenth of its patience, at most this much.
MARGIN = 0.5

_SAFE = ((b"x-content-type-options", b"nosniff"),)
_PAGE_HEADERS = (
    *_SAFE,
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)


class Request(NamedTuple):
    """What of a request matters here; header names in lower case, the last of each name."""

    method: str
    path: str
    query: str
    headers: dict[str, str]


class Answer(NamedTuple):
    """An answer; `body` in pieces."""

    status: int
    content_type: str
    body: list[bytes]
    headers: tuple[tuple[bytes, bytes], ...] = _SAFE


class Scrape(NamedTuple):
    """What makes two scrapes the same page."""

    form: Format
    scheme: Escaping
    gzip: bool
    names: frozenset[str]


class Busy(RuntimeError):
    """RENDERINGS other pages are in the making."""


class Rendering:
    """A page in the making; `waiting` requests want it."""

    __slots__ = ("begun", "task", "waiting")

    def __init__(self) -> None:
        self.waiting, self.begun = 0, False
        self.task: asyncio.Task[list[bytes]]


class App:
    """The ASGI application.

    `snapshot` and the renderer are called in the rendering thread, `status` and `reload` in
    others: they may wait for a lock. `reload` returns what it did, or raises ValueError with a
    message for the operator, which is answered with 500 as Prometheus does: the request was
    right, our file is not. `observe` is told seconds and bytes of every page sent.
    `openmetrics` is false under a strategy without suffixes.
    """

    def __init__(
        self,
        *,
        snapshot: Callable[[], list[Family]],
        status: Callable[[], Status],
        reload: Callable[[], str],
        ready: Callable[[], bool],
        observe: Callable[[float, int], None],
        renderer: Renderer | None = None,
        openmetrics: bool = True,
    ) -> None:
        self._snapshot, self._status, self._reload = snapshot, status, reload
        self._ready, self._observe, self._openmetrics = ready, observe, openmetrics
        self._renderer = renderer or Renderer()
        self._thread = ThreadPoolExecutor(1, "render")
        self._turn = asyncio.Lock()  # of the rendering thread
        self._renderings: dict[Scrape, Rendering] = {}
        self._routes: dict[str, dict[str, Callable[[Request], Awaitable[Answer]]]] = {
            "/": {"GET": self._home},
            "/metrics": {"GET": self._metrics},
            "/-/healthy": {"GET": self._healthy},
            "/-/ready": {"GET": self._is_ready},
            "/-/reload": {"POST": self._reloaded},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            request = _request(scope)
            try:
                answer = await self._answer(request)
            except Exception as error:  # noqa: BLE001  # our bug, which must not go unseen; its text may quote content
                log.error("request failed", extra={"error": type(error).__name__, "at": place(error)})  # noqa: TRY400
                answer = _plain(500, "internal error, see the log")
            await _send(send, answer, head=request.method == "HEAD")

    def close(self) -> None:
        """Stop the rendering thread; a page that is being rendered is finished first."""
        self._thread.shutdown()

    async def _answer(self, request: Request) -> Answer:
        route = self._routes.get(request.path)
        if route is None:
            return _plain(404, "not found; there is /metrics and, for people, /")
        handler = route.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            methods = ", ".join((*route, "HEAD") if "GET" in route else route)
            allow = (b"allow", methods.encode())
            return _plain(405, f"method not allowed, only {methods}")._replace(headers=(*_SAFE, allow))
        return await handler(request)

    async def _metrics(self, request: Request) -> Answer:
        """Answer a scrape, or say so just before the scraper gives up."""
        started = time.perf_counter()
        choice = negotiate(request.headers.get("accept", ""), openmetrics=self._openmetrics)
        gzip = accepts_gzip(request.headers.get("accept-encoding", ""))
        names = [value for key, value in parse_qsl(request.query) if key == "name[]"]
        if len(names) > NAMES_LIMIT:
            return _plain(400, f"more than {NAMES_LIMIT} name[]")
        patience = _patience(request.headers.get("x-prometheus-scrape-timeout-seconds", ""))
        try:
            body = await self._rendered(Scrape(choice.form, choice.scheme, gzip, frozenset(names)), patience)
        except Busy:
            later = (b"retry-after", b"%d" % RETRY_AFTER)
            return _plain(503, "too many different pages are asked for at once")._replace(headers=(*_SAFE, later))
        if body is None:
            return _plain(503, "the page was not ready within the scrape timeout; the next scrape may be faster")
        self._observe(time.perf_counter() - started, sum(map(len, body)))
        coding = ((b"content-encoding", b"gzip"),) if gzip else ()
        headers = (*_SAFE, *coding, (b"vary", b"accept, accept-encoding"))
        return Answer(200, choice.content_type, body, headers)

    async def _rendered(self, scrape: Scrape, patience: float | None) -> list[bytes] | None:
        """Wait for a page, alone or with others, at most `patience` seconds. Raises Busy.

        `asyncio.wait` leaves the rendering alone when we stop waiting or are cancelled: others
        may wait too, and the next scrape finds its work done. One that has not begun is given
        up by the last to leave.
        """
        rendering = self._renderings.get(scrape) or self._start(scrape)
        rendering.waiting += 1
        try:
            done, _ = await asyncio.wait((rendering.task,), timeout=patience)
        finally:
            rendering.waiting -= 1
            if not rendering.waiting and not rendering.begun:
                self._renderings.pop(scrape, None)
                rendering.task.cancel()
        return rendering.task.result() if done else None

    def _start(self, scrape: Scrape) -> Rendering:
        if len(self._renderings) >= RENDERINGS:
            raise Busy
        rendering = self._renderings[scrape] = Rendering()
        rendering.task = asyncio.create_task(self._made(scrape, rendering))
        rendering.task.add_done_callback(_noticed)
        return rendering

    async def _made(self, scrape: Scrape, rendering: Rendering) -> list[bytes]:
        """Render a page when it is its turn."""
        async with self._turn:
            rendering.begun = True
            try:
                return await asyncio.get_running_loop().run_in_executor(self._thread, self._render, scrape)
            finally:
                del self._renderings[scrape]

    def _render(self, scrape: Scrape) -> list[bytes]:
        """Render a page, in the rendering thread; one of a few names leaves what our renderer keeps alone."""
        families: Iterable[Family] = self._snapshot()
        renderer = self._renderer
        if scrape.names:
            families, renderer = (family for family in families if family.name in scrape.names), renderer.fresh()
        render = renderer.render_gzip if scrape.gzip else renderer.render
        return render(families, scrape.form, scrape.scheme)

    async def _home(self, _: Request) -> Answer:
        return Answer(
            200, "text/html; charset=utf-8", [page(await asyncio.to_thread(self._status)).encode()], _PAGE_HEADERS
        )

    async def _healthy(self, _: Request) -> Answer:
        return _plain(200, "healthy")

    async def _is_ready(self, _: Request) -> Answer:
        return _plain(200, "ready") if self._ready() else _plain(503, "not ready")

    async def _reloaded(self, request: Request) -> Answer:
        """Reload on request of an operator; a browser sends `origin`, and no page of ours asks for this."""
        if "origin" in request.headers:
            return _plain(403, "not from a browser")
        try:
            return _plain(200, await asyncio.to_thread(self._reload))
        except ValueError as error:
            return _plain(500, str(error))


def _request(scope: Scope) -> Request:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    for name in ("accept", "accept-encoding"):  # lists may come in several lines
        lines = [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name.encode()]
        headers[name] = ",".join(lines)
    return Request(scope["method"], scope["path"], scope.get("query_string", b"").decode("latin-1"), headers)


def _patience(header: str) -> float | None:
    """Read how long a scraper waits and leave time for the way back; None for no or a senseless number."""
    try:
        seconds = float(header)
    except ValueError:
        return None
    return seconds - min(MARGIN, seconds / 10) if 0 < seconds < math.inf else None


def _noticed(task: asyncio.Task[list[bytes]]) -> None:
    """Look at a failure that nobody waited for, so that asyncio does not complain at exit."""
    if not task.cancelled():
        task.exception()


def _plain(status: int, text: str) -> Answer:
    return Answer(status, "text/plain; charset=utf-8", [text.encode("utf-8", "replace") + b"\n"])


def _pieces(chunks: list[bytes]) -> Iterator[bytes]:
    """Put small chunks together for sending."""
    held: list[bytes] = []
    size = 0
    for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size >= PIECE_SIZE:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


async def _send(send: Send, answer: Answer, *, head: bool) -> None:
    length = str(sum(map(len, answer.body))).encode()
    headers = [(b"content-type", answer.content_type.encode()), (b"content-length", length), *answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    for piece in () if head else _pieces(answer.body):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _lifespan(receive: Receive, send: Send) -> None:
    """Take part in the server's start and end; the collector starts and stops things."""
    for event in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{event}.complete"})
