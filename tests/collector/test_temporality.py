"""Points to totals: rules T1 to T27 of the type rules, by number."""

from __future__ import annotations

import math

import pytest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb

from otlp import DELTA, Bench, distribution, gauge, histogram, number, total

JOB = 'job="app"'


def test_a_gauge_shows_its_newest_value() -> None:
    """T1: a later point replaces an earlier one."""
    bench = Bench()
    bench.send(gauge("queue", number(3, time=2)))
    bench.send(gauge("queue", number(5.5, time=3)))
    assert bench.page()['queue{job="app"}'] == [5.5]


@pytest.mark.parametrize(
    ("written", "kind"), [("unknown", "unknown"), ("unkown", "unknown"), ("info", "info"), ("stateset", "stateset")]
)
def test_metadata_may_name_another_type(written: str, kind: str) -> None:
    """T1: `prometheus.type` of the metadata overrides the type of a gauge, in the spec's odd spelling too."""
    bench = Bench()
    metric = gauge("thing", number(1))
    metric.metadata.add(key="prometheus.type").value.string_value = written
    bench.send(metric)
    families = {family.name: family.kind for family in bench.ingest.snapshot()}
    assert families["thing_info" if kind == "info" else "thing"] == kind


def test_a_cumulative_sum_counts_in_full_at_first_sight_and_grows_by_differences() -> None:
    """T2: the total is what the stream says."""
    bench = Bench()
    for second, value in ((2, 10), (3, 10), (4, 25)):
        bench.send(total("calls", number(value, time=second)))
    assert bench.page() == {'calls_total{job="app"}': [25.0]}


def test_a_baseline_counts_only_what_comes_later() -> None:
    """With initial_value baseline a counter that began before us starts at 0, a younger one does not."""
    bench = Bench(metrics={"initial_value": "baseline"})
    bench.send(total("calls", number(10, {"a": "old"}, time=2), number(7, {"a": "new"}, start=4000, time=4001)))
    bench.send(total("calls", number(12, {"a": "old"}, time=3)))
    page = bench.page()
    assert (page['calls_total{a="old",job="app"}'], page['calls_total{a="new",job="app"}']) == ([2.0], [7.0])


@pytest.mark.parametrize(
    ("points", "expected", "resets"),
    [
        ([(1, 2, 10), (5, 6, 3)], 13, 1),  # a new start time
        ([(1, 2, 10), (1, 3, 4)], 14, 1),  # the value fell
        ([(0, 2, 10), (0, 3, 12)], 12, 0),  # no start times at all
        ([(1, 2, 10), (5, 6, 3), (1, 7, 15), (5, 8, 4)], 19, 1),  # two processes under one name, told apart by start
        ([(5, 6, 3), (1, 7, 10), (5, 8, 5)], 15, 1),  # the older one is seen second
        ([(1, 2, 10), (0, 3, 12), (1, 4, 13)], 13, 0),  # a start time that is left out at times
    ],
)
def test_a_counter_goes_on_after_a_reset(points: list[tuple[int, int, int]], expected: float, resets: int) -> None:
    """T2: after a restart the new value counts in full and nothing is lost."""
    bench = Bench()
    for start, time, value in points:
        bench.send(total("calls", number(value, start=start, time=time)))
    assert bench.page()['calls_total{job="app"}'] == [expected]
    assert bench.noted("agent_exporter.resets") == resets


def test_a_sum_that_may_fall_is_a_gauge_of_what_its_streams_say_now() -> None:
    """T3: streams that share a series are added up, a restart replaces."""
    bench = Bench()
    for second, one, two in ((2, 5, 7), (3, 4, 7)):
        bench.send(
            total(
                "open",
                number(one, {"session.id": "a"}, time=second),
                number(two, {"session.id": "b"}, time=second),
                monotonic=False,
            )
        )
    bench.send(total("open", number(1, {"session.id": "a"}, start=9, time=10), monotonic=False))
    assert bench.page() == {'open{job="app"}': [8.0]}


