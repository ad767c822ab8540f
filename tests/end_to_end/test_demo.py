"""`serve --demo`: what a newcomer sees."""

from __future__ import annotations

import signal

from end_to_end.process import until

FAMILIES = {
    "agent_sessions_total",
    "agent_turns_total",
    "agent_tokens_total",
    "agent_cost_usd_total",
    "agent_model_requests_total",
    "agent_tool_executions_total",
    "agent_tool_execution_duration_seconds_count",
}


def _moving(collector):
    """Sum each of the families that are on the page."""
    sums = {}
    for (name, labels), value in collector.totals().items():
        if name in FAMILIES:
            assert dict(labels)["agent"] == "claude-code"
            sums[name] = sums.get(name, 0) + value
    return sums


def test_the_demo_moves(collector):
    """Every family of the demo comes up, moves on, and nothing of it is refused; it ends with the collector."""
    running = collector("--demo")
    first = until(lambda: len(found := _moving(running)) == len(FAMILIES) and found)
    until(lambda: sum(_moving(running).values()) > sum(first.values()))

    assert running.counter("agent_exporter_rejected_items_total") == 0
    assert running.counter("agent_exporter_refused_requests_total") == 0
    assert running.stop(signal.SIGTERM) == 0
