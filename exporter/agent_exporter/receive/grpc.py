"""OTLP/gRPC: grpcio's synchronous server on raw bytes (rules P1, P6, P9, P12 to P14, P17).

May live here: the three Export methods, the server's options, and what keeps slow or many
clients from taking all threads. Bodies of answers belong to `status`; what is in a request
to `ingest`. gzip and deflate are undone by grpcio, which keeps to the message limit while
it does so (tests/receive/test_grpc.py holds it to that).
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NoReturn

import grpc
from google.rpc.code_pb2 import Code  # type: ignore[import-untyped]  # the package has stubs but no py.typed

from ..model import Answer, Malformed, Overloaded, Signal
from ..web import place
from .status import PROTOBUF, failure, response

log = logging.getLogger("agent_exporter")

METHODS: Final = {
    f"/opentelemetry.proto.collector.{package}.v1.{service}/Export": signal
    for package, service, signal in (
        ("metrics", "MetricsService", Signal.METRICS),
        ("logs", "LogsService", Signal.LOGS),
        ("trace", "TraceService", Signal.TRACES),
    )
}
# no_message: the client left, or its message was too large, which grpcio refuses itself and does not tell apart
REASONS: Final = ("no_message", "malformed", "overloaded", "slow_body", "internal")
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Limits:
    """What the door holds at once; sizes in bytes, times in seconds."""

    body_bytes: int = 64 * 1024 * 1024  # of one message, before and after decompression (P6)
    body_timeout: float = 60.0  # for a message to arrive
    in_flight_requests: int = 64  # begun and not yet answered; a message is read only when a thread is free for it
    threads: int = 4  # measured best; also how many messages are held at once
    connections: int = 512  # open at once
    header_bytes: int = 32 * 1024  # of one request's metadata
    header_timeout: float = 10.0  # for a new connection to speak HTTP/2
    idle_timeout: float = 120.0  # without a request
    streams: int = 128  # of one connection at once


class Server:
    """The door: `ingest` gets OTLP protobuf, `refuse` the reason (one of REASONS) of what never got there.

    Listens as soon as it is made (port 0 takes a free one), answers after `start`. Raises
    OSError, which names the address, if it cannot listen.
    """

    def __init__(
        self,
        ingest: Callable[[Signal, bytes], Answer],
        refuse: Callable[[Signal, str, str], None],
        host: str,
        port: int,
        limits: Limits | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._pool = _Pool(self._limits.threads, "otlp-grpc")
        self._watch = _Watch(self._limits.body_timeout)
        self._exports = _Exports(ingest, refuse, self._pool, self._watch, self._limits)
        self._server = grpc.server(self._pool, handlers=[self._exports], options=_options(self._limits))
        if error := _refused(host, port):  # grpcio does not say why, and logs; of two addresses it takes one
            raise error
        host = f"[{host}]" if ":" in host else host
        try:
            port = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError:
            raise OSError(0, f"cannot listen on {host}:{port}: grpcio gives no reason") from None
        self.port = port
        self.address = f"{host}:{port}"

    def start(self) -> None:
        """Begin to answer, in threads of its own."""
        self._watch.start()
        self._server.start()

    def stop(self, grace: float) -> None:
        """Refuse new requests, let those in flight finish for `grace` seconds, cut the rest; blocks until done."""
        self._server.stop(grace).wait()
        self._watch.stop()
        self._exports.close()
        self._pool.shutdown()


def _options(limits: Limits) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),  # a second instance on the same port has to fail
        ("grpc.max_receive_message_length", limits.body_bytes),
        ("grpc.max_metadata_size", limits.header_bytes),
        ("grpc.absolute_max_metadata_size", limits.header_bytes),
        ("grpc.max_concurrent_streams", limits.streams),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.server_handshake_timeout_ms", int(limits.header_timeout * 1000)),
        ("grpc.max_connection_idle_ms", int(limits.idle_timeout * 1000)),
        # Clients ping as they like (P17); the default cuts them off with too_many_pings.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 1000),
        ("grpc.http2.max_ping_strikes", 0),
    ]


def _refused(host: str, port: int) -> OSError | None:
    """Find out by plain sockets why a host cannot be listened on: one of its addresses is taken, or none can be had."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        errors = [_tried(family, address) for family, _, _, _, address in found]
    except OSError as error:  # the name does not resolve
        errors = [error]
    taken = [each for each in errors if each and each.errno == errno.EADDRINUSE]
    reason = next(iter(taken or errors))
    if reason is None or (not taken and None in errors):
        return None
    name = f"[{host}]" if ":" in host else host
    return OSError(reason.errno, f"cannot listen on {name}:{port}: {reason.strerror}")


def _tried(family: int, address: Any) -> OSError | None:  # noqa: ANN401  # a pair, or four of IPv6
    try:
        with socket.socket(family) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as grpcio does
            tried.bind(address)
    except OSError as error:
        return error
    return None


class _Pool(ThreadPoolExecutor):
    """A thread pool that knows how many calls it has taken and not finished."""

    def __init__(self, threads: int, name: str) -> None:
        super().__init__(threads, name)
        self._lock = threading.Lock()
        self.pending = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401  # as its parent
        self._count(1)
        future = super().submit(fn, *args, **kwargs)
        future.add_done_callback(lambda _: self._count(-1))
        return future

    def _count(self, step: int) -> None:
        with self._lock:
            self.pending += step