@pytest.mark.parametrize(
    ("points", "expected", "notes"),
    [
        ([(1, 2, 10), (2, 3, 5)], 15, {}),  # aligned
        ([(1, 2, 10), (7, 8, 5)], 15, {"gap": 1}),  # T4: a gap keeps the total
        ([(1, 2, 10), (1, 2, 10)], 10, {"duplicate": 1}),  # a client's retry
        ([(1, 2, 10), (2, 4, 5), (1, 2, 10)], 15, {"late": 1}),
        ([(1, 3, 10), (2, 4, 5)], 10, {"overlap": 1}),
        ([(0, 2, 10), (0, 3, 5)], 15, {}),  # no start times: added, alignment ignored
    ],
)
def test_deltas_add_up(points: list[tuple[int, int, int]], expected: float, notes: dict[str, int]) -> None:
    """T4: deltas become a counter; what was seen before has no effect and is counted."""
    bench = Bench()
    for start, time, value in points:
        bench.send(total("calls", number(value, start=start, time=time), temporality=DELTA))
    assert bench.page()['calls_total{job="app"}'] == [expected]
    assert bench.noted("agent_exporter.gaps") == notes.pop("gap", 0)
    for reason, count in notes.items():
        dropped = bench.noted("agent_exporter.dropped.points", reason=reason)
        rejected = bench.noted("agent_exporter.rejected.items", reason=reason, signal="metrics")
        assert (dropped, rejected) == ((count, 0) if reason == "duplicate" else (0, count))


def test_points_without_any_time_are_added() -> None:
    """A delta without times has no alignment to check: each counts."""
    bench = Bench()
    for _ in range(3):
        bench.now += 1
        bench.send(total("calls", number(2, start=0, time=0), temporality=DELTA))
    assert bench.page()['calls_total{job="app"}'] == [6.0]


def test_deltas_that_may_fall_accumulate() -> None:
    """T5: a delta of a sum that may fall moves a gauge both ways."""
    bench = Bench()
    bench.send(total("open", number(5, start=1, time=2), temporality=DELTA, monotonic=False))
    bench.send(total("open", number(-2, start=2, time=3), temporality=DELTA, monotonic=False))
    assert bench.page() == {'open{job="app"}': [3.0]}


@pytest.mark.parametrize("temporality", [0, 3])
def test_a_sum_or_histogram_without_temporality_is_refused(temporality: int) -> None:
    """T6: refused with a reason, the metric beside it untouched."""
    bench = Bench()
    answer = bench.send(
        total("calls", number(1), number(2, {"a": "b"}), temporality=temporality),
        distribution("sizes", histogram([1], [], 1.0), temporality=temporality),
        gauge("fine", number(1)),
    )
    assert [(each.reason, each.subject, each.count) for each in answer.rejections] == [
        ("no_temporality", "calls", 2),
        ("no_temporality", "sizes", 1),
    ]
    assert answer.accepted == 1
    assert bench.page() == {'fine{job="app"}': [1.0]}


@pytest.mark.parametrize(("temporality", "expected"), [(DELTA, [3, 10, 14, 14, 7.5, 14]), (2, [2, 6, 8, 8, 5.0, 8])])
def test_histograms_become_cumulative_buckets(temporality: int, expected: list[float]) -> None:
    """T7: cells are cumulative buckets, +Inf, sum, count; deltas add up, cumulative readings replace."""
    bench = Bench()
    bounds = [0.1, 1.0, 10.0]
    bench.send(distribution("took", histogram([1, 3, 2, 0], bounds, 2.5, start=1, time=2), temporality=temporality))
    bench.send(
        distribution(
            "took",
            histogram([2, 4, 2, 0], bounds, 5.0, start=2 if temporality == DELTA else 1, time=3),
            temporality=temporality,
        )
    )
    assert bench.page() == {'took{job="app"}': expected}


def test_a_histogram_resets_like_a_counter() -> None:
    """T7: a smaller count or a new start begins anew on top of the old total, also between two looks."""
    bench = Bench()
    for start, time, counts in ((1, 2, [4, 1]), (1, 3, [1, 0]), (7, 8, [0, 2])):
        bench.send(distribution("took", histogram(counts, [1.0], float(sum(counts)), start=start, time=time)))
    assert bench.page() == {'took{job="app"}': [5.0, 8.0, 8.0, 8.0]}
    bench.send(distribution("took", histogram([1, 2], [1.0], 3.0, start=7, time=9)))
    assert bench.page() == {'took{job="app"}': [6.0, 9.0, 9.0, 9.0]}


