"""Who sends: a client is a resource, a meter one scope of it.

What may live here: what is resolved once for all the points, records and spans they send.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from ..model import Labels, Resource, Scope, Value
from .ledger import Source


@dataclass(slots=True, eq=False)
class Client:
    """A process that sends: its labels, and how much of its budget is used."""

    resource: Resource
    identity: Labels  # job and instance
    target: Labels  # the labels of its target_info
    streams: int = 0
    series: int = 0
    metrics: int = 0
    meters: int = 0


@dataclass(slots=True, eq=False)
class Meter:
    """One scope of a client; `labels` stand on every series that is passed through."""

    client: Client
    scope: Scope
    labels: Labels
    agent: str
    own: bool = False  # the collector about itself

    def source(self, signal: str) -> Source:
        """Say who sends, as people and `agent.source.last_seen` are told."""
        names = dict(self.client.identity)
        return Source(self.agent, names.get("job", ""), names.get("instance", ""), signal)


def identity(resource: Resource) -> Hashable:
    """Tell what makes a client: its instance where it has an id, else all it says, in any order (R2, R10)."""
    said = resource.attributes
    if said.get("service.instance.id"):
        return tuple(_frozen(said.get(f"service.{part}")) for part in ("namespace", "name", "instance.id"))
    return _frozen(said)


def scope_identity(scope: Scope) -> Hashable:
    """Tell what makes a meter of a client."""
    return scope.name, scope.version, scope.schema_url, _frozen(scope.attributes)


def _frozen(value: Value) -> Hashable:
    """Make a value hashable; 1, 1.0 and True stay different."""
    if isinstance(value, dict):
        return tuple((key, _frozen(value[key])) for key in sorted(value))
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return type(value).__name__, value
