"""Requests to language models: how often, how long, how they ended, tokens, first tokens, tries.

Rule: counts and times only, never what was said. What they cost, the collector works out from the tokens.
"""

from __future__ import annotations

from typing import Final, Self

from . import cells, given
from .cells import SWITCH
from .tracks import STATUSES, Status, clock, outcome

TOKENS: Final = ("input", "cache_read", "cache_write", "output", "reasoning")


class ModelRequest:
    """One request to a model: a block, or from `start` to `complete`."""

    __slots__ = ("_first", "_labels", "_operation", "_start")

    def __init__(self, provider: str, model: str, operation: str) -> None:
        self._labels = {"provider": provider, "model": model}
        self._operation = operation
        self._start = self._first = -1.0  # not running; none yet

    def start(self) -> Self:
        """Begin."""
        if SWITCH.on:
            self.complete("unknown")  # what ran before, if anything
            self._start, self._first = clock(), -1.0
        return self

    def first_token(self) -> None:
        """Say that the answer begins; only the first time counts."""
        if self._first < 0.0 <= self._start:
            self._first = clock()

    def retry(self) -> None:
        """Count another try of the same request."""
        cells.counter("agent.model.retries", **self._labels).add()

    def tokens(
        self,
        *,
        input: float = 0,  # noqa: A002  # it is called so
        output: float = 0,
        cache_read: float = 0,
        cache_write: float = 0,
        reasoning: float = 0,
    ) -> None:
        """Count tokens; the types do not overlap, so `input` is without what was cached, `output` without reasoning."""
        for kind, amount in zip(TOKENS, (input, cache_read, cache_write, output, reasoning), strict=True):
            if found := given.amount(amount, f"the number of {kind} tokens"):
                cells.counter("agent.tokens", **self._labels, type=kind).add(found)

    def complete(self, status: Status = "ok", *, error_type: str = "") -> None:
        """End; a second end of the same request counts for nothing."""
        start, self._start = self._start, -1.0
        if start < 0.0:
            return
        raised = given.text(error_type, "the type of an error")
        how = {**self._labels, "status": given.word(status, STATUSES, "how a model request ended")}
        cells.counter("agent.model.requests", **how, operation=self._operation, error_type=raised).add()
        cells.histogram("agent.model.request.duration", **how).record(clock() - start)
        if self._first >= 0.0:
            cells.histogram("agent.model.time_to_first_token", **how).record(self._first - start)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            self.complete()
        else:
            status, error_type = outcome(error)
            self.complete(status, error_type=error_type)


def model_request(provider: str, model: str, *, operation: str = "chat") -> ModelRequest:
    """Measure a request to a model; names are those of the semantic conventions, such as `anthropic`, `chat`."""
    return ModelRequest(
        given.text(provider, "the name of a provider"),
        given.text(model, "the name of a model"),
        given.text(operation, "the name of an operation"),
    )
