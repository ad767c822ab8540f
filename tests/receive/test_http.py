"""OTLP/HTTP over real sockets, against an `ingest` that keeps what it gets."""

import gzip
import http.client
import json
import logging
import resource
import threading
import time
import zlib

import pytest
import zstandard
from google.protobuf import json_format
from google.rpc import error_details_pb2
from google.rpc.code_pb2 import Code
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from agent_exporter.model import Answer, Malformed, Overloaded, Rejection, Signal
from agent_exporter.receive.http import PATHS, REASONS, Door, Limits
from agent_exporter.receive.status import JSON, PROTOBUF
from serving import dial, request, serving, until_closed

METRICS = "/v1/metrics"
BODY = ExportMetricsServiceRequest(resource_metrics=[{"schema_url": "https://example.org/" + "x" * 500}])
PROTO_BODY = BODY.SerializeToString()
JSON_BODY = json_format.MessageToJson(BODY, indent=None).encode()
SMALL = Limits(body_bytes=2000, body_timeout=0.3, linger=0.2)


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
        assert (protocol, reason in REASONS) == ("http", True)
        self.refused.append((signal, reason))


def _door(ingest, limits=None, origins=frozenset()):
    return Door(ingest, ingest.refuse, limits, origins)


def _post(port, body=PROTO_BODY, kind=PROTOBUF, path=METRICS, **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return request(port, "POST", path, body, {"Content-Type": kind, **names} if kind else names)


def _status(answer):
    """Decode the Status of an error in the encoding that its content type says."""
    _, headers, body = answer
    if headers["content-type"] == JSON:
        return json_format.Parse(body, Status())
    assert headers["content-type"] == PROTOBUF
    return Status.FromString(body)


@pytest.mark.parametrize(("path", "signal"), PATHS.items())
def test_protobuf(path, signal):
    """A protobuf body reaches ingest as it is; the answer is empty and has the request's type."""
    ingest = Ingest()
    with serving(_door(ingest)) as server:
        status, headers, body = _post(server.port, path=path)

    assert (status, headers["content-type"], body) == (200, PROTOBUF, b"")
    assert ingest.bodies == [(signal, PROTO_BODY)]
    assert ingest.refused == []


def test_json():
    """A JSON body reaches ingest as protobuf; the answer is an empty object."""
    ingest = Ingest()
    with serving(_door(ingest)) as server:
        status, headers, body = _post(server.port, JSON_BODY, JSON)

    assert (status, headers["content-type"], body) == (200, JSON, b"{}")
    assert ingest.bodies == [(Signal.METRICS, PROTO_BODY)]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-protobuf; charset=utf-8", PROTO_BODY),
        ("Application/X-Protobuf ;v=1", PROTO_BODY),
        ("application/json;charset=UTF-8", JSON_BODY),
    ],
)
def test_content_type_with_parameters(kind, body):
    """Parameters and case of the content type do not matter."""
    ingest = Ingest()
    with serving(_door(ingest)) as server:
        status, headers, _ = _post(server.port, body, kind)

    assert (status, headers["content-type"]) == (200, kind.partition(";")[0].strip().lower())
    assert ingest.bodies == [(Signal.METRICS, PROTO_BODY)]


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
    ],
)
@pytest.mark.parametrize(("kind", "body"), [(PROTOBUF, PROTO_BODY), (JSON, JSON_BODY)])
def test_compressed(encoding, pack, kind, body):
    """A compressed body reaches ingest decompressed, in both encodings."""
    ingest = Ingest()
    with serving(_door(ingest)) as server:
        status, _, _ = _post(server.port, pack(body), kind, Content_Encoding=encoding)

    assert (status, ingest.bodies) == (200, [(Signal.METRICS, PROTO_BODY)])


@pytest.mark.parametrize("kind", [PROTOBUF, JSON])
def test_empty_body_is_a_success(kind):
    """A request without anything in it succeeds, in JSON too."""
    ingest = Ingest()
    with serving(_door(ingest)) as server:
        status, _, _ = _post(server.port, b"", kind)

    assert (status, ingest.bodies) == (200, [(Signal.METRICS, b"")])


def test_chunked_body():
    """A chunked body without a length arrives whole."""
    ingest = Ingest()
    with serving(_door(ingest)) as server:
        status, _, _ = _post(server.port, iter([PROTO_BODY[:100], PROTO_BODY[100:]]))

    assert (status, ingest.bodies) == (200, [(Signal.METRICS, PROTO_BODY)])


