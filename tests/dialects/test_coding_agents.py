"""Coding agents, from what they really sent to the page: against what they were made to do."""

import json
import logging
import re
from collections import Counter
from typing import NamedTuple

import pytest

import captures
from agent_exporter.catalog import CATALOG
from agent_exporter.collector.ingest import Ingest
from agent_exporter.config import Config
from agent_exporter.dialects import Dialects
from agent_exporter.dialects.names import matcher
from agent_exporter.expose.names import Strategy, metric_name
from agent_exporter.model import Kind, Signal
from otlp import EPOCH, dialects
from replay import protobuf
from rewrite import REQUESTS, another

AGENTS = ("claude-code", "codex", "gemini-cli", "qwen-code", "copilot-cli", "opencode")
RUNS = [name for name in captures.names() if name.startswith(AGENTS)]
STRATEGY = Strategy("UnderscoreEscapingWithSuffixes")
KINDS = {metric_name(row.name, row.unit, row.kind, STRATEGY).sample: row.kind for row in CATALOG.values()}

# How an agent sees the end of a call; what is not here ended well (README.md of the captures, «failed?»).
ENDS = {
    "claude-code": {"read_missing": "error", "shell_fail": "error", "mcp_boom": "error", "denied": "rejected"},
    "codex": {"read_missing": "error", "mcp_boom": "error"},
    "gemini-cli": {"read_missing": "error", "mcp_boom": "error", "denied": "error"},
    "qwen-code": {"read_missing": "error", "shell_fail": "error", "mcp_boom": "error", "denied": "error"},
    "copilot-cli": {"read_missing": "error", "mcp_boom": "error", "denied": "rejected"},
    "opencode": {"read_missing": "error", "mcp_boom": "error"},
}
# What agents call the tools of MCP servers.
CALLED = {
    "mcp__demo__add": {"claude-code": "mcp_tool"},
    "mcp__demo__boom": {"claude-code": "mcp_tool"},
    "mcp__demo.add": {"codex": "add"},
    "mcp__demo.boom": {"codex": "boom"},
    "demo-add": {"copilot-cli": "mcp_tool"},
    "demo-boom": {"copilot-cli": "mcp_tool"},
}


class Gap(NamedTuple):
    """What an agent's telemetry cannot tell of a session: by how much the page differs from the truth."""

    agent: str
    session: str
    family: str
    key: tuple[str, ...]
    difference: int
    reason: str


REQUESTS_TOTAL = "agent_model_requests_total"
GAPS = (
    Gap("claude-code", "s3", REQUESTS_TOTAL, ("error",), -1, "a refused request that is sent again leaves no event"),
    Gap("claude-code", "s7", REQUESTS_TOTAL, ("error",), -2, "three requests that are refused for good are one event"),
    Gap("codex", "s7", REQUESTS_TOTAL, ("error",), -1, "it exits before it has told of the request"),
    Gap("gemini-cli", "s7", REQUESTS_TOTAL, ("error",), -1, "it exits without sending anything"),
    Gap("gemini-cli", "s7", "agent_sessions_total", (), -1, "it exits without sending anything"),
    Gap("gemini-cli", "s7", "agent_turns_total", (), -1, "it exits without sending anything"),
    Gap("qwen-code", "s3", REQUESTS_TOTAL, ("error",), -1, "its HTTP client sends a refused request again by itself"),
)


class Page(NamedTuple):
    """The cells of series by family and labels, and the whole as text."""

    cells: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[float, ...]]
    text: str

    def sums(self, family, *labels):
        """Sum a family's counters, or counts of histograms, by some labels, without those that are 0."""
        found = Counter()
        for (name, pairs), cells in self.cells.items():
            if name == family:
                found[tuple(dict(pairs)[label] for label in labels)] += cells[
                    -1 if KINDS[name] is Kind.HISTOGRAM else 0
                ]
        return {key: value for key, value in found.items() if value}

    def normalised(self, *kinds):
        """Return the cells of normalised families of some kinds; sums of floats to nine digits."""
        return {
            key: pytest.approx(cells)
            for key, cells in self.cells.items()
            if KINDS.get(key[0]) in kinds and not key[0].startswith(("agent_exporter_", "agent_source_"))
        }


