"""What is understood of queries: names, labels from the inside out, and what cannot be."""

from __future__ import annotations

import pytest

from agent_exporter.lint import Lexicon
from agent_exporter.lint.promql import read, selected

CALLS = "agent_tool_executions_total"
BUCKET = "agent_tool_execution_duration_seconds_bucket"
LABELS = {"job", "instance", "agent", "tool", "tool_type", "status", "error_type"}


@pytest.fixture(scope="module")
def lexicon():
    """Know the catalogue and one recorded series."""
    made = Lexicon.of_catalog(allowed=["environment", "agent_mine_total"])
    made.record({"agent:calls:rate5m": frozenset({"job", "agent"})})
    return made


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        (CALLS, LABELS),
        (f"rate({CALLS}[5m] offset 1h)", LABELS),
        (f"sum({CALLS})", set()),
        (f"sum by (job, agent) (rate({CALLS}[5m]))", {"job", "agent"}),
        (f"sum without (status, error_type) ({CALLS})", LABELS - {"status", "error_type"}),
        (f"topk by (agent) (3, {CALLS})", LABELS),
        (f'count_values by (job) ("many", {CALLS})', {"job", "many"}),
        (f"histogram_quantile(0.9, sum by (agent, le) (rate({BUCKET}[5m])))", {"agent"}),
        ("time() - agent_source_last_seen_seconds", {"job", "instance", "agent", "signal"}),
        ("agent:calls:rate5m / on (job) group_left (version) agent_exporter_build_info", {"job", "agent", "version"}),
        (f"sum by (agent) ({CALLS}) / on (agent) sum by (agent) (agent_turns_total)", {"agent"}),
        (f"agent:calls:rate5m and on (job) {CALLS}", {"job", "agent"}),
        (f"agent:calls:rate5m or sum by (tool) ({CALLS})", {"job", "agent", "tool"}),
        ("agent:calls:rate5m / ignoring (agent) agent:calls:rate5m", {"job"}),
        (f'label_replace({CALLS}, "short", "$1", "tool", "(...).*")', LABELS | {"short"}),
        ('absent(up{job="agent-exporter"})', {"job"}),
        ('absent_over_time(up{job="agent-exporter", instance!="a"}[5m])', {"job"}),
        ("vector(1)", set()),
        ("max_over_time((agent:calls:rate5m > 0)[1h:1m])", {"job", "agent"}),
        ("-agent:calls:rate5m", {"job", "agent"}),
        ('{__name__="agent:calls:rate5m"}', {"job", "agent"}),
        ('{__name__=~"agent:calls:.+"}', {"job", "agent"}),
        ("claude_code_cost_usage_USD_total", None),
        ("agent:calls:rate5m * on (job) group_left (x) theirs", {"job", "agent", "x"}),
    ],
)
def test_labels_that_come_out(lexicon, text, labels):
    """Labels are what selectors have, less what is taken away on the way."""
    reading = read(text, lexicon)

    assert reading.mistakes == []
    assert labels == (reading.labels if reading.labels is None else set(reading.labels))


STATUSES = "it is one of error, ok, rejected, unknown"


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("agent_turn_total", "there is no series `agent_turn_total`; did you mean `agent_turns_total`?"),
        ("agent_turns", "there is no series `agent_turns`; did you mean `agent_turns_total`?"),
        ("agent_turn_duration_seconds", "there is no series `agent_turn_duration_seconds`; did you mean `agent_turn_d"),
        ("agent:cals:rate5m", "there is no series `agent:cals:rate5m`; did you mean `agent:calls:rate5m`?"),
        ("agent_mine", "there is no series `agent_mine`"),
        ("agent_cost", "there is no series `agent_cost`; did you mean `agent_cost_usd_total`?"),
        (
            "histogram_quantile(0.9, sum by (le) (rate(agent_tool_execution_duration_seconds[5m])))",
            f"there is no series `agent_tool_execution_duration_seconds`; did you mean `{BUCKET}`?",
        ),
        (CALLS + '{agnet="a"}', f"`{CALLS}`: there is no label `agnet`; did you mean `agent`?"),
        (f"sum by (agent, model) ({CALLS})", "`sum by`: there is no label `model`"),
        ("sum by (tool) (agent:calls:rate5m)", "`sum by`: there is no label `tool`"),
        (f"sum without (modell) ({CALLS})", "`sum without`: there is no label `modell`"),
        (CALLS + '{status="failed"}', f"`{CALLS}`: `status` is never `failed`; {STATUSES}"),
        (CALLS + '{status!="rejectd"}', f"`{CALLS}`: `status` is never `rejectd`; did you mean `rejected`?"),
        (CALLS + '{status=~"fail.*|broken"}', f"`{CALLS}`: `status` is never `fail.*|broken`; {STATUSES}"),
        (BUCKET + '{le="3"}', f"`{BUCKET}`: `le` is never `3`"),
        (f"histogram_quantile(0.9, sum(rate({BUCKET}[5m])))", "`histogram_quantile`: there is no label `le`"),
        (f"{CALLS} / on (agent, model) agent:calls:rate5m", "`/ on`: there is no label `model`"),
        (
            "agent:calls:rate5m * on (job) group_left (versoin) agent_exporter_build_info",
            "`* group_left`: there is no label `versoin`; did you mean `version`?",
        ),
        (
            f'label_replace({CALLS}, "a", "$1", "toll", "(.*)")',
            "`label_replace`: there is no label `toll`; did you mean `tool`?",
        ),
        ("{__name__=~'agent_tols_.*'}", "no series has a name like `agent_tols_.*`"),
        ("sum(", "is not PromQL: "),
        (f"rate({CALLS})", "is not PromQL: "),
    ],
)
def test_mistakes(lexicon, text, mistake):
    """What cannot be is named, and what may have been meant."""
    found = read(text, lexicon).mistakes

    assert [mistake] == [each[: len(mistake)] for each in found]


@pytest.mark.parametrize(
    "text",
    [
        CALLS + '{environment="test"}',
        f"sum by (environment) ({CALLS})",
        "rate(agent_mine_total[5m])",
        CALLS + '{tool!=""}',
        CALLS + '{status=~"ok|error"}',
        BUCKET + '{le=~"1|1.0"}',
        BUCKET + '{le="+Inf"}',
        'ALERTS{alertname="AgentToolSlow", alertstate="firing"}',
        "scrape_samples_scraped > 100",
        'target_info{service_version="1"}',
        "rate(agent_tool_executions_created[5m])",
    ],
)
def test_what_is_there(lexicon, text):
    """What Prometheus adds, both ways to write a bucket, and what the user vouches for are there."""
    assert read(text, lexicon).mistakes == []


def test_strangers_are_told(lexicon):
    """Names that are not ours are no mistakes, and listed."""
    reading = read("node_load1 + on (job) claude_code_session_count_total + up", lexicon)

    assert reading.mistakes == []
    assert reading.strangers == {"node_load1", "claude_code_session_count_total"}


def test_what_a_query_selects():
    """Full names are found however they are written; what is no query selects nothing."""
    assert selected('rate(a[5m]) / {__name__="b", c="d"} + {__name__=~"e.*"}') == {"a", "b"}
    assert selected("rate(") == set()
