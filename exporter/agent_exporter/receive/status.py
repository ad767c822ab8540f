"""The bodies of answers: Export…ServiceResponse and google.rpc.Status, in protobuf and JSON.

May live here: what an answer says and how it is encoded (rules P4, P7 to P14). How it
travels (status lines, headers, trailers) is known to the doors.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

import orjson
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.rpc.code_pb2 import Code  # type: ignore[import-untyped]  # the package has stubs but no py.typed
from google.rpc.error_details_pb2 import BadRequest, RetryInfo  # type: ignore[import-untyped]  # same
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # same
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from ..model import Answer, Rejection, Signal

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
ENCODINGS: Final = (PROTOBUF, JSON)

NAMED: Final = 10  # rejections that an answer names one by one
WORD_CHARACTERS: Final = 200  # of a metric's name or a detail in an answer
MESSAGE_CHARACTERS: Final = 500  # of an error; it goes into gRPC trailers twice, and clients take 8 KiB of those

_RESPONSES: Final[dict[Signal, tuple[type[Message], str]]] = {
    Signal.METRICS: (ExportMetricsServiceResponse, "rejected_data_points"),
    Signal.LOGS: (ExportLogsServiceResponse, "rejected_log_records"),
    Signal.TRACES: (ExportTraceServiceResponse, "rejected_spans"),
}


def response(signal: Signal, answer: Answer, encoding: str) -> bytes:
    """Write the body of a success: empty, or with `partial_success` if anything was rejected (P9)."""
    rejected = answer.rejected
    if not rejected:
        return _success(signal, encoding)
    kind, count = _RESPONSES[signal]
    message = kind(partial_success={count: rejected, "error_message": explanation(answer.rejections)})
    return encode(message, encoding)


@cache
def _success(signal: Signal, encoding: str) -> bytes:
    return encode(_RESPONSES[signal][0](), encoding)


def explanation(rejections: list[Rejection]) -> str:
    """Say what was rejected and why: the first few by name, the rest as a number, in a few KiB at most (P7)."""
    named = [_named(rejection) for rejection in rejections[:NAMED]]
    more = len(rejections) - len(named)
    return "; ".join([*named, f"and {more} more"] if more else named)


def _named(rejection: Rejection) -> str:
    subject, detail = _short(rejection.subject), _short(rejection.detail)
    text = f"{subject}: {rejection.reason}" if subject else rejection.reason
    return f"{text} ({detail})" if detail else text


def _short(text: str, characters: int = WORD_CHARACTERS) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


def failure(code: int, text: str, retry_after: float | None = None) -> Status:
    """Make the Status of an error.

    Bad data gets a BadRequest detail, with the path before the colon of `text` as its field
    (P12); `retry_after` seconds become a RetryInfo (P14), without which RESOURCE_EXHAUSTED
    is final (P6, P13).
    """
    status = Status(code=code, message=_short(text, MESSAGE_CHARACTERS))
    if code == Code.INVALID_ARGUMENT:
        path, colon, _ = status.message.partition(": ")
        field = path if colon and " " not in path else "body"
        violation = BadRequest.FieldViolation(field=field, description=status.message)
        status.details.add().Pack(BadRequest(field_violations=[violation]))
    if retry_after is not None:
        retry = RetryInfo()
        retry.retry_delay.FromMilliseconds(math.ceil(retry_after * 1000))
        status.details.add().Pack(retry)
    return status


def encode(message: Message, encoding: str) -> bytes:
    """Write a message as one of ENCODINGS; 64-bit numbers are strings in JSON."""
    return orjson.dumps(MessageToDict(message)) if encoding == JSON else message.SerializeToString()
