"""Bad input over real sockets: the right answer, the counter moved, everything else as it was."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import random
import socket
import struct
import zlib
from pathlib import Path

import grpc
import pytest
import zstandard
from google.protobuf import json_format
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

import captures
from end_to_end.process import JSON, OPENMETRICS, PROTOBUF, Collector, lines, request, samples, until
from otlp import DELTA, at, distribution, gauge, histogram, number, total
from otlp import request as otlp
from replay import protobuf

MIB = 1 << 20
LIMIT = 64 * MIB
REQUESTS = {
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
    "traces": ExportTraceServiceRequest,
}
GOOD = otlp(
    total("shop.orders", number(3.0, {"kind": "book"}), unit="{order}"),
    gauge("shop.temperature", number(21.5), unit="Cel"),
    distribution("shop.latency", histogram([1, 2, 1], [0.5, 1.0], 2.5), unit="s"),
    resource={"service.name": "shop", "service.version": "1"},
)
NOISE = random.Random(1)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Run one collector through all of this; it must live, keep what it had, and say nothing bad."""
    with Collector(tmp_path_factory.mktemp("hostile")) as running:
        assert running.push("metrics", GOOD).status == 200
        yield running
        assert running.process.poll() is None


@pytest.fixture(autouse=True)
def _unharmed(running):
    """Hold what was pushed before to its bytes, and the doors to be open, whatever a test did."""
    before = _shop(running)
    yield
    assert running.process.poll() is None
    assert _shop(running) == before
    assert running.push("metrics", b"").status == 200
    with running.channel() as export:
        assert export("metrics", b"") == b""


def _shop(running):
    page = running.page()
    samples(page)
    shop = [line for line in lines(page) if 'job="shop"' in line]
    assert len(shop) == 8
    return shop


class Watch:
    """How much a counter of the collector's own moves."""

    def __init__(self, running, name, **labels):
        self.read = lambda: running.counter(name, **labels)
        self.before = self.read()

    def moved(self):
        """Tell by how much it has moved."""
        return self.read() - self.before


def refused(running, protocol, reason, **labels):
    """Watch the requests refused for a reason."""
    return Watch(running, "agent_exporter_refused_requests_total", protocol=protocol, reason=reason, **labels)


# -- bodies over HTTP ---------------------------------------------------------

NESTED = b'{"resourceMetrics":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BROKEN = {
    "truncated protobuf": (GOOD[:-3], PROTOBUF),
    "one byte": (b"\x0a", PROTOBUF),
    "a length beyond the end": (b"\x0a\xff\xff\xff\xff\x07abc", PROTOBUF),
    "random bytes": (NOISE.randbytes(5000), PROTOBUF),
    "JSON that says it is protobuf": (b'{"resourceMetrics":[]}', PROTOBUF),
    "protobuf that says it is JSON": (GOOD, JSON),
    "truncated JSON": (b'{"resourceMetrics":[{"scopeMetrics":', JSON),
    "JSON of another shape": (b'{"resourceMetrics":{"scopeMetrics":[]}}', JSON),
    "a JSON list": (b"[]", JSON),
    "a JSON number": (b"1", JSON),
    "JSON nested without end": (NESTED, JSON),
    "JSON that is not UTF-8": (b'{"resourceMetrics":[{"schemaUrl":"\xff"}]}', JSON),
    "a number that is none": (b'{"resourceMetrics":[{"resource":{"droppedAttributesCount":"x"}}]}', JSON),
}


