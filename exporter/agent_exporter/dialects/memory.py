"""All that the dialects remember, to be handed on when their files are read again.

Rule: holds the bounded tables of this room together, and the counts of what did not fit.
"""

from __future__ import annotations

from collections import Counter

from .bounds import VALUES_PER_LABEL, Bounds
from .sessions import Counts, Sessions
from .told import Told
from .traces import Tree
from .words import Words


class Memory:
    """Label values, sessions and spans seen; `counts` by instrument of the catalogue and labels."""

    def __init__(self, values: int = VALUES_PER_LABEL) -> None:
        self.counts: Counts = Counter()
        self.bounds = Bounds(values)
        self.words = Words()
        self.told = Told()
        self.sessions = Sessions(self.counts)
        self.tree = Tree(self.counts)
