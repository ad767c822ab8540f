"""Numbers in other units to an instrument's own.

Rule: one table. Units are UCUM; the words beside them are what agents write instead
(`reference/agent-telemetry.md` 5.3, 6, 9).
"""

from __future__ import annotations

from typing import Final

_FACTORS: Final = {
    "s": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0},
    "By": dict.fromkeys(("By", "B", "byte", "bytes"), 1.0)
    | {"kBy": 1e3, "MBy": 1e6, "GBy": 1e9, "KiBy": 2.0**10, "MiBy": 2.0**20, "GiBy": 2.0**30},
    "1": {"1": 1.0, "%": 0.01, "percent": 0.01},
}


def factor(unit: str, into: str) -> float | None:
    """Return what a number in `unit` is multiplied with to be in `into`; None if it cannot be told.

    What is counted has no other unit: `{token}`, `token`, `tokens` and nothing are the same.
    """
    known = _FACTORS.get(into)
    return 1.0 if known is None else known.get(unit)
