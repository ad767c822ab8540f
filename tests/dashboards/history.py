"""A week of a fleet of agents, as a real exporter would have shown it: what boards and rules are tried on.

What may live here: the fleet (tables), its clock, and its pages as OpenMetrics with timestamps. The
fleet pushes OTLP into the collector's own ingest, whose clock goes with it; captures of real agents
are replayed among it. Values are made up, and moved by a seeded random walk; families, names, labels
and their sums are the exporter's.
"""

from __future__ import annotations

import math
import random
import re
from bisect import bisect_left
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb

from agent_exporter.catalog import CATALOG, GROUPS, VALUES
from agent_exporter.collector.ingest import Ingest
from agent_exporter.config import Config
from agent_exporter.dialects import Dialects
from agent_exporter.expose.render import Format, Renderer
from agent_exporter.model import Instrument, Kind, Signal
from dashboards.figures import FIXED, LEVELS, MEDIANS, PROVIDERS, RATES, SEEN, SHARES, WORDS
from everyone import PRICES, recorded
from otlp import CUMULATIVE, SECOND, dialects, pairs, request
from rewrite import another

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY, HOUR, MINUTE = 86_400, 3600, 60
LONG, RECENT = 8 * DAY, 100 * MINUTE  # hourly looks, two by two, then one every half minute
STEP = 30
UNPRICED = "langchain-1.4.7-openinference/http-protobuf"  # asks a model whose price nobody knows
CAPTURES = ("claude-code-2.1.329/http-protobuf", "codex-0.169.0/http-json", "gemini-cli-0.61.0/grpc", UNPRICED)
UPGRADED = 40 * MINUTE  # since then there is another version of the exporter
RESTARTED = 50 * MINUTE  # since then runs the process of the first of PROCESSES
REPLAY = 5 * MINUTE  # a session of each of them so often, in the recent part


class Agent(NamedTuple):
    """A program that pushes the catalogue's metrics: how busy it is, and how often its calls fail."""

    name: str
    instance: str
    busy: float
    failing: float


AGENTS = (
    Agent("assistant", "assistant-0", 1.0, 0.01),
    Agent("assistant", "assistant-1", 0.7, 0.015),
    Agent("researcher", "researcher-0", 0.4, 0.13),
    Agent("concierge", "concierge-0", 0.0, 0.0),  # open for its users, who are asleep
)
PROCESSES = (
    ("claude-code", "laptop:4242", "main"),
    ("assistant", "assistant-0", "main"),
    ("codex", "laptop:977", "main"),
)

# The exporter counts and estimates these itself, whoever pushes.
LEFT_OUT = {"agent.cost.usd", "agent.cost.unpriced_tokens", "agent.source.last_seen"}
DERIVED = ("agent", "agent_instance", "role", "provider", "error_type")  # labels that follow from others
HOST = ("Host", "Container", "The exporter itself", "Processes")  # what only the collector tells of itself and its host
PROGRAM = tuple(group for group in GROUPS if group not in HOST[:3])


def combinations(instrument: Instrument, failing: float) -> list[tuple[dict[str, str], float]]:
    """List what an instrument's labels say together, each with its share of everything."""
    asked = [
        name for name in instrument.labels if name not in ("agent", "agent_instance", "role", "provider", "error_type")
    ]
    sets = [_words(instrument, name, failing) for name in asked]
    return [
        _combined(dict(zip(asked, (word for word, _ in row), strict=True)), row, instrument) for row in product(*sets)
    ]


def _words(instrument: Instrument, label: str, failing: float) -> list[tuple[str, float]]:
    if label == "status":
        return [("ok", 1 - failing), ("error", failing)]
    closed = VALUES.get((instrument.name, label)) or dict([instrument.siblings or ("", ())]).get(label)
    if closed:
        shares = SHARES.get(label, {})
        return [(word, shares.get(word, 1 / len(closed))) for word in closed]
    return list(WORDS.get(label, SHARES.get(label, {"any": 1.0})).items())


def _combined(
    labels: dict[str, str], row: tuple[tuple[str, float], ...], instrument: Instrument
) -> tuple[dict[str, str], float]:
    if "provider" in instrument.labels:
        labels["provider"] = PROVIDERS[labels["model"]]
    if "error_type" in instrument.labels and labels["status"] == "error":
        labels["error_type"] = "TimeoutError"
    return labels, math.prod(share for _, share in row)


class Walk:
    """How busy something is, about 1: days and nights, and a random walk that comes back."""

    def __init__(self, seed: str) -> None:
        self._dice = random.Random(seed)
        self._drift = 0.0

    def __call__(self, now: float) -> float:
        """Go on to a time."""
        self._drift = 0.85 * self._drift + self._dice.gauss(0, 0.16)
        day = 1 + 0.4 * math.sin(now / DAY * math.tau)
        return max(0.05, day * math.exp(self._drift))


