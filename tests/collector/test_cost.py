"""Tokens to dollars, through the whole of the collector: streams, events and spans, by hand."""

from datetime import UTC, datetime
from os import urandom

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import captures
from agent_exporter.collector import Collector
from agent_exporter.collector.ingest import Ingest
from agent_exporter.config import Config
from agent_exporter.dialects import Dialects
from agent_exporter.model import Signal
from agent_exporter.prices import Price, Prices
from otlp import DELTA, at, distribution, histogram, logs, number, pairs, request, total
from replay import replay

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC).timestamp()
LABELS = "labels: {provider: provider, model: model"
DIALECTS = {
    "counter": f"""\
agent: counter
claims: {{prefixes: counter.}}
authority: {{agent.tokens: metric}}
metrics:
  - {{name: counter.tokens, to: agent.tokens, {LABELS}, type: kind}}}}
  - {{name: counter.part, factor: -1, to: agent.tokens, {LABELS}, type: {{is: input}}}}}}
  - {{name: counter.part, to: agent.tokens, {LABELS}, type: {{is: cache_read}}}}}}
  - {{name: counter.usage, part: sum, to: agent.tokens, {LABELS}, type: kind}}}}
""",
    "teller": f"""\
agent: teller
claims: {{prefixes: teller.}}
authority: {{agent.tokens: event}}
events:
  - {{name: teller.answer, usage: inclusive, {LABELS}}}}}
""",
    "tracer": f"""\
agent: tracer
claims: {{services: tracer}}
authority: {{agent.tokens: span}}
spans:
  - {{name: chat, usage: inclusive, {LABELS}}}}}
""",
    "payer": f"""\
agent: payer
claims: {{prefixes: payer.}}
authority: {{agent.tokens: event, agent.cost.usd: event}}
events:
  - {{name: payer.answer, usage: inclusive, {LABELS}}}}}
  - {{name: payer.answer, to: agent.cost.usd, value: usd, {LABELS}, basis: {{is: reported}}}}}}
""",
}


class Shop:
    """An ingest with prices."""

    def __init__(self, folder, *own: Price) -> None:
        for name, text in DIALECTS.items():
            (folder / f"{name}.yaml").write_text(text)
        dialects = Dialects.load([folder], prices=Prices(own, lambda: NOW))
        self.ingest = Ingest(Config(), dialects, lambda: at(3600))

    def count(self, model, *, provider="anthropic", name="counter.tokens", time=2, start=1, temporality=DELTA, **kinds):
        """Push counters of tokens by kind."""
        points = [
            number(count, {"provider": provider, "model": model, "kind": kind}, start=start, time=time)
            for kind, count in kinds.items()
        ]
        self.ingest(Signal.METRICS, request(total(name, *points, temporality=temporality)))

    def tell(self, model, *, provider="openai", name="teller.answer", **attributes):
        """Push an event with a usage."""
        attributes |= {"provider": provider, "model": model}
        self.ingest(Signal.LOGS, logs(LogRecord(event_name=name, attributes=pairs(attributes))))

    def trace(self, model, *, provider="gcp.gemini", **attributes):
        """Push a span with a usage."""
        attributes |= {"provider": provider, "model": model}
        span = Span(name="chat", trace_id=b"t" * 16, span_id=urandom(8), attributes=pairs(attributes))
        message = ExportTraceServiceRequest()
        outer = message.resource_spans.add()
        outer.resource.attributes.extend(pairs({"service.name": "tracer"}))
        outer.scope_spans.add().spans.append(span)
        self.ingest(Signal.TRACES, message.SerializeToString())

    def cells(self, family):
        """Tell the values of a family by the labels that it has on the page."""
        return {
            text.decode(): table.values[row]
            for each in self.ingest.snapshot()
            if each.name == family
            for table in each.tables
            for row, text in enumerate(table.texts)
            if row not in table.hidden
        }

    def cost(self):
        """Tell what was spent, in dollars to the billionth."""
        return {labels: round(value, 9) for labels, value in self.cells("agent_cost_usd_total").items()}


@pytest.fixture
def shop(tmp_path):
    """Return a collector with the published prices of one day, and toy agents."""
    return Shop(tmp_path)


