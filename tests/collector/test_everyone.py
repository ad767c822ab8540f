"""All captures of all senders in one collector: nobody changes anybody's numbers, and the page stays small.

`LIMITS` is all that differs from what each capture gives in a collector of its own, and why.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from agent_exporter.expose.render import Format, Renderer
from agent_exporter.model import Kind, Signal
from end_to_end.process import samples
from everyone import KINDS, RUNS, Everyone, Page, Request, differing, normalised, recorded, simultaneous, summed
from rewrite import another

GROWING = (Kind.COUNTER, Kind.HISTOGRAM)  # what adds up; gauges say what is now
PAGE = 2_500  # series of all captures, of which 300 are those of one metric that was made to have many
AN_AGENT = 150  # normalised series of any one agent
NOBODY = b"\x0a\x00"  # one more resource, with nothing in it
LATER = 4 * 3600 * 1_000_000_000  # after what waited for the first time was measured

# What captures are about, by run and reason: the names of metrics.
ODD = {
    ("otel-sdk-python-1.45.2-names/http-protobuf", "type_conflict"): {"demo.total", "demo_a_b_total"},
    # says that it only grows, and falls
    ("python-system-metrics-0.66b2/grpc", "negative"): {"process.runtime.cpython.gc_count"},
}


class Limit(NamedTuple):
    """What an agent's captures cannot give at once; `at_once` is whether they can one after the other."""

    reason: str
    at_once: bool
    families: frozenset[str]


LIMITS = {
    "codex": Limit(
        "its metrics are deltas and name neither process nor session: of two that overlap, the later is refused",
        at_once=True,
        families=frozenset(
            {"agent_cache_requests_total", "agent_operation_duration_seconds", "agent_turn_duration_seconds"}
        ),
    ),
    "weather-agent": Limit(
        "both runs of Strands were given the session id s-1, so that the second goes on with the first's",
        at_once=False,
        families=frozenset({"agent_sessions_total", "agent_tool_transitions_total"}),
    ),
}
# Who cannot be told apart while they run together: codex, as above, and two processes of node with one instance id.
REFUSED_AT_ONCE = {("codex-0.169.0", "overlap"), ("codex-0.169.0", "late"), ("node-runtime-0.36.1", "late")}


def _agents(page: Page) -> set[str]:
    return {agent for name, labels in page if name in KINDS and (agent := dict(labels).get("agent"))}


def _of(page: Page, agent: str) -> Page:
    return {key: cells for key, cells in normalised(page).items() if ("agent", agent) in key[1]}


@pytest.fixture(scope="module")
def schedule() -> list[Request]:
    """List what all captures sent, as if they had begun together."""
    return sorted(request for run in RUNS for request in simultaneous(run))


@pytest.fixture(scope="module")
def alone() -> dict[str, Page]:
    """Return the page of every run in a collector of its own."""
    return {run: Everyone(simultaneous(run)).page() for run in RUNS}


@pytest.fixture(scope="module")
def together(schedule: list[Request]) -> Everyone:
    """Return the collector that took everything."""
    return Everyone(schedule)


@pytest.fixture(scope="module")
def page(together: Everyone) -> Page:
    """Return what it shows, each time the same."""
    return together.page()


@pytest.fixture(scope="module")
def agents(alone: dict[str, Page]) -> set[str]:
    """Name all agents."""
    return set().union(*map(_agents, alone.values()))


def test_only_what_is_odd_is_refused(together: Everyone) -> None:
    """Nothing is refused but what captures are about, and two processes that say that they are one."""
    refused: dict[tuple[str, str], set[str]] = {}
    for run, reason, subject in together.rejected:
        refused.setdefault((run, reason), set()).add(subject)
    at_once = {key for key in refused if (key[0].partition("/")[0], key[1]) in REFUSED_AT_ONCE}

    assert {key: names for key, names in refused.items() if key not in at_once} == ODD


def test_nothing_else_is_lost(together: Everyone) -> None:
    """No series overflows, no label is folded, no session or span had to make room."""
    counts = together.ingest.ledger.counts + together.ingest.policy.dialects.memory.counts
    lost = ("overflowed", "folded", "dropped", "orphaned", "clamped")

    assert {key: number for key, number in counts.items() if any(word in key[0] for word in lost)} == {}


def test_no_agent_changes_another(
    schedule: list[Request], alone: dict[str, Page], page: Page, agents: set[str]
) -> None:
    """All series of an agent, gauges too, are those that it has when its captures have the collector to themselves."""
    apart: Page = {}
    for agent in agents:
        runs = {run for run in RUNS if agent in _agents(alone[run])}
        apart |= _of(Everyone(request for request in schedule if request.run in runs).page(), agent)

    assert agents >= {"claude-code", "codex", "copilot-cli", "gemini-cli", "opencode", "qwen-code", "weather-agent"}
    assert differing({key: cells for key, cells in normalised(page).items() if "agent" in dict(key[1])}, apart) == {}


