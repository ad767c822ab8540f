"""Rendering a page against prometheus_client: `python benchmarks/render.py [SERIES ...]`.

Contestants take turns in one process and are timed in thread CPU time; what counts is the
ratio of the medians of one run, not the milliseconds. Families of 1000 series with four
labels, one of them unique to the series. prometheus_client does not write `_created`.
"""

from __future__ import annotations

import gc
import random
import statistics
import sys
import tracemalloc
import zlib
from array import array
from dataclasses import replace

from _measure import timed
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from agent_exporter.expose.labels import block
from agent_exporter.expose.render import Renderer
from agent_exporter.expose.shape import Format
from agent_exporter.model import Family, Kind, Table

SIZE = 1000  # series a family
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CELLS = len(BOUNDS) + 3
ROUNDS = 7
GOALS = {"all": 20, "5 % scattered": 40, "5 % clustered": 40, "none": 200, "all, gzip": 20}


def labels(row: int) -> dict[str, str]:
    """Make the labels of a series."""
    return {"agent": "claude-code", "tool": f"tool_{row:06d}", "status": "ok", "provider": "eu-west-1.example"}


def value(rng: random.Random) -> float:
    """Make a value: half of them whole numbers."""
    return float(rng.randrange(10**6)) if rng.random() < 0.5 else rng.random() * 1000