def test_a_histogram_without_sum_shows_none() -> None:
    """T8: `_sum` is left out, not written as 0."""
    bench = Bench()
    bench.send(distribution("took", histogram([1, 2], [1.0], None)))
    (family,) = bench.ingest.snapshot()
    assert [cell % family.tables[0].width for cell in family.tables[0].absent] == [2]


def test_a_histogram_without_buckets_has_only_the_last() -> None:
    """T9: empty bucket counts are legal."""
    bench = Bench()
    bench.send(distribution("took", histogram([], [], 4.0, count=3)))
    assert bench.page() == {'took{job="app"}': [3.0, 4.0, 3.0]}


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        (histogram([1, 2, 3], [1.0]), "buckets"),
        (histogram([1, 2], [1.0], count=4), "buckets"),
        (histogram([1, 2, 3], [2.0, 1.0]), "bounds"),
        (histogram([1, 2, 3], [1.0, 1.0]), "bounds"),
        (histogram([1, 2, 3], [1.0, math.nan]), "bounds"),
        (histogram([1, 2], [math.inf]), "bounds"),
        (histogram([1 << 60, 0], [1.0]), "count_too_large"),
    ],
)
def test_a_wrong_histogram_point_costs_only_itself(point: pb.HistogramDataPoint, reason: str) -> None:
    """T10: the bad point is refused with its reason, the good one beside it counts."""
    bench = Bench()
    point.attributes.add(key="a").value.string_value = "bad"
    answer = bench.send(distribution("took", point, histogram([1, 1], [1.0], 2.0)))
    assert [(each.reason, each.count) for each in answer.rejections] == [(reason, 1)]
    assert bench.page() == {'took{job="app"}': [1.0, 2.0, 2.0, 2.0]}


def _exponential(**fields: object) -> pb.Metric:
    point = pb.ExponentialHistogramDataPoint(start_time_unix_nano=1, time_unix_nano=2, **fields)  # type: ignore[arg-type]
    return pb.Metric(
        name="took", exponential_histogram=pb.ExponentialHistogram(data_points=[point], aggregation_temporality=2)
    )


@pytest.mark.parametrize(
    ("scale", "offset", "counts", "bound"),
    [
        (0, 0, [5], 4.0),  # (1, 2]
        (0, 1, [5], 4.0),  # (2, 4]
        (0, 2, [5], 16.0),  # (4, 8]
        (0, -1, [5], 1.0),  # (0.5, 1]
        (3, 16, [5], 16.0),  # from 4 up
        (3, 15, [5], 4.0),  # up to 4
        (-1, 0, [5], 4.0),  # (1, 4]
        (-2, 0, [5], 16.0),  # (1, 16]
        (20, 0, [5], 4.0),
        (0, -200, [5], 4.0**-5),
        (0, 200, [5], math.inf),
    ],
)
def test_exponential_buckets_fall_within_powers_of_four(
    scale: int, offset: int, counts: list[int], bound: float
) -> None:
    """T14: each bucket is counted at the smallest bound that holds all of it."""
    bench = Bench()
    bench.send(_exponential(scale=scale, positive={"offset": offset, "bucket_counts": counts}, count=5, sum=9.0))
    (family,) = bench.ingest.snapshot()
    table = family.tables[0]
    cells = table.values[table.width :]
    first = next(bound for bound, count in zip((*table.bounds, math.inf), cells, strict=False) if count)
    assert (first, cells[-1], cells[-2]) == (bound, 5.0, 9.0)


def test_zeros_and_negative_values_of_an_exponential_histogram_are_below_the_first_bound() -> None:
    """T13: the zero bucket and negative buckets count from the first bound on."""
    bench = Bench()
    bench.send(_exponential(scale=0, zero_count=2, negative={"offset": 0, "bucket_counts": [1]}, count=3, sum=-1.0))
    (cells,) = bench.page().values()
    assert cells[0] == 3.0


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"scale": 0, "count": 1, "zero_count": 1}, "no_sum"),
        ({"scale": 0, "count": 2, "zero_count": 1, "sum": 1.0}, "buckets"),
        ({"scale": 21, "count": 1, "zero_count": 1, "sum": 1.0}, "scale"),
    ],
)
def test_a_wrong_exponential_point_is_refused(fields: dict[str, object], reason: str) -> None:
    """T12, T15: what cannot be exposed is refused with a reason."""
    assert [each.reason for each in Bench().send(_exponential(**fields)).rejections] == [reason]


