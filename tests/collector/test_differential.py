"""The main path equals the resolve path: the same requests through both give the same collector."""

from __future__ import annotations

import gc
import tracemalloc
from itertools import islice, permutations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb

import captures
from agent_exporter.collector import intake, repeats
from agent_exporter.decode import templates, wire
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


def _gauge(name: str, points: list[pb.NumberDataPoint]) -> pb.Metric:
    return gauge(name, *points)


METRICS = st.one_of(
    st.builds(_gauge, st.sampled_from(["level", "agent.queue.size"]), NUMBERS),
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


_LOOKS = 4  # somebody looks after so many requests


def _happen(bench: Bench, event: str) -> None:
    """Let happen what is no request."""
    if event == "adopt":
        bench.ingest.adopt(bench.ingest.policy.config, bench.ingest.policy.dialects)
    else:
        getattr(bench.ingest, event)()


def _run(
    bodies: Sequence[bytes | str], monkeypatch: pytest.MonkeyPatch, *, slow: bool
) -> tuple[list[Answer], Any, int]:
    with monkeypatch.context() as patch:
        if slow:
            patch.setattr(intake, "_READ", SLOW)
            patch.setattr(repeats.Repeats, "take", lambda _self, _body: None)
        bench = Bench(expiry={"sweep": "1s", "stream": "2s", "series": "4s", "memory": "6s"})
        answers = []
        for number_, body in enumerate(bodies):
            bench.now += 1
            if isinstance(body, str):
                _happen(bench, body)
                continue
            answers.append(bench.ingest(Signal.METRICS, body))
            if number_ % _LOOKS == _LOOKS - 1:
                bench.ingest.snapshot()
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
        return answers, (families, bench.ingest.ledger.counts), bench.ingest.repeats.hits


def _same(bodies: Sequence[bytes | str]) -> int:
    """Compare the two paths; return how many metrics were read by a template."""
    with pytest.MonkeyPatch.context() as patch:
        fast, slow = (_run(bodies, patch, slow=each) for each in (False, True))
    assert slow[2] == 0
    for one, other in zip((fast[0], *fast[1]), (slow[0], *slow[1]), strict=True):
        same = repr(one) == repr(other)  # NaN is not itself; and no diff of long texts, which takes minutes
        assert same, (one, other)
    return fast[2]


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

    _same([body for body in damaged if _readable(body)])


def _readable(body: bytes) -> bool:
    try:
        [wire.metric(raw) for _, metrics in wire.items(body) for raw in metrics]
    except Malformed:
        return False
    return True


@pytest.mark.parametrize("name", captures.names())
def test_captures_give_the_same_collector(name: str) -> None:
    """What real senders sent takes both paths to the same result."""
    _same([protobuf(payload) for payload in captures.load(name).payloads if payload.signal == "metrics"])


FORMS = st.sampled_from(["gauge", "sum", "updown", "histogram"])
SHAPES = st.lists(
    st.tuples(
        FORMS, st.sampled_from([1, 2]), st.booleans(), st.sampled_from([[1.0], list(range(20))]), st.integers(1, 4)
    ),
    min_size=1,
    max_size=2,
)
# Of each round: seconds since the last one, the interval's begin, who is odd and how.
ODD = st.sampled_from(
    [None, None, None, -7.0, 0.25, float("nan"), float("inf"), "time", "start", "count", "key", "fewer"]
)
TURNS = st.lists(st.tuples(st.sampled_from([1, 1, 1, 0, -2]), st.integers(0, 3), ODD), min_size=4, max_size=12)


def _metric(number_: int, shape: Any, times: tuple[int, int], turn: int, odd: tuple[int, Any]) -> pb.Metric:
    form, temporality, whole, bounds, many = shape
    points = []
    for index in range(many):
        strange = odd[1] if odd[0] == index else None
        if strange == "fewer":
            continue
        start, time = times[0] + (strange == "start"), times[1] - (strange == "time")
        amount = turn + index if not isinstance(strange, float) else strange
        keys = {"tool": "xyzw"[index] if strange != "key" else "q"}
        if form == "histogram":
            counts = [(amount if amount == amount and 0 <= amount < 99 else 1) * 4 // 4] * (len(bounds) + 1)  # noqa: PLR0124
            rest = {"min": 0.5, "max": amount} if whole else {}
            if strange == "count":
                rest["count"] = 1
            points.append(
                histogram([int(each) for each in counts], bounds, amount, keys, start=start, time=time, **rest)
            )
        else:
            plain = amount if whole and isinstance(amount, int) else amount * 0.37
            points.append(number(plain, keys, start=start, time=time))
    name = f"calls_{number_}"
    if form == "histogram":
        return distribution(name, *points, temporality=temporality, unit="s")
    if form == "gauge":
        return gauge(name, *points)
    return total(name, *points, temporality=temporality, monotonic=form == "sum")


@settings(deadline=None, max_examples=200)
@given(SHAPES, TURNS)
def test_repeated_requests_give_the_same_collector(shapes: list[Any], turns: list[tuple[int, int, Any]]) -> None:
    """Metrics that come again as they were take templates, until something is odd, to the same result."""
    bodies, now = [], 10
    for turn, (step, who, odd) in enumerate([(1, 0, None)] * 5 + turns + [(3, 0, None)] * 2):
        begin, now = now, now + step
        metrics = [
            _metric(index, shape, (5 if shape[1] == 2 and shape[0] != "gauge" else begin, now), turn, (who, odd))
            for index, shape in enumerate(shapes)
        ]
        bodies.append(request(*metrics))
    assert _same(bodies) > 0


@pytest.mark.parametrize(
    "odd",
    [
        [(1, 16, 5), (1, 17, 6)],  # other start times, and back
        [(4, 16, 2), (1, 17, 9)],
        [(1, 15, 6), (1, 16, 7)],  # not newer than what was seen
        [(1, 16, 6, 15), (1, 17, 7, 16)],  # one of two
        [(1, 16, 3)],
    ],
)
def test_what_is_odd_is_left_to_the_main_path(odd: list[tuple[int, ...]]) -> None:
    """A template never takes a point that the main path would judge otherwise; (start, time, value, other's time)."""
    points = [(1, time, time) for time in range(11, 16)] + odd + [(1, 18, 20)]
    bodies = [
        request(
            total(
                "calls",
                number(value, {"tool": "x"}, start=start, time=time),
                number(value, {"tool": "y"}, start=1, time=(*other, time)[0]),
            )
        )
        for start, time, value, *other in points
    ]
    assert _same(bodies) >= 2


def test_a_request_with_a_broken_metric_leaves_no_trace() -> None:
    """All metrics are read before one of them counts, by template or not."""
    bench = Bench()
    for time in range(2, 8):
        bench.send(total("calls", number(1, time=time)))
    whole = request(total("calls", number(5, time=8)), total("other", number(5, time=8)))
    with pytest.raises(Malformed):
        bench.ingest(Signal.METRICS, whole.replace(b"\x0a\x05other", b"\x0a\x7fother"))
    assert bench.page() == {'calls_total{job="app"}': [1.0]}


@pytest.mark.parametrize("temporality", [1, 2])
def test_requests_that_share_streams_take_turns(temporality: int) -> None:
    """What waits of one request is brought up to date before another one is judged, whoever sends it how."""
    bodies = []
    for time in range(2, 40):
        times = {"start": 1 if temporality == 2 else time - 1, "time": time}
        calls = total("calls", number(time, {"a": "x"}, **times), temporality=temporality)
        took = distribution("took", histogram([time, 1], [1.0], time, {"a": "x"}, **times), temporality=temporality)
        level = gauge("level", number(time, {"a": "x"}, **times))
        sender = {"service.name": "app", "service.instance.id": "one", **({"host.name": "h"} if time % 5 == 0 else {})}
        metrics = (calls, took, level) if time % 3 else (took, calls)
        bodies.append(request(*metrics, resource=sender))
    assert _same(bodies) > 20


@pytest.mark.parametrize("temporality", [1, 2])
def test_a_request_that_fails_leaves_what_others_wait_with_alone(temporality: int) -> None:
    """A group that never looked at its streams does not settle for the one that holds them."""
    bodies = []
    for time in range(2, 14):
        times = {"start": 1 if temporality == 2 else time - 1, "time": time}
        calls = total("calls", number(time, {"a": "x"}, **times), temporality=temporality)
        level = gauge("level", number(time, time=2 if time == 11 else time))  # late once: `calls` is not looked at
        bodies.append(request(level, calls) if time < 7 or time == 11 else request(calls))
    assert _same(bodies) > 4


EVENTS = st.lists(
    st.one_of(
        st.sampled_from(["sweep", "snapshot", "adopt", "late", "fall"]),
        st.tuples(st.sampled_from(["one", "three"]), st.sampled_from(["", "b"]), st.sampled_from([3, 3, 3, 2])),
        st.tuples(st.sampled_from(["one", "three"]), st.sampled_from([""]), st.sampled_from([3])),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=150)
@given(EVENTS, st.sampled_from([1, 2]))
def test_whatever_happens_in_between_gives_the_same_collector(events: list[Any], temporality: int) -> None:
    """Sweeps, scrapes, a new configuration and other requests find all that waits brought up to date."""
    bodies: list[bytes | str] = []
    last: dict[Any, int] = {}
    rounds = [(sender, scope, 3) for _ in range(4) for sender in ("one", "three") for scope in ("", "b")]
    for time, event in enumerate([*rounds, *events, *rounds], 2):
        if isinstance(event, str) and event not in ("late", "fall"):
            bodies.append(event)
            continue
        sender, scope, many = ("one", "", 3) if isinstance(event, str) else event
        amount, now = (1 if event == "fall" else time), (2 if event == "late" else time)
        times = {"start": 1 if temporality == 2 else last.get((sender, scope), 1), "time": now}
        metrics = (
            total("calls", *(number(amount, {"a": a}, **times) for a in "xy"), temporality=temporality),
            distribution(
                "took", histogram([amount, 1], [1.0], amount, {"a": "x"}, **times), temporality=temporality, unit="s"
            ),
            gauge("level", number(0.5 * amount, {"session.id": sender}, **times)),
        )
        resource = {"service.name": "app", "service.instance.id": sender}
        bodies.append(request(*metrics[:many], resource=resource, scope=scope))
        last[sender, scope] = now
    assert _same(bodies) > 0


def test_senders_share_a_template() -> None:
    """What one program sends is laid out alike, whoever runs it, and adds up."""
    bodies = [
        request(
            total("calls", number(time, {"a": "x"}, start=1, time=time)),
            distribution("took", histogram([time, 1], [1.0], time, start=1, time=time)),
            resource={"service.name": "app", "service.instance.id": sender},
        )
        for time in range(2, 9)
        for sender in ("one", "three")
    ]
    assert _same(bodies) == 2 * 4 * 2
    bench = Bench()
    for body in bodies:
        bench.ingest(Signal.METRICS, body)
    made = {id(repeat.template) for repeat in bench.ingest.repeats._known.values()}
    assert len(made) == 1


def test_many_deltas_are_added_up() -> None:
    """Buckets that are added up as one long number do not run into each other."""
    most = 2**52
    bodies = [
        request(distribution("took", histogram([most, most - 1], [1.0], 1, start=time - 1, time=time), temporality=1))
        for time in range(2, 1100)
    ]
    assert _same(bodies) > 1000


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 400), st.integers(1, 255))
def test_any_other_byte_is_noticed(at: int, change: int) -> None:
    """A request that differs in one byte from what is expected is judged as if nothing had been expected."""

    def body(time: int) -> bytes:
        numbers = [number(time, {"a": each}, start=1, time=time) for each in "xy"]
        took = histogram([time, 1], [1.0], time, {"a": "x"}, start=1, time=time, min=0.5, max=0.9)
        return request(total("calls", *numbers), distribution("took", took))

    bodies = [body(time) for time in range(2, 10)]
    damaged = bytearray(bodies[6])
    damaged[at % len(damaged)] ^= change
    bodies[6] = bytes(damaged)
    if not _readable(bodies[6]):
        bodies[6] = b""
    _same(bodies)


def _told(bench: Bench, time: int, *, sender: str = "one", keys: str = "x") -> None:
    calls = [total(f"calls_{key}", number(time, {"a": key}, time=time)) for key in keys]
    bench.send(*calls, resource={"service.name": "app", "service.instance.id": sender})


def test_templates_end_with_their_streams_and_keep_to_their_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of templates is counted, and given back when streams are resolved anew."""
    bench = Bench()
    budget = bench.ingest.repeats
    for time in range(2, 8):
        _told(bench, time)
    monkeypatch.setattr(repeats, "BYTES", budget.size() + 100)
    for time in range(2, 8):
        _told(bench, time, sender="three")
    assert budget.hits == 3
    bench.ingest.adopt(bench.ingest.policy.config, bench.ingest.policy.dialects)
    assert budget.size() == 0


def test_what_templates_take_is_more_than_their_requests() -> None:
    """Python's objects are counted too, which are most of it where points are small."""
    bench = Bench()
    gc.collect()
    tracemalloc.start()
    try:
        for time in range(2, 7):
            _told(bench, time, keys="".join(map(chr, range(0x4E00, 0x5000))))
            if time == 3:  # all streams are known, no template is made
                before = tracemalloc.get_traced_memory()[0]
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert bench.ingest.repeats.hits > 0
    assert taken / 2 < bench.ingest.repeats.size() < taken * 2


@pytest.mark.parametrize("interval", [10, 60])
def test_senders_that_take_their_time_are_learned(interval: int) -> None:
    """What was seen outlives the sweeps between two exports; what does not come again is forgotten."""
    bench = Bench()
    for time in range(2, 10):
        _told(bench, time)
        for _ in range(interval // 5):
            bench.ingest.sweep()
    assert bench.ingest.repeats.hits == 8 - repeats.SIGHTS
    for _ in range(repeats.IDLE):
        bench.ingest.sweep()
    assert (bench.ingest.repeats._known, bench.ingest.repeats.size()) == ({}, 0)


def test_templates_of_no_use_are_made_more_and_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender whose points come in another order every time does not pay for a template again and again."""
    made = []
    monkeypatch.setattr(templates, "make", lambda *given, make=templates.make: made.append(1) or make(*given))
    bench = Bench()
    for time, order in enumerate(islice(permutations("vwxyz"), 119), 2):
        _told(bench, time, keys="".join(order))
    assert (len(made), bench.ingest.repeats.hits) == (4, 0)


def test_requests_that_no_template_fits_are_looked_at_more_and_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points that are always resolved, such as those with exemplars, do not pay for the attempt every time."""
    tried = []
    monkeypatch.setattr(repeats, "_blocks", lambda taken, blocks=repeats._blocks: tried.append(1) or blocks(taken))
    bench = Bench()
    for time in range(2, 121):
        bench.send(total("calls", number(time, time=time, exemplars=[pb.Exemplar(as_double=1, time_unix_nano=time)])))
    assert (len(tried), bench.ingest.repeats.hits) == (5, 0)
