import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest

from agent_exporter.catalog import VALUES
from agent_exporter.config.keys import ModelPrice
from agent_exporter.prices import REMEMBERED, Price, Prices

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC).timestamp()

# US dollars for a million tokens: input, cache_read, cache_write, output, reasoning. Read off the
# table of genai-prices 0.2.3 (genai_prices/data.py), which has no price of its own for the
# reasoning of any of them (it is output), nor for OpenAI's and Google's cache writes (input).
SONNET = (3, 0.3, 3.75, 15, 15)  # anthropic, claude-sonnet-4-5; base of two tiers, 6 and 22.5 above 200k
SONNET_IN_A_REGION = (3.3, 0.33, 4.125, 16.5, 16.5)  # aws, regional.anthropic.claude-sonnet-4-5-20250929-v1:0
SONNET_ANYWHERE = (3, 0.3, 3.75, 15, 15)  # aws, global.anthropic.claude-sonnet-4-5-20250929-v1:0
OPUS_4_5 = (5, 0.5, 6.25, 25, 25)  # anthropic, claude-opus-4-5
GPT_5_MINI = (0.25, 0.025, 0.25, 2, 2)  # openai, gpt-5-mini
GPT_5_1 = (1.25, 0.125, 1.25, 10, 10)  # openai, gpt-5.1, which has gpt-5.1-codex-max among its names
GPT_5_5 = (5, 0.5, 5, 30, 30)  # openai, gpt-5.5; base of two tiers
FLASH = (0.3, 0.03, 0.3, 2.5, 2.5)  # google, gemini-2.5-flash
PRO = (1.25, 0.125, 1.25, 10, 10)  # google, gemini-2.5-pro; base of two tiers, 2.5 and 15 above 200k
QWEN = (0.65, 0.13, 0.8125, 3.25, 3.25)  # openrouter, qwen/qwen3-coder-plus
RESEARCH = (2, 2, 2, 8, 3)  # perplexity, sonar-deep-research, the one with a price for reasoning

TYPES = ("input", "cache_read", "cache_write", "output", "reasoning")


def at(now: float, **labels: str) -> dict | None:
    """Ask for a price at a time."""
    return Prices(clock=lambda: now).price(**labels)


def per_million(price: dict[str, float] | None) -> tuple[float, ...] | None:
    """Write a price as price lists do."""
    return price and tuple(round(price[kind] * 1e6, 9) for kind in TYPES)