class Stream:
    """One series that a program pushes; `after` moves it on and makes its data point."""

    def __init__(self, instrument: Instrument, labels: dict[str, str], share: float, start: int, seed: str) -> None:
        self.instrument, self.share, self._start = instrument, share, start
        self._labels = pairs(labels)
        self._walk = Walk(seed + instrument.name + str(labels))
        self._total, self._sum = 0.0, 0.0
        self._counts = [0] * (len(instrument.bounds) + 1)
        self._dice = random.Random(seed)
        self._slow = self._dice.uniform(0.5, 2)
        self._restarts = seed == PROCESSES[0][1]

    def after(self, seconds: float, now: int) -> pb.NumberDataPoint | pb.HistogramDataPoint:
        """Let time pass."""
        name, level = self.instrument.name, self._walk(now / SECOND)
        times = {"attributes": self._labels, "time_unix_nano": now}
        if self.instrument.kind is Kind.GAUGE:
            return pb.NumberDataPoint(as_double=self._level(name, level, now), **times)
        expected = RATES.get(name, 0.05) * self.share * level * seconds
        if self.instrument.kind is Kind.COUNTER:
            self._total += expected
            return pb.NumberDataPoint(as_double=self._total, start_time_unix_nano=self._start, **times)
        self._observe(expected, MEDIANS[name] * self._slow * level**0.5)
        return pb.HistogramDataPoint(
            **times,
            start_time_unix_nano=self._start,
            count=sum(self._counts),
            sum=self._sum,
            bucket_counts=self._counts,
            explicit_bounds=self.instrument.bounds,
        )

    def _level(self, name: str, level: float, now: int) -> float:
        if name in FIXED:
            return FIXED[name]
        if name == "agent.source.last_seen":
            return now / SECOND - 2
        if name == "agent.process.start_time":
            return self._begun(now)
        if name == "system.uptime":
            return (now - self._start) / SECOND + DAY
        base = LEVELS.get(name, 3)
        if self.instrument.unit == "1":
            return min(1.0, base * self.share * (0.9 + 0.1 * level))
        value = base * (0.7 + 0.3 * level) * (self.share if name.startswith("system.") else 1)
        return float(round(value)) if self.instrument.is_amount else value

    def _begun(self, now: int) -> float:
        again = (self._start / SECOND) + LONG - RESTARTED
        return again if now / SECOND >= again and self._restarts else self._start / SECOND

    def _observe(self, expected: float, median: float) -> None:
        self._total += expected
        for _ in range(min(40, int(self._total) - sum(self._counts))):
            value = median * self._dice.lognormvariate(0, 0.6)
            self._counts[bisect_left(self.instrument.bounds, value)] += 1
            self._sum += value
        self._total = min(self._total, sum(self._counts) + 1.0)


class Program:
    """Everything that one program pushes, as the request of each look."""

    def __init__(self, groups: tuple[str, ...], resource: dict[str, str], start: int, agent: Agent) -> None:
        self._resource, self._agent = resource, agent
        self._streams = {
            row: [
                Stream(row, labels, share * agent.busy, start, agent.instance)
                for labels, share in combinations(row, agent.failing)
            ]
            for group in groups
            for row in GROUPS[group]
            if row.name not in LEFT_OUT
        }

    def after(self, seconds: float, now: int) -> bytes:
        """Let time pass; returns an ExportMetricsServiceRequest."""
        metrics = [
            metric(row, [stream.after(seconds, now) for stream in streams]) for row, streams in self._streams.items()
        ]
        return request(*metrics, resource=self._resource, scope="fleet")


def metric(row: Instrument, points: list[pb.NumberDataPoint | pb.HistogramDataPoint]) -> pb.Metric:
    """Make a metric of the catalogue."""
    made = pb.Metric(name=row.name, unit=row.unit)
    if row.kind is Kind.GAUGE:
        made.gauge.data_points.extend(points)
    elif row.kind is Kind.COUNTER:
        made.sum.CopyFrom(pb.Sum(data_points=points, aggregation_temporality=CUMULATIVE, is_monotonic=True))
    else:
        made.histogram.CopyFrom(pb.Histogram(data_points=points, aggregation_temporality=CUMULATIVE))
    return made


class Machine(Program):
    """What the collector tells of its host, itself and the processes that it samples."""

    def __init__(self, start: int) -> None:
        super().__init__(HOST[:3], {"service.name": "agent-exporter"}, start, Agent("agent-exporter", "host", 1.0, 0.0))
        for row in GROUPS["Processes"]:
            self._streams[row] = [
                Stream(row, {**labels, "agent": agent, "agent_instance": who, "role": role}, share, start, who)
                for agent, who, role in (*PROCESSES, ("agent-exporter", "host:1", "collector"))
                for labels, share in combinations(row, 0.0)
            ]
        seen = CATALOG["agent.source.last_seen"]
        agents = [{"agent": agent, "signal": "metrics"} for agent in SEEN]
        self._streams[seen] = [Stream(seen, labels, 1.0, start, labels["agent"]) for labels in agents]


