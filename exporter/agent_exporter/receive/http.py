"""OTLP/HTTP: an ASGI app (rules P2 to P16).

May live here: paths, methods, headers and bodies of OTLP requests over HTTP, what is
answered, and how much is held at once. Sockets belong to `web`, encodings to `coding`,
the bodies of answers to `status`, and what is in a request to `ingest`.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from google.rpc.code_pb2 import Code  # type: ignore[import-untyped]  # the package has stubs but no py.typed

from ..decode.json import to_protobuf
from ..model import Answer, Malformed, Overloaded, Signal
from ..web import Receive, Scope, Send, place
from .coding import CODINGS, TooLarge, UnknownEncoding, decompress, too_large
from .status import ENCODINGS, JSON, PROTOBUF, encode, failure, response

log = logging.getLogger("agent_exporter")

Headers = list[tuple[bytes, bytes]]
T = TypeVar("T")

PATHS: Final = {f"/v1/{signal}": signal for signal in Signal}
REASONS: Final = (
    "bad_method",
    "bad_content_type",
    "bad_encoding",
    "too_large",
    "malformed",
    "overloaded",
    "slow_body",
    "disconnected",
    "internal",
)

_CODES: Final = {  # HTTP status -> the code in the body
    400: Code.INVALID_ARGUMENT,
    404: Code.NOT_FOUND,
    405: Code.UNIMPLEMENTED,
    408: Code.DEADLINE_EXCEEDED,
    413: Code.RESOURCE_EXHAUSTED,  # without RetryInfo: final (P6)
    415: Code.INVALID_ARGUMENT,
    500: Code.INTERNAL,
    503: Code.UNAVAILABLE,
}
_RATIO: Final = 10  # how much larger OTLP usually is than its gzip
_JSON: Final = 5  # times the work of protobuf, byte for byte
_MEDIA: Final = {name.encode(): name for name in ENCODINGS}
_PREFLIGHT_SECONDS: Final = b"7200"  # the most that any browser remembers


@dataclass(frozen=True, slots=True)
class Limits:
    """What the door holds at once; sizes in bytes, times in seconds."""

    body_bytes: int = 64 * 1024 * 1024  # as sent, and again when decompressed (P6)
    body_timeout: float = 60.0  # for a body to arrive
    in_flight_requests: int = 64  # with their bodies read and not yet answered
    in_flight_bytes: int = 256 * 1024 * 1024  # of all bodies, from their first byte to their answer
    inline_bytes: int = 1024 * 1024  # larger bodies (about 3 ms) are worked on in a thread, so that the loop goes on
    threads: int = 2  # that work on large bodies
    linger: float = 1.0  # reading on after an early refusal, so that a client that still sends can read it


class _Refused(Exception):
    """A request that is not taken: what to answer and what to count."""

    def __init__(self, status: int, reason: str, text: str, headers: Headers | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason
        self.text = text
        self.headers = headers or []
        self.retry_after: float | None = None


class _Gone(Exception):
    """The client has left in the middle of its body."""


@dataclass(slots=True)
class _Request:
    """One request, as far as it is understood."""

    scope: Scope
    receive: Receive
    headers: dict[bytes, bytes]
    signal: Signal | None
    media: str | None  # what its content type says it is, if that is one of ENCODINGS
    encoding: str  # of the answer
    coding: str  # of the content
    held: int = 0  # bytes that count as in flight
    whole: bool = False  # the body has been read to its end
    answer: Headers = field(default_factory=list)  # headers that any answer gets (CORS)


class Door:
    """The ASGI app: `ingest` gets OTLP protobuf, `refuse` the reason (one of REASONS) of what never got there.

    Requests to unknown paths have no signal and are answered 404 uncounted. Errors of a
    request whose content type is unknown are written as JSON, unless it accepts protobuf only.
    """

    def __init__(
        self,
        ingest: Callable[[Signal, bytes], Answer],
        refuse: Callable[[Signal, str, str], None],
        limits: Limits | None = None,
        origins: frozenset[str] = frozenset(),
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._ingest = ingest
        self._busy = busy  # whether `ingest` would have to wait
        self._refuse = refuse
        self._limits = limits or Limits()
        self._origins = origins  # of browsers that may send (P16); `*` stands for all
        self._threads = asyncio.Semaphore(self._limits.threads)
        self._requests = 0
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = self._read_head(scope, receive)
        try:
            status, headers, body = await self._answer(request)
        except _Refused as refused:
            status, headers, body = self._refusal(request, refused)
        except _Gone:
            self._count(request, "disconnected")
            return
        finally:
            self._bytes -= request.held
        early = not request.whole and status >= 400
        if early:
            headers = [*headers, (b"connection", b"close")]
        headers = [*headers, *request.answer, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if early:
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await self._linger(receive)
            body = b""
        await send({"type": "http.response.body", "body": body})

    def _read_head(self, scope: Scope, receive: Receive) -> _Request:
        headers = dict(scope["headers"])
        media = _MEDIA.get(headers.get(b"content-type", b"").partition(b";")[0].strip().lower())
        coding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
        encoding = media or _accepted(headers)
        request = _Request(scope, receive, headers, PATHS.get(scope["path"]), media, encoding, coding)
        if self._origins:
            request.answer = self._cors(headers.get(b"origin", b""))
        return request

    def _cors(self, origin: bytes) -> Headers:
        """Allow a configured origin to read the answer."""
        if not origin:
            return []
        if not self._origins & {"*", origin.decode("latin-1")}:
            return [(b"vary", b"Origin")]
        return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]

    # --- the way of a request ---

    async def _answer(self, request: _Request) -> tuple[int, Headers, bytes]:
        if request.scope["method"] == "OPTIONS" and len(request.answer) > 1 and request.signal:
            return self._preflight(request)
        signal = self._check_head(request)
        body = await self._read_body(request)
        self._requests += 1
        try:
            answer = await self._digest(request, signal, body)
            return 200, [(b"content-type", request.encoding.encode())], response(signal, answer, request.encoding)
        except (UnknownEncoding, TooLarge, Malformed, Overloaded) as error:
            raise _refused(error) from None
        except Exception as error:  # noqa: BLE001  # whatever it is, it is our bug, and the client has to be told
            extra = {"protocol": "http", "signal": signal.value, "error": type(error).__name__, "at": place(error)}
            log.error("ingest failed", extra=extra)  # noqa: TRY400  # its text may quote the payload
            raise _Refused(500, "internal", "internal error") from None
        finally:
            self._requests -= 1

    def _preflight(self, request: _Request) -> tuple[int, Headers, bytes]:
        asked = request.headers.get(b"access-control-request-headers", b"content-type")
        headers = [
            (b"access-control-allow-methods", b"POST"),
            (b"access-control-allow-headers", asked),
            (b"access-control-max-age", _PREFLIGHT_SECONDS),
        ]
        return 204, headers, b""

    def _check_head(self, request: _Request) -> Signal:
        """Refuse what can be refused before a byte of the body is read."""
        if request.signal is None:
            raise _Refused(404, "", f"no such path; OTLP is taken at {', '.join(PATHS)}")
        if request.scope["method"] != "POST":
            allowed = b"POST, OPTIONS" if self._origins else b"POST"
            raise _Refused(405, "bad_method", "OTLP is sent with POST", [(b"allow", allowed)])
        if request.media is None:
            raise _Refused(415, "bad_content_type", f"Content-Type must be one of {', '.join(ENCODINGS)}")
        if request.coding not in CODINGS:
            raise _refused(UnknownEncoding(f"Content-Encoding must be one of {', '.join(CODINGS)}"))
        if int(request.headers.get(b"content-length", b"0")) > self._limits.body_bytes:
            raise _refused(too_large(self._limits.body_bytes))
        return request.signal

    async def _read_body(self, request: _Request) -> bytes:
        parts = []
        try:
            async with asyncio.timeout(self._limits.body_timeout):
                while not request.whole:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    part: bytes = message["body"]
                    request.whole = not message["more_body"]
                    self._hold(request, len(part))
                    if request.held > self._limits.body_bytes:
                        raise too_large(self._limits.body_bytes)
                    parts.append(part)
        except TimeoutError:
            raise _Refused(408, "slow_body", f"the body took more than {self._limits.body_timeout:g} s") from None
        except (TooLarge, Overloaded) as error:
            raise _refused(error) from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _hold(self, request: _Request, size: int) -> None:
        """Count bytes as in flight, unless that is too much for all requests together."""
        request.held += size
        self._bytes += size
        if self._bytes > self._limits.in_flight_bytes:
            raise Overloaded(f"more than {self._limits.in_flight_bytes} bytes in flight")

    async def _digest(self, request: _Request, signal: Signal, body: bytes) -> Answer:
        if self._requests > self._limits.in_flight_requests:
            raise Overloaded(f"more than {self._limits.in_flight_requests} requests in flight")
        plain = body
        if request.coding != "identity":
            coding, limit = request.coding, self._limits.body_bytes
            plain = await self._work(_RATIO * len(body), lambda: decompress(coding, body, limit))
            self._hold(request, len(plain))
        if request.encoding == JSON and plain:
            return await self._work(_JSON * len(plain), lambda: self._ingest(signal, to_protobuf(signal, plain)))
        return await self._work(len(plain), lambda: self._ingest(signal, plain))

    async def _work(self, weight: int, call: Callable[[], T]) -> T:
        """Call inline if that is short work and waits for nobody, else in one of few threads."""
        if weight <= self._limits.inline_bytes and not self._busy():
            return call()
        async with self._threads:
            return await asyncio.to_thread(call)

    # --- refusals ---

    def _refusal(self, request: _Request, refused: _Refused) -> tuple[int, Headers, bytes]:
        self._count(request, refused.reason)
        status = failure(_CODES[refused.status], refused.text, refused.retry_after)
        body = encode(status, request.encoding)
        return refused.status, [(b"content-type", request.encoding.encode()), *refused.headers], body

    def _count(self, request: _Request, reason: str) -> None:
        if request.signal is not None:
            self._refuse(request.signal, "http", reason)

    async def _linger(self, receive: Receive) -> None:
        """Read on for a moment: closing with unread bytes would tear the answer from the client's hands."""
        try:
            async with asyncio.timeout(self._limits.linger):
                while (message := await receive())["type"] == "http.request" and message["more_body"]:
                    pass
        except TimeoutError:
            pass


def _accepted(headers: dict[bytes, bytes]) -> str:
    """Choose for a client that did not say what it sends: JSON, which people can read, or what it asks for alone."""
    accepted = headers.get(b"accept", b"")
    return PROTOBUF if PROTOBUF.encode() in accepted and JSON.encode() not in accepted else JSON


def _refused(error: UnknownEncoding | TooLarge | Malformed | Overloaded) -> _Refused:
    """Say over HTTP what went wrong."""
    if isinstance(error, Overloaded):
        seconds = max(1, math.ceil(error.retry_after))
        refused = _Refused(503, "overloaded", str(error), [(b"retry-after", b"%d" % seconds)])
        refused.retry_after = error.retry_after
        return refused
    if isinstance(error, TooLarge):
        return _Refused(413, "too_large", str(error))
    if isinstance(error, UnknownEncoding):
        return _Refused(415, "bad_encoding", str(error), [(b"accept-encoding", ", ".join(CODINGS).encode())])
    return _Refused(400, "malformed", str(error))