def test_types_are_those_of_the_catalogue():
    """A price has each of the disjoint types of agent.tokens."""
    assert tuple(at(NOW, provider="anthropic", model="claude-sonnet-4-5")) == VALUES["agent.tokens", "type"]


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        # as captures have it
        ("anthropic", "claude-sonnet-4-5-20250929", SONNET),
        ("openai", "gpt-5-mini-2025-08-07", GPT_5_MINI),
        ("openai", "gpt-5-mini", GPT_5_MINI),
        ("openai.chat", "gpt-5-mini", GPT_5_MINI),  # Vercel AI
        ("strands-agents", "gpt-5-mini", GPT_5_MINI),
        ("langchain", "gpt-5-mini-2025-08-07", GPT_5_MINI),
        ("openai", "gpt-5.5", GPT_5_5),
        ("gcp.gemini", "gemini-2.5-flash", FLASH),
        ("gcp.vertex.agent", "gemini-2.5-flash", FLASH),
        ("gemini", "gemini-2.5-flash", FLASH),
        # as reference/agent-telemetry.md has it
        ("openai", "gpt-5.1", GPT_5_1),
        ("openai", "gpt-5.1-2025-11-13", GPT_5_1),
        ("openai", "gpt-5.1-codex-max", GPT_5_1),
        ("anthropic", "claude-sonnet-4.5", SONNET),
        ("anthropic", "anthropic/claude-sonnet-4.5", SONNET),
        ("openrouter", "qwen/qwen3-coder-plus", QWEN),
        # providers by the names of the conventions, old and new
        ("gcp.gen_ai", "gemini-2.5-flash", FLASH),
        ("gcp.vertex_ai", "gemini-2.5-pro", PRO),
        ("azure.ai.openai", "gpt-5.1", GPT_5_1),
        ("azure.ai.inference", "gpt-5.1", GPT_5_1),
        ("Anthropic", "Claude-Sonnet-4-5", SONNET),
        ("github", "gpt-5-mini", GPT_5_MINI),
        # no provider, or one that nobody knows: by the model
        ("", "claude-sonnet-4-5-20250929", SONNET),
        ("", "gpt-5.1", GPT_5_1),
        ("my-gateway", "gemini-2.5-flash", FLASH),
        # paths
        ("", "anthropic/claude-sonnet-4.5", SONNET),
        ("openai", "anthropic/claude-sonnet-4.5", SONNET),  # OpenAI's library at another's door
        ("litellm", "anthropic/claude-sonnet-4.5", SONNET),
        ("", "openrouter/qwen/qwen3-coder-plus", QWEN),
        ("", "models/gemini-2.5-flash", FLASH),
        ("gcp.vertex_ai", "projects/p/locations/l/publishers/google/models/gemini-2.5-flash", FLASH),
        ("", "publishers/anthropic/models/claude-sonnet-4-5@20250929", SONNET),
        # Bedrock
        ("aws.bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", SONNET_IN_A_REGION),
        ("aws.bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", SONNET_IN_A_REGION),
        ("aws.bedrock", "global.anthropic.claude-sonnet-4-5-20250929-v1:0", SONNET_ANYWHERE),
        ("", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", SONNET_IN_A_REGION),
        ("anthropic", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", SONNET_IN_A_REGION),
        ("", "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", SONNET_IN_A_REGION),
        ("", "us.anthropic.claude-sonnet-4-5-v1:0", SONNET),  # not in Amazon's list: the maker's price
        # dates and other ends
        ("openai", "gpt-5-mini-2031-01-31", GPT_5_MINI),
        ("openai", "gpt-5-mini-20310131", GPT_5_MINI),
        ("anthropic", "claude-opus-4-5-20251101[1m]", OPUS_4_5),
        # reasoning
        ("perplexity", "sonar-deep-research", RESEARCH),
    ],
)
def test_known_models(provider, model, expected):
    """A model that the table has is priced under all the names that agents give it."""
    assert per_million(at(NOW, provider=provider, model=model)) == expected


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        *((provider, "demo-model") for provider in ("", "openai", "anthropic", "gcp.gemini", "aws.bedrock", "qwen")),
        ("", "qwen3-coder-plus"),  # sold at several prices; who sold it is not said
        ("openai", "qwen3-coder-plus"),
        ("openai", "gpt-demo-model"),
        ("openai", "gpt-5-demo"),
        ("anthropic", "claude-sonnet-99"),
        ("gcp.gemini", "gemini-demo-model"),
        ("openai", "claude-sonnet-4-5"),  # OpenAI does not sell it, and who does is not said
        ("ollama", "gpt-oss-20b"),  # a machine at home is not OpenAI
        ("", "ollama/gpt-oss-20b"),
        ("github", "gpt-4.1"),  # in the table without a price: part of a plan
        ("openai", "whisper-1"),  # paid by the hour
        ("openai", "other"),  # folded
        ("openai", ""),
        ("", ""),
        ("", "/"),
        ("", "a/" * 60 + "gpt-5.1"),  # longer than any path
    ],
)
def test_unknown_models(provider, model):
    """A model that is not known exactly has no price."""
    assert at(NOW, provider=provider, model=model) is None


def test_a_type_without_a_price():
    """A model that is paid for its input only has no price for output, and not the price 0."""
    price = at(NOW, provider="openai", model="text-embedding-3-small")

    assert {kind: round(usd * 1e6, 9) for kind, usd in price.items()} == dict.fromkeys(TYPES[:3], 0.02)


def test_fees_per_request_are_left_out():
    """What is charged for the request itself is not in the price of a token."""
    assert per_million(at(NOW, provider="perplexity", model="sonar"))[0] == 1  # and 12 dollars for 1000 requests


def test_a_bill():
    """One request, by hand: 1000 new, 9000 cached, 500 written, 200 visible and 300 reasoning tokens of Sonnet 4.5."""
    price = at(NOW, provider="anthropic", model="claude-sonnet-4-5")
    tokens = {"input": 1000, "cache_read": 9000, "cache_write": 500, "output": 200, "reasoning": 300}

    bill = sum(price[kind] * count for kind, count in tokens.items())

    # 3000 + 2700 + 1875 + 3000 + 4500 millionths
    assert round(bill, 12) == 0.015075


