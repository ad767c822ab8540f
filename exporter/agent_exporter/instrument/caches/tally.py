"""What is counted of one cache by its adapter.

What may live here: the counters of a cache, and no library's ways.
"""

from __future__ import annotations

from ..cells import counter


class Tally:
    """The counters of one cache."""

    __slots__ = ("evicted", "expired", "hit", "inside", "missed", "misses", "storing")

    def __init__(self, name: str, *reasons: str) -> None:
        """Count look-ups, and evictions for the reasons that can be told."""
        self.hit = counter("agent.cache.requests", cache=name, result="hit").add
        self.missed = counter("agent.cache.requests", cache=name, result="miss").add
        self.evicted = {reason: counter("agent.cache.evictions", cache=name, reason=reason).add for reason in reasons}
        self.misses = 0  # look-ups that found nothing, also when nothing is recorded
        self.expired = 0  # entries that went because of their age, also when nothing is recorded
        self.storing = False  # an entry is being stored: what goes now makes room for it
        self.inside = False  # a removal is under way, of which the steps do not count again

    def miss(self) -> None:
        """Count a look-up that found nothing."""
        self.misses += 1
        self.missed()
