"""What measuring costs the agent, against doing the same by other means: `python benchmarks/instrument.py`.

A tool that does nothing is called: as it is; decorated; counted and timed by bound cells; by instruments of the
OpenTelemetry SDK (a counter and a histogram, four attributes); by prometheus_client with `.labels()` and bound. All
in one process and in turns. Ours include two clock readings, the calls that run now and the failures in a row; the
others only count and record a value that they are given. Then what a run of the garbage collector costs more with
our hook, what a tool takes in memory, and what importing loads.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable

from _measure import duel, ratio, verdict

CALLS = 20_000  # a round
ROUNDS = 15
TOOLS = 300
SDK, PROMETHEUS, BOUND = 5.0, 1.0, 2.0  # how many times ours they are to cost at least
LABELS = {"agent": "shop", "tool": "search", "tool_type": "function", "status": "ok"}


def nothing(query: str, limit: int) -> None:
    """Do what tools are compared with."""


def loop(call: Callable[[], object]) -> Callable[[int], None]:
    """Repeat a call."""

    def run(count: int) -> None:
        for _ in range(count):
            call()

    return run


# -- the contestants ----------------------------------------------------------


def ours() -> dict[str, Callable[[int], None]]:
    """Wrap the tool in every way."""
    from agent_exporter.instrument import cells, operation, tool
    from agent_exporter.instrument.cells import SWITCH

    SWITCH.on = True
    plain, bare = tool("tracked")(nothing), tool("bare", sizes=False)(nothing)
    sampled = tool("sampled", sample=0.01)(nothing)
    counter = cells.counter("agent.tool.executions", tool="bound", tool_type="function", status="ok")
    histogram = cells.histogram("agent.tool.execution.duration", tool="bound", status="ok")

    def bound() -> None:
        counter.add()
        histogram.record(0.003)

    def block() -> None:
        with tool("block"):
            pass

    def timed() -> None:
        with operation("prepare", mode="simple"):
            pass

    return {
        "nothing": loop(lambda: nothing("x", 5)),
        "@tool": loop(lambda: plain("x", 5)),
        "@tool(sizes=False)": loop(lambda: bare("x", 5)),
        "@tool(sample=0.01)": loop(lambda: sampled("x", 5)),
        "bound cells": loop(bound),
        "with tool()": loop(block),
        "with operation()": loop(timed),
    }


def sdk() -> Callable[[int], None]:
    """Make the pair of instruments of the OpenTelemetry SDK."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    meter = MeterProvider([InMemoryMetricReader()]).get_meter("bench")
    counter, histogram = meter.create_counter("executions"), meter.create_histogram("duration")

    def pair() -> None:
        counter.add(1, LABELS)
        histogram.record(0.003, LABELS)

    return loop(pair)


def prometheus() -> dict[str, Callable[[int], None]]:
    """Make the pair of metrics of prometheus_client, with look-up and bound."""
    from prometheus_client import CollectorRegistry, Counter, Histogram

    registry = CollectorRegistry()
    counter = Counter("executions", "Calls.", [*LABELS], registry=registry)
    histogram = Histogram("duration", "Times.", [*LABELS], registry=registry)
    values = tuple(LABELS.values())
    one, other = counter.labels(*values), histogram.labels(*values)

    def labels() -> None:
        counter.labels(*values).inc()
        histogram.labels(*values).observe(0.003)

    def bound() -> None:
        one.inc()
        other.observe(0.003)

    return {"prometheus .labels()": loop(labels), "prometheus bound": loop(bound)}


# -- one figure each ----------------------------------------------------------


def calls() -> dict[str, list[float]]:
    """Let everybody call."""
    contestants = {**ours(), "OpenTelemetry SDK": sdk(), **prometheus()}
    for contestant in contestants.values():
        contestant(1000)
    return duel(contestants, [CALLS] * ROUNDS)


def collections() -> dict[str, list[float]]:
    """Run the garbage collector with and without our hook."""
    from agent_exporter.instrument import watch_runtime

    def run(count: int) -> None:
        for _ in range(count):
            gc.collect(0)

    def with_hook(count: int) -> None:
        gc.callbacks[:] = hooks
        run(count)
        gc.callbacks.clear()

    watch_runtime()
    hooks = [*gc.callbacks]
    gc.callbacks.clear()
    return duel({"without": run, "with our hook": with_hook}, [CALLS // 10] * ROUNDS)


def memory() -> float:
    """Tell the bytes that a decorated tool takes, with all its cells."""
    from agent_exporter.instrument import cells, tool

    cells.SWITCH.on = True
    gc.collect()
    tracemalloc.start()
    kept = []
    for number in range(TOOLS):
        wrapped = tool(f"tool {number}")(nothing)
        wrapped("x", 5)
        kept.append(wrapped)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return taken / len(kept)


LOAD = """
import json, sys, time

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4

known, before, began = set(sys.modules), resident(), time.process_time()
import {module}
took = time.process_time() - began
print(json.dumps([took * 1e3, len(set(sys.modules) - known), resident() - before]))
"""


def loading(module: str) -> list[float]:
    """Import a module in a fresh process: milliseconds of CPU, modules, KiB; the median of five."""
    runs = [json.loads(subprocess.check_output([sys.executable, "-c", LOAD.format(module=module)])) for _ in range(5)]
    return [statistics.median(column) for column in zip(*runs, strict=True)]


def main() -> None:
    """Print the tables."""
    began = time.monotonic()
    taken = calls()
    print(f"calls of a tool that does nothing; {ROUNDS} rounds of {CALLS}, thread CPU, medians\n")
    print(f"{'':24}{'ns a call':>10}{'times @tool':>13}")
    for name, times in taken.items():
        print(f"{name:24}{statistics.median(times) / CALLS * 1e6:10.0f}{ratio(times, taken['@tool']):13.2f}")
    print()
    for name, mine, target in (
        ("OpenTelemetry SDK", "@tool", SDK),
        ("prometheus .labels()", "@tool", PROMETHEUS),
        ("prometheus .labels()", "bound cells", BOUND),
    ):
        reached = ratio(taken[name], taken[mine])
        print(f"{name} / {mine:12} {reached:6.1f}  {verdict(reached, target)}")
    hooked = collections()
    more = statistics.median(
        (with_ - without) / (CALLS // 10) * 1e6
        for with_, without in zip(hooked["with our hook"], hooked["without"], strict=True)
    )
    print(f"\na run of the garbage collector costs {more:.0f} ns more with our hook")
    print(f"a tool takes {memory() / 1024:.1f} KiB, all its cells and both histograms of sizes included")
    for module in ("agent_exporter.instrument", "opentelemetry.sdk.metrics", "prometheus_client"):
        milliseconds, modules, kibibytes = loading(module)
        print(f"import {module:28}{milliseconds:6.0f} ms {modules:5.0f} modules {kibibytes / 1024:6.1f} MiB")
    print(f"\n{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
