"""The library inside agents: measures what they do and pushes it to a collector (docs/library.md).

Rule: inside somebody's program it never raises, never waits and loads little: the collector, gRPC, psutil and numpy
not at all, OpenTelemetry in a thread of its own.
"""

from __future__ import annotations

from .caches import Loads, instrumented, loads, single_flight, watch_cache
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
from .pools import Pool, pool, watch_pool
from .profiles import Run, profile
from .queues import StampedQueue, stamped, watch_queue
from .runtime import Runtime, watch_runtime
from .tools import Tool, tool, wrap_tools

__all__ = [
    "Interface",
    "Loads",
    "ModelRequest",
    "Pool",
    "Run",
    "Runtime",
    "Session",
    "StampedQueue",
    "Timer",
    "Tool",
    "Turn",
    "compacted",
    "context_used",
    "feedback",
    "flush",
    "instrumented",
    "interface",
    "loads",
    "model_request",
    "operation",
    "pool",
    "profile",
    "session",
    "shutdown",
    "single_flight",
    "stamped",
    "start",
    "tool",
    "transition",
    "turn",
    "watch_cache",
    "watch_pool",
    "watch_queue",
    "watch_runtime",
    "wrap_tools",
]
