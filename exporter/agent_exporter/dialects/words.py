"""Which of several metrics that say the same was heard first of a sender.

Rule: bounded by a limit with a name; what senders say of themselves is kept as a hash only.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ..model import Resource

WORDS: Final = 20_000  # senders × families remembered; the oldest makes room


class Words:
    """The word of `alone` by sender and family."""

    def __init__(self) -> None:
        self._heard: OrderedDict[int, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._heard)

    def is_first(self, resource: Resource, family: str, word: str) -> bool:
        """Tell whether a family is fed by this word's metrics; the first word heard of a sender is it."""
        key = hash((_sender(resource), family))
        if key not in self._heard and len(self._heard) >= WORDS:
            self._heard.popitem(last=False)
        return self._heard.setdefault(key, word) == word


def _sender(resource: Resource) -> str:
    """Tell senders apart by their instance, or else by all they say."""
    said = resource.attributes
    names = [f"service.{name}" for name in ("namespace", "name", "instance.id")]
    return repr([said.get(name) for name in names] if said.get(names[-1]) else sorted(said.items()))
