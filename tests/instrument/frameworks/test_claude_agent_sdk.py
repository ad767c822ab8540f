"""Claude Agent SDK: its hooks, called as its types say; the program that calls them is not here."""

from __future__ import annotations

import asyncio
import gc

import pytest
from claude_agent_sdk import ClaudeAgentOptions
from claude_agent_sdk.types import (
    HookContext,
    PostToolUseFailureHookInput,
    PostToolUseHookInput,
    PreToolUseHookInput,
    StopHookInput,
    SubagentStopHookInput,
)

from agent_exporter.instrument.frameworks.claude_agent_sdk import HEARD, hooks

BASE = {"session_id": "s", "transcript_path": "/t", "cwd": "/"}
SUB = {"agent_id": "a1", "agent_type": "general-purpose"}


class Program:
    """Calls hooks as Claude Code does, by its control protocol."""

    def __init__(self, *, counts=False):
        self.hooks = ClaudeAgentOptions(hooks=hooks(counts=counts)).hooks

    def tell(self, kind, name, number=None, **said):
        """Call the hooks of an event, and return what they answer."""
        told = kind(hook_event_name=name, **(BASE | said))
        if number:
            told["tool_use_id"] = number

        async def call():
            return [
                await hook(told, number, HookContext(signal=None))
                for matcher in self.hooks[name]
                for hook in matcher.hooks
            ]

        return asyncio.run(call())

    def begin(self, number, tool="Bash", given=None, **rest):
        """Begin a call."""
        return self.tell(
            PreToolUseHookInput, "PreToolUse", number, tool_name=tool, tool_input=given or {"command": "ls"}, **rest
        )

    def done(self, number, response, tool="Bash", **rest):
        """End a call."""
        return self.tell(
            PostToolUseHookInput, "PostToolUse", number,
            tool_name=tool, tool_input={}, tool_response=response, **rest,
        )  # fmt: skip

    def failed(self, number, tool="Bash", **rest):
        """End a call that failed."""
        return self.tell(
            PostToolUseFailureHookInput, "PostToolUseFailure", number,
            tool_name=tool, tool_input={}, error="Exit code 1", **rest,
        )  # fmt: skip


def test_what_runs(active, told):
    """What runs is told, and nothing else, as Claude Code tells sizes itself; the hooks have no say in anything."""
    program = Program()

    assert program.begin("1") == [{}]
    assert active() == {"Bash": 1}
    assert program.done("1", {"stdout": "README.md", "stderr": "", "interrupted": False}) == [{}]

    assert active() == {"Bash": 0}
    assert told() == {"agent.tool.active", "agent.tool.oldest_active.age"}


def test_sizes(sizes):
    """Asked to, it measures what goes in and comes out."""
    program = Program(counts=True)
    program.begin("1")
    program.done("1", {"stdout": "README.md", "stderr": "", "interrupted": False})

    assert sizes("Bash") == [(1, 7 + 2), (1, 6 + 9 + 6 + 0 + 11 + 8)]


def test_in_parallel(active):
    """Calls are told apart by their numbers, in whatever order they end."""
    program = Program()
    seen = []
    for number in "123":
        program.begin(number)
        seen.append(active()["Bash"])
    for number in "213":
        program.done(number, "ok")
        seen.append(active()["Bash"])

    assert seen == [1, 2, 3, 2, 1, 0]


def test_counts(counted):
    """Asked to, it counts calls by how they end; tools of MCP servers are known by their names."""
    program = Program(counts=True)
    program.begin("1")
    program.failed("1")
    program.begin("2", "mcp__shop__search")
    program.done("2", [{"type": "text", "text": "found"}], "mcp__shop__search")
    program.begin("3", "Read")
    program.failed("3", "Read", is_interrupt=True)

    assert {key[1:]: value for key, value in counted().items() if key[0] == "agent.tool.executions"} == {
        ("Bash", "builtin", "error", "tool_error"): 1,
        ("mcp__shop__search", "mcp", "ok"): 1,
        ("Read", "builtin", "unknown", "interrupted"): 1,
    }


def test_calls_that_never_end(active, counted):
    """What was not allowed never ends; it is over when its agent stops, and another's goes on."""
    program = Program(counts=True)
    program.begin("1")
    program.begin("2", **SUB)

    stop = {"stop_hook_active": False}
    program.tell(StopHookInput, "Stop", **stop)
    after_main = active()
    program.tell(SubagentStopHookInput, "SubagentStop", **stop, **SUB, agent_transcript_path="/t")

    assert (after_main, active()) == ({"Bash": 1}, {"Bash": 0})
    assert counted()["agent.tool.executions", "Bash", "builtin", "unknown"] == 2


def test_a_client_that_is_gone(active):
    """Nothing runs any more when a client and its hooks are gone."""
    program = Program()
    program.begin("1")
    during = active()
    del program
    gc.collect()

    assert (during, active()) == ({"Bash": 1}, {"Bash": 0})


@pytest.mark.parametrize("event", HEARD)
def test_what_nobody_expects(points, event):
    """An event that looks unlike any that is known is counted, and answered as ever."""
    made = hooks()

    async def call():
        return await made[event][0].hooks[0]({"hook_event_name": event}, None, HookContext(signal=None))

    assert asyncio.run(call()) == {}
    expected = {} if event in ("Stop", "SubagentStop", "UserPromptSubmit") else {"watch": 1}
    assert {key[1]: value for key, value in points("agent.telemetry.failures").items()} == expected
