"""What the collector tells of itself."""

from agent_exporter.catalog import GROUPS
from agent_exporter.collector.telemetry import readings
from agent_exporter.model import Kind
from otlp import Bench


def test_counters_begin_at_0():
    """Every counter of the exporter without labels, and every result of a reload, is there before it counts."""
    found = {(each.instrument, each.labels): each.value for each in readings(Bench().ingest)}

    own = [row for row in GROUPS["The exporter itself"] if row.kind is Kind.COUNTER]
    expected = {(row.name, ()) for row in own if not row.labels}
    expected |= {("agent_exporter.config.reloads", (("result", each),)) for each in ("success", "failure")}
    assert len(expected) > 5
    assert dict.fromkeys(expected, 0) == {key: found.get(key) for key in expected}