def _page(ingest):
    cells, lines = {}, []
    for family in ingest.snapshot():
        for table in family.tables:
            for row, text in enumerate(table.texts):
                if row not in table.hidden:
                    labels = tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', text.decode())))
                    cells[family.name, labels] = tuple(table.values[row * table.width : (row + 1) * table.width])
                    lines.append(f"{family.name}{{{text.decode()}}}")
    return Page(cells, "\n".join(lines))


def _bodies(run):
    return [(Signal(payload.signal), protobuf(payload)) for payload in captures.load(run).payloads]


def _replayed(bodies):
    """Push requests into a collector of their own, started before them; each must be taken in full."""
    ingest = Ingest(Config(), Dialects(dialects().files), lambda: EPOCH)
    for signal, body in bodies:
        answer = ingest(signal, body)
        assert answer.rejected == 0, answer.rejections
    return _page(ingest)


@pytest.fixture(scope="module")
def page_of():
    """Return a function that gives the page of a run, each run replayed once."""
    pages = {}

    def page_of(run):
        if run not in pages:
            pages[run] = _replayed(_bodies(run))
        return pages[run]

    return page_of


def _agent(run):
    return next(agent for agent in AGENTS if run.startswith(agent))


def _designs(run):
    return {session: each["design"] for session, each in captures.load(run).expected["sessions"].items()}


def _with_gaps(run, family, truth):
    """Return the truth as far as the agent tells it."""
    told = Counter(truth)
    for gap in GAPS:
        if (gap.agent, gap.family) == (_agent(run), family) and gap.session in _designs(run):
            told[gap.key] += gap.difference
    return {key: value for key, value in told.items() if value}


@pytest.mark.parametrize("run", RUNS)
def test_model_requests(page_of, run):
    """Model requests by status are those that the model server answered and refused."""
    truth = Counter()
    for design in _designs(run).values():
        truth["ok",] += design["requests_answered"] + design["side_requests_answered"]
        truth["error",] += design["requests_refused"]

    assert page_of(run).sums(REQUESTS_TOTAL, "status") == _with_gaps(run, REQUESTS_TOTAL, truth)


@pytest.mark.parametrize("run", RUNS)
def test_tokens(page_of, run):
    """Tokens by type are those that the model server counted, and no type has another in it."""
    truth = Counter()
    for design in _designs(run).values():
        for tokens in (design["tokens"], design.get("side_tokens") or Counter()):
            truth["input",] += tokens["input_uncached"]
            truth["cache_read",] += tokens["cache_read"]
            truth["cache_write",] += tokens["cache_write"]
            truth["output",] += tokens["output_incl_reasoning"] - tokens["reasoning"]
            truth["reasoning",] += tokens["reasoning"]

    assert page_of(run).sums("agent_tokens_total", "type") == _with_gaps(run, "agent_tokens_total", truth)


@pytest.mark.parametrize("run", RUNS)
def test_tools(page_of, run):
    """Tool executions by tool and status are the calls that the model made."""
    agent, truth = _agent(run), Counter()
    for design in _designs(run).values():
        for call in design["tool_calls"]:
            tool = CALLED.get(call["tool"], {}).get(agent, call["tool"])
            truth[tool, ENDS[agent].get(call["action"], "ok")] += 1

    family = "agent_tool_executions_total"
    assert page_of(run).sums(family, "tool", "status") == _with_gaps(run, family, truth)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("family", ["agent_sessions_total", "agent_turns_total"])
def test_sessions_and_turns(page_of, run, family):
    """Sessions, resumed ones too, are those that were run, and each had one turn."""
    truth = {(): len("&".join(_designs(run)).split("&"))}

    assert page_of(run).sums(family) == _with_gaps(run, family, truth)


@pytest.mark.parametrize("run", [run for run in RUNS if run.startswith(("claude-code", "codex"))])
def test_retries(page_of, run):
    """The request of s3 that was refused was sent again once; no other agent tells of it."""
    assert page_of(run).sums("agent_model_retries_total") == ({(): 1} if "s3" in _designs(run) else {})


@pytest.mark.parametrize("run", RUNS)
def test_durations_are_of_what_is_counted(page_of, run):
    """There is a duration of every request, and of every tool call that ran, however it ended."""
    page = page_of(run)
    for counter, histogram, labels in (
        (REQUESTS_TOTAL, "agent_model_request_duration_seconds", ("model", "status")),
        ("agent_tool_executions_total", "agent_tool_execution_duration_seconds", ("tool", "status")),
    ):
        counted = page.sums(counter, *labels)
        if _agent(run) == "claude-code":
            counted = {key: value for key, value in counted.items() if key[-1] != "rejected"}

        assert page.sums(histogram, *labels) == counted


