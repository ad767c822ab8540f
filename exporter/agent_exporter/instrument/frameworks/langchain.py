"""LangChain and LangGraph: `agent.invoke(question, config={"callbacks": [handler()]})`.

What may live here: the callback handler. LangChain does not tell it of a tool that is cancelled; such a call ends
with its task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.outputs import LLMResult

from ..models import ModelRequest, model_request
from ..tools import tool
from ..tracks import outcome
from .running import FAILED, OK, Running, quiet, tokens


class Handler(BaseCallbackHandler):
    """A handler that measures; one object serves any number of runs at a time."""

    run_inline = True  # in the task that calls, which is what a call ends with
    ignore_chain = ignore_retriever = ignore_retry = ignore_custom_event = True

    def __init__(self, *, counts: bool) -> None:
        self._counts = counts
        self._running = Running()

    @property
    def ignore_llm(self) -> bool:
        """Hear of models if they are to be counted; `ignore_agent` would be of tools."""
        return not self._counts

    @property
    def ignore_chat_model(self) -> bool:
        """Hear of chat models if they are to be counted."""
        return not self._counts

    @quiet
    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        inputs: dict[str, Any] | None = None,
        **rest: Any,
    ) -> None:
        """Begin a call of a tool."""
        call = tool(str((serialized or {}).get("name") or rest.get("name")), counts=self._counts)
        self._running.begin(run_id, call)
        call.input(input_str if inputs is None else inputs)

    @quiet
    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """End a call of a tool."""
        failed = isinstance(output, ToolMessage) and output.status == "error"
        content = output.content if isinstance(output, BaseMessage) else output
        self._running.done(run_id, content, FAILED if failed else OK)

    @quiet
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """End a call of a tool that raised."""
        self._running.done(run_id, None, outcome(error))

    @quiet
    def on_chat_model_start(
        self,
        serialized: dict[str, Any],  # noqa: ARG002
        messages: list[list[BaseMessage]],  # noqa: ARG002
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **rest: Any,
    ) -> None:
        """Begin a request to a chat model."""
        self._running.begin(run_id, _request(metadata or {}, rest))

    @quiet
    def on_llm_start(
        self,
        serialized: dict[str, Any],  # noqa: ARG002
        prompts: list[str],  # noqa: ARG002
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **rest: Any,
    ) -> None:
        """Begin a request to a model that only completes texts."""
        self._running.begin(run_id, _request(metadata or {}, rest))

    @quiet
    def on_llm_new_token(self, token: Any, *, run_id: UUID, **_: Any) -> None:  # noqa: ARG002
        """Hear that the answer begins."""
        request = self._running.get(run_id)
        if isinstance(request, ModelRequest):
            request.first_token()

    @quiet
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        """End a request to a model."""
        request = self._running.end(run_id)
        if isinstance(request, ModelRequest):
            _count(request, response)
            request.complete()

    @quiet
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """End a request to a model that failed."""
        self._running.done(run_id, None, outcome(error))


def handler(*, counts: bool = False) -> Handler:
    """Measure sizes and running calls of tools; `counts=True`: everything, and requests to models."""
    return Handler(counts=counts)


def _request(metadata: Mapping[str, Any], rest: Mapping[str, Any]) -> ModelRequest:
    asked = rest.get("invocation_params") or {}
    name = metadata.get("ls_model_name") or asked.get("model") or asked.get("model_name") or "unknown"
    return model_request(str(metadata.get("ls_provider") or "unknown"), str(name))


def _count(request: ModelRequest, response: LLMResult) -> None:
    """Count the tokens of an answer, of which every alternative tells them all."""
    for answers in response.generations:
        usage = getattr(getattr(answers[0], "message", None), "usage_metadata", None) if answers else None
        if usage:
            given, made = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
            tokens(
                request,
                all_input=usage["input_tokens"],
                all_output=usage["output_tokens"],
                cache_read=given.get("cache_read") or 0,
                cache_write=given.get("cache_creation") or 0,
                reasoning=made.get("reasoning") or 0,
            )
