"""Memory a series against prometheus_client: `python benchmarks/memory.py [SERIES]`.

Each contestant builds and renders in a process of its own; what counts is how its resident memory
grows: after building, and after three pages (text; ours as text and compressed) with all that is
kept for the next one. Ours is fed OTLP requests of 1000 points and holds streams as well as series,
so that the rows differ in what they can do; prometheus_client holds the numbers alone.

Counters have four labels, one of them unique to the series, about 126 bytes a line. Histograms
have three more lines than buckets, and their memory is given a line too.
"""

from __future__ import annotations

import gc
import itertools
import json
import subprocess
import sys
import tracemalloc
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

COUNTERS, HISTOGRAMS = 100_000, 10_000
FAMILY = 1000  # series
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LINES = len(BOUNDS) + 3
MOST = 0.9
HELP = "Number of tool executions."


def label_values(row: int) -> dict[str, str]:
    """Make the labels of a series."""
    return {"agent": "claude-code", "provider": "eu-west-1.example", "status": "ok", "tool": f"tool_{row:06d}"}


def resident() -> int:
    """Tell the resident memory in bytes."""
    gc.collect()
    return psutil.Process().memory_info().rss


# -- ours ---------------------------------------------------------------------


def requests(kind: str, count: int) -> Iterator[bytes]:
    """Make the requests that build the series, one a family."""
    from _payloads import CUMULATIVE, EPOCH, SECOND, pairs, pb
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    for family in range(count // FAMILY):
        metric = pb.Metric(name=f"agent.tool.runs_{family:03d}", description=HELP)
        data = metric.sum if kind == "counter" else metric.histogram
        data.aggregation_temporality = CUMULATIVE
        for row in range(family * FAMILY, (family + 1) * FAMILY):
            point = data.data_points.add(
                attributes=pairs(label_values(row)),
                start_time_unix_nano=EPOCH,
                time_unix_nano=EPOCH + 10 * SECOND,
            )
            if kind == "counter":
                data.is_monotonic, point.as_double = True, row * 0.37
            else:
                point.explicit_bounds.extend(BOUNDS)
                point.bucket_counts.extend([1000 + row % 7] * (len(BOUNDS) + 1))
                point.count, point.sum = (1000 + row % 7) * (len(BOUNDS) + 1), row * 0.37
        scopes = [pb.ScopeMetrics(metrics=[metric])]
        resource = Resource(attributes=pairs({"service.name": "a"}))
        made = ExportMetricsServiceRequest(
            resource_metrics=[pb.ResourceMetrics(resource=resource, scope_metrics=scopes)]
        )
        yield made.SerializeToString()


def ours(kind: str, count: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return how to build and how to render; the collector lives as long as they do."""
    from ingest import collector

    from agent_exporter.expose.render import Renderer
    from agent_exporter.model import Signal

    taker, renderer = collector(), Renderer()
    taker.policy.adopt(taker.policy.config.model_copy(update={"metrics": _plain()}), taker.policy.dialects)

    def build() -> None:
        for body in requests(kind, count):
            answer = taker(Signal.METRICS, body)
            assert answer.accepted == FAMILY, answer

    def render() -> None:
        size.append(sum(map(len, renderer.render(taker.snapshot()))) / count / (1 if kind == "counter" else LINES))
        renderer.render_gzip(taker.snapshot())

    size: list[float] = []
    render.size = size
    return build, render


def _plain():
    """Make settings without scope labels, so that both pages have the same labels (but for `job`)."""
    from agent_exporter.config.keys import Metrics

    return Metrics(scope_labels=False)


# -- theirs -------------------------------------------------------------------


def theirs(kind: str, count: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return how to build and how to render with prometheus_client."""
    from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest

    disable_created_metrics()
    registry, size = CollectorRegistry(), []

    def build() -> None:
        for family in range(count // FAMILY):
            name, names = f"agent_tool_runs_{family:03d}", [*label_values(0), "job"]
            if kind == "counter":
                made = Counter(name, HELP, names, registry=registry)
            else:
                made = Histogram(name, HELP, names, buckets=BOUNDS, registry=registry)
            for row in range(family * FAMILY, (family + 1) * FAMILY):
                child = made.labels(**label_values(row), job="a")
                child.inc(row * 0.37) if kind == "counter" else child.observe(row % 7)

    def render() -> None:
        page = generate_latest(registry)
        size.append(len(page) / count / (1 if kind == "counter" else LINES))

    render.size = size
    return build, render


# -- measuring ----------------------------------------------------------------


def grow(contestant: str, kind: str, count: int) -> dict[str, float]:
    """Measure in this process; returns bytes a series."""
    small, _ = (ours if contestant == "ours" else theirs)(kind, FAMILY)
    small()  # whatever is loaded or cached once is not a series' memory
    build, render = (ours if contestant == "ours" else theirs)(kind, count)
    before = resident()
    build()
    built = resident()
    for _ in range(3):
        render()
    return {"built": (built - before) / count, "rendered": (resident() - before) / count, "line": render.size[-1]}


def apart(*arguments: object) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def traced(kind: str, count: int) -> None:
    """Print which files hold the bytes of ours."""
    build, render = ours(kind, count)
    tracemalloc.start()
    gc.collect()
    before = tracemalloc.take_snapshot()
    build()
    render()
    gc.collect()
    grown = tracemalloc.take_snapshot().compare_to(before, "lineno")
    root, lines = Path(__file__).parents[1] / "exporter/agent_exporter", Tally()
    for each in grown:
        frame = each.traceback[0]
        at = Path(frame.filename)
        name = f"{at.relative_to(root)}:{frame.lineno}" if at.is_relative_to(root) else "elsewhere"
        lines[name] += each.size_diff / count
    total = sum(lines.values())
    print(f"\nours, {kind}s: {total:.0f} bytes a series by line of code (traced, so without gaps between objects)")
    for name, size in itertools.takewhile(lambda pair: pair[1] > total / 50, lines.most_common()):
        print(f"  {size:7.0f}  {name}")


def main(counters: int, histograms: int) -> None:
    """Print the tables."""
    print(f"{'bytes a series':34} {'ours':>7} {'theirs':>7} {'ratio':>6}  target")
    for kind, count in (("counter", counters), ("histogram", histograms)):
        found = {who: apart("--grow", who, kind, count) for who in ("ours", "theirs")}
        for stage in ("built", "rendered"):
            mine, other = (found[who][stage] for who in ("ours", "theirs"))
            label = f"{count} {kind}s, {stage}"
            said = f"<= {MOST}  {'OK' if mine <= MOST * other else 'ABOVE'}"
            print(f"{label:34} {mine:7.0f} {other:7.0f} {mine / other:6.2f}  {said}")
        print(f"{'  bytes a line on the page':34} {found['ours']['line']:7.0f} {found['theirs']['line']:7.0f}")
    traced("counter", 10_000)
    traced("histogram", 2000)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--grow"]:
        who_, kind_, number = sys.argv[2:]
        print(json.dumps(grow(who_, kind_, int(number))))
    else:
        number_ = int(sys.argv[1]) if len(sys.argv) > 1 else COUNTERS
        main(number_, max(FAMILY, number_ * HISTOGRAMS // COUNTERS))