def test_counters_by_their_increments(shop):
    """Sonnet 4.5 by delta counters of disjoint types: 3, 0.3, 3.75 and 15 dollars a million."""
    shop.count("claude-sonnet-4-5-20250929", input=12_000, cache_read=40_000, cache_write=2_000, output=3_000)
    shop.count("claude-sonnet-4-5-20250929", input=345, cache_read=10_000, output=210, start=2, time=3)

    # 12345 * 3 + 50000 * 0.3 + 2000 * 3.75 + 3210 * 15 = 37035 + 15000 + 7500 + 48150 millionths
    assert shop.cost() == {
        'agent="counter",basis="estimated",model="claude-sonnet-4-5-20250929",provider="anthropic"': 0.107685
    }


def test_running_totals_and_restarts(shop):
    """A counter that starts again adds what it counts anew: 1000 + 500 + 300 output tokens at 15 dollars."""
    for start, time, count in ((1, 2, 1000), (1, 3, 1500), (4, 5, 300)):
        shop.count("claude-sonnet-4-5", start=start, time=time, temporality=2, output=count)

    assert list(shop.cost().values()) == [0.027]


def test_a_part_that_is_taken_off_the_whole(shop):
    """Of 10000 input tokens 8000 were cached: 2000 * 3 + 8000 * 0.3 millionths."""
    shop.count("claude-sonnet-4-5", input=10_000)
    shop.count("claude-sonnet-4-5", name="counter.part", any=8_000)

    assert list(shop.cost().values()) == [0.0084]


def test_histograms_of_tokens(shop):
    """What was used is the sum of a histogram, as the conventions have it: 3 and 15 dollars a million."""
    labels = {"provider": "anthropic", "model": "claude-sonnet-4.5"}
    for time in (2, 3):
        points = [
            histogram([1, 1], [1000.0], tokens, {**labels, "kind": kind}, start=time - 1, time=time)
            for kind, tokens in (("input", 20_000.0), ("output", 3_000.0))
        ]
        shop.ingest(Signal.METRICS, request(distribution("counter.usage", *points, unit="{token}", temporality=DELTA)))

    # twice 20000 * 3 + 3000 * 15 millionths
    assert list(shop.cost().values()) == [0.21]


def test_events_with_inclusive_usage(shop):
    """The basic turn of the captures with gpt-5-mini: 0.25, 0.025 and 2 dollars a million."""
    for whole, cached, output, reasoning in ((1200, 0, 40, 0), (1300, 1024, 35, 0), (1400, 1152, 60, 16)):
        shop.tell(
            "gpt-5-mini-2025-08-07",
            input_tokens=whole,
            cached_token_count=cached,
            output_tokens=output,
            reasoning_token_count=reasoning,
        )

    # 1724 new, 2176 cached, 135 output: 431 + 54.4 + 270 millionths
    assert shop.cost() == {
        'agent="teller",basis="estimated",model="gpt-5-mini-2025-08-07",provider="openai"': 0.0007554
    }
    assert sum(shop.cells("agent_tokens_total").values()) == 3900 + 135


def test_spans(shop):
    """Gemini 2.5 Flash by a span: 0.3, 0.03 and 2.5 dollars a million, reasoning as output."""
    shop.trace(
        "gemini-2.5-flash",
        **{
            "gen_ai.usage.input_tokens": 100_000,
            "gen_ai.usage.cache_read.input_tokens": 40_000,
            "gen_ai.usage.output_tokens": 5_000,
            "gen_ai.usage.reasoning_tokens": 2_000,
        },
    )

    # 60000 * 0.3 + 40000 * 0.03 + 5000 * 2.5 = 18000 + 1200 + 12500 millionths
    assert shop.cost() == {'agent="tracer",basis="estimated",model="gemini-2.5-flash",provider="gcp.gemini"': 0.0317}


def test_cached_input_is_cheaper(shop):
    """The same request costs a tenth of its input once that is read from the cache."""
    shop.tell("gpt-5.1", input_tokens=100_000, output_tokens=0)
    [new] = shop.cost().values()
    shop.tell("gpt-5.1", input_tokens=100_000, cached_token_count=100_000, output_tokens=0)
    [both] = shop.cost().values()

    assert (new, round(both - new, 9)) == (0.125, 0.0125)


