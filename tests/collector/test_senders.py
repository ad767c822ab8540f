"""What real SDKs sent comes out by the rules: against an independent decode, and byte for byte."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

import captures
from agent_exporter.dialects import DROP_ATTRIBUTES, compile_drop
from agent_exporter.expose.labels import block, label_pairs
from agent_exporter.expose.names import Strategy, metric_name
from agent_exporter.expose.render import Format, Renderer
from agent_exporter.model import Kind, Signal
from otlp import Bench
from replay import protobuf

GOLDEN = Path(__file__).parent.parent / "golden"
STRATEGY = Strategy("UnderscoreEscapingWithSuffixes")
dropped = compile_drop(DROP_ATTRIBUTES)

SENDERS = [name for name in captures.names() if name.startswith(("otel-sdk-", "node-runtime-", "python-system-"))]
FALLING = ("process.runtime.cpython.gc_count",)  # says it is monotonic and falls: every fall is a reset
# Several runs of one process under one name, which a decode of last values cannot add up; and
# names that conflict on purpose. Both have a golden page.
ALONE = ("otel-sdk-python-1.45.2-restart/http-protobuf", "otel-sdk-python-1.45.2-names/http-protobuf")


def _replayed(name: str) -> Bench:
    bench = Bench()
    for payload in captures.load(name).payloads:
        bench.ingest(Signal(payload.signal), protobuf(payload))
    return bench


def _kind(metric: dict[str, Any]) -> Kind:
    if metric["kind"].lower().endswith("histogram"):
        return Kind.HISTOGRAM
    return Kind.COUNTER if metric["kind"] == "sum" and metric["monotonic"] else Kind.GAUGE


def _reading(cells: list[float], metric: dict[str, Any]) -> tuple[float, ...]:
    return (cells[-1], cells[-2]) if _kind(metric) is Kind.HISTOGRAM else (cells[0],)


def _expected(series: dict[str, Any], metric: dict[str, Any]) -> tuple[float, ...]:
    return (series["count"], series["sum"]) if _kind(metric) is Kind.HISTOGRAM else (series["value"],)


def _parts(text: bytes) -> set[bytes]:
    return {part.rstrip(b'"') for part in text.split(b'",')} if text else set()


def _labels(attributes: dict[str, Any]) -> set[bytes]:
    kept = {key: value for key, value in attributes.items() if not dropped(key)}
    return _parts(block(label_pairs(kept, STRATEGY)[0]))


def _same(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(repr(a) == repr(b) or math.isclose(a, b, rel_tol=1e-9) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", [name for name in SENDERS if name not in ALONE])
def test_every_series_of_an_sdk_shows_what_was_sent(name: str) -> None:
    """Each series of an independent decode is on the page under its translated name, with its value."""
    page = defaultdict(list)
    for key, cells in _replayed(name).page().items():
        family, _, text = key.removesuffix("}").partition("{")
        page[family].append((_parts(text.encode()), cells))
    observed = (captures.load(name).observed or {})["metrics"]
    for title in [title for title in observed if title not in FALLING]:
        metric = observed[title]
        family = metric_name(title.partition(" (")[0], metric["unit"], _kind(metric), STRATEGY).sample
        for series in metric["series"]:
            found = [_reading(cells, metric) for parts, cells in page[family] if _labels(series["attributes"]) <= parts]
            expected = _expected(series, metric)
            assert any(_same(each, expected) for each in found), (title, series, found)


GOLDENS = [
    ("otel-sdk-python-1.45.2-names/http-protobuf", Format.TEXT),
    ("otel-sdk-python-1.45.2-gauges/http-protobuf", Format.TEXT),
    ("otel-sdk-python-1.45.2-exemplars/http-protobuf", Format.OPENMETRICS),
    ("otel-sdk-python-1.45.2-restart/http-protobuf", Format.OPENMETRICS),
    ("otel-sdk-python-1.45.2-exphist/http-protobuf", Format.OPENMETRICS),
    ("node-runtime-0.36.1/http-json", Format.TEXT),
    ("claude-code-2.1.329/http-protobuf", Format.OPENMETRICS),
]


@pytest.mark.parametrize(("name", "form"), GOLDENS, ids=[name for name, _ in GOLDENS])
def test_the_page_is_byte_exact(name: str, form: Format) -> None:
    """The whole page equals the one kept in tests/golden, which UPDATE_GOLDEN=1 writes anew."""
    page = b"".join(Renderer(created=True).render(_replayed(name).ingest.snapshot(), form))
    file = GOLDEN / f"{name.replace('/', '_')}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(page)
    assert file.read_bytes() == page
