"""A captured payload as another session would have sent it: other ids, later times, the same work."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent_exporter.dialects.privacy import IDENTITIES, compile_drop

if TYPE_CHECKING:
    from google.protobuf.message import Message

REQUESTS = {
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
    "traces": ExportTraceServiceRequest,
}
LATER = 3600 * 1_000_000_000  # nanoseconds
_is_identity = compile_drop((*IDENTITIES, "service.instance.id"))


def another(signal: str, body: bytes, *, later: int = LATER, which: int = 2) -> bytes:
    """Rewrite an Export…ServiceRequest: every id another one, every time later, nothing else.

    `later` is in nanoseconds; `which` session it is, tells it from others. Equal ids stay equal, so spans keep
    their parents, also in other payloads.
    """
    message = REQUESTS[signal].FromString(body)
    _rewrite(message, later, which)
    return message.SerializeToString()


def _rewrite(message: Message, later: int, which: int) -> None:
    for field, value in message.ListFields():
        if field.name.endswith("time_unix_nano"):
            setattr(message, field.name, value + later if value else 0)
        elif field.name.endswith(("trace_id", "span_id")):
            setattr(message, field.name, hashlib.sha256(b"%d" % which + value).digest()[: len(value)])
        elif field.type == field.TYPE_MESSAGE:
            for each in value if field.is_repeated else [value]:
                _rewrite(each, later, which)
    if message.DESCRIPTOR.name == "KeyValue" and _is_identity(message.key):
        _rename(message.value, which)


def _rename(value: Any, which: int) -> None:
    if value.HasField("string_value"):
        value.string_value += f"-{which}"
    elif value.HasField("int_value"):
        value.int_value += which - 1
