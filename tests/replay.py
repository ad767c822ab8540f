"""Captured payloads as plain OTLP protobuf, and whole captures into an ingest."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

from agent_exporter.decode.json import to_protobuf
from agent_exporter.model import Signal

if TYPE_CHECKING:
    from agent_exporter.collector.ingest import Ingest
    from captures import Capture, Payload


def protobuf(payload: Payload) -> bytes:
    """Undo compression and JSON."""
    body = gzip.decompress(payload.body) if payload.content_encoding == "gzip" else payload.body
    return to_protobuf(Signal(payload.signal), body) if "json" in payload.content_type else body


def replay(capture: Capture, ingest: Ingest) -> None:
    """Push a capture's payloads in order; each must be taken in full."""
    for payload in capture.payloads:
        answer = ingest(Signal(payload.signal), protobuf(payload))
        assert answer.rejected == 0, (capture.name, payload.seq, answer.rejections)