@pytest.mark.parametrize(("body", "kind"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("signal", REQUESTS)
def test_broken_bodies(running, signal, body, kind):
    """What cannot be read is 400 with a Status in the same encoding, and is counted."""
    watch = refused(running, "http", "malformed", signal=signal)
    name = {"metrics": b"resourceMetrics", "logs": b"resourceLogs", "traces": b"resourceSpans"}[signal]
    answer = running.push(signal, body.replace(b"resourceMetrics", name) if kind == JSON else body, kind)

    assert (answer.status, _status(answer).code) == (400, 3)
    assert watch.moved() == 1


def _status(answer):
    kind = answer.headers["content-type"]
    assert kind in (JSON, PROTOBUF)
    return json_format.Parse(answer.body, Status()) if kind == JSON else Status.FromString(answer.body)


ENCODED = {
    "no gzip": ("gzip", GOOD),
    "gzip cut short": ("gzip", gzip.compress(GOOD)[:-9]),
    "gzip with a wrong checksum": ("gzip", gzip.compress(GOOD)[:-8] + b"12345678"),
    "gzip with something after it": ("gzip", gzip.compress(GOOD) + b"garbage"),
    "no deflate": ("deflate", b"\x78\x9c" + NOISE.randbytes(99)),
    "no zstd": ("zstd", NOISE.randbytes(99)),
    "zstd cut short": ("zstd", zstandard.compress(GOOD)[:-3]),
    "gzip twice": ("gzip", gzip.compress(gzip.compress(GOOD))),
}


@pytest.mark.parametrize(("encoding", "body"), ENCODED.values(), ids=ENCODED)
def test_broken_encodings(running, encoding, body):
    """A body that is not what its encoding says is 400."""
    watch = refused(running, "http", "malformed", signal="metrics")
    answer = running.push("metrics", body, content_encoding=encoding)

    assert (answer.status, _status(answer).code) == (400, 3)
    assert watch.moved() == 1


def _deflated(size):
    packer = zlib.compressobj(1)
    return b"".join([*(packer.compress(bytes(MIB)) for _ in range(size // MIB)), packer.flush()])


BOMBS = {
    "gzip": lambda: gzip.compress(bytes(16 * MIB), 1) * 64,
    "deflate": lambda: _deflated(2 * LIMIT),
    "zstd": lambda: zstandard.compress(bytes(64 * MIB)) * 64,
}


@pytest.mark.parametrize("encoding", BOMBS)
def test_bombs(running, encoding):
    """A small body that unpacks to gigabytes is 413, without the memory for it ever being taken."""
    watch = refused(running, "http", "too_large", signal="logs")
    bomb = BOMBS[encoding]()
    assert len(bomb) < 5 * MIB
    answer = running.push("logs", bomb, content_encoding=encoding)

    assert (answer.status, _status(answer).code) == (413, 8)
    assert watch.moved() == 1
    assert _peak(running) < 500 * MIB


def _peak(running):
    """Read the most memory the process ever had, in bytes."""
    status = Path(f"/proc/{running.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024


def test_oversize(running):
    """A length above the limit is 413 before a byte is sent; so is a stream without length that goes on."""
    watch = refused(running, "http", "too_large", signal="traces")
    with socket.create_connection(("127.0.0.1", running.http), 30) as client:
        client.sendall(
            b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
            b"content-length: %d\r\n\r\n" % (LIMIT + 1)
        )
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection(("127.0.0.1", running.http), 30) as client:
        client.sendall(
            b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        with contextlib.suppress(ConnectionError):  # it stops listening somewhere behind the limit
            for _ in range(80):
                client.sendall(b"%x\r\n%b\r\n" % (MIB, bytes(MIB)))
        until(lambda: watch.moved() == 2)


def test_wrong_requests(running):
    """Content types, encodings and methods that there are not are 415 and 405, and counted; paths 404."""
    cases = [
        (415, "bad_content_type", lambda: running.push("metrics", GOOD, "text/plain")),
        (415, "bad_content_type", lambda: running.push("metrics", GOOD, "application/grpc")),
        (415, "bad_content_type", lambda: request(running.http, "POST", "/v1/metrics", GOOD)),
        (415, "bad_encoding", lambda: running.push("metrics", GOOD, content_encoding="br")),
        (415, "bad_encoding", lambda: running.push("metrics", GOOD, content_encoding="gzip, gzip")),
        (405, "bad_method", lambda: request(running.http, "GET", "/v1/metrics")),
        (405, "bad_method", lambda: request(running.http, "PUT", "/v1/metrics", GOOD, {"content-type": PROTOBUF})),
    ]
    for status, reason, call in cases:
        watch = refused(running, "http", reason, signal="metrics")
        assert call().status == status
        assert watch.moved() == 1, reason
    assert request(running.http, "POST", "/v1/metric", GOOD, {"content-type": PROTOBUF}).status == 404
    assert request(running.http, "GET", "/metrics").status == 404
    assert running.get("/v1/metrics").status == 404


def test_a_request_at_the_wrong_path(running):
    """Metrics sent to the door of logs or traces are judged as such, and never a server's error."""
    for signal in ("logs", "traces"):
        assert running.push(signal, GOOD).status in (200, 400)


# -- gRPC ---------------------------------------------------------------------


@pytest.mark.parametrize("body", [GOOD[:-3], b"\x0a", NOISE.randbytes(5000)], ids=["truncated", "one byte", "random"])
def test_broken_messages(running, body):
    """What cannot be read is INVALID_ARGUMENT over gRPC, and is counted."""
    watch = refused(running, "grpc", "malformed", signal="metrics")
    with running.channel() as export, pytest.raises(grpc.RpcError) as failed:
        export("metrics", body)

    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert watch.moved() == 1


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip], ids=["plain", "gzip"])
def test_large_messages(running, compression):
    """A message above the limit, sent so or unpacked so, is RESOURCE_EXHAUSTED."""
    watch = refused(running, "grpc", "no_message", signal="metrics")
    with running.channel() as export, pytest.raises(grpc.RpcError) as failed:
        export("metrics", bytes(LIMIT + 1), compression=compression)

    assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    until(lambda: watch.moved() == 1)


def test_unknown_methods(running):
    """A method that there is not is UNIMPLEMENTED."""
    with grpc.insecure_channel(f"127.0.0.1:{running.grpc}") as channel:
        for method in ("/opentelemetry.proto.collector.metrics.v1.MetricsService/Import", "/", "/x/y"):
            with pytest.raises(grpc.RpcError) as failed:
                channel.unary_unary(method)(GOOD, timeout=30)
            assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


# -- sockets ------------------------------------------------------------------

GARBAGE = {
    "nothing": b"",
    "random bytes": NOISE.randbytes(3000),
    "zeros": bytes(3000),
    "HTTP/1 text": b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "HTTP/2, then garbage": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + NOISE.randbytes(3000),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + NOISE.randbytes(600),
    "a negative length": b"POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    "two lengths": b"POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    "a chunk of no length": b"POST /v1/logs HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    "a header without end": b"GET / HTTP/1.1\r\nhost: x\r\nx-long: " + b"a" * 100_000,
    "a path without end": b"GET /" + b"a" * 100_000,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("door", ["grpc", "http", "web"])
def test_garbage_on_every_port(running, door, garbage):
    """Garbage, followed by an end or by a reset, leaves every door as it was."""
    for reset in (False, True):
        with socket.create_connection(("127.0.0.1", getattr(running, door)), 30) as client:
            with contextlib.suppress(OSError):
                client.sendall(garbage)
                client.shutdown(socket.SHUT_WR)
                while not reset and client.recv(65536):
                    pass
            if reset:  # linger of 0 seconds
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("door", ["http", "web"])
def test_garbage_is_counted(running, door):
    """Bytes that are not HTTP, and headers too long, are counted for the door they came to."""
    for reason, garbage, status in [
        ("bad_request", GARBAGE["TLS"], b"400"),
        ("header_too_large", GARBAGE["a header without end"], b"431"),
    ]:
        watch = refused(running, door, reason)
        with socket.create_connection(("127.0.0.1", getattr(running, door)), 30) as client:
            client.sendall(garbage)
            assert client.recv(4096).startswith(b"HTTP/1.1 " + status)
        assert watch.moved() == 1


def test_half_open_connections(running):
    """Connections that begin a request and stay keep nobody else from theirs."""
    halves = (b"", b"POST /v1/metrics HTTP/1.1\r\nhost:", b"PRI * HTTP/2.0\r\n\r\nSM", b"GET /metr")
    with contextlib.ExitStack() as stack:
        for door in (running.grpc, running.http, running.web):
            for half in halves * 10:
                client = stack.enter_context(socket.create_connection(("127.0.0.1", door), 30))
                client.sendall(half)
        head = b"POST /v1/metrics HTTP/1.1\r\nhost: x\r\ncontent-type: %b\r\ncontent-length: 99\r\n\r\n"
        for _ in range(10):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", running.http), 30))
            client.sendall(head % PROTOBUF.encode() + GOOD[:50])
        assert running.push("metrics", b"").status == 200
        with running.channel() as export:
            assert export("metrics", b"") == b""
        assert running.get("/-/healthy").status == 200


# -- points -------------------------------------------------------------------


def exponential(**given):
    """Make a metric of one exponential histogram point."""
    given = {"start_time_unix_nano": at(1), "time_unix_nano": at(2), "count": 1, "sum": 1.0} | given
    point = pb.ExponentialHistogramDataPoint(**{key: value for key, value in given.items() if value is not None})
    data = pb.ExponentialHistogram(data_points=[point], aggregation_temporality=2)
    return pb.Metric(name="bad.exponential", exponential_histogram=data)


def summary(*quantiles):
    """Make a metric of one summary point."""
    values = [pb.SummaryDataPoint.ValueAtQuantile(quantile=each, value=1.0) for each in quantiles]
    point = pb.SummaryDataPoint(time_unix_nano=at(2), count=1, sum=1.0, quantile_values=values)
    return pb.Metric(name="bad.summary", summary=pb.Summary(data_points=[point]))


NAN, INF = float("nan"), float("inf")
ONE_BUCKET = pb.ExponentialHistogramDataPoint.Buckets(offset=0, bucket_counts=[1])
INVALID = {
    "unnamed": [gauge("", number(1.0))],
    "unnameable": [gauge("___", number(1.0))],
    "reserved_name": [gauge("agent_exporter.bad", number(1.0)), total("agent_exporter.requests", number(1))],
    "no_temporality": [
        total("bad.sum", number(1.0), temporality=0),
        total("bad.sum", number(1.0), temporality=3),
        distribution("bad.histogram", histogram([1], []), temporality=0),
    ],
    "no_value": [gauge("bad.gauge", number(None)), total("bad.sum", number(None))],
    "not_finite": [total("bad.infinite", number(INF)), total("bad.nan", number(NAN), temporality=DELTA)],
    "negative": [total("bad.negative", number(-1.0), temporality=DELTA)],
    "buckets": [
        distribution("bad.histogram", histogram([1, 2], [1.0, 2.0])),
        distribution("bad.histogram", histogram([1, 2], [1.0], count=4)),
        exponential(count=2, positive=ONE_BUCKET),
    ],
    "bounds": [
        distribution("bad.histogram", histogram([1, 1, 1], [2.0, 1.0])),
        distribution("bad.histogram", histogram([1, 1, 1], [1.0, 1.0])),
        distribution("bad.histogram", histogram([1, 1], [NAN])),
        distribution("bad.histogram", histogram([1, 1], [INF])),
    ],
    "count_too_large": [
        distribution("bad.histogram", histogram([2**63], [])),
        exponential(count=2**63, zero_count=2**63),
    ],
    "no_sum": [exponential(sum=None, positive=ONE_BUCKET)],
    "scale": [exponential(scale=21, positive=ONE_BUCKET), exponential(scale=-11, positive=ONE_BUCKET)],
    "quantiles": [summary(1.5), summary(-0.1), summary(NAN), summary(0.5, 0.5)],
    "type_conflict": [
        gauge("shop.orders_total", number(1.0)),
        distribution("shop.temperature.celsius", histogram([1], [])),
        gauge("shop.latency.seconds.count", number(1.0)),
        gauge("agent_tokens_total", number(1.0)),
        gauge("target_info", number(1.0)),
    ],
    "malformed": [gauge("bad.text", number(1.0), description="REPLACED"), gauge("REPLACED", number(1.0))],
}


# JSON has no text that is not UTF-8.
FORMS = [(reason, kind) for reason in INVALID for kind in (PROTOBUF, JSON) if (reason, kind) != ("malformed", JSON)]


@pytest.mark.parametrize(("reason", "kind"), FORMS)
def test_invalid_points(running, reason, kind):
    """An invalid point is counted and named, and costs no good one of its request."""
    for index, bad in enumerate(INVALID[reason]):
        watch = Watch(running, "agent_exporter_rejected_items_total", signal="metrics", reason=reason)
        sign = f"{reason}.{kind[-4:]}.{index}"
        body = otlp(
            total("fine.orders", number(1.0, {"sign": sign})), bad, gauge("fine.level", number(2.0, {"sign": sign}))
        )
        body = body.replace(b"REPLACED", b"\xff" * 8)
        answer = running.push("metrics", _json("metrics", body) if kind == JSON else body, kind)
        parse = json_format.Parse if kind == JSON else lambda body, message: message.FromString(body)
        told = parse(answer.body, ExportMetricsServiceResponse()).partial_success

        assert (answer.status, told.rejected_data_points, reason in told.error_message) == (200, 1, True), (bad, told)
        assert watch.moved() == 1
        assert running.counter("fine_orders_total", sign=sign) == 1
        assert running.counter("fine_level", sign=sign) == 2


def test_late_and_overlapping_points(running):
    """Points from before what is known, and intervals that overlap it, are told of and have no effect."""
    for second, start, temporality, reason in ((3, 1, 2, "late"), (6, 4, DELTA, "overlap"), (4, 3, DELTA, "late")):
        name = f"past.{reason}.{temporality}"
        good = total(name, number(5.0, start=1, time=5), temporality=temporality)
        assert running.push("metrics", otlp(good)).body == b""
        watch = Watch(running, "agent_exporter_rejected_items_total", reason=reason)
        bad = total(name, number(4.0, start=start, time=second), temporality=temporality)
        told = ExportMetricsServiceResponse.FromString(running.push("metrics", otlp(bad)).body).partial_success

        assert (told.rejected_data_points, reason in told.error_message) == (1, True), told
        assert watch.moved() == 1
        assert running.counter(f"{name.replace('.', '_')}_total") == 5


def test_names_the_page_needs_itself(running):
    """Attributes called as the page's own labels are renamed or left out, and every series is still one."""
    own = {"__name__": "evil", "le": "0.5", "quantile": "0.5", "job": "j", "instance": "i", "otel.scope.name": "s"}
    body = otlp(
        gauge("hostile.level", number(1.0, own)),
        distribution("hostile.took", histogram([1, 2], [1.0], 1.0, own)),
        total("hostile.done", number(4, own)),
    )
    assert running.push("metrics", body).body == b""

    names = {key[0] for key in running.totals()}
    assert "evil" not in names
    assert running.counter("hostile_done_total", le="0.5", quantile="0.5", job="app", exported_job="j") == 4
    assert running.counter("hostile_took_bucket", le="1.0", exported_le="0.5", job="app") == 1
    assert running.counter("hostile_took_count", exported_le="0.5", quantile="0.5", exported_job="j") == 3


def test_labels_that_collide(running):
    """Two attributes that become one label are joined, and counted."""
    watch = Watch(running, "agent_exporter_label_collisions_total")
    body = otlp(gauge("collided", number(1.0, {"a.b": "1", "a_b": "2", "a-b": "3"})))
    assert running.push("metrics", body).body == b""

    assert running.counter("collided", a_b="3;1;2") == 1
    assert watch.moved() == 1


def test_text_of_every_kind(running):
    """Names and values of any characters make a page that parsers accept."""
    texts = ["\n", '"', "\\", "\x00", "\x7f", "é", "😀", "a" * 5000, "\u2028", "#", "{}", ",", " ", "# EOF\n", "\ufeff"]
    points = [number(float(index), {"n": index, f"k{text}": text}) for index, text in enumerate(texts)]
    short = [text for text in texts if len(text) < 100]
    named = [gauge(f"odd.name{text}", number(1.0), unit=text, description=text) for text in short]
    answer = running.push("metrics", otlp(gauge("odd", *points), *named))
    assert (answer.status, answer.body) == (200, b"")

    assert sum(name == "odd" for name, _ in running.totals()) == len(texts)
    assert list(parse_openmetrics(running.page(OPENMETRICS)))


def test_limits(collector, tmp_path):
    """Clients with too many streams are told and counted, a metric with too many series overflows; sums stay true."""
    config = tmp_path / "config.yaml"
    config.write_text("limits: {streams: 500, streams_per_client: 300, series_per_metric: 100}\n")
    running = collector("--config", str(config))
    body = total("many.done", *(number(1, {"n": index}) for index in range(400)))
    taken = {}
    for service, reason in (("app", "client_stream_limit"), ("other", "stream_limit"), ("third", "stream_limit")):
        answer = running.push("metrics", otlp(body, resource={"service.name": service}))
        told = ExportMetricsServiceResponse.FromString(answer.body).partial_success
        assert reason in told.error_message
        taken[service] = 400 - told.rejected_data_points
        assert running.counter("many_done_total", job=service) == taken[service]

    all_taken = sum(taken.values())
    assert taken["app"] == 300
    assert 400 < all_taken <= 500  # the collector has some streams too, and those it needs are never refused
    assert running.counter("many_done_total", otel_metric_overflow="true") == all_taken - 100
    assert running.counter("agent_exporter_overflowed_streams_total") == all_taken - 100
    assert running.counter("agent_exporter_rejected_items_total", reason="client_stream_limit") == 100
    assert running.counter("agent_exporter_rejected_items_total", reason="stream_limit") == 1200 - 100 - all_taken


# -- two encodings, one page --------------------------------------------------


def _json(signal, body):
    """Write a request as OTLP/JSON: ids in hexadecimal, not base64."""
    made = json_format.MessageToDict(REQUESTS[signal].FromString(body))
    return json.dumps(_hex(made)).encode()


def _hex(made):
    if isinstance(made, list):
        return [_hex(each) for each in made]
    if isinstance(made, dict):
        ids = ("traceId", "spanId", "parentSpanId")
        return {key: base64.b64decode(each).hex() if key in ids else _hex(each) for key, each in made.items()}
    return made


TWICE = [
    name
    for name in captures.names()
    if name.startswith(
        (
            "claude-code-2.1.329/http-protobuf",
            "otel-sdk-python",
            "python-system-metrics",
            "node-runtime-0.36.1/http-protobuf",
        )
    )
]


def test_json_and_protobuf_make_one_page(collector):
    """The same requests as JSON make the page that they make as protobuf, byte for byte."""
    pages = []
    for kind in (PROTOBUF, JSON):
        running = collector()
        for name in TWICE:
            for payload in captures.load(name).payloads:
                body = protobuf(payload)
                answer = running.push(payload.signal, _json(payload.signal, body) if kind == JSON else body, kind)
                assert answer.status == 200
        pages.append(lines(running.pushed()))

    assert len(pages[0]) > 1000
    assert [pair for pair in zip(*pages, strict=True) if pair[0] != pair[1]] == []


def test_one_client_in_two_encodings(running):
    """A counter that comes as protobuf once and as JSON once, of one client, is counted once."""
    body = otlp(total("twice.done", number(5.0)))
    made = ExportMetricsServiceRequest.FromString(body).resource_metrics[0]
    resource = made.resource.SerializeToString() + b"\x10\x00"  # as JavaScript writes dropped_attributes_count: 0
    made.ClearField("resource")
    inner = b"\x0a%c%b%b" % (len(resource), resource, made.SerializeToString())
    written = b"\x0a%c%b" % (len(inner), inner)
    assert ExportMetricsServiceRequest.FromString(written) == ExportMetricsServiceRequest.FromString(body)
    for each, kind in ((written, PROTOBUF), (_json("metrics", written), JSON)):
        assert running.push("metrics", each, kind).status == 200

    assert running.counter("twice_done_total") == 5
