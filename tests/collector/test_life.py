"""Silence, return, limits and reload: what happens to streams and series beside their arithmetic."""

from __future__ import annotations

import logging
from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from agent_exporter.collector import Collector
from agent_exporter.collector.telemetry import status
from agent_exporter.config import Address, Addresses, Config
from agent_exporter.dialects import Dialects
from agent_exporter.expose.page import page
from agent_exporter.model import Signal
from otlp import DELTA, EPOCH, SECOND, Bench, distribution, gauge, histogram, logs, number, pairs, request, total

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXPIRY = {"expiry": {"sweep": "15s", "stream": "60s", "series": "120s", "memory": "240s"}}


def _sweep(bench: Bench, times: int) -> None:
    for _ in range(times):
        bench.now += 15 * SECOND
        bench.ingest.sweep()


def test_a_silent_gauge_leaves_and_comes_back() -> None:
    """A gauge goes with its last stream, and nobody needs to scrape for that."""
    bench = Bench(**EXPIRY)
    bench.send(gauge("level", number(1, {"session.id": "a"}), number(2, {"session.id": "b"})))
    bench.send(gauge("level", number(3, {"session.id": "b"}, time=3)))
    _sweep(bench, 5)
    assert bench.page() == {}
    bench.send(gauge("level", number(4, {"session.id": "a"}, time=4)))
    assert bench.page() == {'level{job="app"}': [4.0]}


def test_what_a_silent_stream_said_is_taken_back_from_a_sum_that_may_fall() -> None:
    """Of two streams of one series the living one stays, and the other is whole again when it returns."""
    bench = Bench(**EXPIRY)
    for time in range(2, 8):
        points = [number(7, {"session.id": "a"}, time=time), number(5, {"session.id": "b"}, time=2)]
        bench.send(total("open", *points, monotonic=False))
        _sweep(bench, 1)
    assert bench.page() == {'open{job="app"}': [7.0]}
    bench.send(total("open", number(6, {"session.id": "b"}, time=9), monotonic=False))
    assert bench.page() == {'open{job="app"}': [13.0]}


@pytest.mark.parametrize("temporality", [DELTA, 2])
def test_a_counter_stays_then_hides_and_goes_on_where_it_was(temporality: int) -> None:
    """The total outlives the stream and the series' absence, so that no rate ever sees it fall."""
    bench = Bench(**EXPIRY)
    bench.send(total("calls", number(10, start=1, time=2), temporality=temporality))
    _sweep(bench, 6)
    assert bench.page() == {'calls_total{job="app"}': [10.0]}
    _sweep(bench, 8)
    assert bench.page() == {}
    second = number(5, start=2, time=3) if temporality == DELTA else number(15, start=1, time=3)
    bench.send(total("calls", second, temporality=temporality))
    assert bench.page() == {'calls_total{job="app"}': [15.0]}


def test_a_histogram_goes_on_after_silence() -> None:
    """A running histogram that falls silent and returns adds only what is new."""
    bench = Bench(**EXPIRY)
    bench.send(distribution("took", histogram([1, 1], [1.0], 3.0)))
    _sweep(bench, 14)
    assert bench.page() == {}
    bench.send(distribution("took", histogram([2, 1], [1.0], 3.5, time=3)))
    assert bench.page() == {'took{job="app"}': [2.0, 3.0, 3.5, 3.0]}


def test_everything_is_forgotten_in_the_end() -> None:
    """After the memory's time nothing of a client is left, and its budget is free again."""
    bench = Bench(**EXPIRY)
    bench.send(total("calls", number(10)), gauge("level", number(1)), resource={"service.name": "app", "a": "b"})
    _sweep(bench, 40)
    assert bench.page() == {}
    assert (bench.ingest.policy.streams, bench.ingest._clients, bench.ingest._meters) == (0, {}, {})
    assert [name for name in bench.ingest.policy.families.by_name if name.startswith(("calls", "level"))] == []
    bench.send(gauge("calls_total", number(1)))  # even the name may change its type now
    assert bench.page() == {'calls_total{job="app"}': [1.0]}