def _summary(*quantiles: tuple[float, float], count: int = 3, total: float = 6.0, time: int = 2) -> pb.Metric:
    values = [pb.SummaryDataPoint.ValueAtQuantile(quantile=quantile, value=value) for quantile, value in quantiles]
    point = pb.SummaryDataPoint(
        start_time_unix_nano=1, time_unix_nano=time, count=count, sum=total, quantile_values=values
    )
    return pb.Metric(name="took", summary=pb.Summary(data_points=[point]))


def test_a_summary_keeps_its_quantiles_in_order() -> None:
    """T17: quantiles ascend, the newest stand; count and sum are totals."""
    bench = Bench()
    bench.send(_summary((0.99, 5.0), (0.5, 2.0)))
    bench.send(_summary((0.5, 3.0), (0.99, 4.0), count=4, total=8.0, time=3))
    (family,) = bench.ingest.snapshot()
    assert family.tables[0].bounds == (0.5, 0.99)
    assert bench.page() == {'took{job="app"}': [3.0, 4.0, 8.0, 4.0]}


@pytest.mark.parametrize("quantiles", [((1.5, 1.0),), ((0.5, 1.0), (0.5, 2.0)), ((math.nan, 1.0),)])
def test_a_wrong_summary_is_refused(quantiles: tuple[tuple[float, float], ...]) -> None:
    """T17: quantiles lie between 0 and 1, each once."""
    assert [each.reason for each in Bench().send(_summary(*quantiles)).rejections] == ["quantiles"]


def test_the_newest_exemplar_of_each_counter_and_bucket_is_kept() -> None:
    """T18 to T20: exemplars stand on counters and buckets, ids win, gauges have none."""
    bench = Bench()

    def sample(value: float, time: int, **attributes: str) -> pb.Exemplar:
        made = pb.Exemplar(as_double=value, time_unix_nano=time, trace_id=b"\1" * 16, span_id=b"\2" * 8)
        for key, text in attributes.items():
            made.filtered_attributes.add(key=key).value.string_value = text
        return made

    bench.send(
        total("calls", number(1, exemplars=[sample(1, 5), sample(2, 9, trace_id="no", who="me", prompt="secret")])),
        distribution("took", histogram([1, 1], [1.0], 3.0, exemplars=[sample(0.5, 5), sample(2, 5)])),
        gauge("level", number(1, exemplars=[sample(1, 5)])),
    )
    found = {family.name: family.tables[0] for family in bench.ingest.snapshot()}
    ids = b'span_id="0202020202020202",trace_id="01010101010101010101010101010101"'
    assert list(found["calls_total"].exemplars.values()) == [(ids + b',who="me"', 2.0, 9e-9)]
    assert {cell % 4: each.value for cell, each in found["took"].exemplars.items()} == {0: 0.5, 1: 2.0}
    assert found["level"].exemplars == {}


def test_a_stream_without_recorded_value_leaves_the_page() -> None:
    """T23: the flag takes the series away and nothing else; it may come back."""
    bench = Bench()
    bench.send(gauge("level", number(1, {"a": "x"}), number(2, {"a": "y"})))
    bench.send(gauge("level", number(None, {"a": "x"}, time=3, flags=1), number(3, {"a": "y"}, time=3)))
    assert bench.page() == {'level{a="y",job="app"}': [3.0]}
    bench.send(gauge("level", number(4, {"a": "x"}, time=4)))
    assert bench.page()['level{a="x",job="app"}'] == [4.0]


def test_a_counter_without_recorded_value_keeps_its_total() -> None:
    """T23: the total of a counter stands, and goes on when the stream does."""
    bench = Bench()
    bench.send(total("calls", number(5)))
    bench.send(total("calls", number(None, time=3, flags=1)))
    bench.send(total("calls", number(6, time=4)))
    assert bench.page() == {'calls_total{job="app"}': [6.0]}


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (total("x", number(1)), gauge("x.total", number(1)), "x_total"),
        (gauge("y", number(1)), total("y", number(1), monotonic=True), "y"),
        (distribution("z", histogram([1], [], 1.0)), gauge("z.sum", number(1)), "z"),
        (gauge("agent_tokens", number(1)), gauge("fine", number(1)), "fine"),
    ],
)
def test_a_name_of_another_type_is_refused(first: pb.Metric, second: pb.Metric, same: str) -> None:
    """T24: the metric that comes second and would show a name twice is refused, whatever its spelling."""
    bench = Bench()
    answers = [bench.send(first), bench.send(second)]
    assert [each.reason for answer in answers for each in answer.rejections] == ["type_conflict"]
    assert [family.name for family in bench.ingest.snapshot()] == [same]


