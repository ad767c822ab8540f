"""A pretend agent: `python -m agent_exporter.demo --endpoint http://127.0.0.1:4318`.

It pushes what Claude Code would push (metrics and events, delta), through the OpenTelemetry SDK, from a
process of its own, so that a newcomer sees every family move. What it sends is made up and marked
`demo=true` on the resource. Nothing of ours is imported here: it knows no more of us than any agent does.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import Counter
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.util.types import AnyValue

SERVICE = "claude-code"
SCOPE = "com.anthropic.claude_code"
VERSION = "0.0.0-demo"
COUNTERS = {
    "session.count": "",
    "token.usage": "tokens",
    "cost.usage": "USD",
    "active_time.total": "s",
    "lines_of_code.count": "",
    "commit.count": "",
}
PRICES = {"input": 0.3e-6, "output": 1.5e-6, "cacheRead": 0.03e-6, "cacheCreation": 0.375e-6}  # USD a token
MODELS = {"demo-model": 4, "demo-model-small": 1}  # and how often each is asked
EXPORT = 2.0  # seconds between exports


@dataclass(frozen=True, slots=True)
class Tool:
    """How a pretend tool behaves: how often it is called, how long it takes, how often it fails and how."""

    name: str
    weight: int
    seconds: float
    failing: float
    error: str
    source: str = "builtin"


# All in all 2 % of the calls fail, and 0.5 % of the requests to models: a healthy agent, of which no alert has to tell
# in days of running.
TOOLS = (
    Tool("Read", 8, 0.02, 0.01, "Error:ENOENT"),
    Tool("Bash", 6, 1.5, 0.03, "ShellError"),
    Tool("Edit", 4, 0.05, 0.01, "TelemetrySafeError"),
    Tool("Grep", 3, 0.1, 0.01, "ShellError"),
    Tool("WebFetch", 1, 2.5, 0.05, "Error:ETIMEDOUT"),
    Tool("mcp_tool", 2, 0.6, 0.02, "McpToolCallError", "mcp"),
)


@dataclass(slots=True)
class Agent:
    """The pretend agent: what it sends with, and the session it is in."""

    meters: sdk.MeterProvider
    loggers: LoggerProvider
    dice: random.Random
    session: str = ""
    sequence: int = 0
    counters: dict[str, Counter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        meter = self.meters.get_meter(SCOPE, VERSION)
        self.counters = {name: meter.create_counter(f"claude_code.{name}", unit) for name, unit in COUNTERS.items()}

    def count(self, name: str, value: float, **attributes: str) -> None:
        """Add to a counter of the session."""
        self.counters[name].add(value, {"session.id": self.session, "terminal.type": "demo", **attributes})

    def event(self, name: str, **attributes: AnyValue) -> None:
        """Emit an event of the session, as Claude Code does: the name is in the body and, bare, an attribute."""
        self.sequence += 1
        common: dict[str, AnyValue] = {"event.name": name, "event.sequence": self.sequence, "session.id": self.session}
        record = LogRecord(
            timestamp=time.time_ns(),
            severity_number=SeverityNumber.UNSPECIFIED,
            body=f"claude_code.{name}",
            attributes={**common, **attributes},
        )
        self.loggers.get_logger(f"{SCOPE}.events", VERSION).emit(record)

    def begin(self) -> None:
        """Start a session."""
        self.session = str(uuid.UUID(int=self.dice.getrandbits(128), version=4))
        self.sequence = 0
        self.count("session.count", 1, start_type="fresh")


def work(agent: Agent) -> Iterator[float]:
    """Live an agent's life for ever: yields the seconds until the next thing happens."""
    while True:
        agent.begin()
        for _ in range(agent.dice.randint(3, 12)):
            yield from turn(agent)
        if agent.dice.random() < 0.3:
            compact(agent)


def turn(agent: Agent) -> Iterator[float]:
    """Answer one prompt: ask the model, use tools, ask again."""
    agent.event("user_prompt", prompt_length=str(agent.dice.randint(10, 400)))
    yield from ask(agent)
    for _ in range(agent.dice.randint(0, 4)):
        yield from use(agent, agent.dice.choices(TOOLS, [tool.weight for tool in TOOLS])[0])
        yield from ask(agent)
    yield agent.dice.uniform(0.5, 3)


