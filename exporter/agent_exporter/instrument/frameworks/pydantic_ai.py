"""Pydantic AI: `Agent(model, capabilities=[capability()])`.

What may live here: the capability, which stands around calls of tools and requests to models.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic_ai import RunContext, ToolDefinition
from pydantic_ai.capabilities import (
    AbstractCapability,
    ValidatedToolArgs,
    WrapModelRequestHandler,
    WrapToolExecuteHandler,
)
from pydantic_ai.exceptions import ApprovalRequired, CallDeferred
from pydantic_ai.messages import ModelResponse, ToolCallPart, ToolReturn
from pydantic_ai.models import ModelRequestContext

from ..models import ModelRequest, model_request
from ..tools import Tool, tool
from .running import quiet, tokens

DEFERRED: Final = (ApprovalRequired, CallDeferred)  # not done here and now, and no failure


class Measuring(AbstractCapability[Any]):
    """A capability that measures; one object serves any number of agents."""

    def __init__(self, *, counts: bool) -> None:
        self._counts = counts

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],  # noqa: ARG002
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,  # noqa: ARG002
        args: ValidatedToolArgs,
        handler: WrapToolExecuteHandler,
    ) -> Any:
        """Measure a call of a tool."""
        measured = tool(call.tool_name, counts=self._counts).start()
        measured.input(call.args)
        try:
            result = await handler(args)
        except DEFERRED as error:
            measured.complete("unknown", error_type=type(error).__name__)
            raise
        except BaseException as error:
            measured.failed(error)
            raise
        _end(measured, result)
        return result

    async def wrap_model_request(
        self,
        ctx: RunContext[Any],  # noqa: ARG002
        *,
        request_context: ModelRequestContext,
        handler: WrapModelRequestHandler,
    ) -> ModelResponse:
        """Measure a request to a model, if models are to be counted."""
        if not self._counts:
            return await handler(request_context)
        model = request_context.model
        with model_request(model.system, model.model_name) as request:
            response = await handler(request_context)
            _count(request, response)
        return response


def capability(*, counts: bool = False) -> Measuring:
    """Measure sizes and running calls of tools; `counts=True`: everything, and requests to models."""
    return Measuring(counts=counts)


@quiet
def _end(measured: Tool, result: object) -> None:
    measured.output(result.return_value if isinstance(result, ToolReturn) else result)
    measured.complete()


@quiet
def _count(request: ModelRequest, response: ModelResponse) -> None:
    usage = response.usage
    tokens(
        request,
        all_input=usage.input_tokens,
        all_output=usage.output_tokens,
        cache_read=usage.cache_read_tokens,
        cache_write=usage.cache_write_tokens,
        reasoning=usage.output_reasoning_tokens,
    )