def test_help_texts_may_differ() -> None:
    """T24, T25: another description costs no point, the first one stays."""
    bench = Bench()
    bench.send(gauge("level", number(1, {"a": "x"}), description="one"))
    answer = bench.send(gauge("level", number(1, {"a": "y"}), description="two"))
    assert (answer.rejected, [family.help for family in bench.ingest.snapshot()], len(bench.page())) == (0, ["one"], 2)


def test_nan_and_infinity_are_values_of_a_gauge_only() -> None:
    """T26: legal on a gauge; in a counter they would destroy the total, so the point is refused."""
    bench = Bench()
    answer = bench.send(
        gauge("level", number(math.nan, {"a": "n"}), number(-math.inf, {"a": "i"})),
        total("calls", number(math.nan, {"a": "n"}), number(math.inf, {"a": "i"}), number(-1.0, {"a": "m"})),
        total("deltas", number(math.nan), temporality=DELTA),
    )
    page = bench.page()
    assert math.isnan(page['level{a="n",job="app"}'][0])
    assert page['level{a="i",job="app"}'] == [-math.inf]
    assert sorted((each.reason, each.subject, each.count) for each in answer.rejections) == [
        ("negative", "calls", 1),
        ("not_finite", "calls", 2),
        ("not_finite", "deltas", 1),
    ]


def test_a_point_without_value_is_refused() -> None:
    """T27: no value is not 0."""
    answer = Bench().send(gauge("level", number(None), number(1, {"a": "b"})))
    assert [(each.reason, each.count) for each in answer.rejections] == [("no_value", 1)]
    assert answer.accepted == 1


def _totals(bench: Bench, key: str) -> list[float]:
    return bench.page()[key]


def test_a_series_keeps_the_quantiles_it_began_with() -> None:
    """T17: another process with other quantiles adds its count and sum, and writes into no other series."""
    bench = Bench()
    bench.send(_summary((0.5, 2.0)), resource={"service.name": "app", "process.pid": 1})
    bench.send(gauge("level", number(1)))
    bench.send(
        _summary((0.5, 3.0), (0.9, 9.0), count=10, total=20.0), resource={"service.name": "app", "process.pid": 2}
    )
    assert bench.page() == {'level{job="app"}': [1.0], 'took{job="app"}': [3.0, 26.0, 13.0]}
    (table,) = [family.tables[0] for family in bench.ingest.snapshot() if family.name == "took"]
    assert len(table.values) == len(table.texts) * table.width


def test_a_process_that_lives_is_not_pushed_out_by_restarts_of_its_namesake() -> None:
    """Of many runs under one name the one silent for longest is forgotten, not the one that began first."""
    bench = Bench()
    for turn in range(1, 15):
        bench.send(total("calls", number(turn, start=1, time=turn * 10)))
        bench.send(total("calls", number(1, start=turn * 10 + 1, time=turn * 10 + 2)))
    assert _totals(bench, 'calls_total{job="app"}') == [28.0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_histograms_sum_that_is_no_number_leaves_and_spoils_no_other(value: float) -> None:
    """T26: a NaN observation is counted, and the shared series shows no sum from then on."""
    bench = Bench()
    bench.send(
        distribution(
            "took",
            histogram([1, 0], [1.0], 0.5, {"session.id": "a"}),
            histogram([0, 1], [1.0], value, {"session.id": "b"}),
        )
    )
    (family,) = bench.ingest.snapshot()
    assert bench.page() == {'took{job="app"}': [1.0, 2.0, 0.5, 2.0]}
    assert {cell % family.tables[0].width for cell in family.tables[0].absent} == {2}


def test_a_point_from_the_future_does_not_stop_its_stream() -> None:
    """A wrong clock costs the points until the next sweep, not all that ever follow."""
    bench = Bench()
    bench.send(total("calls", number(1, time=10**7)))
    bench.ingest.sweep()
    bench.send(total("calls", number(100, time=3700)))
    assert _totals(bench, 'calls_total{job="app"}') == [100.0]