def ask(agent: Agent) -> Iterator[float]:
    """Send one model request; some fail for good."""
    seconds = agent.dice.lognormvariate(0.3, 0.6)
    yield seconds
    (model,) = agent.dice.choices(list(MODELS), list(MODELS.values()))
    about: dict[str, AnyValue] = {"model": model, "duration_ms": int(seconds * 1000), "query_source": "main"}
    if agent.dice.random() < 0.005:
        status = agent.dice.choice([429, 500, 529])
        agent.event("api_error", **about, status_code=status, error="demo refusal", attempt=1)
        return
    tokens = {
        "input": agent.dice.randint(100, 2000),
        "output": agent.dice.randint(30, 900),
        "cacheRead": agent.dice.randint(0, 30000),
        "cacheCreation": agent.dice.randint(0, 1500),
    }
    cost = sum(PRICES[kind] * count for kind, count in tokens.items())
    report(agent, model, tokens, cost)
    agent.event(
        "api_request",
        **about,
        ttft_ms=int(seconds * 300),
        cost_usd=cost,
        cost_usd_micros=int(cost * 1e6),
        input_tokens=tokens["input"],
        output_tokens=tokens["output"],
        cache_read_tokens=tokens["cacheRead"],
        cache_creation_tokens=tokens["cacheCreation"],
    )
    agent.count("active_time.total", seconds, type="cli")


def report(agent: Agent, model: str, tokens: dict[str, int], cost: float) -> None:
    """Count the tokens and the cost of a model request."""
    for kind, count in tokens.items():
        agent.count("token.usage", count, model=model, query_source="main", type=kind)
    agent.count("cost.usage", cost, model=model, query_source="main")


def use(agent: Agent, tool: Tool) -> Iterator[float]:
    """Call a tool: some calls are rejected, some fail."""
    rejected = agent.dice.random() < 0.04
    decision, source = ("reject", "user_reject") if rejected else ("accept", "config")
    agent.event("tool_decision", tool_name=tool.name, decision=decision, source=source, tool_source=tool.source)
    if rejected:
        return
    seconds = tool.seconds * agent.dice.lognormvariate(0, 0.7)
    yield seconds
    failed = agent.dice.random() < tool.failing
    agent.event(
        "tool_result",
        tool_name=tool.name,
        success="false" if failed else "true",
        duration_ms=str(int(seconds * 1000)),
        tool_input_size_bytes=str(agent.dice.randint(20, 2000)),
        tool_result_size_bytes=str(agent.dice.randint(20, 40000)),
        decision_type=decision,
        decision_source=source,
        **({"error_type": tool.error} if failed else {}),
    )
    if tool.name == "Edit" and not failed:
        agent.count("lines_of_code.count", agent.dice.randint(1, 40), type="added")
        agent.count("lines_of_code.count", agent.dice.randint(0, 20), type="removed")


def compact(agent: Agent) -> None:
    """Compact the context."""
    before = agent.dice.randint(100_000, 180_000)
    agent.event(
        "compaction",
        trigger=agent.dice.choice(["auto", "manual"]),
        success="true",
        duration_ms=agent.dice.randint(4000, 20000),
        pre_tokens=before,
        post_tokens=before // 10,
        precompute_reuse=agent.dice.choice(["hit", "miss_expired"]),
    )


def connect(endpoint: str, seed: int | None) -> Agent:
    """Build the SDK's pipelines to an OTLP/HTTP endpoint."""
    resource = Resource({"service.name": SERVICE, "service.version": VERSION, "demo": True})
    metrics = OTLPMetricExporter(
        f"{endpoint}/v1/metrics", preferred_temporality={sdk.Counter: AggregationTemporality.DELTA}, timeout=5
    )
    reader = PeriodicExportingMetricReader(metrics, export_interval_millis=EXPORT * 1000)
    meters = sdk.MeterProvider([reader], resource, shutdown_on_exit=False)
    loggers = LoggerProvider(resource, shutdown_on_exit=False)
    logs = OTLPLogExporter(f"{endpoint}/v1/logs", timeout=5)
    loggers.add_log_record_processor(BatchLogRecordProcessor(logs, schedule_delay_millis=EXPORT * 1000))
    return Agent(meters, loggers, random.Random(seed))  # noqa: S311 - dice, not keys


def main(arguments: list[str] | None = None) -> None:
    """Push until SIGTERM, Ctrl-C, or the end of the process that started this one."""
    parser = argparse.ArgumentParser(prog="agent_exporter.demo", description="A pretend agent that pushes OTLP.")
    parser.add_argument("--endpoint", default="http://127.0.0.1:4318", help="OTLP/HTTP endpoint")
    parser.add_argument("--seed", type=int, help="the same seed makes the same session")
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster than life it goes")
    parser.add_argument("--parent", type=int, default=os.getppid(), help="process to end with; default: who started it")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    logging.disable()  # while the collector is away, the SDK would tell so again and again
    for seconds in work(connect(options.endpoint, options.seed)):
        if os.getppid() != options.parent:
            break
        time.sleep(seconds / options.speed)


if __name__ == "__main__":
    main()