def histograms(count: int, rng: random.Random) -> tuple[list[Family], CollectorRegistry]:
    """Make as many lines of histograms, 12 buckets each, for both sides."""
    registry, families, names = CollectorRegistry(), [], list(labels(0))
    for number in range(count // SIZE):
        name = f"agent_tool_duration_{number:03d}_seconds"
        peer = Histogram(name, "Duration.", names, registry=registry, buckets=BOUNDS)
        rows = [labels(row) for row in range(number * 100, number * 100 + SIZE // CELLS)]
        made = Table(CELLS, BOUNDS, [block(tuple(row.items())) for row in rows], layout=1)
        made.created = array("d", [1.7e9]) * len(rows)
        for row in rows:
            seen = [rng.expovariate(1) for _ in range(30)]
            for one in seen:
                peer.labels(**row).observe(one)
            buckets = [float(sum(one <= bound for one in seen)) for bound in BOUNDS]
            made.values.extend((*buckets, 30.0, sum(seen), 30.0))
        families.append(Family(name, Kind.HISTOGRAM, "seconds", "Duration.", [made]))
    return families, registry


def counters(count: int, rng: random.Random) -> tuple[list[Family], CollectorRegistry]:
    """Make counters for both sides."""
    families = ours(count, rng)
    registry, children = theirs(families)
    for child, number in zip(children, (v for f in families for v in f.tables[0].values), strict=True):
        child.inc(number)
    return families, registry


def ours(count: int, rng: random.Random) -> list[Family]:
    """Make families in the store's columns."""
    families = []
    for first in range(0, count, SIZE):
        rows = [*range(first, min(first + SIZE, count))]
        rng.shuffle(rows)
        table = Table(1, layout=1, texts=[block(tuple(labels(row).items())) for row in rows])
        table.values = array("d", [value(rng) for _ in rows])
        table.created = array("d", [1.7e9]) * len(rows)
        name = f"agent_tool_executions_{first // SIZE:03d}_total"
        families.append(Family(name, Kind.COUNTER, "", "Number of tool executions.", [table]))
    return families


def theirs(families: list[Family]) -> tuple[CollectorRegistry, list]:
    """Make the same counters in prometheus_client and return them with their children."""
    registry, children = CollectorRegistry(), []
    for family in families:
        counter = Counter(family.name.removesuffix("_total"), family.help, list(labels(0)), registry=registry)
        for text in family.tables[0].texts:
            pairs = dict(pair.split("=", 1) for pair in text.decode().split(","))
            children.append(counter.labels(**{name: quoted[1:-1] for name, quoted in pairs.items()}))
    return registry, children


def changed(families: list[Family], how: str, rng: random.Random) -> list[Family]:
    """Copy families as a snapshot does, with some values changed."""
    copies = []
    total = sum(len(family.tables[0].values) for family in families)
    clustered = rng.randrange(0, total - total // 20 + 1)
    at = 0
    for family in families:
        table = family.tables[0]
        values = array("d", table.values)
        for row in range(len(values)):
            at += 1
            hit = {
                "all": True,
                "none": False,
                "5 % scattered": rng.random() < 0.05,
                "5 % clustered": clustered <= at < clustered + total // 20,
            }[how]
            if hit:
                values[row] += rng.choice((1.0, 1.0, 17.0, 0.25))
        copies.append(replace(family, tables=[replace(table, values=values, texts=list(table.texts))]))
    return copies


def whole(render, *arguments) -> bytes:
    """Render a page and put it together."""
    return b"".join(render(*arguments))


def compare(count: int, make) -> None:
    """Print the table of one size."""
    rng = random.Random(7)
    families, registry = make(count, rng)
    times: dict[str, list[float]] = {}

    def measure(name: str, work, *arguments) -> None:
        times.setdefault(name, []).append(timed(work, *arguments))

    # Every case has a renderer and a history of its own: what is measured is a steady state.
    cases = [
        (how, Renderer(), Renderer(), Renderer(created=True))
        for how in ("all", "5 % scattered", "5 % clustered", "none")
    ]
    latest = {how: families for how, *_ in cases}
    for turn in range(ROUNDS + 2):
        if turn == 2:
            times.clear()  # the first rounds fill caches
        measure("client", generate_latest, registry)
        measure("client, zlib 1", lambda: zlib.compress(generate_latest(registry), 1))
        measure("client, OM", generate_openmetrics, registry)
        for how, plain, squeezed, openmetrics in cases:
            page = latest[how] = changed(latest[how], how, rng)
            measure(how, whole, plain.render, page)
            measure(how + ", gzip", whole, squeezed.render_gzip, page)
            measure(how + ", OM with _created", whole, openmetrics.render, page, Format.OPENMETRICS)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    size, small = (len(b"".join(chunks)) for chunks in (Renderer().render(families), Renderer().render_gzip(families)))
    print(f"\n{count} lines of {make.__name__}, {size / 1e6:.2f} MB, compressed to {small / size:.3f}")
    print(f"{'changed':32} {'ms':>9} {'ns/line':>8} {'peer ms':>9} {'ratio':>7} {'goal':>5}")
    for name, median in medians.items():
        if name.startswith("client"):
            continue
        peer = medians["client, zlib 1" if "gzip" in name else "client, OM" if "OM" in name else "client"]
        goal = GOALS.get(name)
        verdict = "" if goal is None else f"{goal:>5} {'ok' if peer / median >= goal else 'MISSED'}"
        print(f"{name:32} {median:9.3f} {median * 1e6 / count:8.0f} {peer:9.1f} {peer / median:7.1f} {verdict}")


def memory(count: int) -> None:
    """Print the bytes a series that a renderer keeps between pages."""
    rng = random.Random(7)
    families = ours(count, rng)
    print(f"\nkept between pages, bytes a series ({count} series):")
    for name, gzip, form in (
        ("text", False, Format.TEXT),
        ("text, gzip", True, Format.TEXT),
        ("OpenMetrics with _created, gzip", True, Format.OPENMETRICS),
    ):
        gc.collect()
        tracemalloc.start()
        renderer = Renderer(created=True)
        for how in ("all", "5 % scattered"):  # a patched block also keeps its lengths
            latest = changed(families, how, rng)
            (renderer.render_gzip if gzip else renderer.render)(latest, form)
        del latest
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        print(f"  {name:32} {kept / count:6.0f}")


if __name__ == "__main__":
    disable_created_metrics()
    sizes = [int(argument) for argument in sys.argv[1:]] or [10_000, 100_000]
    for number in sizes:
        compare(number, counters)
        compare(number, histograms)
    memory(max(10_000, min(sizes)))
