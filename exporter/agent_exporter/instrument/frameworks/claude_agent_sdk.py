"""Claude Agent SDK: `ClaudeAgentOptions(hooks=hooks())`.

What may live here: the hooks. Claude Code runs in a process of its own and tells of each call as it begins and ends;
a call that was not allowed never ends, so what still runs is over when the agent stops. Its own telemetry leaves out
less than others' do: it tells sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from claude_agent_sdk import HookContext, HookInput, HookJSONOutput, HookMatcher
from claude_agent_sdk.types import HookEvent

from ..tools import ToolType, tool
from .running import FAILED, Outcome, Running, quiet

Heard = Callable[["Calls", dict[str, Any]], None]
INTERRUPTED: Final[Outcome] = ("unknown", "interrupted")


class Calls:
    """The calls of one client or more, by session and number."""

    def __init__(self, *, counts: bool) -> None:
        self._counts = counts
        self._running = Running()

    async def __call__(self, told: HookInput, _number: str | None, _context: HookContext) -> HookJSONOutput:
        """Hear of something, and have no say in it."""
        self._hear(cast("dict[str, Any]", told))
        return {}

    @quiet
    def _hear(self, told: dict[str, Any]) -> None:
        HEARD[told["hook_event_name"]](self, told)

    def begin(self, told: dict[str, Any]) -> None:
        """Begin a call."""
        name = told["tool_name"]
        call = tool(name, type=_type(name), sizes=self._counts, counts=self._counts)
        self._running.begin(_key(told), call, held=self)  # the task that tells is not the one that the tool runs in
        call.input(told["tool_input"])

    def done(self, told: dict[str, Any]) -> None:
        """End a call."""
        self._running.done(_key(told), told["tool_response"])

    def failed(self, told: dict[str, Any]) -> None:
        """End a call that failed or that somebody interrupted."""
        self._running.done(_key(told), None, INTERRUPTED if told.get("is_interrupt") else FAILED)

    def stopped(self, told: dict[str, Any]) -> None:
        """End what an agent has left; a subagent's end is not its session's."""
        for key in self._running.keys():  # noqa: SIM118  # it is no mapping
            if isinstance(key, tuple) and key[:2] == _key(told)[:2]:
                self._running.lost(key)


HEARD: Final[dict[HookEvent, Heard]] = {
    "PreToolUse": Calls.begin,
    "PostToolUse": Calls.done,
    "PostToolUseFailure": Calls.failed,
    "Stop": Calls.stopped,
    "SubagentStop": Calls.stopped,
    "UserPromptSubmit": Calls.stopped,  # after an interruption nothing says that the agent has stopped
}


def hooks(*, counts: bool = False) -> dict[HookEvent, list[HookMatcher]]:
    """Measure running calls of tools; `counts=True`: sizes, how often, how long and how they end as well."""
    calls = Calls(counts=counts)
    return {event: [HookMatcher(hooks=[calls])] for event in HEARD}


def _key(told: dict[str, Any]) -> tuple[str, str, str]:
    return told["session_id"], told.get("agent_id", ""), told.get("tool_use_id", "")


def _type(name: str) -> ToolType:
    return "mcp" if name.startswith("mcp__") else "builtin"
