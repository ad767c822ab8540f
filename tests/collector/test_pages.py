"""Any valid OTLP request in, a valid page out: text and OpenMetrics, which agree."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agent_exporter.expose.names import Escaping
from agent_exporter.expose.render import Renderer
from agent_exporter.expose.shape import Format
from agent_exporter.model import Signal
from otlp import Bench, at, distribution, gauge, histogram, number, pairs, request, total

ODD = [
    "",
    "\n",
    '"',
    "\\",
    "\\n",
    "\x00",
    "\r",
    "\x7f",
    "é",
    "日本",
    "😀",
    "\u2028",
    "\x85",
    "#",
    "{}",
    ",",
    "=",
    " ",
    "1",
    "_",
    "__",
]
TEXT = st.text(max_size=5) | st.sampled_from(ODD)
PLAIN_NAMES = [
    "a",
    "a.b",
    "a_b",
    "a_total",
    "a.sum",
    "a_bucket",
    "a_info",
    "a_created",
    "a_b_sum",
    "1a",
    "ratio",
    "seconds",
    "up",
]
TAKEN = [
    "agent.tokens",
    "agent.tool.execution.duration",
    "agent_tokens_total",
    "target_info",
    "claude_code.token.usage",
]
NAMES = st.sampled_from(PLAIN_NAMES) | st.sampled_from(TAKEN) | TEXT
UNITS = (
    st.sampled_from(["", "1", "s", "ms", "By", "{call}", "By/s", "m/s", "%", "Cel", "/s", "USD", "seconds", "b\nc 1"])
    | TEXT
)
KEYS = (
    st.sampled_from(["tool", "le", "quantile", "__name__", "job", "instance", "a.b", "a_b", "a-b", "otel_scope_name"])
    | st.sampled_from(["session.id", "type", "state", "exported_le"])
    | st.sampled_from(["__address__", "__x__", "..name..", "__", "name", "a_info"])
    | TEXT
)
PLAIN = TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.binary(max_size=4) | st.none()
VALUES = PLAIN | st.lists(PLAIN, max_size=2) | st.dictionaries(TEXT, PLAIN, max_size=2)
ATTRIBUTES = st.dictionaries(KEYS, VALUES, max_size=4)
TIMES = {"start": st.integers(0, 3), "time": st.integers(4, 9)}
LESS = st.floats(0, 1e9)
ANY = st.floats() | st.none()
# prometheus_client cannot read what is escaped in an exemplar's labels.
EXEMPLIFIED = st.dictionaries(st.sampled_from(["tool", "a.b", "a_b", "é"]), st.text("abé 1", max_size=70), max_size=3)
SAMPLES = st.lists(
    st.builds(
        pb.Exemplar,
        as_double=LESS,
        time_unix_nano=st.just(at(4)),
        trace_id=st.sampled_from([b"", b"t" * 16]),
        filtered_attributes=st.builds(pairs, EXEMPLIFIED),
    ),
    max_size=2,
)
TEMPORALITY = st.sampled_from([1, 2])
STRATEGIES = st.sampled_from(["UnderscoreEscapingWithSuffixes", "NoUTF8EscapingWithSuffixes"])


def _points(made, least=0):
    return st.lists(made, min_size=least, max_size=3)


def _gauges(_values):
    typed = st.sampled_from(["", "unknown", "info", "stateset"]).map(lambda kind: pairs({"prometheus.type": kind}))
    level = st.builds(
        number, st.floats() | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1]), ATTRIBUTES, **TIMES
    )
    return st.builds(
        lambda name, points, **rest: gauge(name, *points, **rest),
        NAMES, _points(level), unit=UNITS, description=TEXT, metadata=typed,
    )  # fmt: skip


def _sums(values):
    done = st.builds(number, values | st.integers(-(2**63), 2**63 - 1), ATTRIBUTES, exemplars=SAMPLES, **TIMES)
    return st.builds(
        lambda name, points, **rest: total(name, *points, **rest),
        NAMES, _points(done), unit=UNITS, description=TEXT, temporality=TEMPORALITY, monotonic=st.booleans(),
    )  # fmt: skip


@st.composite
def _histogram(draw, values):
    bounds = sorted(draw(st.sets(values.filter(lambda bound: bound is not None and math.isfinite(bound)), max_size=3)))
    counts = draw(st.lists(st.integers(0, 9), min_size=len(bounds) + 1, max_size=len(bounds) + 1))
    summed = draw(values)
    rest = {key: draw(each) for key, each in TIMES.items()}
    return histogram(counts, bounds, summed, draw(ATTRIBUTES), exemplars=draw(SAMPLES), **rest)


def _histograms(values):
    return st.builds(
        lambda name, points, **rest: distribution(name, *points, **rest),
        NAMES, _points(_histogram(values)), unit=UNITS, description=TEXT, temporality=TEMPORALITY,
    )  # fmt: skip


@st.composite
def _exponential(draw, values):
    counts = {side: draw(st.lists(st.integers(0, 5), max_size=3)) for side in ("positive", "negative")}
    buckets = {
        side: pb.ExponentialHistogramDataPoint.Buckets(offset=draw(st.integers(-50, 50)), bucket_counts=each)
        for side, each in counts.items()
    }
    zeros = draw(st.integers(0, 3))
    point = pb.ExponentialHistogramDataPoint(
        attributes=pairs(draw(ATTRIBUTES)),
        start_time_unix_nano=at(draw(TIMES["start"])),
        time_unix_nano=at(draw(TIMES["time"])),
        scale=draw(st.integers(-10, 20)),
        zero_count=zeros,
        count=zeros + sum(map(sum, counts.values())),
        sum=draw(values.filter(lambda value: value is not None)),
        **buckets,
    )
    data = pb.ExponentialHistogram(data_points=[point], aggregation_temporality=draw(TEMPORALITY))
    return pb.Metric(name=draw(NAMES), unit=draw(UNITS), description=draw(TEXT), exponential_histogram=data)


@st.composite
def _summaries(draw, values):
    quantiles = draw(st.lists(st.floats(0, 1), unique=True, max_size=3))
    point = pb.SummaryDataPoint(
        attributes=pairs(draw(ATTRIBUTES)),
        time_unix_nano=at(draw(TIMES["time"])),
        count=draw(st.integers(0, 9)),
        sum=draw(values),
        quantile_values=[pb.SummaryDataPoint.ValueAtQuantile(quantile=each, value=draw(values)) for each in quantiles],
    )
    data = pb.Summary(data_points=[point])
    return pb.Metric(name=draw(NAMES), unit=draw(UNITS), description=draw(TEXT), summary=data)


def _requests(values):
    forms = (_gauges, _sums, _histograms, _exponential, _summaries)
    metrics = st.lists(st.one_of(*(form(values) for form in forms)), max_size=4)
    resources = (
        st.none() | ATTRIBUTES | ATTRIBUTES.map(lambda more: more | {"service.name": "a", "service.instance.id": "b"})
    )
    made = st.builds(
        lambda metrics, resource, scope: request(*metrics, resource=resource, scope=scope), metrics, resources, TEXT
    )
    return st.lists(made, min_size=1, max_size=3)


def _pages(bodies, strategy="UnderscoreEscapingWithSuffixes", scheme=Escaping.UNDERSCORES):
    """Push requests one after the other; returns text, OpenMetrics, and OpenMetrics with created times."""
    bench = Bench(metrics={"translation_strategy": strategy})
    for body in bodies:
        bench.ingest(Signal.METRICS, body)
    families = bench.ingest.snapshot()
    forms = ((Format.TEXT, False), (Format.OPENMETRICS, False), (Format.OPENMETRICS, True))
    return [b"".join(Renderer(created=created).render(families, form, scheme)).decode() for form, created in forms]


def _read(families):
    """Read all samples; none may be there twice."""
    found = [(sample.name, tuple(sorted(sample.labels.items()))) for family in families for sample in family.samples]
    assert len(set(found)) == len(found), found


def _lines(page):
    """List the samples as they are written, without exemplars."""
    return sorted(line.split(" # {")[0] for line in page.split("\n") if line and not line.startswith("#"))


def _left_out(line):
    """Tell whether a line is one that OpenMetrics may not have a form for."""
    return line.split("{")[0].split(" ")[0].endswith(("_sum", "_count")) or 'quantile="' in line


@settings(deadline=None, max_examples=150)
@given(_requests(LESS))
def test_pages_agree(bodies):
    """With numbers that both formats have a form for, their samples are the same."""
    text, openmetrics, _ = _pages(bodies)
    assert _lines(text) == _lines(openmetrics)


@settings(deadline=None, max_examples=300)
@given(_requests(ANY), STRATEGIES, st.sampled_from(Escaping))
def test_pages_are_read_by_strict_parsers(bodies, strategy, scheme):
    """prometheus_client's parsers accept every format of any page; what OpenMetrics leaves out is a sum or quantile."""
    text, openmetrics, created = _pages(bodies, strategy, scheme)
    _read(parse_text(text))
    _read(parse_openmetrics(openmetrics))
    _read(parse_openmetrics(created))
    if strategy == "UnderscoreEscapingWithSuffixes":
        shown = set(_lines(openmetrics))
        assert shown <= set(_lines(text))
        assert [line for line in _lines(text) if line not in shown and not _left_out(line)] == []