@pytest.mark.parametrize("run", RUNS)
def test_one_agent_says_it_all(page_of, run):
    """Every normalised series has the canonical name of the agent, and nothing of a session in its labels."""
    series = page_of(run).normalised(*Kind)
    agents = {dict(labels).get("agent") for _, labels in series}
    numbers = [labels for _, labels in series if re.search(r"[0-9a-f]{8}-[0-9a-f]{4}|ses_|call_s", str(labels))]

    assert agents == {_agent(run)}
    assert numbers == []


def _names(message):
    """Yield the names of metrics and events in a request."""
    for outer in getattr(message, "resource_metrics", ()):
        yield from (metric.name for scope in outer.scope_metrics for metric in scope.metrics)
    for outer in getattr(message, "resource_logs", ()):
        for record in (record for scope in outer.scope_logs for record in scope.log_records):
            yield from (each.value.string_value for each in record.attributes if each.key == "event.name")


@pytest.mark.parametrize("run", RUNS)
def test_nothing_is_overlooked(run):
    """Every metric and event of a capture has a rule, or a reason why it has none."""
    file = next(file for file in dialects().files if file.called == _agent(run))
    named = {name for rule in (*file.metrics, *file.events) for name in rule.name}
    known = matcher([*named, *file.ignored])
    prefix = (file.claims.prefixes or ("",))[0]
    seen = {name for signal, body in _bodies(run) for name in _names(REQUESTS[signal].FromString(body))}

    assert {name for name in seen if not known(name) and not known(prefix + name)} == set()


@pytest.mark.parametrize("run", RUNS)
def test_a_second_session_is_twice_as_much(page_of, run):
    """The same again with other ids and later doubles every counter and histogram."""
    bodies = _bodies(run)
    once, twice = page_of(run), _replayed([*bodies, *((signal, another(signal, body)) for signal, body in bodies)])
    expected = {key: pytest.approx([2 * cell for cell in each.expected]) for key, each in _growing(once).items()}

    assert {key: cells.expected for key, cells in _growing(twice).items()} == expected


@pytest.mark.parametrize("run", RUNS)
def test_a_retry_is_nothing(page_of, run):
    """Each request sent twice gives what sending it once gives, for all signals."""
    twice = _replayed([each for each in _bodies(run) for _ in range(2)])

    assert {key: each.expected for key, each in twice.normalised(*Kind).items()} == page_of(run).normalised(*Kind)


def _growing(page):
    return page.normalised(Kind.COUNTER, Kind.HISTOGRAM)


# Attributes with content. Definitions of tools hold their names, which are labels.
CONTENT = re.compile(
    r"prompt$|arguments|args$|output$|_text$|messages|result$|error$|error\.message|system_instructions"
    r"|user_prompt|command_args|stacktrace|\.text$|body",
)


def _contents(message):
    """Yield the texts of prompts, arguments and outputs in a request."""
    for field, value in message.ListFields():
        if getattr(message, "key", "") and field.name == "value":
            if CONTENT.search(message.key):
                yield from _leaves(value.string_value)
        elif field.type == field.TYPE_MESSAGE:
            for inner in (value,) if hasattr(value, "ListFields") else value:
                yield from _contents(inner)


def _leaves(text):
    try:
        plain = json.loads(text)
    except ValueError:
        yield from text.splitlines()
        return
    stack = [plain]
    while stack:
        each = stack.pop()
        stack += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        if isinstance(each, str):
            yield from each.splitlines()


@pytest.fixture(scope="module")
def secrets():
    """Collect the lines of content that any capture has; some agents send none of it, and it is the same."""
    requests = (REQUESTS[signal].FromString(body) for run in RUNS for signal, body in _bodies(run))
    lines = {line.strip() for request in requests for line in _contents(request)}
    return {line for line in lines if len(line) > 8 and (" " in line or "/" in line)}


@pytest.mark.parametrize("run", RUNS)
def test_no_content_gets_out(secrets, run, caplog):
    """No line of a prompt, an argument, an output or an error is on the page or in the log."""
    caplog.set_level(logging.DEBUG)
    page = _replayed(_bodies(run))

    assert len(secrets) > 100
    assert [line for line in secrets if line in page.text or line in caplog.text] == []
