"""OpenAI Agents: `Runner.run(agent, prompt, hooks=hooks())`.

What may live here: the hooks of a run. They hear of no tool that raises through the run and of no model request that
fails; such a call ends when Python frees its context.
"""

from __future__ import annotations

from typing import Any

from agents import Agent, FunctionSpanData, FunctionTool, RunContextWrapper, RunHooks, Tool, get_current_span
from agents.items import ModelResponse
from agents.usage import Usage

from ..models import ModelRequest, model_request
from ..tools import ToolType, tool
from .running import FAILED, OK, Running, quiet, tokens


class Hooks(RunHooks[Any]):
    """Hooks that measure; one object serves any number of runs at a time."""

    def __init__(self, *, counts: bool) -> None:
        self._counts = counts
        self._running = Running()

    async def on_tool_start(self, context: RunContextWrapper[Any], agent: Agent[Any], tool: Tool) -> None:  # noqa: ARG002
        """Begin a call of a tool."""
        self._begin(context, tool)

    async def on_tool_end(
        self,
        context: RunContextWrapper[Any],
        agent: Agent[Any],  # noqa: ARG002
        tool: Tool,
        result: object,
    ) -> None:
        """End a call of a tool."""
        self._end(context, tool, result)

    async def on_llm_start(self, context: RunContextWrapper[Any], agent: Agent[Any], *_: object) -> None:
        """Begin a request to a model."""
        if self._counts:
            self._ask(context, agent)

    async def on_llm_end(self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse) -> None:
        """End a request to a model."""
        if self._counts:
            self._answer(context, agent, response)

    @quiet
    def _begin(self, context: RunContextWrapper[Any], used: Tool) -> None:
        call = tool(used.name, type=_type(used), counts=self._counts)
        self._running.begin((id(context), used.name), call, held=context)
        call.input(getattr(context, "tool_arguments", None))  # hosted shells and computers have none

    @quiet
    def _end(self, context: RunContextWrapper[Any], used: Tool, result: object) -> None:
        # By default a tool that raises gives the model a text; only the framework's span tells that it failed.
        span = get_current_span()
        failed = span is not None and isinstance(span.span_data, FunctionSpanData) and span.error is not None
        self._running.done((id(context), used.name), result, FAILED if failed else OK)

    @quiet
    def _ask(self, context: RunContextWrapper[Any], agent: Agent[Any]) -> None:
        self._running.begin((id(context), id(agent)), model_request("openai", _model(agent)), held=context)

    @quiet
    def _answer(self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse) -> None:
        request = self._running.end((id(context), id(agent)))
        if isinstance(request, ModelRequest):
            _count(request, response.usage)
            request.complete()


def hooks(*, counts: bool = False) -> Hooks:
    """Measure sizes and running calls of tools; `counts=True`: everything, and requests to models."""
    return Hooks(counts=counts)


def _type(used: Tool) -> ToolType:
    """Say of what kind a tool is; those of MCP servers are functions here."""
    return "function" if isinstance(used, FunctionTool) else "builtin"


def _model(agent: Agent[Any]) -> str:
    """Find a model's name, of which the hooks know only what the agent says."""
    model = agent.model
    return model if isinstance(model, str) else str(getattr(model, "model", None) or "unknown")


def _count(request: ModelRequest, usage: Usage) -> None:
    given, made = usage.input_tokens_details, usage.output_tokens_details
    tokens(
        request,
        all_input=usage.input_tokens,
        all_output=usage.output_tokens,
        cache_read=given.cached_tokens or 0,
        cache_write=getattr(given, "cache_write_tokens", 0) or 0,
        reasoning=made.reasoning_tokens or 0,
    )