def test_a_series_fed_by_events_stays_while_it_moves() -> None:
    """A normalised series has no stream; it lives by its changes and keeps its total when it hides."""
    bench = Bench(**EXPIRY)
    key = 'agent_turns_total{agent="claude-code"}'

    def prompt(sequence: int) -> None:
        attributes = pairs({"event.name": "user_prompt", "event.sequence": sequence})
        record = LogRecord(time_unix_nano=EPOCH, attributes=attributes)
        bench.ingest(Signal.LOGS, logs(record, resource={"service.name": "claude-code"}))

    for sequence in range(10):
        prompt(sequence)
        _sweep(bench, 1)
    assert bench.page()[key] == [10.0]
    _sweep(bench, 10)
    assert bench.page() == {}
    prompt(10)
    assert bench.page()[key] == [11.0]


def test_a_stream_with_its_attributes_in_another_order_is_the_same_stream() -> None:
    """Order of attributes is no identity: the cumulative value is not counted twice."""
    bench = Bench()
    bench.send(total("calls", number(10, {"b": 1, "a": 2}, time=2)))
    bench.send(total("calls", number(12, {"a": 2, "b": 1}, time=3)))
    assert bench.page() == {'calls_total{a="2",b="1",job="app"}': [12.0]}


@pytest.mark.parametrize("value", [float("nan"), 2.5])
def test_a_gauge_that_ended_stays_away(value: float) -> None:
    """What left the page by NO_RECORDED_VALUE is not brought back by the next sweep, whatever it last said."""
    bench = Bench(**EXPIRY)
    bench.send(gauge("level", number(value)))
    bench.send(gauge("level", number(None, time=3, flags=1)))
    _sweep(bench, 1)
    assert bench.page() == {}


# -- limits -------------------------------------------------------------------


def test_series_beyond_a_familys_budget_share_the_overflow_series() -> None:
    """The excess is folded and counted, the total of the family stays true."""
    bench = Bench(limits={"series_per_metric": 3})
    answer = bench.send(total("calls", *(number(1, {"n": n}) for n in range(10))))
    assert answer.rejected == 0
    assert bench.page()['calls_total{job="app",otel_metric_overflow="true"}'] == [7.0]
    assert sum(cells[0] for cells in bench.page().values()) == 10.0
    assert bench.noted("agent_exporter.overflowed.streams") == 7


def test_series_beyond_a_clients_budget_share_the_overflow_series() -> None:
    """One client that makes series without end does not take the room of another."""
    bench = Bench(limits={"series_per_client": 3})
    bench.send(*(total(f"calls.{n}", number(1, {"n": n})) for n in range(5)))
    bench.send(total("calls.9", number(1)), resource={"service.name": "other"})
    page = bench.page()
    assert 'calls_4_total{job="app",otel_metric_overflow="true"}' in page
    assert 'calls_9_total{job="other"}' in page


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"streams_per_client": 2}, "client_stream_limit"), ({"streams": 2, "streams_per_client": 2}, "stream_limit")],
)
def test_streams_beyond_a_limit_are_refused_and_named(limits: dict[str, int], reason: str) -> None:
    """What cannot be tracked is refused with the limit's name; known streams go on."""
    bench = Bench(limits=limits)
    bench.send(total("calls", *(number(1, {"n": n}) for n in range(2))))
    answer = bench.send(
        total("calls", *(number(2, {"n": n}, time=3) for n in range(4))),
    )
    assert (answer.accepted, answer.rejected) == (2, 2)
    assert {each.reason for each in answer.rejections} == {reason}
    assert all("limits.streams" in each.detail for each in answer.rejections)
    assert sum(cells[0] for cells in bench.page().values()) == 4.0


def test_a_long_value_is_cut() -> None:
    """A label value of a passed-through series has a length limit."""
    bench = Bench(limits={"label_value_length": 4})
    bench.send(gauge("level", number(1, {"a": "123456"})))
    assert bench.page() == {'level{a="1234",job="app"}': [1.0]}


def test_a_repeated_payload_of_events_changes_nothing() -> None:
    """A client's retry of a logs payload is acknowledged, dropped and counted."""
    bench = Bench()
    record = LogRecord(time_unix_nano=EPOCH, attributes=pairs({"event.name": "user_prompt"}))
    body = logs(record, resource={"service.name": "claude-code"})
    answers = [bench.ingest(Signal.LOGS, body) for _ in range(3)]
    assert [(each.accepted, each.rejected) for each in answers] == [(1, 0)] * 3
    assert bench.page()['agent_turns_total{agent="claude-code"}'] == [1.0]
    assert bench.noted("agent_exporter.dropped.points", reason="repeated_payload") == 2


