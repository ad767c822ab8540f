"""How much memory is in use, as profiles, tools and the runtime ask for it.

What may live here: the readings, and who needs tracemalloc now. It is loaded by the first who asks for it: that takes
10 ms, and pickle with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import RLock
from typing import Final, Literal

Memory = Literal["rss", "tracemalloc"]

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_STATM: Final = "/proc/self/statm"


class Traces:
    """tracemalloc, as long as anybody needs it; who started it before us keeps it."""

    def __init__(self) -> None:
        self._owners: set[object] = set()
        self._ours = False
        self._lock = RLock()  # reentrant: a finalizer may call a tool

    def enter(self, owner: object) -> None:
        """Trace from now on, again if somebody stopped it; entering twice is entering once."""
        import tracemalloc  # noqa: PLC0415  # who does not ask for it need not load it

        with self._lock:
            self._owners.add(owner)
            if not tracemalloc.is_tracing():
                tracemalloc.start()
                self._ours = True

    def leave(self, owner: object) -> None:
        """Stop when the last one leaves; who never entered may leave, too."""
        with self._lock:
            self._owners.discard(owner)
            if self._ours and not self._owners:
                import tracemalloc  # noqa: PLC0415  # loaded already

                tracemalloc.stop()
                self._ours = False

    def forked(self) -> None:
        """Go on in a forked child, where nobody holds the lock."""
        self._lock = RLock()


TRACES: Final = Traces()
os.register_at_fork(after_in_child=TRACES.forked)


def resident() -> float | None:
    """Read the resident set of this process in bytes, None where that cannot be read."""
    try:
        with open(_STATM, "rb") as file:  # noqa: PTH123  # a third of the time
            return float(int(file.read().split()[1]) * _PAGE)
    except (OSError, ValueError):
        return None  # not Linux, or no descriptor left


def traced() -> float | None:
    """Tell how many bytes Python's objects take, None while nobody traces."""
    import tracemalloc  # noqa: PLC0415  # see Traces

    return float(tracemalloc.get_traced_memory()[0]) if tracemalloc.is_tracing() else None


READ: Final[dict[str, Callable[[], float | None]]] = {"rss": resident, "tracemalloc": traced}