def _differing_families(one: Page, other: Page) -> dict[str, set[str]]:
    """Name the families in which counters and histograms differ, by agent."""
    found: dict[str, set[str]] = {}
    for name, labels in differing(normalised(one, *GROWING), normalised(other, *GROWING)):
        found.setdefault(dict(labels)["agent"], set()).add(name)
    return found


def test_at_once_captures_add_up(page: Page, alone: dict[str, Page]) -> None:
    """Together they count the sum of what each counts alone, but for the limits that are named."""
    found = _differing_families(page, summed(alone.values()))

    assert found == {agent: set(limit.families) for agent, limit in LIMITS.items()}


def test_in_turn_captures_add_up(alone: dict[str, Page]) -> None:
    """One after the other, at the times that they were recorded, nothing is refused but what is odd."""
    in_turn = Everyone(request for run in RUNS for request in recorded(run))
    found = _differing_families(in_turn.page(), summed(alone.values()))

    assert found == {agent: set(limit.families) for agent, limit in LIMITS.items() if not limit.at_once}
    assert {(run, reason) for run, reason, _ in in_turn.rejected} == set(ODD)


def test_series_are_few(page: Page, agents: set[str]) -> None:
    """The page of everybody has a bound, and each agent's part of it."""
    each = {agent: len(_of(page, agent)) for agent in sorted(agents)}
    print(f"{len(page)} series, {len(normalised(page))} of them normalised: {each}")

    assert len(page) <= PAGE
    assert max(each.values()) <= AN_AGENT


def _without(keys: Any, *labels: str) -> set[Any]:
    return {(name, tuple(pair for pair in pairs if pair[0] not in labels)) for name, pairs in keys}


def test_more_sessions_are_no_more_series(schedule: list[Request], page: Page) -> None:
    """All of it once more, by other sessions, users and processes: the same series, but for their instance."""
    again = [
        request._replace(at=request.at + LATER, body=another(request.signal, request.body, later=LATER))
        for request in schedule
    ]
    twice = Everyone([*schedule, *again]).page()

    known = _without(page, "instance", "agent_instance")
    assert _without(twice, "instance", "agent_instance") == known


def test_each_request_twice(schedule: list[Request], page: Page) -> None:
    """A retry of every request at once changes nothing: points by their times, events and spans as the same request."""
    twice = Everyone(schedule, times=2)
    counts = twice.ingest.ledger.counts
    received = {signal: counts["agent_exporter.received.items", (("signal", signal),)] for signal in Signal}

    assert differing(twice.page(), page) == {}
    assert 2 * _repeated(counts) == received[Signal.LOGS] + received[Signal.TRACES] > 10_000


def _repeated(counts: Counter[Any]) -> int:
    return sum(number for (_, labels), number in counts.items() if ("reason", "repeated_payload") in labels)


def test_all_of_it_twice(schedule: list[Request], page: Page) -> None:
    """What a sender kept for long and sends again changes nothing either, while its requests are remembered."""
    late = [request._replace(at=schedule[-1].at + 1 + index) for index, request in enumerate(schedule)]

    assert differing(Everyone([*schedule, *late]).page(), page) == {}


def _packed_anew(schedule: list[Request], signal: Signal) -> list[Request]:
    return [
        each._replace(at=each.at + 1, body=each.body + NOBODY) if again else each
        for each in schedule
        for again in ((False, True) if each.signal is signal else (False,))
    ]


def test_the_same_spans_in_another_request(schedule: list[Request], page: Page) -> None:
    """Spans have an id: packed anew, by a proxy say, they count once all the same."""
    assert differing(Everyone(_packed_anew(schedule, Signal.TRACES)).page(), page) == {}


def test_the_same_events_in_another_request(schedule: list[Request], page: Page) -> None:
    """Events have no id: packed anew they count again, which no exporter does when it sends again."""
    more = Everyone(_packed_anew(schedule, Signal.LOGS)).page()
    tokens = {key: cells for key, cells in _of(page, "codex").items() if key[0] == "agent_tokens_total"}

    assert tokens
    assert {key: more[key][0] for key in tokens} == {key: 2 * cells[0] for key, cells in tokens.items()}


def test_parsers_agree(together: Everyone, page: Page) -> None:
    """Strict parsers read both formats of the page, and find the same in them."""
    families = together.ingest.snapshot()
    text, openmetrics = (b"".join(Renderer(created=True).render(families, form)).decode() for form in Format)
    typed = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_openmetrics(openmetrics)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }

    assert len(page) > 0
    assert {key: repr(value) for key, value in samples(text).items()} == {k: repr(v) for k, v in typed.items()}