class _Undelivered(Exception):
    """A request without its message; the text is the reason to count."""


class _Watch:
    """Cancels requests whose message does not arrive in time.

    A thread waits for the message of its request, and grpcio knows no limit to that: without
    this, as many stalled requests as there are threads would shut the door.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._waiting: dict[int, tuple[float, grpc.ServicerContext]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otlp-grpc-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def message(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """Wait for the one message of a request."""
        key = id(context)
        self._waiting[key] = (time.monotonic() + self._timeout, context)
        try:
            body = next(requests, None)
        except grpc.RpcError:
            body = None
        if self._waiting.pop(key, None) is None:
            raise _Undelivered("slow_body")
        if body is None:
            raise _Undelivered("no_message")
        return body

    def _run(self) -> None:
        while not self._stopped.wait(self._timeout / 4):
            now = time.monotonic()
            for key, (deadline, context) in list(self._waiting.items()):
                if deadline < now and self._waiting.pop(key, None) is not None:
                    context.cancel()  # type: ignore[no-untyped-call]  # so in the stubs


class _Exports(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs only
    """The three methods. They are served as client streams, of which the first message is the request.

    On the wire that is the same as a unary call; in grpcio it hands the waiting for the
    message to us (see _Watch).
    """

    def __init__(
        self,
        ingest: Callable[[Signal, bytes], Answer],
        refuse: Callable[[Signal, str, str], None],
        pool: _Pool,
        watch: _Watch,
        limits: Limits,
    ) -> None:
        self._ingest = ingest
        self._refuse = refuse
        self._pool = pool
        self._watch = watch
        self._limits = limits
        self._busy_pool = ThreadPoolExecutor(1, "otlp-grpc-busy")  # so that a refusal does not queue behind the work
        self._exports = {method: _handler(partial(self._export, signal)) for method, signal in METHODS.items()}
        self._refusals = {
            method: _handler(partial(self._turn_away, signal), self._busy_pool) for method, signal in METHODS.items()
        }

    def close(self) -> None:
        """Let go of the thread that refuses."""
        self._busy_pool.shutdown()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """Find the method; None is answered UNIMPLEMENTED."""
        # grpcio's own maximum_concurrent_rpcs answers RESOURCE_EXHAUSTED without RetryInfo, which is final (P13).
        full = self._pool.pending >= self._limits.in_flight_requests
        return (self._refusals if full else self._exports).get(handler_call_details.method)

    def _export(self, signal: Signal, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        try:
            body = self._watch.message(requests, context)
        except _Undelivered as error:  # read by a client that is still there and was not cancelled: it sent nothing
            text = f"a request has one message of at most {self._limits.body_bytes} bytes"
            self._abort(signal, context, str(error), Code.INVALID_ARGUMENT, text)
        return self._digest(signal, body, context)

    def _digest(self, signal: Signal, body: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return response(signal, self._ingest(signal, body), PROTOBUF)
        except Malformed as error:
            self._abort(signal, context, "malformed", Code.INVALID_ARGUMENT, str(error))
        except Overloaded as error:
            self._abort(signal, context, "overloaded", Code.UNAVAILABLE, str(error), error.retry_after)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is our bug, and the client has to be told
            extra = {"protocol": "grpc", "signal": signal.value, "error": type(error).__name__, "at": place(error)}
            log.error("ingest failed", extra=extra)  # noqa: TRY400  # its text may quote the payload
            self._abort(signal, context, "internal", Code.INTERNAL, "internal error")

    def _turn_away(self, signal: Signal, _requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        text = f"more than {self._limits.in_flight_requests} requests in flight"
        self._abort(signal, context, "overloaded", Code.UNAVAILABLE, text, 1.0)

    def _abort(
        self,
        signal: Signal,
        context: grpc.ServicerContext,
        reason: str,
        code: int,
        text: str,
        retry_after: float | None = None,
    ) -> NoReturn:
        """Count, and answer with a Status in the trailers; leaves by an exception that grpcio expects."""
        self._refuse(signal, "grpc", reason)
        status = failure(code, text, retry_after)
        context.abort_with_status(_Status(_CODES[code], status.message, status.SerializeToString()))


class _Status(grpc.Status):
    """How a request ends, in grpcio's form."""

    def __init__(self, code: grpc.StatusCode, details: str, details_bin: bytes) -> None:
        self.code = code
        self.details = details
        self.trailing_metadata = (("grpc-status-details-bin", details_bin),)


def _handler(
    behaviour: Callable[[Iterator[bytes], grpc.ServicerContext], bytes],
    pool: ThreadPoolExecutor | None = None,
) -> grpc.RpcMethodHandler[bytes, bytes]:
    """Make a method on raw bytes; `pool` runs it in place of the server's threads."""

    def call(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        return behaviour(requests, context)

    if pool is not None:
        call.experimental_thread_pool = pool  # type: ignore[attr-defined]  # how grpcio is told
    return grpc.stream_unary_rpc_method_handler(call)
