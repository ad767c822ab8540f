"""OTLP/gRPC over real sockets, against an `ingest` that keeps what it gets."""

import contextlib
import socket
import subprocess
import sys
import threading
import time

import grpc
import pytest
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from agent_exporter.model import Answer, Malformed, Overloaded, Rejection, Signal
from agent_exporter.receive.grpc import METHODS, REASONS, Limits, Server

METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
BODY = ExportMetricsServiceRequest(resource_metrics=[{"schema_url": "https://example.org/"}]).SerializeToString()
MIB = 1 << 20


class Ingest:
    """Keeps bodies; answers, or raises, what it is told to."""

    def __init__(self, outcome=None):
        self.outcome = outcome or Answer(accepted=1)
        self.bodies = []
        self.refused = []

    def __call__(self, signal, body):
        """Take one request."""
        self.bodies.append((signal, body))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def refuse(self, signal, protocol, reason):
        """Count one request that was not taken."""
        assert (protocol, reason in REASONS) == ("grpc", True)
        self.refused.append((signal, reason))


@contextlib.contextmanager
def _serving(ingest, limits=None, refuse=None):
    server = Server(ingest, refuse or ingest.refuse, "127.0.0.1", 0, limits)
    server.start()
    try:
        yield server
    finally:
        server.stop(0.1)


@contextlib.contextmanager
def _channel(server, *options):
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1), *options]
    with grpc.insecure_channel(server.address, options) as channel:
        yield channel


def _call(server, body=BODY, method=METHODS, **how):
    """Send one request; returns the answer, or the error."""
    with _channel(server) as channel:
        try:
            return channel.unary_unary(METRICS if method is METHODS else method)(body, timeout=5, **how)
        except grpc.RpcError as error:
            return error


def _status(error):
    [details] = [value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"]
    return Status.FromString(details)


def _until(condition):
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("it did not come to pass within five seconds")


@pytest.mark.parametrize(("method", "signal"), METHODS.items())
def test_export(method, signal):
    """The bytes of a message reach ingest as they are; full success is an empty message."""
    ingest = Ingest()
    with _serving(ingest) as server:
        assert _call(server, method=method) == b""

    assert ingest.bodies == [(signal, BODY)]
    assert ingest.refused == []


def test_methods_are_those_of_the_services():
    """The paths are those that the generated stubs call."""
    methods = set()

    class Recorder:
        def unary_unary(self, method, **_):
            methods.add(method)

    for stub in (
        metrics_service_pb2_grpc.MetricsServiceStub,
        logs_service_pb2_grpc.LogsServiceStub,
        trace_service_pb2_grpc.TraceServiceStub,
    ):
        stub(Recorder())

    assert methods == set(METHODS)


def test_empty_request():
    """A request without anything in it succeeds."""
    ingest = Ingest()
    with _serving(ingest) as server:
        assert _call(server, b"") == b""

    assert ingest.bodies == [(Signal.METRICS, b"")]


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed(compression):
    """Compressed messages arrive decompressed."""
    ingest = Ingest()
    with _serving(ingest) as server:
        assert _call(server, BODY * 100, compression=compression) == b""

    assert ingest.bodies == [(Signal.METRICS, BODY * 100)]


def test_partial_success():
    """Rejected points are told, with status OK."""
    with _serving(Ingest(Answer(3, [Rejection("no_temporality", "requests", "", 2)]))) as server:
        message = ExportMetricsServiceResponse.FromString(_call(server))

    assert message.partial_success.rejected_data_points == 2
    assert message.partial_success.error_message == "requests: no_temporality"


def test_malformed():
    """Bad data is INVALID_ARGUMENT with a BadRequest."""
    ingest = Ingest(Malformed("no protobuf"))
    with _serving(ingest) as server:
        error = _call(server)

    detail = error_details_pb2.BadRequest()
    assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "no protobuf")
    assert _status(error).details[0].Unpack(detail)
    assert ingest.refused == [(Signal.METRICS, "malformed")]


def test_overloaded():
    """Overload is UNAVAILABLE with a RetryInfo."""
    ingest = Ingest(Overloaded("busy", 1.5))
    with _serving(ingest) as server:
        error = _call(server)

    detail = error_details_pb2.RetryInfo()
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "busy")
    assert _status(error).details[0].Unpack(detail)
    assert detail.retry_delay.ToMilliseconds() == 1500
    assert ingest.refused == [(Signal.METRICS, "overloaded")]


