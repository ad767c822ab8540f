"""Parts of histograms as counters and gauges, metrics of one's own, sessions: through the whole of the collector."""

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from agent_exporter.collector.ingest import Ingest
from agent_exporter.collector.telemetry import readings
from agent_exporter.config import Config
from agent_exporter.dialects import Dialects
from agent_exporter.model import Signal
from otlp import CUMULATIVE, DELTA, at, distribution, gauge, histogram, logs, number, pairs, request, total

TOY = """\
agent: toy
claims: {prefixes: toy.}
authority:
  agent.tokens: metric
  agent.tool.executions: metric
  agent.runtime.heap.usage: metric
  agent.runtime.heap.limit: metric
  agent.context.utilization: metric
  agent.turns: event
session: session.id
instruments:
  acme.found: {kind: histogram, unit: "{document}", help: Found., labels: [index], bounds: [1, 10]}
  acme.calls: {kind: counter, unit: "{call}", help: Made.}
metrics:
  - name: toy.usage
    where: {kind: [in, cached]}
    part: sum
    to: agent.tokens
    labels: {type: {from: kind, map: {in: input, cached: cache_read}}}
  - {name: toy.usage, where: {kind: cached}, part: sum, factor: -1, to: agent.tokens, labels: {type: {is: input}}}
  - {name: toy.tool, part: count, to: agent.tool.executions, labels: {tool: tool, status: {is: ok}}}
  - {name: toy.heap, part: mean, unit: KiBy, to: agent.runtime.heap.usage}
  - {name: toy.calls, to: acme.calls}
  - {name: toy.space, to: agent.runtime.heap.limit}
  - {name: toy.share, to: agent.context.utilization}
events:
  - {name: toy.search, to: acme.found, value: hits, labels: {index: index}}
  - {name: toy.turn, to: agent.turns}
"""


class Toy:
    """An ingest with a toy agent."""

    def __init__(self, path):
        self.path, self.now = path, 100.0
        self.path.write_text(TOY)
        self.ingest = Ingest(Config(), Dialects.load([path]), lambda: at(self.now))

    def send(self, *metrics):
        """Push metrics."""
        return self.ingest(Signal.METRICS, request(*metrics))

    def tell(self, name, **attributes):
        """Push an event."""
        self.ingest(Signal.LOGS, logs(LogRecord(event_name=f"toy.{name}", attributes=pairs(attributes))))

    def cells(self, family):
        """Tell the cells of a family by the labels that it has on the page."""
        return {
            text.decode(): list(table.values[row * table.width : (row + 1) * table.width])
            for each in self.ingest.snapshot()
            if each.name == family
            for table in each.tables
            for row, text in enumerate(table.texts)
            if row not in table.hidden
        }


@pytest.fixture
def toy(tmp_path):
    """Return a collector with a toy agent."""
    return Toy(tmp_path / "toy.yaml")


def _usage(second, temporality, **sums):
    points = [
        histogram([1, 1], [10.0], each, {"kind": kind}, start=second - 1 if temporality == DELTA else 1, time=second)
        for kind, each in sums.items()
    ]
    return distribution("toy.usage", *points, temporality=temporality)


@pytest.mark.parametrize("temporality", [DELTA, CUMULATIVE])
def test_sums_of_histograms_become_disjoint_tokens(toy, temporality):
    """The sum of a histogram adds to a counter, and a part of it is taken off the whole."""
    toy.send(_usage(2, temporality, **{"in": 100.0, "cached": 30.0, "total": 130.0}))
    toy.send(_usage(3, temporality, **{"in": 150.0, "cached": 40.0}))

    whole = {"input": 180, "cache_read": 70} if temporality == DELTA else {"input": 110, "cache_read": 40}
    assert toy.cells("agent_tokens_total") == {f'agent="toy",type="{kind}"': [count] for kind, count in whole.items()}


def test_the_count_of_a_histogram_adds_to_a_counter(toy):
    """Each observation of a duration is one call, also where the histogram has no sum."""
    points = [histogram([2, 1], [10.0], total, {"tool": str(total)}) for total in (None, 5.0)]
    toy.send(distribution("toy.tool", *points, unit="ms", temporality=CUMULATIVE))

    found = toy.cells("agent_tool_executions_total")
    assert {labels: cells for labels, cells in found.items() if "ok" in labels} == {
        'agent="toy",status="ok",tool="None"': [3],
        'agent="toy",status="ok",tool="5.0"': [3],
    }