def test_expect_continue():
    """A client that asks first is told to go on."""
    ingest = Ingest()
    with serving(_door(ingest)) as server, dial(server.port) as client:
        head = f"POST {METRICS} HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\nconnection: close\r\n"
        client.sendall(f"{head}expect: 100-continue\r\ncontent-length: {len(PROTO_BODY)}\r\n\r\n".encode())
        first = client.recv(1000)
        client.sendall(PROTO_BODY)
        rest = until_closed(client)

    assert first.startswith(b"HTTP/1.1 100")
    assert rest.startswith(b"HTTP/1.1 200")
    assert ingest.bodies == [(Signal.METRICS, PROTO_BODY)]


def test_large_body_does_not_block_the_loop():
    """While a large body is worked on in a thread, small ones are answered."""
    started, release = threading.Event(), threading.Event()

    def ingest(_signal, body):
        if len(body) > 100_000:
            started.set()
            assert release.wait(5)
        return Answer()

    with serving(Door(ingest, lambda *_: None)) as server:
        answers = []
        thread = threading.Thread(target=lambda: answers.append(_post(server.port, bytes(2_000_000))))
        thread.start()
        assert started.wait(5)
        assert _post(server.port)[0] == 200
        release.set()
        thread.join()

    assert answers[0][0] == 200


def test_a_small_body_waits_in_a_thread_when_the_store_is_busy():
    """A request that would wait for another one waits elsewhere than in the loop."""
    threads = []

    def ingest(_signal, _body):
        threads.append(threading.current_thread().name)
        return Answer()

    with serving(Door(ingest, lambda *_: None, busy=lambda: len(threads) == 1)) as server:
        assert [_post(server.port)[0] for _ in range(3)] == [200] * 3
    assert threads[0] == threads[2] != threads[1]


def test_partial_success():
    """Rejected points are told, with status 200."""
    ingest = Ingest(Answer(3, [Rejection("no_temporality", "requests", "", 2)]))
    with serving(_door(ingest)) as server:
        protobuf = _post(server.port)
        text = _post(server.port, JSON_BODY, JSON)

    message = ExportMetricsServiceResponse.FromString(protobuf[2])
    assert (protobuf[0], message.partial_success.rejected_data_points) == (200, 2)
    assert json.loads(text[2])["partialSuccess"] == {
        "rejectedDataPoints": "2",
        "errorMessage": "requests: no_temporality",
    }


REFUSALS = {
    "wrong path": ("POST", "/v1/profiles", {"Content-Type": PROTOBUF}, b"", 404, Code.NOT_FOUND, None, PROTOBUF),
    "root": ("GET", "/", {}, None, 404, Code.NOT_FOUND, None, JSON),
    "get": ("GET", METRICS, {}, None, 405, Code.UNIMPLEMENTED, "bad_method", JSON),
    "put": ("PUT", METRICS, {"Content-Type": PROTOBUF}, b"x", 405, Code.UNIMPLEMENTED, "bad_method", PROTOBUF),
    "options": ("OPTIONS", METRICS, {"Origin": "https://a"}, None, 405, Code.UNIMPLEMENTED, "bad_method", JSON),
    "no type": ("POST", METRICS, {}, b"x", 415, Code.INVALID_ARGUMENT, "bad_content_type", JSON),
    "other type": (
        "POST",
        METRICS,
        {"Content-Type": "text/plain", "Accept": "*/*"},
        b"x",
        415,
        Code.INVALID_ARGUMENT,
        "bad_content_type",
        JSON,
    ),
    "other type, accepts protobuf": (
        "POST",
        METRICS,
        {"Content-Type": "text/plain", "Accept": PROTOBUF},
        b"x",
        415,
        Code.INVALID_ARGUMENT,
        "bad_content_type",
        PROTOBUF,
    ),
    "encoding": (
        "POST",
        METRICS,
        {"Content-Type": JSON, "Content-Encoding": "br"},
        b"x",
        415,
        Code.INVALID_ARGUMENT,
        "bad_encoding",
        JSON,
    ),
    "broken gzip": (
        "POST",
        METRICS,
        {"Content-Type": PROTOBUF, "Content-Encoding": "gzip"},
        b"x",
        400,
        Code.INVALID_ARGUMENT,
        "malformed",
        PROTOBUF,
    ),
    "broken json": ("POST", METRICS, {"Content-Type": JSON}, b"{", 400, Code.INVALID_ARGUMENT, "malformed", JSON),
    "too long": (
        "POST",
        METRICS,
        {"Content-Type": PROTOBUF},
        bytes(2001),
        413,
        Code.RESOURCE_EXHAUSTED,
        "too_large",
        PROTOBUF,
    ),
    "too long in chunks": (
        "POST",
        METRICS,
        {"Content-Type": JSON},
        [bytes(1000)] * 3,
        413,
        Code.RESOURCE_EXHAUSTED,
        "too_large",
        JSON,
    ),
    "too long inside": (
        "POST",
        METRICS,
        {"Content-Type": PROTOBUF, "Content-Encoding": "gzip"},
        gzip.compress(bytes(2001)),
        413,
        Code.RESOURCE_EXHAUSTED,
        "too_large",
        PROTOBUF,
    ),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS)
