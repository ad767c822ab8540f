"""`target_info`: what a client says about itself beyond job and instance (R3 to R5, R10).

What may live here: one series for each job and instance, always the newest, never two.
"""

from __future__ import annotations

from ..expose.labels import block
from ..model import Kind, Labels
from ..store.families import Families


class Targets:
    """The `target_info` series now shown, by job and instance."""

    def __init__(self, families: Families) -> None:
        self._family = families.open(
            "target_info", Kind.INFO, "", "Attributes of the clients, by job and instance.", reserved=True
        )
        self._family.limit = 0
        self._shown: dict[Labels, Labels] = {}

    def show(self, identity: Labels, labels: Labels, now: float) -> None:
        """Let a client's attributes replace those shown for its job and instance."""
        if not labels or self._shown.get(identity) == labels:
            return
        self._withdraw(identity)
        table, row = self._family.series(block(labels), (), now)
        table.values[row] = 1.0
        table.refs[row] = 1
        self._shown[identity] = labels

    def withdraw(self, identity: Labels, labels: Labels) -> None:
        """Take a client's attributes off the page, unless another's stand there by now."""
        if self._shown.get(identity) == labels:
            self._withdraw(identity)

    def _withdraw(self, identity: Labels) -> None:
        labels = self._shown.pop(identity, None)
        found = self._family.find(block(labels)) if labels is not None else None
        if found is not None:
            table, row = found
            table.refs[row] = 0
            table.forget(row)
