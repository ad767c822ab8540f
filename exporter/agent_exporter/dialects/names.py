"""Patterns of names: `*` stands for any characters, everything else for itself, case counts.

Rule: compiles patterns once to a test of one name; knows nothing of what is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

Matcher = Callable[[str], bool]


def matcher(patterns: Iterable[str]) -> Matcher:
    """Compile patterns to a test that holds for the names any of them matches."""
    patterns = frozenset(patterns)
    exact = frozenset(pattern for pattern in patterns if "*" not in pattern)
    globs = sorted(patterns - exact)
    if not globs:
        return exact.__contains__
    match = re.compile("|".join(map(_expression, globs)), re.DOTALL).fullmatch
    return lambda name: name in exact or match(name) is not None


def _expression(glob: str) -> str:
    return ".*".join(re.escape(part) for part in glob.split("*"))