@cache
def _programs(start: int) -> tuple[Program, ...]:
    return tuple(
        Program(PROGRAM, {"service.name": each.name, "service.instance.id": each.instance}, start, each)
        for each in AGENTS
    )


def ticks(now: int) -> Iterator[int]:
    """Tell when the fleet is looked at, in Unix seconds: a week by the hour, the end by the half minute."""
    recent = now - RECENT
    for hour in range(now - LONG, recent - HOUR, HOUR):
        yield from (hour, hour + 2 * MINUTE, hour + 4 * MINUTE)
    yield from range(recent, now + 1, STEP)


def pages(now: int) -> Iterator[tuple[int, bytes]]:
    """Let the fleet live until `now` (Unix seconds); yields the exporter's page at every tick."""
    clock = (now - LONG) * SECOND
    config = Config.model_validate({"metrics": {"pass_through": {"include": []}, "created": False}})
    ingest = Ingest(config, Dialects(dialects().files, prices=PRICES), lambda: clock)
    machine, programs, renderer = Machine(clock), _programs(clock), Renderer()
    before, replayed = now - LONG, 0
    for tick in ticks(now):
        clock = tick * SECOND
        ingest.own(machine.after(tick - before, clock))
        for program in programs:
            assert not ingest(Signal.METRICS, program.after(tick - before, clock)).rejections
        if tick >= now - RECENT and tick - replayed >= REPLAY:
            _replay(ingest, clock)
            replayed = tick
        before = tick
        page = b"".join(renderer.render(ingest.snapshot(), Format.OPENMETRICS))
        yield tick, page if tick >= now - UPGRADED else page.replace(b'version="0.1.0"', b'version="0.0.9"')


def _replay(ingest: Ingest, clock: int) -> None:
    """Let a session of every captured agent happen now."""
    for run in CAPTURES:
        requests = recorded(run)
        later = clock - requests[-1].at
        for each in requests:
            ingest(each.signal, another(each.signal, each.body, later=later, which=clock // SECOND))


SAMPLE = re.compile(rb"(\w+)(?:\{(.*)\})? (\S+)")
SCRAPED = {"job": "agent-exporter", "instance": "exporter:9464"}  # what Prometheus adds, where a series has none
ALERTS = (  # what fires at the end of the week, by the names and labels of our rules
    {"alertname": "Watchdog", "severity": "none", "component": "pipeline"},
    {"alertname": "AgentCostBudgetDaily", "severity": "critical", "component": "cost", "agent": "assistant"},
    {"alertname": "AgentToolErrorRateHigh", "severity": "warning", "component": "tools", "agent": "researcher"},
    {"alertname": "AgentCostUnpriced", "severity": "info", "component": "cost", "agent": "assistant"},
)
FIRED = 25 * MINUTE


def write(file: Path, now: int) -> None:
    """Write the fleet's week as OpenMetrics with timestamps, for `promtool tsdb create-blocks-from`."""
    with file.open("wb") as out:
        for tick, page in pages(now):
            lines = [line.split(b" # ", 1)[0] for line in page.splitlines() if not line.startswith(b"#")]
            for line in (*map(_scraped, lines), *_prometheus(len(lines), now - FIRED if tick >= now - FIRED else 0)):
                out.write(b"%s %d\n" % (line, tick))
        out.write(b"# EOF\n")


def _scraped(line: bytes) -> bytes:
    """Add the labels of the scrape to a sample, as `honor_labels` has it."""
    name, labels, value = SAMPLE.fullmatch(line).groups(b"")
    own = f",{labels.decode()}"
    added = [f'{key}="{word}"'.encode() for key, word in SCRAPED.items() if f',{key}="' not in own]
    return b"%s{%s} %s" % (name, b",".join((*added, *([labels] if labels else []))), value)


def _prometheus(samples: int, fired: int) -> Iterator[bytes]:
    """Tell what Prometheus itself stores of a scrape, and of alerts that have fired since then (0: not yet)."""
    scrape = {
        "up": 1,
        "scrape_duration_seconds": 0.02,
        "scrape_samples_scraped": samples,
        "scrape_samples_post_metric_relabeling": samples,
        "scrape_series_added": 2,
    }
    yield from (_sample(name, SCRAPED, value) for name, value in scrape.items())
    for alert in ALERTS if fired else ():
        job = {"job": SCRAPED["job"]} if "agent" in alert else {}
        yield _sample("ALERTS", {**job, **alert, "alertstate": "firing"}, 1)
        yield _sample("ALERTS_FOR_STATE", {**job, **alert}, fired)


def _sample(name: str, labels: dict[str, str], value: float) -> bytes:
    text = ",".join(f'{key}="{word}"' for key, word in labels.items())
    return f"{name}{{{text}}} {value}".encode()
