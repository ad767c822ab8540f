"""Who sends: a client is a resource, a meter one scope of it.

What may live here: what is resolved once for all the points, records and spans they send.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..model import Labels, Resource, Scope


@dataclass(slots=True, eq=False)
class Client:
    """A process that sends: its labels, and how much of its budget is used."""

    resource: Resource
    identity: Labels  # job and instance
    target: Labels  # the labels of its target_info
    streams: int = 0
    series: int = 0


@dataclass(slots=True, eq=False)
class Meter:
    """One scope of a client; `labels` stand on every series that is passed through."""

    client: Client
    scope: Scope
    labels: Labels
    agent: str
    own: bool = False  # the collector about itself
