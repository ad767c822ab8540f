"""Which processes push: what their resources say of pid and host, so that `sample` can find them.

Rule: names and numbers of resources, bounded; whether there is such a process is not asked here.
"""

from __future__ import annotations

from ..dialects.labels import instance
from ..dialects.lenient import number, text
from ..model import Resource
from ..sample import Push

MAX_PUSHERS = 2_000  # processes, of this host or others; the one first seen longest ago makes room


class Pushers:
    """Processes by host and pid, the newest that had it."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], Push] = {}

    def saw(self, resource: Resource, agent: str, now: float) -> None:
        """Remember who pushed, if the resource tells; `now` in Unix seconds."""
        found = resource.attributes
        host, pid = text(found.get("host.name")), int(number(found.get("process.pid")) or 0)
        if not host or pid <= 0:
            return
        known = self._known.pop((host, pid), None)
        push = Push(agent, instance(resource), pid, host, now)
        if known is not None and known.instance == push.instance and agent == text(found.get("service.name")):
            push = push._replace(agent=known.agent)  # another scope of it is a known agent's
        self._known[host, pid] = push
        if len(self._known) > MAX_PUSHERS:
            del self._known[next(iter(self._known))]

    def read(self) -> list[Push]:
        """List them."""
        return list(self._known.values())