def test_refusals(case):
    """What is refused is answered with a Status in the request's encoding, counted, and never reaches ingest."""
    method, path, headers, body, status, code, reason, kind = case
    ingest = Ingest()
    with serving(_door(ingest, SMALL)) as server:
        answer = request(server.port, method, path, iter(body) if isinstance(body, list) else body, headers)

    assert (answer[0], answer[1]["content-type"], _status(answer).code) == (status, kind, code)
    assert ingest.refused == ([(Signal.METRICS, reason)] if reason else [])
    assert ingest.bodies == []


def test_refusals_say_what_would_do():
    """405 names the method, 415 the encodings and types."""
    with serving(_door(Ingest())) as server:
        assert request(server.port, "GET", METRICS)[1]["allow"] == "POST"
        assert "gzip" in _post(server.port, Content_Encoding="br")[1]["accept-encoding"]
        assert PROTOBUF in _status(_post(server.port, kind=None)).message


def test_oversize_is_refused_at_once():
    """A declared length beyond the limit is answered before a byte of the body was sent."""
    with serving(_door(Ingest(), SMALL)) as server, dial(server.port) as client:
        head = f"POST {METRICS} HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\nexpect: 100-continue\r\n"
        client.sendall(f"{head}content-length: 2001\r\n\r\n".encode())
        answer = until_closed(client)

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer


def test_oversize_reaches_a_client_that_sends_first():
    """A client that sends all of a large body before it listens still reads the answer."""
    limits = Limits(body_bytes=1000)
    with serving(_door(Ingest(), limits)) as server:
        answer = _post(server.port, bytes(20_000_000))

    assert (answer[0], _status(answer).code) == (413, Code.RESOURCE_EXHAUSTED)


def test_bad_data_has_details():
    """Malformed is 400 with a BadRequest that names the field."""
    ingest = Ingest()
    with serving(_door(ingest)) as server:
        answer = _post(server.port, b'{"resourceMetrics": [{}, 1]}', JSON)

    detail = error_details_pb2.BadRequest()
    assert answer[0] == 400
    assert _status(answer).details[0].Unpack(detail)
    assert detail.field_violations[0].field == "resourceMetrics[1]"


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [(Malformed("no"), 400, "malformed"), (Overloaded("busy", 1.2), 503, "overloaded")],
)
def test_errors_of_ingest(error, status, reason):
    """What ingest raises becomes the protocol's answer."""
    ingest = Ingest(error)
    with serving(_door(ingest)) as server:
        answer = _post(server.port)

    assert answer[0] == status
    assert _status(answer).message == str(error)
    assert ingest.refused == [(Signal.METRICS, reason)]


def test_overload_says_when_to_come_back():
    """503 has Retry-After in whole seconds and RetryInfo."""
    with serving(_door(Ingest(Overloaded("busy", 1.2)))) as server:
        answer = _post(server.port)

    detail = error_details_pb2.RetryInfo()
    assert answer[1]["retry-after"] == "2"
    assert _status(answer).details[0].Unpack(detail)
    assert detail.retry_delay.ToMilliseconds() == 1200


def test_bug_in_ingest(caplog):
    """An unexpected exception is 500, one line in the log, and tells nobody the payload."""
    ingest = Ingest(ZeroDivisionError("a secret"))
    with serving(_door(ingest)) as server:
        answer = _post(server.port)

    assert (answer[0], _status(answer).code, ingest.refused) == (500, Code.INTERNAL, [(Signal.METRICS, "internal")])
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (record.error, record.signal, record.exc_info) == ("ZeroDivisionError", "metrics", None)
    assert record.at.startswith("test_http.py:")
    assert "secret" not in caplog.text + str(answer)


@pytest.mark.parametrize(
    ("limits", "body"),
    [
        (Limits(in_flight_requests=1, inline_bytes=0), PROTO_BODY),
        (Limits(in_flight_bytes=1000, inline_bytes=0), PROTO_BODY),
    ],
)
def test_in_flight_limits(limits, body):
    """More requests or bytes than may be in flight are asked to come back; afterwards there is room again."""
    started, release = threading.Event(), threading.Event()

    def ingest(_signal, _body):
        started.set()
        assert release.wait(5)
        return Answer()

    refused = []
    with serving(Door(ingest, lambda *what: refused.append(what), limits)) as server:
        answers = []
        thread = threading.Thread(target=lambda: answers.append(_post(server.port, body)))
        thread.start()
        assert started.wait(5)
        answer = _post(server.port, body)
        release.set()
        thread.join()
        after = _post(server.port, body)

    assert (answer[0], answers[0][0], after[0]) == (503, 200, 200)
    assert answer[1]["retry-after"] == "1"
    assert refused == [(Signal.METRICS, "http", "overloaded")]


