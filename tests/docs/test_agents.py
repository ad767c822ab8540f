"""The page about agents, and whether its table is true: against what the captures really feed."""

import re
import runpy
from collections import defaultdict
from pathlib import Path

import pytest

import captures
from agent_exporter.catalog import CATALOG
from agent_exporter.collector.ingest import Ingest
from agent_exporter.config import Config
from agent_exporter.dialects import Dialects
from agent_exporter.dialects.coverage import DERIVED, GROUPS, SAMPLED, coverage
from agent_exporter.model import Signal
from otlp import EPOCH, SECOND, dialects
from replay import protobuf

DOCS = Path(__file__).parents[2] / "docs"
SIGNALS = {"metric": "M", "event": "E", "span": "S"}

# The captures of each dialect, by how their names begin.
CAPTURES = {
    "claude-code": ("claude-code-",),
    "codex": ("codex-",),
    "copilot-cli": ("copilot-cli-",),
    "gemini-cli": ("gemini-cli-",),
    "opencode": ("opencode-",),
    "qwen-code": ("qwen-code-",),
    "crewai": ("crewai-",),
    "google-adk": ("google-adk-",),
    "langchain": ("langchain-",),
    "openai-agents": ("openai-agents-",),
    "openllmetry": ("openai-3.52.0-openllmetry", "mcp-1.30.0-openllmetry"),
    "pydantic-ai": ("pydantic-ai-",),
    "smolagents": ("smolagents-",),
    "strands": ("strands-agents-",),
    "vercel-ai": ("vercel-ai-",),
}
# What the table says and no capture shows, and why.
WINDOWS = "no session of the captures fills its context"
QUIET = "the captured sessions have none"
NAMED = "the captured programs did not name their sessions"
LOOP = "the captured program has no agent, it calls tools in a loop of its own"
UNSHOWN = {
    ("claude-code", "agent.context.compactions"): WINDOWS,
    ("claude-code", "agent.cache.requests"): WINDOWS,
    ("codex", "agent.context.compactions"): WINDOWS,
    ("codex", "agent.cache.evictions"): QUIET,
    ("gemini-cli", "agent.context.compactions"): WINDOWS,
    (
        "gemini-cli",
        "agent.model.retries",
    ): "the captured retry is told as a request, by none of the counters of retries",
    ("gemini-cli", "agent.process.memory.usage"): "the captured sessions were not told to look at their process",
    ("gemini-cli", "agent.runtime.heap.usage"): "the captured sessions were not told to look at their process",
    ("gemini-cli", "agent.runtime.event_loop.delay"): "the captured sessions were not told to look at their process",
    ("gemini-cli", "agent.queue.size"): QUIET,
    ("qwen-code", "agent.context.compactions"): WINDOWS,
    ("crewai", "agent.sessions"): NAMED,
    ("langchain", "agent.sessions"): NAMED,
    ("openai-agents", "agent.sessions"): NAMED,
    ("smolagents", "agent.sessions"): NAMED,
    ("openllmetry", "agent.sessions"): NAMED,
    ("openllmetry", "agent.turns"): LOOP,
    ("openllmetry", "agent.turn.duration"): LOOP,
    ("openllmetry", "agent.tool.transitions"): LOOP,
}


@pytest.fixture(scope="module")
def covered():
    """Return what each dialect covers, by its name."""
    return {each.file.called: each for each in coverage(dialects().files)}


@pytest.fixture(scope="module")
def text():
    """Return the page."""
    return (DOCS / "agents.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shown():
    """Replay every capture that has a dialect; return the marks by dialect and family."""
    found = defaultdict(set)
    for called, beginnings in CAPTURES.items():
        for run in captures.names():
            if run.startswith(beginnings):
                for family, mark in _fed(run):
                    found[called, family].add(mark)
    return found


def _fed(run):
    fresh, now = Dialects(dialects().files), [EPOCH]
    ingest = Ingest(Config(), fresh, lambda: now[0])
    for payload in captures.load(run).payloads:
        ingest(Signal(payload.signal), protobuf(payload))
    now[0] += 3600 * SECOND
    ingest.sweep()
    for rule in fresh.matched:
        told = re.fullmatch(r".+?: (metric|event|span) .+ -> ([\w.]+)(?:\[\w+\])?(?: #\d+)?", rule)
        yield told[2], SIGNALS[told[1]]


def test_the_page_is_current(text):
    """docs/agents.md says what the dialect files say; `make docs` writes it again."""
    assert text == runpy.run_path(str(DOCS / "agents.py"))["page"]()


def test_every_dialect_is_on_the_page(text, covered):
    """Every file has a row, which leads to its section, and all but vocabularies say how to set it up."""
    links = re.findall(r"^\| \[.+\]\(#([\w-]+)\) \|", text, re.MULTILINE)
    setups = re.findall(r"^`agent-exporter setup ([\w-]+)`:$", text, re.MULTILINE)

    assert links == re.findall(r'^<a id="([\w-]+)"></a>$', text, re.MULTILINE) == list(covered)
    assert set(covered) - set(setups) == {"caches", "genai", "mcp", "runtime"}


def test_every_dialect_says_what_it_cannot_tell(covered):
    """There is no agent that tells everything."""
    assert [name for name, each in covered.items() if not each.file.gaps] == []


def test_every_family_has_a_column(covered):
    """What a dialect tells is in exactly one column of the table."""
    told = {family for each in covered.values() for family in each.told}

    assert [family for family in told if sum(family in group for group in GROUPS) != 1] == []


def test_the_table_claims_what_captures_show(covered, shown):
    """What real agents feed is in the table, by the signal that fed it."""
    missing = {
        (name, family): marks - set(covered[name].told.get(family, ""))
        for (name, family), marks in shown.items()
        if not marks <= set(covered[name].told.get(family, ""))
    }

    assert missing == {}


def test_the_table_claims_no_more_than_captures_show(covered, shown):
    """What the table says of an agent that was captured was seen, or it is said why not."""
    claimed = {
        (name, family)
        for name in CAPTURES
        for family, marks in covered[name].told.items()
        if set(marks) - {DERIVED, SAMPLED} - shown.get((name, family), set())
    }

    assert claimed == set(UNSHOWN)


def test_nothing_is_told_of_what_a_file_says_is_untold(covered):
    """A family under `untold` is in no cell, and a vocabulary would feed it."""
    vocabularies = {family for name in ("genai", "mcp") for family in covered[name].told}

    for each in covered.values():
        assert not set(each.file.untold) & set(each.told)
        assert set(each.file.untold) <= vocabularies & set(CATALOG)
