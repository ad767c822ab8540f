"""All captures of all senders through the real process: the totals of everybody, and nothing of what was said.

The process writes its log at the lowest level. What each capture says of prompts, arguments, answers, paths and
ids is looked for on every page and in the log; `LEGITIMATE` is all of it that may be there, because it is also the
name of a tool, a model or a kind of something.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from itertools import groupby
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

import captures
from agent_exporter.dialects.privacy import never_label
from agent_exporter.expose.render import Format, Renderer
from end_to_end.process import OPENMETRICS, OWN, Collector, samples
from everyone import RUNS, Everyone, recorded
from rewrite import REQUESTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.message import Message

LEAST = 6  # characters of what is looked for
WORD = re.compile(r"[A-Za-z_]+")  # is looked for as a whole value only: help texts have words too
SENTENCE = re.compile(r"\S+\s+\S+\s+\S+\s+\S|^/[^/]+/")  # a text or a path, under whatever name
PAIR = re.compile(r' (\w+)=("(?:[^"\\]|\\.)*"|\S*)')
HERE = {"127.0.0.1"}  # the collector's own doors, and the model server of the captures
TOOLS = {
    *("delete_record", "lookup_weather", "no_such_tool", "exec_command", "view_image", "invoke_agent", "replace"),
    *("list_directory", "read_file", "run_shell_command", "write_file", "demo_boom", "mcp_demo_add"),
    *("mcp_demo_boom", "mcp__demo__add", "mcp__demo__boom"),
    "2a97516c354b68848cdbd8f54a226a0a55b21ed138e207ad6c5cbb9c00aa5aea",  # a server of Copilot, which sends hashes
}
MODELS = {"demo-model", "demo-small", "gemini-2.5-flash", "gpt-5-mini", "gpt-5-mini-2025-08-07", "gpt-5.5", "openai"}
AGENTS = {"codex_exec", "weather_agent", "cleanup_agent", "general-purpose", "generalist"}
ERRORS = {
    *("ApiError", "McpToolCallError", "ModelCallError", "PermissionError", "ShellError", "TOOL_ERROR", "ToolError"),
    *("TelemetrySafeError", "denied", "failure"),
}
KINDS = {
    *("builtin", "completed", "default", "direct", "enforcement_state", "function", "inactive", "process", "python"),
    *("success", "system", "thread_start_create_thread", "thread_start_total", "tool_call", "unknown"),
    *("danger-full-access", "markdown", "stream", "text/plain"),
}
VERSIONS = {"0.169.0", "1.30.0"}
ODD = {"gone after a second"}  # an attribute of a capture about odd gauges
LEGITIMATE = TOOLS | MODELS | AGENTS | ERRORS | KINDS | VERSIONS | ODD
UNSETTLED = ("agent_interface_consecutive_failures", "agent_sessions_active")  # of whoever came last


def _in_order() -> list[str]:
    return sorted(RUNS, key=lambda run: recorded(run)[0].at)


def _sender(run: str) -> str:
    return run.partition("/")[0]


@pytest.fixture(scope="module")
def fed(tmp_path_factory: Any) -> Iterator[Collector]:
    """Run a collector that took all captures as they came: senders at once, the runs of one in turn."""
    with Collector(tmp_path_factory.mktemp("fed"), "--log.level", "debug") as running:
        lanes = [[*runs] for _, runs in groupby(sorted(_in_order(), key=_sender), _sender)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda lane: [_send(running, run) for run in lane], lanes))
        yield running


@pytest.fixture(scope="module")
def text(fed: Collector) -> str:
    """Read /metrics as text."""
    return fed.page()


@pytest.fixture(scope="module")
def exemplars(fed: Collector) -> list[dict[str, str]]:
    """Read the labels of the exemplars, which OpenMetrics alone has."""
    families = parse_openmetrics(fed.page(OPENMETRICS))
    return [sample.exemplar.labels for family in families for sample in family.samples if sample.exemplar]


@pytest.fixture(scope="module")
def labels(text: str) -> set[tuple[str, str]]:
    """Read the labels of all series."""
    return {pair for _, pairs in samples(text) for pair in pairs}


def _send(running: Collector, run: str) -> None:
    """Send a run over its own protocol, and before that each of its requests cut short, which must be refused."""
    capture = captures.load(run)
    with running.sender(capture.protocol, partly=True) as send:
        for payload in capture.payloads:
            with pytest.raises((AssertionError, grpc.RpcError), match=r"400|INVALID_ARGUMENT"):
                send(payload, payload.body[:-1])
        for payload in capture.payloads:
            send(payload, payload.body)


# -- totals ----------------------------------------------------------------------


def _settled(page: str) -> dict[Any, float]:
    """Read a page without what moves by itself."""
    return {
        key: value
        for key, value in samples(page).items()
        if not key[0].startswith((*OWN, *UNSETTLED)) and ("job", "agent-exporter") not in key[1]
    }


def test_totals(text: str) -> None:
    """Every series is what it is in this process, with the captures in the order in which they were recorded."""
    everyone = Everyone(request for run in RUNS for request in recorded(run))
    expected = _settled(b"".join(Renderer().render(everyone.ingest.snapshot(), Format.TEXT)).decode())
    found = _settled(text)

    assert len(found) > 10_000
    assert {name for name, _ in found if name.startswith("agent_")} > {"agent_tokens_total", "agent_cost_usd_total"}
    assert found == {key: pytest.approx(value, nan_ok=True) for key, value in expected.items()}


# -- privacy ---------------------------------------------------------------------


def _texts(text: str) -> Iterator[str]:
    """Yield the lines of a text, or of all the texts in it if it is JSON."""
    try:
        plain = json.loads(text)
    except ValueError:
        plain = None
    if isinstance(plain, (dict, list, str)):
        yield from _leaves(plain)
    else:
        yield from (line.strip() for line in text.splitlines())


def _leaves(plain: Any) -> Iterator[str]:
    if isinstance(plain, str):
        yield from _texts(plain)
    elif isinstance(plain, (dict, list)):
        for each in plain.values() if isinstance(plain, dict) else plain:
            yield from _leaves(each)


def _strings(value: Message) -> Iterator[str]:
    """Yield every text in an AnyValue."""
    match value.WhichOneof("value"):
        case "string_value":
            yield from _texts(value.string_value)
        case "array_value":
            for each in value.array_value.values:
                yield from _strings(each)
        case "kvlist_value":
            for pair in value.kvlist_value.values:
                yield from _strings(pair.value)


def _said(message: Message, inside: str = "") -> Iterator[str]:
    """Yield what must not get out: never-labels, all of span events, bodies, errors; and sentences under any name."""
    kind = message.DESCRIPTOR.name
    if kind == "KeyValue":
        secret = inside == "Event" or never_label(message.key)
        yield from (text for text in _strings(message.value) if secret or SENTENCE.search(text))
    elif kind == "LogRecord":
        yield from _strings(message.body)
    elif kind == "Status":
        yield from _texts(message.message)
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for each in value if field.is_repeated else [value]:
                yield from _said(each, kind)


def _answered(sender: str) -> Iterator[str]:
    """Yield the ids that the model server made up."""
    for files in captures._runs(sender).values():
        for line in files.get("model-requests.jsonl", b"").splitlines():
            yield from (call["id"] for call in json.loads(line).get("calls", ()))


@pytest.fixture(scope="module")
def needles() -> set[str]:
    """Collect what any capture says that is nobody's business."""
    found = {each for sender in captures.senders() for each in _answered(sender)}
    for run in RUNS:
        for request in recorded(run):
            found.update(_said(REQUESTS[request.signal].FromString(request.body)))
    return {each for each in found if len(each) >= LEAST}


