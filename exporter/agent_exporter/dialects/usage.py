"""Token usage: how frameworks spell the same numbers, and the rules that make types disjoint of them.

Rule: two tables and their expansion. Spellings: `reference/agent-telemetry.md` 1.4 and 5.4, 7, 9;
which parts lie within which: section 13.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeVar

from .schema import Label, RecordRule, Value

FAMILY: Final = "agent.tokens"

SPELLINGS: Final[dict[str, tuple[str, ...]]] = {
    "input": (
        *("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
        *("llm.usage.prompt_tokens", "ai.usage.inputTokens", "ai.usage.promptTokens", "input_tokens"),
        "input_token_count",
    ),
    "output": (
        *("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"),
        *("llm.usage.completion_tokens", "ai.usage.outputTokens", "ai.usage.completionTokens", "output_tokens"),
        "output_token_count",
    ),
    "cache_read": (
        *("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
        *("llm.token_count.prompt_details.cache_read", "ai.usage.cachedInputTokens", "cache_read_tokens"),
        *("cached_token_count", "cached_content_token_count", "gen_ai.usage.details.cache_read_tokens"),
    ),
    "cache_write": (
        *("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
        *("gen_ai.usage.cache_creation_input_tokens", "gen_ai.usage.cache_write_input_tokens"),
        *("gen_ai.usage.input_tokens.cache_write", "llm.token_count.prompt_details.cache_write"),
        *("cache_creation_tokens", "cache_write_token_count"),
    ),
    "reasoning": (
        *("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens", "reasoning_token_count"),
        *("llm.token_count.completion_details.reasoning", "ai.usage.reasoningTokens", "thoughts_token_count"),
        "gen_ai.usage.details.reasoning_tokens",
    ),
    "tool": ("tool_token_count",),
}

_CACHED: Final = ("cache_read", "cache_write")
# By usage: the type that is fed, what it is read from, and what is taken off it.
_DISJOINT: Final = tuple((kind, kind, ()) for kind in ("cache_read", "cache_write", "reasoning"))
EXPANSIONS: Final[dict[str, tuple[tuple[str, str, tuple[str, ...]], ...]]] = {
    "inclusive": (("input", "input", _CACHED), ("output", "output", ("reasoning",)), *_DISJOINT),
    "exclusive": (("input", "input", ()), ("output", "output", ()), *_DISJOINT),
    "separate_reasoning": (
        ("input", "input", _CACHED),
        ("input", "tool", ()),  # prompt tokens of tools, beside the input
        ("output", "output", ()),
        *_DISJOINT,
    ),
}

_AnyRule = TypeVar("_AnyRule", bound=RecordRule)


def expand(rule: _AnyRule) -> Iterator[_AnyRule]:
    """Turn a rule with `usage` into one for each type of tokens; others stay as they are."""
    if rule.usage is None:
        yield rule
        return
    for kind, whole, parts in EXPANSIONS[rule.usage]:
        value = Value.model_validate({"from": SPELLINGS[whole], "minus": tuple(SPELLINGS[part] for part in parts)})
        labels = {**rule.labels, "type": Label.model_validate({"is": kind})}
        yield rule.model_copy(update={"to": FAMILY, "labels": labels, "value": (value,), "usage": None})
