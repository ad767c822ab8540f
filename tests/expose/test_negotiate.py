"""Negotiation by a table, with headers that nobody should send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_exporter.expose.negotiate import accepts_gzip, negotiate

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
PLAIN_1 = "text/plain; version=1.0.0; charset=utf-8; escaping="
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping="
OPEN_0 = "application/openmetrics-text; version=0.0.1; charset=utf-8"
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
CASES = [
    ("", PLAIN),
    ("*/*", PLAIN),
    ("text/*", PLAIN),
    ("text/plain", PLAIN),
    (FIREFOX, PLAIN),
    (PROMETHEUS_3, OPEN + "allow-utf-8"),
    (PROMETHEUS_2, OPEN + "underscores"),
    ("text/plain;version=0.0.4;escaping=allow-utf-8", PLAIN),
    ("text/plain;version=1.0.0", PLAIN_1 + "underscores"),
    ("text/plain; version=1.0.0; escaping=values", PLAIN_1 + "values"),
    ('text/plain; version="1.0.0"; escaping="dots"', PLAIN_1 + "dots"),
    ("application/openmetrics-text", OPEN + "underscores"),
    ("application/*", OPEN + "underscores"),
    ("application/openmetrics-text;version=0.0.1", OPEN_0),
    ("APPLICATION/OpenMetrics-Text; Version=1.0.0", OPEN + "underscores"),
    ("application/openmetrics-text;version=1.0.0;q=0.1,text/plain;version=0.0.4;q=0.9", PLAIN),
    ("text/plain;version=0.0.4,application/openmetrics-text;version=1.0.0", OPEN + "underscores"),
    ("text/plain;q=0,*/*;q=0.5", PLAIN),
    ("application/openmetrics-text;q=0,text/plain;version=1.0.0", PLAIN_1 + "underscores"),
    ("text/plain;version=1.0.0;escaping=dots;q=0.2,text/plain;version=1.0.0;escaping=values;q=0.3", PLAIN_1 + "values"),
    # hostile
    ("application/openmetrics-text;version=1.x.0", PLAIN),
    ("application/openmetrics-text;version=1.0.0;escaping=\r\nset-cookie: a", OPEN + "underscores"),
    ("application/openmetrics-text;version=99<script>", PLAIN),
    ("application/openmetrics-text;version=1.0.0;q=nan", PLAIN),
    ("application/openmetrics-text;version=1.0.0;q=1e3", PLAIN),
    ("application/openmetrics-text;version=1.0.0;q=-1", PLAIN),
    ("application/openmetrics-text;version=1.0.0;q=２", PLAIN),
    ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", PLAIN),
    (";;;,,,=;q=", PLAIN),
    ("a/b," * 100_000 + "application/openmetrics-text;version=1.0.0", PLAIN),
]  # fmt: skip


@pytest.mark.parametrize(("accept", "expected"), CASES)
def test_negotiate(accept, expected):
    """What is asked for and what is answered."""
    assert negotiate(accept).content_type == expected


def test_without_openmetrics():
    """A strategy without suffixes is served as text, whatever else is asked for."""
    found = [negotiate(accept, openmetrics=False).content_type for accept in (PROMETHEUS_3, PROMETHEUS_2)]
    assert found == [PLAIN_1 + "allow-utf-8", PLAIN]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("identity", False),
        ("x-gzip", True),
        ("gzip;q=x", False),
    ],
)
def test_accepts_gzip(header, expected):
    """Compression by weight."""
    assert accepts_gzip(header) is expected


ANSWERS = {
    PLAIN,
    OPEN_0,
    *(start + escaping for start in (PLAIN_1, OPEN) for escaping in ("underscores", "allow-utf-8", "dots", "values")),
}
pieces = st.sampled_from(
    [
        "text/plain",
        "application/openmetrics-text",
        "*/*",
        ";",
        ",",
        "q=",
        "0.5",
        "version=",
        "1.0.0",
        "escaping=",
        "dots",
        "=",
    ]
)


@given(st.lists(pieces | st.text(max_size=3)).map("".join))
def test_nothing_raises_and_nothing_is_echoed(header):
    """Whatever the header, the answer is one of ours."""
    assert negotiate(header).content_type in ANSWERS
    assert accepts_gzip(header) in {True, False}
