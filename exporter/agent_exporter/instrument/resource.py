"""Who pushes: the resource of this process.

Rule: decided when the library starts, and anew in a forked child; never in between, as another resource would be
another process to a collector, and everything would count twice. The environment is read here and not by the SDK,
whose detectors need threads, which a program that ends has no more.
"""

from __future__ import annotations

import os
import socket
import sys
import uuid
from typing import Any, Final
from urllib.parse import unquote

INSTANCE: Final = "service.instance.id"
SERVICE: Final = "service.name"
UNNAMED: Final = "unknown_service"  # what the SDK calls a program that nobody named
# Tracer providers show their resource; meter providers keep it to themselves.
_PROVIDERS: Final = (
    ("opentelemetry.metrics", "get_meter_provider", "_sdk_config"),
    ("opentelemetry.trace", "get_tracer_provider", ""),
)

Attributes = dict[str, Any]


def of_application() -> Attributes | None:
    """Return the resource that the program gave the OpenTelemetry SDK, if it has set one up."""
    for module, current, inner in _PROVIDERS:
        loaded = sys.modules.get(module)
        if loaded is not None and "opentelemetry.sdk" in sys.modules:
            provider = getattr(loaded, current)()
            found = getattr(getattr(provider, inner, None) if inner else provider, "resource", None)
            if found is not None:
                return dict(found.attributes)
    return None


def of_environment() -> Attributes:
    """Return what OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say."""
    pairs = (pair.partition("=") for pair in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    found: Attributes = {key.strip(): unquote(value.strip()) for key, sign, value in pairs if sign and key.strip()}
    if name := os.environ.get("OTEL_SERVICE_NAME"):
        found[SERVICE] = name
    return found


class Identity:
    """What this process is called; `name` is for programs that nothing else names."""

    def __init__(self, name: str | None) -> None:
        self._name = name or f"{UNNAMED}:python"
        self._taken: set[str] = set()  # ids of those that we were forked from
        self._look()

    def fork(self) -> None:
        """Become another instance: a child has its parent's resource, and often its id too."""
        self._taken.add(self._given)
        self._look()

    def _look(self) -> None:
        own = of_application()
        self._said = of_environment() if own is None else own
        self._given = str(self._said.get(INSTANCE, ""))
        shared = self._given and self._given in self._taken
        self._id = f"{self._given}-{os.getpid()}" if shared else self._given or str(uuid.uuid4())

    def attributes(self) -> Attributes:
        """Return the whole resource."""
        known = {"host.name": socket.gethostname(), **self._said, "process.pid": os.getpid(), INSTANCE: self._id}
        if str(known.get(SERVICE, UNNAMED)).startswith(UNNAMED):
            known[SERVICE] = self._name
        return known
