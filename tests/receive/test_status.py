"""The bodies of answers and errors, decoded again."""

import json

import pytest
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from agent_exporter.model import Answer, Rejection, Signal
from agent_exporter.receive.status import ENCODINGS, JSON, PROTOBUF, encode, explanation, failure, response

RESPONSES = [
    (Signal.METRICS, ExportMetricsServiceResponse, "rejected_data_points", "rejectedDataPoints"),
    (Signal.LOGS, ExportLogsServiceResponse, "rejected_log_records", "rejectedLogRecords"),
    (Signal.TRACES, ExportTraceServiceResponse, "rejected_spans", "rejectedSpans"),
]
REJECTIONS = [Rejection("no_temporality", "requests", "sum without temporality", 2), Rejection("too_old", "", "", 1)]


@pytest.mark.parametrize("signal", Signal)
def test_success_is_empty(signal):
    """A full success has an empty body, in JSON an empty object."""
    assert response(signal, Answer(accepted=5), PROTOBUF) == b""
    assert response(signal, Answer(accepted=5), JSON) == b"{}"


@pytest.mark.parametrize(("signal", "kind", "count", "_name"), RESPONSES)
def test_partial_success(signal, kind, count, _name):
    """What was rejected is counted under the signal's own name, with the reasons."""
    message = kind.FromString(response(signal, Answer(3, REJECTIONS), PROTOBUF))

    assert getattr(message.partial_success, count) == 3
    assert message.partial_success.error_message == "requests: no_temporality (sum without temporality); too_old"


@pytest.mark.parametrize(("signal", "_kind", "_count", "name"), RESPONSES)
def test_partial_success_in_json(signal, _kind, _count, name):
    """In JSON the count is a string, as protobuf's JSON has it."""
    document = json.loads(response(signal, Answer(3, REJECTIONS), JSON))

    assert document["partialSuccess"][name] == "3"


def test_warnings_alone_are_no_partial_success():
    """Rejections that count nothing do not make a success partial."""
    assert response(Signal.METRICS, Answer(1, [Rejection("odd", "x", "", 0)]), PROTOBUF) == b""


def test_only_the_first_are_named():
    """Many rejections are named up to a point, then counted."""
    text = explanation([Rejection("bad", f"m{number}", "", 1) for number in range(25)])

    assert text.startswith("m0: bad; m1: bad; ")
    assert text.endswith("m9: bad; and 15 more")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_answer_is_short(encoding):
    """An answer stays far below 4 MiB, whatever names a client has sent."""
    rejections = [Rejection("bad", "ü" * (1 << 20), "d" * (1 << 20), 1)] * 1000

    assert len(response(Signal.METRICS, Answer(0, rejections), encoding)) < 16 * 1024


def test_bad_data_names_the_field():
    """Bad data is described once more as a violation of a field."""
    status = failure(Code.INVALID_ARGUMENT, "resourceLogs[1]: expected an object, not a number")
    detail = BadRequest()

    assert status.details[0].Unpack(detail)
    [violation] = detail.field_violations
    assert violation.field == "resourceLogs[1]"
    assert violation.description == "resourceLogs[1]: expected an object, not a number"


def test_overload_says_when_to_come_back():
    """Overload carries the time to wait."""
    status = failure(Code.UNAVAILABLE, "busy", retry_after=1.5)
    detail = RetryInfo()

    assert status.details[0].Unpack(detail)
    assert detail.retry_delay.ToMilliseconds() == 1500


def test_oversize_has_no_retry_info():
    """What is too large stays too large: nothing invites to retry."""
    assert list(failure(Code.RESOURCE_EXHAUSTED, "too large").details) == []


def test_errors_are_short():
    """An error fits into gRPC trailers, twice."""
    assert len(failure(Code.INVALID_ARGUMENT, "x" * 100_000).SerializeToString()) < 3000


def test_status_in_json():
    """A Status in JSON has its details by type."""
    document = json.loads(encode(failure(Code.UNAVAILABLE, "busy", 2), JSON))

    assert document == {
        "code": 14,
        "message": "busy",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}],
    }


def test_status_in_protobuf():
    """A Status in protobuf reads back."""
    assert Status.FromString(encode(failure(Code.INTERNAL, "bug"), PROTOBUF)).code == Code.INTERNAL