def test_there_is_much_to_hide(needles: set[str]) -> None:
    """Prompts, arguments, answers, errors, paths, commands and ids are among what is looked for."""
    print(f"{len(needles)} needles of {sum(map(len, needles))} characters")
    words = [
        *("call_s1_0_0", "/srv/demo/project", "ls -la", "git commit", "missing.txt"),
        *("gpt-5-mini", "delete_record", "Traceback (most recent call last):"),
    ]

    assert len(needles) > 3_000
    assert [word for word in words if not any(word in needle for needle in needles)] == []


class Cells(HTMLParser):
    """The texts and attributes of a page for people."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        self.found.add(data.strip())

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the attributes."""
        self.found.update(value for _, value in attrs if value)


def _logged(fed: Collector) -> set[str]:
    values = {value for _, value in PAIR.findall(fed.log.read_text())}
    return {json.loads(value) if value.startswith('"') else value for value in values}


VALUE = re.compile(r"(?m)^([^#\n][^\n]*?) [-+.0-9eE]+(?: #.*)?$")


def _out(needles: Iterable[str], page: str, values: set[str]) -> set[str]:
    """Return what got out: words as whole values, everything else anywhere, as it is written and as it is meant."""
    page = VALUE.sub(r"\1", page)  # a name and its value can read like something that was said: «total 4»
    comments = [line for line in page.split("\n") if line.startswith("#")]
    text = "\n".join({*re.split(r"[,\n]", page), *comments, *values})  # most of a page is said many times
    return {each for each in needles if (each in values if WORD.fullmatch(each) else each in text)}


def test_nothing_of_it_is_on_the_page(
    fed: Collector, text: str, labels: set[tuple[str, str]], exemplars: list[dict[str, str]], needles: set[str]
) -> None:
    """Neither format of /metrics has any of it."""
    values = {value for _, value in labels} | {value for each in exemplars for value in each.values()}

    assert len(exemplars) > 100
    assert _out(needles, text, values) - LEGITIMATE == set()
    assert _out(needles, fed.page(OPENMETRICS), values) - LEGITIMATE == set()


def test_nothing_of_it_is_on_the_human_page(fed: Collector, needles: set[str]) -> None:
    """The page for people, which shows what was refused, has none of it."""
    page = fed.get("/").body.decode()

    assert "malformed" in page
    assert _out(needles, page, Cells(page).found) - LEGITIMATE - HERE == set()


def test_nothing_of_it_is_in_the_log(fed: Collector, needles: set[str]) -> None:
    """The log at its lowest level, with requests that could not be read, has none of it."""
    assert "level=debug" in fed.log.read_text()
    assert _out(needles, fed.log.read_text(), _logged(fed)) - HERE == set()


def _keys(message: Message) -> Iterator[str]:
    if message.DESCRIPTOR.name == "KeyValue":
        yield message.key
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for each in value if field.is_repeated else [value]:
                yield from _keys(each)


def test_no_label_has_a_name_of_theirs(labels: set[tuple[str, str]], exemplars: list[dict[str, str]]) -> None:
    """No label is called as an attribute that never becomes one, as it is sent or as it would be written."""
    sent = {
        key
        for run in RUNS
        for request in recorded(run)
        for key in _keys(REQUESTS[request.signal].FromString(request.body))
        if never_label(key)
    }
    written = {re.sub(r"[^a-zA-Z0-9_]+", "_", key) for key in sent}
    exemplified = {name for each in exemplars for name in each} - {"trace_id", "span_id"}
    shown = {name for name, _ in labels} | exemplified

    assert len(sent) > 100
    ours = {"otel_scope_schema_url"}  # R7: a public address of a convention, and not an attribute
    assert {each for each in shown - ours if each in written or never_label(each)} == set()