def test_bug_in_ingest(caplog):
    """An unexpected exception is INTERNAL, one line in the log, and tells nobody the payload."""
    ingest = Ingest(StopIteration("a secret"))
    with _serving(ingest) as server:
        error = _call(server)

    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "internal error")
    assert ingest.refused == [(Signal.METRICS, "internal")]
    [record] = caplog.records
    assert (record.name, record.error, record.exc_info) == ("agent_exporter", "StopIteration", None)
    assert record.at.startswith("test_grpc.py:")
    assert "secret" not in caplog.text + str(error)


def test_unknown_method():
    """A method that is not OTLP's is UNIMPLEMENTED."""
    with _serving(Ingest()) as server:
        error = _call(server, method="/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export")

    assert error.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, *list(grpc.Compression)[1:]])
def test_too_large(compression):
    """A message beyond the limit is RESOURCE_EXHAUSTED without RetryInfo, which is final; it is counted."""
    ingest = Ingest()
    with _serving(ingest, Limits(body_bytes=1000)) as server:
        error = _call(server, bytes(1001), compression=compression)
        _until(lambda: ingest.refused)

    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not [detail for detail in error.trailing_metadata() or () if b"RetryInfo" in str(detail[1]).encode()]
    assert ingest.refused == [(Signal.METRICS, "no_message")]


BOMB_SERVER = """
import resource, sys
from agent_exporter.model import Answer
from agent_exporter.receive.grpc import Limits, Server
server = Server(lambda *_: Answer(), lambda *_: None, "127.0.0.1", 0, Limits(body_bytes=4 << 20))
server.start()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(server.address, flush=True)
sys.stdin.read()
server.stop(0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_bombs_stay_small(compression):
    """A message that would decompress to far more than the limit costs little memory."""
    command = [sys.executable, "-c", BOMB_SERVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        channel = grpc.insecure_channel(address, [("grpc.max_send_message_length", -1)])
        with channel, pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(METRICS)(bytes(256 * MIB), timeout=20, compression=compression)
        process.stdin.close()
        grown = int(process.stdout.read())

    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert grown < 64 << 10  # KiB


def test_request_limit():
    """More requests than may be in flight are asked to come back, at once."""
    started, release = threading.Event(), threading.Event()

    def ingest(_signal, _body):
        started.set()
        assert release.wait(5)
        return Answer()

    refused = []
    limits = Limits(in_flight_requests=1, threads=1)
    with _serving(ingest, limits, lambda *what: refused.append(what)) as server, _channel(server) as channel:
        export = channel.unary_unary(METRICS)
        first = export.future(BODY, timeout=5)
        assert started.wait(5)
        error = _call(server)
        release.set()
        assert first.result() == b""
        _until(lambda: server._pool.pending == 0)
        assert export(BODY, timeout=5) == b""

    detail = error_details_pb2.RetryInfo()
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert _status(error).details[0].Unpack(detail)
    assert refused == [(Signal.METRICS, "grpc", "overloaded")]


def test_stalled_clients():
    """Clients that begin requests and never send the message do not keep the threads."""
    ingest = Ingest()
    limits = Limits(threads=2, body_timeout=0.3)
    release = threading.Event()

    def nothing():
        release.wait(5)
        yield from ()

    with _serving(ingest, limits) as server, _channel(server) as channel:
        stalled = [channel.stream_unary(METRICS).future(nothing(), timeout=5) for _ in range(2)]
        _until(lambda: server._pool.pending == 2)
        assert _call(server) == b""
        codes = {call.code() for call in stalled}
        release.set()

    assert codes == {grpc.StatusCode.CANCELLED}  # which clients retry (P13)
    assert ingest.refused == [(Signal.METRICS, "slow_body")] * 2


def test_request_without_a_message():
    """A request that ends before its message is INVALID_ARGUMENT."""
    ingest = Ingest()
    with _serving(ingest) as server, _channel(server) as channel, pytest.raises(grpc.RpcError) as raised:
        channel.stream_unary(METRICS)(iter(()), timeout=5)

    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert ingest.refused == [(Signal.METRICS, "no_message")]


def test_client_that_leaves(caplog):
    """A client that cancels before its message is there leaves nothing behind."""
    ingest = Ingest()
    release = threading.Event()

    def nothing():
        release.wait(5)
        yield from ()

    with _serving(ingest) as server, _channel(server) as channel:
        call = channel.stream_unary(METRICS).future(nothing())
        _until(lambda: server._watch._waiting)
        call.cancel()
        release.set()
        _until(lambda: server._pool.pending == 0)

        assert (server._pool.pending, server._watch._waiting) == (0, {})
    assert ingest.refused == [(Signal.METRICS, "no_message")]
    assert caplog.records == []


def _frame(kind, payload=b"", flags=0):
    """Write an HTTP/2 frame of stream 0."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + bytes(4) + payload