# -- identity -----------------------------------------------------------------


def test_the_newest_target_info_replaces_the_old_at_once() -> None:
    """R4, R10: one job and instance never has two target_info, and the newest attributes win."""
    bench = Bench()
    for version in ("1", "2", "3", "2"):
        resource = {"service.name": "app", "service.instance.id": "i", "service.version": version}
        bench.send(gauge("level", number(1)), resource=resource)
    shown = [key for key in bench.page() if key.startswith("target_info")]
    assert shown == ['target_info{instance="i",job="app",service_version="2"}']


def test_content_and_identities_are_on_no_label() -> None:
    """Ids, prompts and command lines reach neither series, target_info, scope labels nor copied resource labels."""
    secret = {"session.id": "s3cret", "user.email": "s3cret", "prompt": "s3cret", "process.command_args": ["s3cret"]}
    bench = Bench(metrics={"resource_labels": ["*"]})
    bench.send(
        gauge("level", number(1, {**secret, "kind": "x"})), resource={"service.name": "app", "host.name": "h", **secret}
    )
    assert not [key for key in bench.page() if "s3cret" in key]
    assert 'level{host_name="h",job="app",kind="x"' in "".join(bench.page())


def test_kept_attributes_stay() -> None:
    """keep_attributes overrides the default set."""
    bench = Bench(metrics={"keep_attributes": ["session.*"]})
    bench.send(gauge("level", number(1, {"session.id": "a", "user.id": "b"})))
    assert bench.page() == {'level{job="app",session_id="a"}': [1.0]}


def test_job_and_instance_are_the_resources() -> None:
    """L6: attributes of these names stay, under another name, whether the resource says who it is or not."""
    bench = Bench()
    bench.send(gauge("level", number(1, {"job": "mine", "instance": "i"})))
    assert bench.page() == {'level{exported_instance="i",exported_job="mine",job="app"}': [1.0]}


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"pass_through": {"enabled": False}}, []),
        ({"pass_through": {"include": ["le*"]}}, ["level"]),
        ({"pass_through": {"exclude": ["le*"]}}, ["depth"]),
    ],
)
def test_pass_through_is_a_choice(metrics: dict[str, object], expected: list[str]) -> None:
    """It can be switched off, or filtered by OTLP name."""
    bench = Bench(metrics=metrics)
    bench.send(gauge("level", number(1)), gauge("depth", number(1)))
    assert [key.partition("{")[0] for key in bench.page()] == expected


def test_names_of_the_exporter_itself_are_refused_from_outside() -> None:
    """A client cannot move the counters that tell of clients."""
    bench = Bench()
    answer = bench.send(total("agent_exporter.received.items", number(5)), gauge("agent.source.last_seen", number(5)))
    assert [each.reason for each in answer.rejections] == ["reserved_name"] * 2


def test_instruments_of_the_catalogue_feed_their_family_only() -> None:
    """A metric that is normalised already is not passed through beside it."""
    bench = Bench()
    bench.send(total("agent.turns", number(3, {"agent": "mine", "session.id": "x"}), unit="{turn}"))
    assert bench.page() == {'agent_turns_total{agent="mine"}': [3.0]}


def test_a_malformed_resource_costs_its_own_points_only() -> None:
    """Invalid UTF-8 in one resource refuses what it sent; another resource of the request counts."""
    bad = request(gauge("level", number(1)), resource={"service.name": "bad!"}).replace(b"bad!", b"ba\xff!")
    bench = Bench()
    answer = bench.ingest(Signal.METRICS, bad + request(gauge("level", number(2))))
    assert [(each.reason, each.count) for each in answer.rejections] == [("malformed", 1)]
    assert bench.page() == {'level{job="app"}': [2.0]}


def test_a_malformed_attribute_costs_its_own_point_only() -> None:
    """Invalid UTF-8 in one point's attributes refuses that point."""
    body = request(gauge("level", number(1, {"a": "bad!"}), number(2, {"a": "good"}))).replace(b"bad!", b"ba\xff!")
    bench = Bench()
    assert [each.reason for each in bench.ingest(Signal.METRICS, body).rejections] == ["malformed"]
    assert bench.page() == {'level{a="good",job="app"}': [2.0]}


# -- reload -------------------------------------------------------------------


