"""How many values a label may have, and what happens to the others.

Rule: the only state in this room. It grows to a limit with a name and never shrinks, so that a
value that was once shown stays shown; folds are counted in plain integers, which the collector
reads.
"""

from __future__ import annotations

from typing import Final

VALUES_PER_LABEL: Final = 500  # distinct values an agent and label; agents themselves likewise
VALUE_LENGTH: Final = 128  # characters; a MCP tool's name as two SHA-256 hashes has 129
OTHER: Final = "other"

# A process is new after every start: its identity is bounded by the expiry of series, and a
# limit that is never given back would in the end hide every new one.
_UNLIMITED: Final = frozenset({"agent_instance"})
# A kind of error is a word. What has spaces is a sentence, and a sentence is content.
_WORDS: Final = frozenset({"error_type"})


class Bounds:
    """The label values seen so far, by agent and label; what was seen stays when `limit` is lowered."""

    def __init__(self, limit: int = VALUES_PER_LABEL) -> None:
        self.folded: dict[str, int] = {}
        self.limit = limit
        self._seen: dict[tuple[str, str], set[str]] = {}

    def agent(self, name: str) -> str:
        """Return an agent's name, or `other` if there are too many agents."""
        return self.fold("", "agent", name)

    def fold(self, agent: str, label: str, value: str) -> str:
        """Return a value that may be a label's: itself, cut to length, or `other`."""
        seen = self._seen.get((agent, label))
        if seen is None:
            seen = self._seen.setdefault((agent, label), set())
        if value in seen:
            return value
        value = value[:VALUE_LENGTH]
        if label in _UNLIMITED or value in seen:
            return value
        if len(seen) >= self.limit or (label in _WORDS and not _is_word(value)):
            return self.refuse(label)
        seen.add(value)
        return value

    def choose(self, label: str, value: str, allowed: frozenset[str]) -> str:
        """Return a value of a closed set: itself, or `unknown` if the set has that, or `other`."""
        if value in allowed:
            return value
        return "unknown" if "unknown" in allowed else self.refuse(label)

    def refuse(self, label: str) -> str:
        """Count a value that was folded."""
        self.folded[label] = self.folded.get(label, 0) + 1
        return OTHER


def _is_word(value: str) -> bool:
    return value.isprintable() and " " not in value
