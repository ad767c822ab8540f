"""Who pushes: the resource of this process.

Rule: decided when the library starts, and anew in a forked child; never in between, as another resource would be
another process to a collector, and everything would count twice.
"""

from __future__ import annotations

import os
import socket
import sys
import uuid
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

INSTANCE: Final = "service.instance.id"
SERVICE: Final = "service.name"
_UNNAMED: Final = "unknown_service"  # what the SDK calls a program that nobody named

Attributes = dict[str, Any]


def of_application() -> Attributes | None:
    """Return the resource that the program gave the OpenTelemetry SDK, if it has set one up."""
    for module, current in (
        ("opentelemetry.metrics", "get_meter_provider"),
        ("opentelemetry.trace", "get_tracer_provider"),
    ):
        loaded = sys.modules.get(module)
        if loaded is None or "opentelemetry.sdk" not in sys.modules:
            continue
        provider = getattr(loaded, current)()
        # Tracer providers show their resource; meter providers keep it to themselves.
        found = getattr(provider, "resource", None) or getattr(getattr(provider, "_sdk_config", None), "resource", None)
        if found is not None:
            return dict(found.attributes)
    return None


def given_id(own: Attributes | None) -> str:
    """Find the instance's id that the program or the environment gave, without loading the SDK."""
    if own is not None:
        return str(own.get(INSTANCE, ""))
    pairs = (pair.partition("=") for pair in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    return next((unquote(value.strip()) for key, _, value in pairs if key.strip() == INSTANCE), "")


class Identity:
    """What this process is called; `name` is for programs that nothing else names."""

    def __init__(self, name: str | None) -> None:
        self._name = name
        self._own = of_application()
        self._given = given_id(self._own)
        self._taken: set[str] = set()  # by those that we were forked from
        self._id = self._given or _new()

    def attributes(self, environment: Callable[[], Attributes]) -> Attributes:
        """Return the whole resource; `environment` reads one for programs that have none."""
        found = dict(self._own) if self._own is not None else environment()
        if self._name and str(found.get(SERVICE, _UNNAMED)).startswith(_UNNAMED):
            found[SERVICE] = self._name
        return {"host.name": socket.gethostname(), **found, "process.pid": os.getpid(), INSTANCE: self._id}

    def fork(self) -> None:
        """Become another instance: a child has its parent's resource, and often its id too."""
        self._taken.add(self._given)
        self._own = of_application()
        self._given = given_id(self._own)
        self._id = f"{self._given}-{os.getpid()}" if self._given in self._taken else self._given
        if not self._given:
            self._id = _new()


def _new() -> str:
    return str(uuid.uuid4())