def test_prices_follow_the_date():
    """A price that changes on a day is another from then on, without a restart."""
    now = [datetime(2026, 11, 30, 23, 59, tzinfo=UTC).timestamp()]
    prices = Prices(clock=lambda: now[0])
    before = prices.price("google", "gemini-4-argon")
    now[0] += 120

    after = prices.price("google", "gemini-4-argon")

    # StartDateConstraint(2026-12-01) in the table
    assert [round(price["input"] * 1e6, 9) for price in (before, after)] == [2, 4]


@pytest.mark.parametrize("hour", [0, 2, 12, 20])
def test_the_hour_does_not_matter(hour):
    """Where the night is cheaper, the price of noon is taken: a counter's price cannot change by the hour."""
    now = datetime(2026, 11, 21, hour, 45, tzinfo=UTC).timestamp()

    assert per_million(at(now, provider="deepseek", model="deepseek-chat"))[:2] == (0.27, 0.07)


def test_own_prices_win():
    """A user's price comes before the published one; what is left out is as dear as what it is a part of."""
    prices = Prices([Price(model="gpt-5*", input=1, output=4, cache_read=0.5)], lambda: NOW)

    assert per_million(prices.price("openai", "gpt-5.1")) == (1, 0.5, 1, 4, 4)
    assert per_million(prices.price("google", "gemini-2.5-flash")) == FLASH


def test_all_types_of_own_prices():
    """Each type may have a price of its own, and 0 is one."""
    prices = Prices([Price("m", input=0, output=4, cache_read=3, cache_write=2, reasoning=1)], lambda: NOW)

    assert per_million(prices.price("", "m")) == (0, 3, 2, 4, 1)


def test_own_prices_are_tried_in_order():
    """The first entry that fits by model and provider is taken."""
    prices = Prices(
        [
            Price(model="Demo-*", provider="acme*", input=1, output=1),
            Price(model="demo-model", input=2, output=2),
            Price(model="*", provider="acme", input=3, output=3),
        ],
        lambda: NOW,
    )

    asked = [("acme-eu", "demo-model"), ("", "demo-model"), ("ACME", "gpt-5.1"), ("", "demo-model-2")]

    assert [(price := prices.price(*labels)) and per_million(price)[0] for labels in asked] == [1, 2, 3, None]


def test_globs_are_stars_only():
    """Brackets and question marks in names are themselves."""
    prices = Prices([Price(model="claude-x[1m]", input=1, output=1)], lambda: NOW)

    assert prices.price("", "claude-x[1m]") is not None
    assert prices.price("", "claude-x1") is None


def test_the_configuration_has_the_same_keys():
    """An entry of the configuration is a price."""
    entry = ModelPrice(model="m", input=1, output=2)

    assert Price(**entry.model_dump()) == Price(model="m", input=1, output=2)


def test_what_is_remembered_is_bounded():
    """Names that senders make up fill no memory, neither ours nor the library's."""
    prices = Prices(clock=lambda: NOW)
    for number in range(REMEMBERED + 10):
        prices.price("openai", f"made-up-{number}")

    assert len(prices._known) == 10
    assert len(prices._published._table._provider_misses) < 50
    assert prices.price("openai", "gpt-5.1") is not None


def test_nothing_is_asked_of_the_network(monkeypatch):
    """Neither known nor unknown models open a socket or start a thread that could."""

    def refuse(*_args, **_kwargs):
        raise AssertionError("a socket or a thread")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    prices = Prices(clock=lambda: NOW)

    assert prices.price("openai", "gpt-5.1") is not None
    assert prices.price("openai", "demo-model") is None


def test_a_table_from_the_network_is_not_used(monkeypatch):
    """A newer table that somebody else in the process has downloaded changes nothing."""
    from genai_prices import data_snapshot

    monkeypatch.setattr(data_snapshot, "_custom_snapshot", data_snapshot.DataSnapshot([], from_auto_update=True))

    assert at(NOW, provider="openai", model="gpt-5.1") is not None


def test_the_library_is_loaded_when_asked():
    """Whoever needs no price does not pay for the library; loading it opens no socket either."""
    code = """
import sys
sockets = []
sys.addaudithook(lambda event, _: sockets.append(event) if event.startswith("socket.") else None)
from agent_exporter.prices import Prices
prices = Prices()
before = "genai_prices" in sys.modules
prices.price("openai", "gpt-5.1"), prices.price("openai", "demo-model")
print(before, "genai_prices" in sys.modules, sockets)
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False True []\n"
