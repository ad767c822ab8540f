"""Rules of vocabularies and frameworks that no capture exercises, and why: nobody should take them for verified."""

from __future__ import annotations

import pytest

import captures
from agent_exporter.collector.ingest import Ingest
from agent_exporter.config import Config
from agent_exporter.dialects import Dialects
from agent_exporter.dialects.names import matcher
from agent_exporter.model import Signal
from otlp import EPOCH, SECOND, dialects
from replay import protobuf

FILES = (
    *("caches", "crewai", "genai", "google-adk", "langchain", "mcp", "ms-agent-framework", "openai-agents"),
    *(
        "openinference",
        "openllmetry",
        "pydantic-ai",
        "runtime",
        "semantic-kernel",
        "smolagents",
        "strands",
        "vercel-ai",
    ),
)

METRICS = "spans rule for every framework that was captured; test_built_in_vocabularies.py has made-up points"
NOBODY = "no capture to be had; test_built_in_vocabularies.py has made-up points"
REASONS = {
    "caches: *": NOBODY,
    "genai: metric gen_ai.client.operation.duration *": METRICS,
    "genai: metric gen_ai.client.token.usage *": METRICS,
    "genai: metric gen_ai.client.inference.usage.*": "sent by Copilot only, which has a dialect of its own",
    "genai: metric gen_ai.execute_tool.duration *": METRICS,
    "genai: * agent.tokens[cache_write]": "the captured models write no cache",
    "mcp: metric *": "conventions that no captured SDK follows; test_built_in_vocabularies.py has made-up points",
    "mcp: span tools/call* *#2": "every captured call has the server's span; test_framework_words.py has others",
    "runtime: metric process.unix.file_descriptor.count *": "the captured package has the old name",
    "runtime: metric python_gc_*": NOBODY,
    "runtime: metric process_*": NOBODY,
    "runtime: metric nodejs_performance_*": NOBODY,
    "runtime: metric process.runtime.*": NOBODY,
    "runtime: metric go.*": NOBODY,
    "runtime: metric jvm.*": NOBODY,
    "runtime: metric dotnet.*": NOBODY,
    "strands: span model -> agent.tokens*": "no capture with a model of Bedrock, none of cache writes or reasoning",
}


@pytest.fixture(scope="module")
def unexercised():
    """Replay every capture; return the rules of `FILES` that have fed nothing."""
    now, fresh = [EPOCH], Dialects(dialects().files)
    ingest = Ingest(Config(), fresh, lambda: now[0])
    for name in captures.names():
        for payload in captures.load(name).payloads:
            ingest(Signal(payload.signal), protobuf(payload))
        now[0] += 3600 * SECOND
        ingest.sweep()
    return [rule for rule in fresh.unexercised if rule.partition(":")[0] in FILES]


def test_every_rule_that_nothing_exercises_has_a_reason(unexercised):
    """A rule that no capture exercises is listed here."""
    listed = matcher(REASONS)

    assert [rule for rule in unexercised if not listed(rule)] == []


def test_every_reason_is_needed(unexercised):
    """A rule that a capture exercises is not listed any more."""
    assert [pattern for pattern in REASONS if not any(map(matcher((pattern,)), unexercised))] == []