def test_many_agents_and_models(shop):
    """Each agent and model has a bill of its own, to the cent."""
    shop.count("claude-opus-4-5-20251101", input=1_000_000, output=100_000)  # 5 and 25 dollars
    shop.tell("gpt-5.1-codex-max", input_tokens=2_000_000, output_tokens=300_000)  # 1.25 and 10
    shop.tell("gpt-5-mini", input_tokens=2_000_000, output_tokens=300_000)  # 0.25 and 2
    shop.trace("gemini-2.5-pro", input_tokens=400_000, output_tokens=50_000)  # 1.25 and 10, the base tier
    shop.trace("us.anthropic.claude-sonnet-4-5-20250929-v1:0", provider="aws.bedrock", input_tokens=1_000_000)  # 3.3

    assert sorted(round(dollars, 2) for dollars in shop.cost().values()) == [1.0, 1.1, 3.3, 5.5, 7.5]


@pytest.mark.parametrize("model", ["demo-model", "qwen3-coder-plus"])
def test_an_unknown_model_is_counted_and_not_priced(shop, model):
    """Tokens without a price are counted, whichever way they came, and cost nothing that is shown."""
    shop.count(model, input=10, output=5, provider="openai")
    shop.tell(model, input_tokens=100, cached_token_count=30, output_tokens=7)
    shop.trace(model, input_tokens=1000)

    assert shop.cost() == {}
    assert shop.cells("agent_cost_unpriced_tokens_total") == {
        f'agent="counter",model="{model}"': 15,
        f'agent="teller",model="{model}"': 107,
        f'agent="tracer",model="{model}"': 1000,
    }


def test_a_reported_cost_is_not_estimated(shop):
    """An agent that says what it spent is believed, also where the price is known."""
    shop.tell("gpt-5.1", name="payer.answer", input_tokens=1_000_000, output_tokens=0, usd=0.9)

    assert shop.cost() == {'agent="payer",basis="reported",model="gpt-5.1",provider="openai"': 0.9}
    assert shop.cells("agent_cost_unpriced_tokens_total") == {}


@pytest.mark.parametrize("run", ["grpc", "http-json", "http-protobuf"])
def test_the_estimate_is_what_claude_code_reports(tmp_path, run):
    """Claude Code's cost stands as it reports it, and its tokens at our prices come to the same."""
    shop = Shop(tmp_path)
    replay(captures.load(f"claude-code-2.1.329/{run}"), shop.ingest)

    price = Prices(clock=lambda: NOW).price("anthropic", "claude-sonnet-5-5")
    labels = 'agent="claude-code",model="claude-sonnet-5-5",provider="anthropic",type="{}"'
    tokens = shop.cells("agent_tokens_total")
    estimate = sum(price[kind] * tokens.pop(labels.format(kind), 0) for kind in price)

    assert tokens == {}
    assert shop.cells("agent_cost_unpriced_tokens_total") == {}
    assert shop.cost() == {
        'agent="claude-code",basis="reported",model="claude-sonnet-5-5",provider="anthropic"': round(estimate, 9)
    }


def test_own_prices_win(tmp_path):
    """A user's price replaces a published one and adds one where there is none."""
    shop = Shop(tmp_path, Price(model="gpt-5.1", input=1, output=1), Price(model="demo-*", input=2, output=3))
    shop.tell("gpt-5.1", input_tokens=1_000_000, output_tokens=1_000_000)
    shop.tell("demo-model", input_tokens=1_000_000, output_tokens=1_000_000)

    assert list(shop.cost().values()) == [2, 5]
    assert shop.cells("agent_cost_unpriced_tokens_total") == {}


def test_the_configuration_sets_prices(tmp_path):
    """Prices come from the configuration, and a reload is followed by events and by streams that are known."""
    shop = Shop(tmp_path)

    def priced(dollars):
        entry = {"model": "demo-*", "input": dollars, "output": 0}
        return Config.model_validate({"dialects": {"paths": [tmp_path]}, "prices": {"models": [entry]}})

    collector = Collector(priced(1), lambda: priced(5))
    shop.ingest = collector.ingest
    for second in (1, 2):
        shop.tell("demo-model", input_tokens=1_000_000, output_tokens=0, turn=second)
        shop.count("demo-model", input=1_000_000, start=second, time=second + 1)
        collector.reload()

    assert list(shop.cost().values()) == [6, 6]
