"""Values as agents really send them: numbers and booleans as strings, strings as numbers.

Rule: pure functions of one value (`reference/agent-telemetry.md` 14.5, rule 6). No answer is
`""` or None, never an exception: what a peer sends is not our bug.
"""

from __future__ import annotations

from math import isfinite


def text(value: object) -> str:
    """Return a scalar as the text that rules compare, `""` if it is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and isfinite(value) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else ""


def number(value: object) -> float | None:
    """Return a finite number, also from a string; None if there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if isfinite(result) else None
