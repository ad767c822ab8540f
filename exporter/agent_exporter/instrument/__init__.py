"""The library inside agents: measures what they do and pushes it to a collector (docs/library.md).

Rule: inside somebody's program it never raises, never waits and loads little: the collector, gRPC, psutil and numpy
not at all, OpenTelemetry in a thread of its own.
"""

from __future__ import annotations

from .export import flush, shutdown, start
from .models import ModelRequest, model_request
from .operations import (
    Interface,
    Session,
    Timer,
    Turn,
    compacted,
    context_used,
    feedback,
    interface,
    operation,
    session,
    transition,
    turn,
)
from .tools import Tool, tool, wrap_tools

__all__ = [
    "Interface",
    "ModelRequest",
    "Session",
    "Timer",
    "Tool",
    "Turn",
    "compacted",
    "context_used",
    "feedback",
    "flush",
    "interface",
    "model_request",
    "operation",
    "session",
    "shutdown",
    "start",
    "tool",
    "transition",
    "turn",
    "wrap_tools",
]
