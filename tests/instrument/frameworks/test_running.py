"""What all adapters share: calls that run, and how they end."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys

import pytest

from agent_exporter.instrument import cells, tool
from agent_exporter.instrument.frameworks import running
from agent_exporter.instrument.frameworks.running import Running, quiet


def ended(counted):
    """List how the calls ended."""
    return {key[3:]: value for key, value in counted().items() if key[0] == "agent.tool.executions"}


def test_of_one_key_the_oldest_ends_first(active, counted):
    """Calls that a framework does not tell apart are several all the same."""
    calls = Running()
    for _ in range(2):
        calls.begin("key", tool("search"))
    both = active()
    calls.done("key")
    one = active()
    calls.done("key")
    calls.done("key")

    assert (both, one, active()) == ({"search": 2}, {"search": 1}, {"search": 0})
    assert ended(counted) == {("ok",): 2}
    assert calls.keys() == ()


def test_too_many(monkeypatch, active, counted):
    """Where ends are never told, the oldest is taken for ended."""
    monkeypatch.setattr(running, "MAX_RUNNING", 3)
    calls = Running()
    for number in range(5):
        calls.begin(number, tool("search"))

    assert calls.keys() == (2, 3, 4)
    assert active() == {"search": 3}
    assert ended(counted) == {("unknown",): 2}


def test_lost_with_its_task(counted):
    """What its task leaves behind is over with it."""
    calls = Running()

    async def leave():
        calls.begin("key", tool("search"))

    asyncio.run(leave())

    assert ended(counted) == {("unknown",): 1}
    assert calls.keys() == ()


def test_lost_with_what_stands_for_it(counted):
    """What stands for a call may go together with who measures it."""

    class Context:
        """Stands for a call."""

    def leave():
        context = Context()
        context.calls = Running()
        context.itself = context
        context.calls.begin(id(context), tool("search"), held=context)

    leave()
    gc.collect()

    assert ended(counted) == {("unknown",): 1}


def test_switched_off(points):
    """Without `start` nothing is remembered."""
    cells.SWITCH.on = False
    calls = Running()
    calls.begin("key", tool("search"))
    calls.done("key", "found")

    assert calls.keys() == ()
    assert ended(points) == {}


def test_quiet(points, caplog):
    """What an adapter raises is counted, said once, and nobody else's trouble."""

    @quiet
    def hear(told):
        return told["name"]

    assert [hear({}), hear({"name": "search"}), hear({})] == [None, "search", None]
    assert points("agent.telemetry.failures") == {("agent.telemetry.failures", "watch"): 2}
    assert [record.getMessage() for record in caplog.records] == ["a call in test_running cannot be read (KeyError)"]


@pytest.mark.parametrize("adapter", ["claude_agent_sdk", "fastmcp", "langchain", "openai_agents", "pydantic_ai"])
def test_one_framework_at_a_time(adapter):
    """Importing an adapter loads its framework and none of the others."""
    frameworks = {
        "claude_agent_sdk": "claude_agent_sdk",
        "fastmcp": "fastmcp",
        "langchain": "langchain_core",
        "openai_agents": "agents",
        "pydantic_ai": "pydantic_ai",
    }
    code = (
        f"import sys; from agent_exporter.instrument.frameworks import {adapter}; "
        f"print(*sorted(set(sys.modules) & {set(frameworks.values())!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.split() == [frameworks[adapter]]