def test_pings_are_welcome():
    """A client that pings far more often than gRPC's defaults allow gets its answers and no GOAWAY."""
    settings, ping, goaway = 4, 6, 7
    kinds = []
    with _serving(Ingest()) as server, socket.create_connection(("127.0.0.1", server.port), 0.3) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(settings) + _frame(ping, bytes(8)) * 50)
        stream = client.makefile("rb")
        with contextlib.suppress(TimeoutError):  # nothing more to say: the connection stands
            while head := stream.read(9):
                stream.read(int.from_bytes(head[:3]))
                kinds.append(head[3])

    assert (kinds.count(ping), goaway in kinds) == (50, False)


def test_silent_connection_is_closed():
    """A connection that never speaks HTTP/2 is closed."""
    limits = Limits(header_timeout=0.2)
    with _serving(Ingest(), limits) as server, socket.create_connection(("127.0.0.1", server.port), 5) as client:
        while client.recv(1000):
            pass


def test_idle_connection_is_closed():
    """A connection without requests is closed, and the client opens another."""
    with _serving(Ingest(), Limits(idle_timeout=0.2)) as server, _channel(server) as channel:
        states = []
        channel.subscribe(states.append)
        export = channel.unary_unary(METRICS)
        assert export(BODY, timeout=5) == b""
        _until(lambda: states and states[-1] is grpc.ChannelConnectivity.IDLE and len(states) > 1)
        assert export(BODY, timeout=5) == b""


def test_connection_limit():
    """A connection beyond the limit is closed at once."""
    with _serving(Ingest(), Limits(connections=1)) as server, _channel(server) as channel:
        assert channel.unary_unary(METRICS)(BODY, timeout=5) == b""
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=5) as client,
            contextlib.suppress(ConnectionError),
        ):
            assert client.recv(1000) == b""


def test_taken_port():
    """A second instance on the same port fails and says where."""
    with _serving(Ingest()) as server, pytest.raises(OSError, match=f"cannot listen on {server.address}: Addr"):
        Server(Ingest(), None, "127.0.0.1", server.port)


def test_a_name_of_two_addresses(monkeypatch, capfd):
    """A name of which one address is taken is refused though another is free; grpcio is not asked and says nothing."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", 0))]
    with _serving(Ingest()) as server:
        found.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port)))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with pytest.raises(OSError, match=f"cannot listen on two.example:{server.port}: Addr"):
            Server(Ingest(), None, "two.example", server.port)

    assert capfd.readouterr().err == ""


def test_a_name_that_does_not_resolve():
    """A host that there is not is named."""
    with pytest.raises(OSError, match=r"cannot listen on no\.such\.host\.invalid:0: "):
        Server(Ingest(), None, "no.such.host.invalid", 0)


def test_stop_before_start():
    """A door that never opened can be stopped."""
    Server(Ingest(), None, "127.0.0.1", 0).stop(0)


def test_stop_lets_a_request_finish():
    """Stop waits for the request in flight."""
    started, release = threading.Event(), threading.Event()

    def ingest(_signal, _body):
        started.set()
        release.wait(5)
        return Answer()

    server = Server(ingest, lambda *_: None, "127.0.0.1", 0)
    server.start()
    with _channel(server) as channel:
        call = channel.unary_unary(METRICS).future(BODY, timeout=5)
        assert started.wait(5)
        threading.Timer(0.1, release.set).start()
        server.stop(5)
        assert call.result() == b""


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_otel_sdk(compression):
    """The OpenTelemetry SDK's own exporter delivers."""
    ingest = Ingest()
    with _serving(ingest) as server:
        exporter = OTLPMetricExporter(endpoint=f"http://{server.address}", insecure=True, compression=compression)
        provider = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=1e9)])
        provider.get_meter("test").create_counter("requests").add(3)
        assert provider.force_flush()
        provider.shutdown()

    message = ExportMetricsServiceRequest.FromString(ingest.bodies[0][1])
    assert message.resource_metrics[0].scope_metrics[0].metrics[0].name == "requests"