def test_a_reload_changes_what_streams_feed_and_no_total(tmp_path: Path) -> None:
    """Known streams follow a new dialect and new filters from their next point on, as if known for ever."""
    bench = Bench()
    bench.send(total("toy.turns", number(5, {"user.id": "u"}, time=2)))
    (tmp_path / "toy.yaml").write_text(
        "agent: toy\ntitle: Toy\nclaims: {prefixes: [toy.]}\nauthority: {agent.turns: metric}\n"
        "metrics:\n  - {name: turns, to: agent.turns}\n"
    )
    bench.ingest.adopt(Config.model_validate({"metrics": {"keep_attributes": ["user.id"]}}), Dialects.load([tmp_path]))
    bench.send(total("toy.turns", number(7, {"user.id": "u"}, time=3)))
    page = bench.page()
    assert page['agent_turns_total{agent="toy"}'] == [2.0]
    assert page['toy_turns_total{job="app"}'] == [5.0]
    assert page['toy_turns_total{job="app",user_id="u"}'] == [2.0]


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """Return our logger, and set its level back afterwards."""
    logger = logging.getLogger("agent_exporter")
    before = logger.level
    yield logger
    logger.setLevel(before)


@pytest.mark.usefixtures("log")
def test_a_reload_says_what_still_needs_a_restart() -> None:
    """What is read is compared with what the doors were opened with: said until it is set back, and not then."""
    other = Config.model_validate({"otlp": {"grpc_address": "127.0.0.1:1"}, "limits": {"connections": 9}})
    read = iter([other, other, Config()])
    collector = Collector(Config(), lambda: next(read))
    pending = "reloaded; a change of otlp, limits.connections needs a restart"
    assert [collector.reload() for _ in range(3)] == [pending, pending, "reloaded"]


@pytest.mark.parametrize("level", ["error", "debug"])
def test_a_reload_changes_the_level_of_the_log(level: str, log: logging.Logger) -> None:
    """From the reload on, as much is logged as the new configuration asks for."""
    Collector(Config(), lambda: Config.model_validate({"log": {"level": level}})).reload()
    assert log.level == getattr(logging, level.upper())


# -- who is who ---------------------------------------------------------------


@pytest.mark.parametrize(
    "resources",
    [
        [{"service.name": "app", "a": "1", "b": "2"}, {"b": "2", "a": "1", "service.name": "app"}],
        [
            {"service.name": "app", "service.instance.id": "i"},
            {"service.name": "app", "service.instance.id": "i", "cloud.region": "x"},
        ],
    ],
    ids=["another order", "one attribute more"],
)
def test_a_process_is_known_by_what_it_says(resources: list[dict[str, str]]) -> None:
    """R10: neither the order of resource attributes nor a new one beside an instance id makes a second process."""
    bench = Bench()
    for time, resource in enumerate((*resources, *resources), 2):
        bench.send(total("calls", number(time, time=time)), resource=resource)
    assert [cells for key, cells in bench.page().items() if key.startswith("calls")] == [[5.0]]


def test_another_description_is_no_other_metric() -> None:
    """T25: a description that changes under way leaves the stream what it is."""
    bench = Bench()
    for time in (2, 3):
        bench.send(total("calls", number(time, time=time), description=str(time)))
    assert bench.page() == {'calls_total{job="app"}': [3.0]}


def test_target_info_of_a_living_process_outlives_its_namesake() -> None:
    """Two processes that differ in nothing that is shown share one line, which goes with the last of them."""
    bench = Bench(**EXPIRY)
    resources = [{"service.name": "app", "host.arch": "arm", "process.pid": pid} for pid in (1, 2)]
    bench.send(gauge("level", number(1, time=1)), resource=resources[1])
    for time in range(2, 30):
        bench.send(gauge("level", number(time, time=time)), resource=resources[0])
        _sweep(bench, 1)
    assert 'target_info{host_arch="arm",job="app"}' in bench.page()


def test_orders_of_attributes_do_not_pile_up() -> None:
    """A client whose attributes come in ever other orders costs a bounded number of keys."""
    bench = Bench()
    for time, order in enumerate(permutations("abcde"), 2):
        bench.send(total("calls", number(time, dict.fromkeys(order, "x"), time=time)))
    (intake,) = [each for each in bench.ingest._intakes() if not each.meter.own]
    assert (len(intake.streams), len(intake.streams.rows) <= 5) == (1, True)
    assert list(bench.page().values()) == [[121.0]]


# -- room ---------------------------------------------------------------------


