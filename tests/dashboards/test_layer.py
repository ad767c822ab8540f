"""The layer that writes the boards: filters, thresholds and places, by example."""

import importlib

import pytest

from dashboards.boards import DASHBOARDS


@pytest.fixture
def layer(monkeypatch):
    """Import a module of dashboards/source by its name."""
    monkeypatch.syspath_prepend(str(DASHBOARDS))
    return lambda name: importlib.import_module(f"source.{name}")


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("sum(rate(agent_turns_total[1m]))", 'sum(rate(agent_turns_total{job=~"$job", agent=~"$agent"}[1m]))'),
        ('agent_tool_active{tool="a"}', 'agent_tool_active{job=~"$job", agent=~"$agent", tool=~"$tool", tool="a"}'),
        ("system_cpu_logical_count", 'system_cpu_logical_count{job=~"$job"}'),
        ("agent:slo_requests:increase7d", 'agent:slo_requests:increase7d{job=~"$job", agent=~"$agent"}'),
        ("instance:agent_process_cpu:ratio_rate5m", 'instance:agent_process_cpu:ratio_rate5m{job=~"$job"}'),
        ("1 - slo:objective:ratio", "1 - slo:objective:ratio"),
        ("sum by (agent, tool) (agent_budget:usd:daily)", "sum by (agent, tool) (agent_budget:usd:daily)"),
        ("up", 'up{job=~"$job"}'),
        ("somebody_elses_total", "somebody_elses_total"),
        ("ALERTS", 'ALERTS{job=~"$job|", instance=~"$instance|", agent=~"$agent|"}'),
    ],
)
def test_filters_are_those_that_apply(layer, written, asked):
    """A series gets a matcher for each variable whose label it has; alerts also match without the label."""
    assert layer("scope").scoped(written, ("job", "agent", "tool")) == asked


def test_thresholds_come_by_name(layer):
    """A mark is the file's number, in the colours of what it means, the same way up as the value."""
    limits = layer("limits")
    found = limits.above("tools.error_ratio.high", "tools.error_ratio.critical").steps().steps
    floor = limits.below("caches.hit_ratio.low", "caches.hit_ratio.target").steps().steps

    assert [(each.value, each.color) for each in found] == [(None, "green"), (0.1, "orange"), (0.5, "red")]
    assert [(each.value, each.color) for each in floor] == [(None, "red"), (0.7, "orange"), (0.95, "green")]


def test_a_threshold_that_is_not_there_is_a_mistake(layer):
    """A board cannot name a number that the file does not have."""
    with pytest.raises(KeyError):
        layer("limits").above("tools.no_such_number").steps()


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.01, "s", "10 ms"),
        (30, "s", "30 s"),
        (0.95, "percentunit", "95 %"),
        (268_435_456, "bytes", "256 MiB"),
        (1_073_741_824, "bytes", "1 GiB"),
        (13.44, "short", "13.44"),
    ],
)
def test_marks_are_written_for_people(layer, value, unit, said):
    """A threshold in a description has its unit."""
    assert layer("limits").text(value, unit) == said


def test_descriptions_say_where_the_marks_are(layer):
    """What a colour means is written too, from the same threshold."""
    limits, panels = layer("limits"), layer("panels")
    made = panels.series("Title", "Slow?", "s", panels.Query("x"), limits=limits.above("tools.latency", "tools.slow"))

    assert made.description == "Slow? Marks: 1 s (orange above), 30 s (red above)."


def test_a_line_of_panels_ends_where_the_grid_ends(layer):
    """Panels go from left to right, and on below when there is no room."""
    frame, sdk = layer("frame"), layer("sdk")
    made = [sdk.dashboard.Panel(grid_pos=sdk.dashboard.GridPos(w=wide, h=8)) for wide in (8, 8, 8, 12, 12)]

    assert frame.laid(made, 1) == 17
    assert [(each.grid_pos.x, each.grid_pos.y) for each in made] == [(0, 1), (8, 1), (16, 1), (0, 9), (12, 9)]


@pytest.mark.parametrize(("value", "said"), [(1, r'le=~"1|1\\.0"'), (30, r'le=~"30|30\\.0"'), (0.5, 'le="0.5"')])
def test_bounds_match_both_prometheuses(layer, value, said):
    """Prometheus 3 writes 1.0 where 2 keeps the 1 of the page."""
    assert layer("ask").edge(value) == said
