"""What a token costs: the user's own prices, then those that genai-prices publishes.

Rule: the only module that knows the library, and it loads it at the first look-up (0.1 to 0.25 s, 6 MB).
The table is the one inside the package; the library could download newer ones, this never does.
A price is known or there is none. Names are read more loosely only by what they say themselves:
a path (`anthropic/claude-sonnet-4.5`), a place (`us.anthropic.…-v1:0`), a date (`…-2025-08-07`);
`reference/agent-telemetry.md` 14.5, rule 9.

What a price by the token cannot tell: requests whose size moves them into a dearer tier (the base
tier is taken), cache writes kept for an hour (taken for those of five minutes), hours of the day
(noon UTC is taken), batches, priority and fees per request.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import product
from typing import Final

REMEMBERED: Final = 1024  # pairs of provider and model; the library remembers what it was asked for them, too
SEGMENTS: Final = 8  # parts of a path that are tried; Vertex AI's names have seven
DAY: Final = 86_400

# What providers are called by the GenAI conventions and by instrumentations, where the library's
# own matching fails or takes another seller (`azure.ai.openai` for OpenAI).
PROVIDERS: Final = {
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "az.ai.inference": "azure",
    "az.ai.openai": "azure",
    "azure_openai": "azure",
    "fireworks_ai": "fireworks",
    "gcp.gen_ai": "google",
    "github": "github-copilot",  # as Copilot Chat calls itself
    "x_ai": "x-ai",
}
# Who runs a model at home pays nobody by the token, whatever the model is called.
AT_HOME: Final = frozenset({"llama.cpp", "llamacpp", "lm_studio", "lmstudio", "ollama", "ollama_chat", "vllm"})

_DATE: Final = re.compile(r"[-@]20\d\d-?[01]\d-?[0-3]\d$")
_BEDROCK: Final = re.compile(r"(?:[a-z-]+\.)?([a-z]+[a-z0-9]*)\.([a-z].*?)(?:-v\d+)?(?::\d+)*")
# One token more of each disjoint type, as the library wants to hear it: input has all of it.
_MORE: Final[dict[str, dict[str, int]]] = {
    "input": {"input_tokens": 1},
    "cache_read": {"input_tokens": 1, "cache_read_tokens": 1},
    "cache_write": {"input_tokens": 1, "cache_write_tokens": 1},
    "output": {"output_tokens": 1},
    "reasoning": {"output_tokens": 1, "output_reasoning_tokens": 1},
}
_PRICED_BY: Final = {"input_tokens": "input_mtok", "output_tokens": "output_mtok"}

PerToken = Mapping[str, float]  # US dollars, by type of agent.tokens
_UNASKED: Final[PerToken] = {}


@dataclass(frozen=True, slots=True)
class Price:
    """A price of the user's, in US dollars for a million tokens, for names that match the globs.

    Missing ones are as dear as what they are a part of: cached input as input, reasoning as output.
    """

    model: str
    input: float
    output: float
    provider: str = "*"
    cache_read: float | None = None
    cache_write: float | None = None
    reasoning: float | None = None


class Prices:
    """Prices by provider and model. Thread safe as far as single dict operations are."""

    def __init__(self, own: Sequence[Price] = (), clock: Callable[[], float] = time.time) -> None:
        """Take the user's prices, the first match of which wins, and a clock in Unix seconds."""
        self._own = [(_glob(price.provider), _glob(price.model), _per_token(price)) for price in own]
        self._clock = clock
        self._known: dict[tuple[str, str], PerToken | None] = {}
        self._published: _Published | None = None

    def price(self, provider: str, model: str) -> PerToken | None:
        """Return what a token of each type costs today, None if the model is not known.

        `provider` and `model` are as the sender wrote them, "" where it wrote none. A type that
        has no price is left out.
        """
        published = self._published
        day = int(self._clock()) // DAY
        if published is None or published.day != day or len(self._known) >= REMEMBERED:
            self._known, published = {}, _Published(day)
            self._published = published
        known, key = self._known, (provider, model)
        found = known.get(key, _UNASKED)
        if found is _UNASKED:
            found = known[key] = self._find(published, provider.lower(), model.lower())
        return found

    def _find(self, published: _Published, provider: str, model: str) -> PerToken | None:
        for providers, models, own in self._own:
            if models.fullmatch(model) and providers.fullmatch(provider):
                return own
        return published.find(provider, model) if model else None