def test_slow_body():
    """A body that does not arrive in time is answered 408 and the connection closed."""
    ingest = Ingest()
    with serving(_door(ingest, SMALL)) as server, dial(server.port) as client:
        client.sendall(
            f"POST {METRICS} HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\ncontent-length: 5\r\n\r\n{{".encode()
        )
        answer = until_closed(client)

    assert answer.startswith(b"HTTP/1.1 408")
    assert ingest.refused == [(Signal.METRICS, "slow_body")]


def test_disconnect_in_the_body(caplog):
    """A client that leaves in the middle of its body is counted and not logged."""
    ingest = Ingest()
    with serving(_door(ingest)) as server:
        with dial(server.port) as client:
            client.sendall(
                f"POST {METRICS} HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\ncontent-length: 5\r\n\r\n{{".encode()
            )
        for _ in range(100):
            if ingest.refused:
                break
            time.sleep(0.01)

    assert ingest.refused == [(Signal.METRICS, "disconnected")]
    assert caplog.records == []


def test_nothing_stays_in_flight():
    """After any ending of a request, no bytes and no requests are held."""
    door = _door(Ingest(), SMALL)
    with serving(door) as server:
        _post(server.port)
        _post(server.port, bytes(3000))
        _post(server.port, b"{", JSON)
        _post(server.port, gzip.compress(bytes(1000)), Content_Encoding="gzip")

    assert (door._bytes, door._requests) == (0, 0)


def test_bombs_stay_small():
    """A bomb of 1 GiB costs little more than the limit."""
    bomb = gzip.compress(bytes(1 << 20)) * 1024
    limits = Limits(body_bytes=8 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with serving(_door(Ingest(), limits)) as server:
        answer = _post(server.port, bomb, Content_Encoding="gzip")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    assert answer[0] == 413
    assert after - before < 64 << 10  # KiB


def test_cors_is_off():
    """Without configured origins nothing about CORS is said."""
    with serving(_door(Ingest())) as server:
        _, headers, _ = _post(server.port, Origin="https://a.example")

    assert not {name for name in headers if name.startswith("access-control")}


@pytest.mark.parametrize("origins", [frozenset({"https://a.example"}), frozenset({"*"})])
def test_cors_for_a_configured_origin(origins):
    """A configured origin passes the preflight, and may read answers and errors."""
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "content-type,x-key"
    with serving(_door(Ingest(), origins=origins)) as server:
        preflight = request(server.port, "OPTIONS", METRICS, None, asked)
        answer = _post(server.port, Origin="https://a.example")
        error = _post(server.port, b"{", JSON, Origin="https://a.example")

    assert preflight[0] == 204
    assert preflight[1]["access-control-allow-headers"] == "content-type,x-key"
    assert preflight[1]["access-control-allow-methods"] == "POST"
    assert {reply[1]["access-control-allow-origin"] for reply in (preflight, answer, error)} == {"https://a.example"}
    assert (answer[0], error[0]) == (200, 400)


def test_cors_for_another_origin():
    """An origin that is not configured is not allowed to read anything."""
    with serving(_door(Ingest(), origins=frozenset({"https://a.example"}))) as server:
        preflight = request(server.port, "OPTIONS", METRICS, None, {"Origin": "https://b.example"})

    assert preflight[0] == 405
    assert "access-control-allow-origin" not in preflight[1]
    assert preflight[1]["vary"] == "Origin"


@pytest.mark.parametrize("compression", list(Compression))
def test_otel_sdk(compression):
    """The OpenTelemetry SDK's own exporter delivers, in every compression it has."""
    ingest = Ingest()
    with serving(_door(ingest)) as server:
        exporter = OTLPMetricExporter(endpoint=f"http://{server.address}{METRICS}", compression=compression)
        provider = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=1e9)])
        provider.get_meter("test").create_counter("requests").add(3)
        assert provider.force_flush()
        provider.shutdown()

    message = ExportMetricsServiceRequest.FromString(ingest.bodies[0][1])
    assert message.resource_metrics[0].scope_metrics[0].metrics[0].name == "requests"
    assert ingest.refused == []


def test_keep_alive_after_an_error():
    """An error about a body that was read leaves the connection open."""
    with serving(_door(Ingest())) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        statuses = []
        for body in (b"{", JSON_BODY):
            connection.request("POST", METRICS, body, {"Content-Type": JSON})
            answer = connection.getresponse()
            answer.read()
            statuses.append((answer.status, answer.will_close))
        connection.close()

    assert statuses == [(400, False), (200, False)]
