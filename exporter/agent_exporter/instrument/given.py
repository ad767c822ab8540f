"""What a program hands to the library, which must be content with anything.

Rule: nothing here raises; what makes no sense is told of once and counted, and something harmless is taken.
"""

from __future__ import annotations

import sys

from . import cells


def text(value: object, what: str) -> str:
    """Take a text."""
    if isinstance(value, str):
        return value
    cells.fail("misuse", f"{what} is a text")
    return "unknown"


def amount(value: object, what: str) -> float | None:
    """Take a number from 0 on, None if it is none."""
    if isinstance(value, (int, float)) and 0 <= value <= sys.float_info.max:
        return float(value)
    cells.fail("misuse", f"{what} is a number from 0 on")
    return None


def word(value: str, words: tuple[str, ...], what: str) -> str:
    """Take one of a few words."""
    if value in words:
        return value
    cells.fail("misuse", f"{what} is one of {', '.join(words)}")
    return "unknown"
