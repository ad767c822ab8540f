"""A captured request as another session's: other ids, later times, the same numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent_exporter.model import Signal

if TYPE_CHECKING:
    from google.protobuf.message import Message

REQUESTS: dict[Signal, type[Message]] = {
    Signal.METRICS: ExportMetricsServiceRequest,
    Signal.LOGS: ExportLogsServiceRequest,
    Signal.TRACES: ExportTraceServiceRequest,
}
# The attributes that tell sessions, runs and processes apart.
IDS = {
    *("session.id", "conversation.id", "gen_ai.conversation.id", "ai.telemetry.metadata.sessionId"),
    *("service.instance.id", "opencode.run"),
}


def again(signal: Signal, body: bytes, shift: int) -> bytes:
    """Rewrite an OTLP request: times later by `shift` nanoseconds (start times too), other ids."""
    message = REQUESTS[signal].FromString(body)
    _rewrite(message, shift)
    return message.SerializeToString()


def _rewrite(message: Any, shift: int) -> None:
    for field, value in message.ListFields():
        if field.name.endswith("time_unix_nano"):
            setattr(message, field.name, value + shift)
        elif field.name in ("trace_id", "span_id", "parent_span_id"):
            setattr(message, field.name, bytes(byte ^ 0x5A for byte in value))
        elif field.name == "value" and getattr(message, "key", "") in IDS:
            value.string_value += "-again"
        elif field.type == field.TYPE_MESSAGE:
            for inner in (value,) if hasattr(value, "ListFields") else value:
                _rewrite(inner, shift)
