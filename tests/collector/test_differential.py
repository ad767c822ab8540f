"""The main path equals the resolve path: the same requests through both give the same collector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb

import captures
from agent_exporter.collector import intake
from agent_exporter.decode import wire
from agent_exporter.model import Form, Malformed, Signal
from otlp import Bench, distribution, gauge, histogram, number, request, total
from replay import protobuf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_exporter.model import Answer

KEYS = st.dictionaries(
    st.sampled_from(["tool", "model", "session.id", "a b", "le"]),
    st.sampled_from(["x", "y", "", 1, True, 2.5, None]),
    max_size=3,
).flatmap(lambda made: st.permutations(list(made.items())).map(dict))
TIMES = {"start": st.sampled_from([0, 1, 2, 3, 7]), "time": st.sampled_from([0, 2, 3, 4, 5, 8])}
VALUES = st.one_of(
    st.floats(-10, 10),
    st.integers(-5, 5),
    st.sampled_from([float("nan"), float("inf"), 0.0, 2**53 + 1, -(2**63), None]),
)
FLAGS = st.sampled_from([0, 0, 0, 1, 2])
SAMPLES = st.lists(st.builds(pb.Exemplar, as_double=st.floats(0, 9), time_unix_nano=st.integers(0, 9)), max_size=2)
NUMBERS = st.lists(st.builds(number, VALUES, KEYS, flags=FLAGS, exemplars=SAMPLES, **TIMES), max_size=4)
BOUNDS = st.sampled_from([[1.0, 5.0], [2.0], [], [5.0, 1.0]])
COUNTS = st.lists(st.integers(0, 3), max_size=3)
EDGES = st.sampled_from([{}, {"min": 1.0, "max": 2.0}, {"max": 9.0}, {"min": 0.0}, {"count": 2}])


@st.composite
def _histogram(draw: Any) -> pb.HistogramDataPoint:
    bounds = draw(BOUNDS)
    counts = draw(st.one_of(st.lists(st.integers(0, 3), min_size=len(bounds) + 1, max_size=len(bounds) + 1), COUNTS))
    rest = draw(EDGES) | {key: draw(each) for key, each in TIMES.items()}
    return histogram(
        counts,
        bounds,
        draw(st.one_of(st.none(), st.floats(-9, 9))),
        draw(KEYS),
        flags=draw(FLAGS),
        exemplars=draw(SAMPLES),
        **rest,
    )


TEMPORALITY = st.sampled_from([1, 2, 2, 0])
METRICS = st.one_of(
    st.builds(lambda points: gauge("level", *points), NUMBERS),
    st.builds(
        lambda points, t, m: total("calls", *points, temporality=t, monotonic=m), NUMBERS, TEMPORALITY, st.booleans()
    ),
    st.builds(
        lambda points, t: distribution("took", *points, temporality=t), st.lists(_histogram(), max_size=4), TEMPORALITY
    ),
)
REQUESTS = st.lists(st.builds(lambda metrics: request(*metrics), st.lists(METRICS, max_size=3)), max_size=6)


# No main path: every point is unknown.
SLOW: dict[Form, Any] = {
    Form.GAUGE: lambda raws: [(None, 0, 0, 0.0)] * len(raws),
    Form.SUM: lambda raws: [(None, 0, 0, 0.0)] * len(raws),
}


def _run(bodies: Sequence[bytes], monkeypatch: pytest.MonkeyPatch, *, slow: bool) -> tuple[list[Answer], Any]:
    with monkeypatch.context() as patch:
        if slow:
            patch.setattr(intake, "_READ", SLOW)
        bench = Bench()
        answers = []
        for body in bodies:
            bench.now += 1
            answers.append(bench.ingest(Signal.METRICS, body))
        families = [
            (
                family.name,
                family.kind,
                table.bounds,
                table.texts,
                repr(table.values),
                repr(table.created),
                table.hidden,
                table.absent,
                table.exemplars,
            )
            for family in bench.ingest.snapshot()
            for table in family.tables
        ]
        return answers, (families, bench.ingest.ledger.counts)


def _same(bodies: Sequence[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fast, slow = (_run(bodies, patch, slow=each) for each in (False, True))
    for one, other in zip((fast[0], *fast[1]), (slow[0], *slow[1]), strict=True):
        same = repr(one) == repr(other)  # NaN is not itself; and no diff of long texts, which takes minutes
        assert same, (one, other)


@settings(deadline=None, max_examples=300)
@given(REQUESTS)
def test_any_requests_give_the_same_collector(bodies: list[bytes]) -> None:
    """Answers, families, values, exemplars and counts agree, whatever order and shape the points have."""
    _same(bodies)


@settings(deadline=None, max_examples=100)
@given(REQUESTS, st.data())
def test_damaged_requests_give_the_same_collector(bodies: list[bytes], data: st.DataObject) -> None:
    """A byte changed somewhere is judged alike by both paths."""
    damaged = []
    for body in bodies:
        made = bytearray(body)
        if made:
            made[data.draw(st.integers(0, len(made) - 1))] = data.draw(st.integers(0, 255))
        damaged.append(bytes(made))

    def readable(body: bytes) -> bool:
        try:
            [wire.metric(raw) for _, metrics in wire.items(body) for raw in metrics]
        except Malformed:
            return False
        return True

    _same([body for body in damaged if readable(body)])


@pytest.mark.parametrize("name", captures.names())
def test_captures_give_the_same_collector(name: str) -> None:
    """What real senders sent takes both paths to the same result."""
    _same([protobuf(payload) for payload in captures.load(name).payloads if payload.signal == "metrics"])