def test_the_mean_of_a_histogram_sets_a_gauge(toy):
    """A gauge shows the mean of what came since the last look, in its own unit, and stays without news."""
    seen = []
    for second, counts, total_ in ((2, [2, 0], 8.0), (3, [2, 0], 8.0), (4, [2, 2], 28.0)):
        toy.send(distribution("toy.heap", histogram(counts, [5.0], total_, time=second), temporality=CUMULATIVE))
        seen += toy.cells("agent_runtime_heap_usage_bytes").values()
    toy.send(distribution("toy.heap", histogram([1], [], None, {"a": "no sum"}), temporality=CUMULATIVE))

    assert seen == [[4096], [4096], [10240]]
    assert list(toy.cells("agent_runtime_heap_usage_bytes").values()) == [[10240]]


def test_a_metric_of_ones_own_is_on_the_page(toy):
    """What a file defines is exposed under its own name, whichever signal feeds it."""
    toy.tell("search", hits=3, index="web")
    toy.tell("search", hits="30", index="web")
    toy.send(total("toy.calls", number(4)))

    assert toy.cells("acme_found") == {'agent="toy",index="web"': [0, 1, 2, 33, 2]}
    assert toy.cells("acme_calls_total") == {'agent="toy"': [4]}


def test_a_name_that_is_taken(toy, caplog):
    """A reload may define a metric whose name is passed through already: then it is not shown."""
    toy.send(total("acme.late", number(1)))
    text = TOY.replace("instruments:", 'instruments:\n  acme.late: {kind: gauge, unit: "{x}", help: Late.}')
    text = text.replace("metrics:", "metrics:\n  - {name: toy.late, to: acme.late}")
    toy.path.write_text(text.replace("acme.calls: {kind: counter", "acme.calls: {kind: gauge"))
    toy.ingest.adopt(Config(), Dialects.load([toy.path], memory=toy.ingest.policy.dialects.memory))

    toy.tell("turn")
    assert toy.cells("agent_turns_total") == {'agent="toy"': [1]}
    assert [record.message for record in caplog.records] == ["a metric of a dialect file is not shown"] * 2
    assert toy.send(total("acme.found", number(1))).rejections[0].reason == "type_conflict"


def test_active_sessions_and_counts_are_read(toy):
    """Sessions heard of lately are a reading of the catalogue."""
    toy.tell("turn", **{"session.id": "a"})
    toy.tell("other", **{"session.id": "b"})

    def active():
        return [each.value for each in readings(toy.ingest) if each.instrument == "agent.sessions.active"]

    assert active() == [2]
    toy.now += 3600
    assert active() == [0]


# -- gauges of several streams ------------------------------------------------

LIMIT = "agent_runtime_heap_limit_bytes"


def _spaces(toy, second, **sizes):
    toy.now = second
    toy.send(gauge("toy.space", *(number(size, {"space": name}, time=second) for name, size in sizes.items())))
    return [cell for (cell,) in toy.cells(LIMIT).values()]


def test_gauges_that_make_a_whole_add_up(toy):
    """Streams with equal labels of a normalised gauge of amounts add up; each replaces what it said itself."""
    assert _spaces(toy, 100, new=1, old=10) == [11]
    assert _spaces(toy, 101, new=2) == [12]
    assert _spaces(toy, 101, new=5) == [12]  # a duplicate
    assert _spaces(toy, 102, new=float("nan"), old=7) == [9]
    assert [cell for (cell,) in toy.cells("toy_space").values()] != [9]


def test_gauges_leave_their_sum(toy):
    """A stream that says it is gone, or is silent for long, is taken off; the last takes the series with it."""
    _spaces(toy, 100, new=1, old=10)
    toy.send(gauge("toy.space", number(None, {"space": "new"}, time=101, flags=1)))
    assert [cell for (cell,) in toy.cells(LIMIT).values()] == [10]
    assert _spaces(toy, 102, new=4) == [14]

    for second in range(103, 200):
        _spaces(toy, second, new=4)
        toy.ingest.sweep()
    assert [cell for (cell,) in toy.cells(LIMIT).values()] == [4]
    for _ in range(100):
        toy.ingest.sweep()
    assert toy.cells(LIMIT) == {}
    assert _spaces(toy, 201, old=3) == [3]


def test_sums_of_gauges_stay_over_a_reload(toy):
    """After a reload the sum stands, and then begins anew with those that come."""
    _spaces(toy, 100, new=1, old=10)

    toy.ingest.adopt(Config(), Dialects.load([toy.path], memory=toy.ingest.policy.dialects.memory))

    assert [cell for (cell,) in toy.cells(LIMIT).values()] == [11]
    assert _spaces(toy, 101, new=2) == [2]
    assert _spaces(toy, 102, old=11) == [13]


def test_shares_do_not_add_up(toy):
    """Of a share, the newest of several streams stands."""
    toy.send(gauge("toy.share", number(0.5, {"a": 1}, time=100), number(0.75, {"a": 2}, time=100)))

    assert toy.cells("agent_context_utilization_ratio") == {'agent="toy"': [0.75]}
