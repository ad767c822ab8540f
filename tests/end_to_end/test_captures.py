"""What Claude Code sent, over the protocol it was sent by, to the real process: the totals are the truth."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from operator import itemgetter

import pytest

import captures

RUNS = [name for name in captures.names() if name.startswith("claude-code-")]
TYPES = {
    "input": "input_uncached",
    "cache_read": "cache_read",
    "cache_write": "cache_write",
    "output": "output_incl_reasoning",
}
UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
COST = "agent_cost_usd_total"

# Family and the labels by which its series are summed.
SHOWN = {
    "agent_tool_executions_total": ("tool", "status"),
    "agent_model_requests_total": ("status",),
    "agent_tokens_total": ("type",),
    COST: ("basis",),
    "agent_sessions_total": (),
    "agent_turns_total": (),
}


def truth(run, times=1):
    """Tell what the agent was made to do in a run, by (family, label values)."""
    totals = Counter()
    for name, session in captures.load(run).expected["sessions"].items():
        design, reported = session["design"], session["reported"]
        for call in reported.get("tool_events", ()):
            totals["agent_tool_executions_total", call["tool"], "ok" if call["success"] else "error"] += 1
        totals["agent_tool_executions_total", "Bash", "rejected"] += name == "s6"
        totals["agent_model_requests_total", "ok"] += design["requests_answered"]
        totals["agent_model_requests_total", "error"] += reported["events"].get("api_error", 0)
        for kind, key in TYPES.items():
            totals["agent_tokens_total", kind] += design["tokens"][key]
        sums = Counter()
        for row in reported["metrics"]:
            sums[row["metric"]] += row["value"]
        totals[COST, "reported"] += sums["claude_code.cost.usage"]
        totals["agent_sessions_total",] += sums["claude_code.session.count"]
        totals["agent_turns_total",] += reported["events"]["user_prompt"]
    return {key: value * times for key, value in totals.items() if value}


def shown(collector):
    """Sum the page's series in the same way; series at 0 are left out."""
    totals = Counter()
    for (name, pairs), value in collector.totals().items():
        if name in SHOWN:
            labels = dict(pairs)
            assert labels["agent"] == "claude-code"
            totals[name, *(labels[label] for label in SHOWN[name])] += value
    return {key: value for key, value in totals.items() if value}


def agree(collector, expected):
    """Hold the page to the truth: counts exactly, money to a thousand-millionth."""
    found = shown(collector)
    assert found.pop((COST, "reported")) == pytest.approx(expected[COST, "reported"], abs=1e-9)
    assert found == {key: value for key, value in expected.items() if key[0] != COST}


def bodies(run, *, other=False):
    """List (payload, body); `other` gives every id another last digit, so that they are other sessions."""
    payloads = captures.load(run).payloads
    return [(payload, _renamed(payload) if other else payload.body) for payload in payloads]


def _renamed(payload):
    packed = payload.content_encoding == "gzip"
    plain = gzip.decompress(payload.body) if packed else payload.body
    made = UUID.sub(lambda found: found[0][:-1] + (b"0" if found[0][-1:] != b"0" else b"1"), plain)
    assert made != plain, "a payload without a session"
    return gzip.compress(made) if packed else made


def send(collector, run, pairs, *, partly=False):
    """Send payloads in order over the run's own protocol, each taken in full (or `partly`)."""
    with collector.sender(captures.load(run).protocol, partly=partly) as send:
        for payload, body in pairs:
            send(payload, body)


@pytest.mark.parametrize("run", RUNS)
def test_totals_are_the_truth(collector, run):
    """A run in order gives its totals; sent again it changes nothing; as other sessions it doubles everything."""
    running = collector()
    send(running, run, bodies(run))
    agree(running, truth(run))
    once = running.pushed()

    send(running, run, bodies(run), partly=True)  # its older points are late by now, and their sender is told
    assert running.pushed() == once

    send(running, run, bodies(run, other=True))
    agree(running, truth(run, 2))


@pytest.mark.parametrize("run", RUNS)
def test_each_payload_twice(collector, run):
    """A client that sends every payload again at once, as after a lost answer, changes nothing."""
    running = collector()
    send(running, run, chain.from_iterable((pair, pair) for pair in bodies(run)))
    agree(running, truth(run))


@pytest.mark.parametrize("run", RUNS)
def test_two_at_once(collector, run):
    """Two clients at once, and two in turn, give the sum."""
    running = collector()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda other: send(running, run, bodies(run, other=other)), (False, True)))
    agree(running, truth(run, 2))


def test_in_turn(collector):
    """Two sessions whose payloads arrive in turn give the sum."""
    run = "claude-code-2.1.329/http-protobuf"
    running = collector()
    send(running, run, chain.from_iterable(zip(bodies(run), bodies(run, other=True), strict=True)))
    agree(running, truth(run, 2))


def test_all_runs_add_up(collector):
    """All runs together, each over its own protocol and at the same time, give the sum of all."""
    running = collector()
    with ThreadPoolExecutor(len(RUNS)) as pool:
        list(pool.map(lambda run: send(running, run, bodies(run)), RUNS))
    expected = Counter()
    for key, value in chain.from_iterable(truth(run).items() for run in RUNS):
        expected[key] += value

    agree(running, dict(sorted(expected.items(), key=itemgetter(0))))
