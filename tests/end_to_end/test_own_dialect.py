"""An agent that nobody knew: a dialect file of one's own is checked and used by the real process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from otlp import at, logs, number, pairs, request, total

if TYPE_CHECKING:
    from pathlib import Path

TOY = """\
agent: toy
claims: {prefixes: toy., services: toy}
session: session.id

authority:
  agent.tokens: span
  agent.model.requests: span
  agent.model.request.duration: span
  agent.tool.executions: event
  agent.tool.execution.duration: event
  agent.tool.transitions: event
  agent.interface.consecutive_failures: event
  agent.sessions: event
  agent.turns: metric

instruments:
  toy.documents:
    {kind: histogram, unit: "{document}", help: Documents found a search., labels: [index], bounds: [1, 10, 100]}

metrics:
  - {name: toy.turns, to: agent.turns}

events:
  - {name: toy.said, to: agent.sessions, once: "@session"}
  - name: toy.done
    to: agent.tool.executions
    labels: &call {tool: name, status: {from: success, map: {true: ok, false: error}}}
  - {name: toy.done, to: agent.tool.execution.duration, value: {from: took, unit: ms}, labels: *call}
  - {name: toy.done, to: agent.tool.transitions, labels: {to: name}}
  - {name: toy.done, to: agent.interface.consecutive_failures, failed: {success: false}, labels: {interface: name}}
  - {name: toy.done, where: {found: {present: true}}, to: toy.documents, value: found, labels: {index: index}}

roles:
  - {role: model, name: toy.think}

spans:
  - role: model
    to: agent.model.requests
    labels: {model: "@parent.model", provider: {is: anthropic}, operation: {is: chat}, status: "@outcome"}
  - role: model
    to: agent.model.request.duration
    value: "@duration"
    labels: {model: "@parent.model", provider: {is: anthropic}, status: "@outcome"}
  - {role: model, usage: inclusive, labels: {model: "@parent.model", provider: {is: anthropic}}}

ignored:
  toy.step: only the parent of what is counted
"""
CALL = {"search": "status=ok,tool=search", "write": "status=error,tool=write"}
MODEL = "model=claude-sonnet-4-5,provider=anthropic"
EXPECTED = {
    "agent_turns_total{}": 3,
    "agent_sessions_total{}": 2,
    "agent_sessions_active{}": 2,
    f"agent_tool_executions_total{{{CALL['search']}}}": 1,
    f"agent_tool_executions_total{{{CALL['write']}}}": 2,
    f"agent_tool_execution_duration_seconds_count{{{CALL['search']}}}": 1,
    f"agent_tool_execution_duration_seconds_sum{{{CALL['search']}}}": 1.5,
    f"agent_tool_execution_duration_seconds_count{{{CALL['write']}}}": 2,
    f"agent_tool_execution_duration_seconds_sum{{{CALL['write']}}}": 0.5,
    "agent_tool_transitions_total{from=search,to=write}": 1,
    "agent_interface_consecutive_failures{interface=write}": 2,
    "toy_documents_count{index=notes}": 1,
    "toy_documents_sum{index=notes}": 12,
    "agent_model_requests_total{model=claude-sonnet-4-5,operation=chat,provider=anthropic,status=ok}": 1,
    f"agent_model_request_duration_seconds_count{{{MODEL},status=ok}}": 1,
    f"agent_model_request_duration_seconds_sum{{{MODEL},status=ok}}": 2,
    f"agent_tokens_total{{{MODEL},type=input}}": 70,
    f"agent_tokens_total{{{MODEL},type=cache_read}}": 30,
    f"agent_tokens_total{{{MODEL},type=output}}": 7,
    # 70 at $3, 30 at $0.30 and 7 at $15 a million
    f"agent_cost_usd_total{{basis=estimated,{MODEL}}}": 0.000324,
}
WHO = {"service.name": "toy"}


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Write the configuration of a collector that knows the toy."""
    (tmp_path / "dialects").mkdir()
    (tmp_path / "dialects" / "toy.yaml").write_text(TOY)
    file = tmp_path / "exporter.yaml"
    file.write_text("dialects: {paths: [dialects]}\n")
    return file


def _run(command: str, file: Path) -> tuple[int, str]:
    """Run a command that ends by itself; returns its exit code and all that it said."""
    done = subprocess.run(
        [sys.executable, "-m", "agent_exporter", command, "--config", file],
        capture_output=True, text=True, check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("AGENT_EXPORTER_")},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def _event(name: str, session: str, second: float, /, **attributes: Any) -> LogRecord:
    said = {"event.name": name, "session.id": session, **attributes}
    return LogRecord(time_unix_nano=at(second), attributes=pairs(said))


def _span(name: str, number: int, parent: int, /, **attributes: Any) -> bytes:
    span = Span(
        name=name,
        trace_id=b"t" * 16,
        span_id=bytes([number] * 8),
        parent_span_id=bytes([parent] * 8) if parent else b"",
        start_time_unix_nano=at(1),
        end_time_unix_nano=at(3),
        attributes=pairs(attributes),
    )
    outer = ResourceSpans(resource=Resource(attributes=pairs(WHO)), scope_spans=[ScopeSpans(spans=[span])])
    return ExportTraceServiceRequest(resource_spans=[outer]).SerializeToString()


def _shown(running: Any) -> dict[str, float]:
    """Read what is shown of the toy, without buckets, zeros and the time it was last seen."""
    return {
        f"{name}{{{','.join(f'{label}={text}' for label, text in labels if label != 'agent')}}}": value
        for (name, labels), value in running.totals().items()
        if dict(labels).get("agent") == "toy" and "le" not in dict(labels)
        if value and not name.startswith(("agent_exporter_", "agent_source_"))
    }


def test_a_toy_in_a_file_of_ones_own(collector: Any, toy: Path) -> None:
    """A dialect file, checked first, is all that a new agent needs: metrics, events, and spans before their parents."""
    code, told = _run("check", toy)
    assert (code, told.splitlines()[-1]) == (0, f"dialects: those built in and {toy.parent / 'dialects'} are valid")
    running = collector("--config", str(toy))
    usage = {
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 30,
    }
    events = [
        *(_event("toy.said", session, 1, text="find me the secret plans") for session in ("a", "a", "b")),
        _event("toy.done", "a", 2, name="search", success=True, took=1500, found=12, index="notes"),
        _event("toy.done", "a", 3, name="write", success=False, took="250"),
        _event("toy.done", "b", 4, name="write", success=False, took="250"),
    ]
    for signal, body in (
        ("metrics", request(total("toy.turns", number(3)), resource=WHO)),
        ("logs", logs(*events, resource=WHO)),
        ("traces", _span("toy.think", 1, 2, **usage)),
        ("traces", _span("toy.step", 2, 0, model="claude-sonnet-4-5")),
    ):
        assert running.push(signal, body).status == 200

    assert _shown(running) == pytest.approx(EXPECTED)


def test_a_mistake_is_told(toy: Path) -> None:
    """A file that asks for what is not there is refused by `check` and `serve` alike, by file, line and rule."""
    file = toy.parent / "dialects" / "toy.yaml"
    file.write_text(TOY.replace("to: agent.turns}", "to: agent.turn}"))
    line = next(index for index, each in enumerate(TOY.splitlines(), 1) if "name: toy.turns" in each)

    for command in ("check", "serve"):
        code, told = _run(command, toy)
        assert code == 1
        assert f"{file}:{line}: " in told
        assert "agent.turn" in told