class _Published:
    """The library's prices on one day."""

    def __init__(self, day: int) -> None:
        from genai_prices.data import providers  # noqa: PLC0415 - see the top
        from genai_prices.data_snapshot import DataSnapshot  # noqa: PLC0415 - same

        self.day = day
        self._noon = datetime.fromtimestamp(day * DAY + DAY // 2, UTC)
        # One of our own: the library's shared one may be replaced by a downloaded one, and
        # remembers every name that it was ever asked for.
        self._table = DataSnapshot(providers=providers, from_auto_update=False)

    def find(self, provider: str, model: str) -> PerToken | None:
        """Price the first reading of the names that the library knows."""
        for who, what in self._readings(provider, model):
            try:
                return self._per_token(who, what)
            except (LookupError, ValueError):
                continue
        return None

    def _readings(self, provider: str, model: str) -> Iterator[tuple[str | None, str]]:
        """List who may sell which model, by the provider first, then by the model's own path.

        Without either the library goes by the model.
        """
        seller, path, rest = self._provider(provider), None, model
        first = provider
        for _ in range(SEGMENTS):
            if first in AT_HOME or not rest:
                return
            sellers: list[str | None] = [who for who in (seller, path) if who] or [None]
            yield from product(sellers, (rest, _DATE.sub("", rest)))
            yield from self._in_bedrock(rest)
            first, _, rest = rest.partition("/")
            path = self._provider(first) or path

    def _in_bedrock(self, name: str) -> Iterator[tuple[str, str]]:
        """Read names such as `us.anthropic.claude-sonnet-4-5-20250929-v1:0`, whoever is said to sell it."""
        match = _BEDROCK.fullmatch(name)
        vendor = self._provider(match[1]) if match else None
        if match and vendor:
            yield "aws", name
            yield vendor, match[2]
            yield vendor, _DATE.sub("", match[2])

    def _provider(self, name: str) -> str | None:
        """Find the library's name of a provider; `openai.chat` is one of OpenAI's."""
        for spelling in (PROVIDERS.get(name, name), name.partition(".")[0]):
            try:
                return self._table.find_provider(None, spelling, None).id if spelling else None
            except LookupError:
                continue
        return None

    def _per_token(self, provider: str | None, model: str) -> PerToken | None:
        """Let the library calculate one token of each type; LookupError if it does not know the model."""
        from genai_prices import Usage  # noqa: PLC0415 - see the top

        def bill(tokens: Mapping[str, int]) -> tuple[Decimal, object]:
            done = self._table.calc(Usage(**tokens), model, provider, None, self._noon)
            return done.total_price, done.model_price

        nothing, prices = bill({})  # some charge for the request itself
        # A model in the table without prices is free in a plan or paid by the hour: not ours to say.
        return {
            kind: float(bill(tokens)[0] - nothing)
            for kind, tokens in _MORE.items()
            if getattr(prices, _PRICED_BY[next(iter(tokens))]) is not None
        } or None


def _glob(pattern: str) -> re.Pattern[str]:
    """Compile a glob in which `*` stands for anything and everything else for itself (`[1m]`, `:free`)."""
    return re.compile(".*".join(map(re.escape, pattern.lower().split("*"))), re.DOTALL)


def _per_token(price: Price) -> PerToken:
    either = {
        "input": price.input,
        "cache_read": price.input if price.cache_read is None else price.cache_read,
        "cache_write": price.input if price.cache_write is None else price.cache_write,
        "output": price.output,
        "reasoning": price.output if price.reasoning is None else price.reasoning,
    }
    return {kind: float(Decimal(str(usd)) / 1_000_000) for kind, usd in either.items()}
