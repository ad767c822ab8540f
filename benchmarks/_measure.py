"""How benchmarks measure: thread CPU time, contestants in turns, medians.

What may live here: clocks and the arithmetic of ratios. A ratio is the median over rounds of
theirs / ours within one round: the machine's speed wanders, but hardly from one call to the next.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Mapping


def timed(work: Callable[..., object], *arguments: object) -> float:
    """Measure one call in milliseconds of thread CPU time."""
    gc.collect()
    gc.disable()
    start = time.thread_time_ns()
    work(*arguments)
    taken = time.thread_time_ns() - start
    gc.enable()
    return taken / 1e6


def duel(contestants: Mapping[str, Callable[..., object]], rounds: Iterable[object]) -> dict[str, list[float]]:
    """Give every contestant the argument of each round, who begins alternating; returns milliseconds a round."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    order = list(contestants)
    for argument in rounds:
        order.reverse()
        for name in order:
            times[name].append(timed(contestants[name], argument))
    return times


def ratio(theirs: Iterable[float], ours: Iterable[float]) -> float:
    """Tell how many times the first took the second's time: the median of the rounds."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


def verdict(reached: float, target: float | None, *, most: bool = False) -> str:
    """Say whether a ratio is at least its target, or at most."""
    if target is None:
        return ""
    good = reached <= target if most else reached >= target
    return f"{'<=' if most else '>='} {target:g}  {'OK' if good else 'BELOW' if not most else 'ABOVE'}"