def test_metrics_without_points_leave_no_trace() -> None:
    """An empty metric claims no name and costs no memory."""
    bench = Bench()
    bench.send(*(gauge(f"level.{n}") for n in range(100)))
    assert not bench.ingest._meters
    assert not [name for name in bench.ingest.policy.families.by_name if name.startswith("level")]


def test_a_metric_without_a_good_point_claims_no_name() -> None:
    """The name stays free for who has something to show under it."""
    bench = Bench()
    bench.send(gauge("calls_total", number(None)))
    bench.send(total("calls", number(1)))
    assert bench.page() == {'calls_total{job="app"}': [1.0]}


def test_a_series_that_went_gives_its_place_in_the_budget_back() -> None:
    """A client's budget counts what it has, not what it ever had."""
    bench = Bench(**EXPIRY, limits={"series_per_client": 3})
    for turn in range(10):
        bench.send(gauge("level", number(1, {"turn": turn}, time=turn + 2)))
        _sweep(bench, 6)
    assert list(bench.page()) == []
    bench.send(gauge("level", number(1, {"turn": "last"}, time=99)))
    assert list(bench.page()) == ['level{job="app",turn="last"}']


def test_long_names_and_values_of_every_kind_are_bounded() -> None:
    """Arrays, maps, bytes, job and scope are cut like strings; a name that is too long is refused."""
    long = "x" * 100_000
    bench = Bench(limits={"label_value_length": 10})
    attributes = {"array": [long], "map": {"k": long}, "bytes": long.encode(), long: "v"}
    bench.send(gauge("level", number(1, attributes)), resource={"service.name": long}, scope=long)
    (key,) = bench.page()
    assert len(key) < 500
    assert [each.reason for each in bench.send(gauge(long, number(1))).rejections] == ["name_too_long"]
    assert max(len(each.subject) for each in bench.ingest.ledger.refusals.values()) <= 200


def test_forgotten_streams_are_forgotten_when_the_times_change(tmp_path: Path) -> None:
    """A reload with shorter times reaches streams that are silent already, and equal times work."""
    bench = Bench(**EXPIRY)
    bench.send(total("calls", number(1)))
    _sweep(bench, 10)
    short = {"expiry": {"sweep": "15s", "stream": "15s", "series": "15s", "memory": "15s"}}
    bench.ingest.adopt(Config.model_validate(short), Dialects.load())
    _sweep(bench, 3)
    assert (bench.page(), bench.ingest.policy.streams) == ({}, 0)


def test_a_reload_never_stops_half_way() -> None:
    """Pass-through that is switched on finds two types of one name: the second is refused, all else goes on."""
    bench = Bench(metrics={"pass_through": {"enabled": False}})
    bench.send(gauge("x", number(1)), resource={"service.name": "a"})
    bench.send(total("x.y", number(1)), gauge("x_y_total", number(1)), resource={"service.name": "b"})
    bench.ingest.adopt(Config(), Dialects.load())
    bench.send(gauge("x", number(2, time=3)), resource={"service.name": "a"})
    answer = bench.send(
        total("x.y", number(2, time=3)), gauge("x_y_total", number(2, time=3)), resource={"service.name": "b"}
    )
    assert [each.reason for each in answer.rejections] == ["type_conflict"]
    assert bench.page() == {'x{job="a"}': [2.0], 'x_y_total{job="b"}': [1.0]}


def test_a_gauge_outlives_a_reload_but_not_its_client() -> None:
    """What a gauge said last stays over a reload, and leaves in time if nobody says it again."""
    bench = Bench(**EXPIRY)
    bench.send(gauge("level", number(1)))
    bench.ingest.adopt(Config.model_validate(EXPIRY), Dialects.load())
    assert bench.page() == {'level{job="app"}': [1.0]}
    _sweep(bench, 6)
    assert bench.page() == {}


def test_the_page_for_people_has_each_link_once() -> None:
    """What the collector tells of itself makes a page without doubles, with its sources and refusals."""
    bench = Bench()
    bench.send(gauge("level", number(1)), gauge("level.two", number(None)))
    at = Addresses(*(Address("127.0.0.1", port) for port in (1, 2, 3)))
    text = page(status(bench.ingest, 0.0, at))
    assert [text.count(f'href="{path}"') for path in ("/metrics", "/-/healthy", "/-/ready")] == [1, 1, 1]
    assert "app" in text
    assert "no_value" in text
