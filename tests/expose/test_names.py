"""Names by rule, in the words of otlptranslator where it and the specification differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_exporter.expose.names import Escaping, Name, Strategy, Unnameable, escape, is_legacy, metric_name
from agent_exporter.model import Form, Kind

C, G, H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
DEFAULT, BARE = Strategy.UNDERSCORES_SUFFIXES, Strategy.UNDERSCORES
UTF8_SUFFIXES, UTF8 = Strategy.UTF8_SUFFIXES, Strategy.UTF8


def test_strategies_have_the_fixed_names():
    """N1: the four names are what configurations of other programs say."""
    assert list(Strategy) == [
        "UnderscoreEscapingWithSuffixes",
        "UnderscoreEscapingWithoutSuffixes",
        "NoUTF8EscapingWithSuffixes",
        "NoTranslation",
    ]


@pytest.mark.parametrize(
    ("rule", "name", "unit", "kind", "expected"),
    [
        ("N2", "http.server-req  x", "", G, ("http_server_req_x", "")),
        ("N2", "a:b", "", G, ("a:b", "")),
        ("N2", "_a__b_", "", G, ("a_b", "")),
        ("N3", "agent.tool.duration", "s", H, ("agent_tool_duration_seconds", "seconds")),
        ("N3", "wait_seconds", "s", H, ("wait_seconds", "seconds")),
        ("N3", "seconds.behind", "s", G, ("seconds_behind", "")),
        ("N3", "sent.bytes", "By", C, ("sent_bytes_total", "bytes")),
        ("N4", "requests", "{request}", C, ("requests_total", "")),
        ("N4", "requests", "{request}/s", G, ("requests_per_second", "per_second")),
        ("N4", "x", "{a}/{b}", G, ("x", "")),
        ("N5", "speed", "m/s", G, ("speed_meters_per_second", "meters_per_second")),
        ("N5", "speed", "m/m", G, ("speed_meters_per_minute", "meters_per_minute")),
        ("N5", "speed", "By / fortnight", G, ("speed_bytes_per_fortnight", "bytes_per_fortnight")),
        ("N5", "x_per_second", "1/s", G, ("x_per_second_per_second", "per_second")),
        ("N5", "x", "By/", G, ("x_bytes", "bytes")),
        ("N6", "total.requests", "", C, ("requests_total", "")),
        ("N6", "requests_total", "", C, ("requests_total", "")),
        ("N6", "total", "", C, ("total", "")),
        ("N7", "cache.hits", "1", C, ("cache_hits_total", "")),
        ("N7", "utilization", "1", G, ("utilization_ratio", "ratio")),
        ("N7", "ratio.used", "1", G, ("used_ratio", "ratio")),
        ("N7", "wait", "1", H, ("wait", "")),
        ("N8", "3xx", "", G, ("_3xx", "")),
        ("units", "x", "TiBy", G, ("x_tibibytes", "tibibytes")),
        ("units", "x", "KBy", G, ("x_kilobytes", "kilobytes")),
        ("units", "x", "kBy", G, ("x_kBy", "kBy")),
        ("units", "cost", "USD", C, ("cost_USD_total", "USD")),
        ("units", "x", "%", G, ("x_percent", "percent")),
        ("units", "x", "a b$", G, ("x_a_b_", "")),
    ],
)
def test_default_strategy(rule, name, unit, kind, expected):
    """Underscores and suffixes, rule by rule."""
    assert metric_name(name, unit, kind, DEFAULT) == Name(*expected), rule


@pytest.mark.parametrize(
    ("strategy", "name", "unit", "kind", "expected"),
    [
        (BARE, "foo.bar", "By", C, ("foo_bar", "")),
        (BARE, "foo__bar..baz", "By", C, ("foo__bar_baz", "")),
        (BARE, "1st", "", G, ("_1st", "")),
        (BARE, "wait_seconds", "s", G, ("wait_seconds", "seconds")),
        (UTF8_SUFFIXES, "foo.bar", "By", C, ("foo.bar_bytes_total", "bytes")),
        (UTF8_SUFFIXES, "foo.bar.total", "", C, ("foo.bar_total", "")),
        (UTF8_SUFFIXES, "foo.bytes", "By", G, ("foo.bytes", "")),
        (UTF8_SUFFIXES, "foo_per_second", "By/s", G, ("foo_bytes_per_second", "bytes_per_second")),
        (UTF8_SUFFIXES, "foo.ratio", "1", G, ("foo_ratio", "ratio")),
        (UTF8_SUFFIXES, "subtotal", "", C, ("subtotal_total", "")),
        (UTF8, "foo.bar", "By", C, ("foo.bar", "")),
        (UTF8, "größe", "", G, ("größe", "")),
    ],
)
def test_other_strategies(strategy, name, unit, kind, expected):
    """The table of 1.7 and what follows from it."""
    assert metric_name(name, unit, kind, strategy) == Name(*expected)


def test_up_down_sums_are_no_ratios():
    """N7: only what was sent as a gauge becomes a ratio."""
    assert metric_name("connections", "1", G, DEFAULT, form=Form.SUM).sample == "connections"


@pytest.mark.parametrize(
    ("name", "strategy"), [("", DEFAULT), ("", UTF8), ("___", BARE), ("...", DEFAULT), ("é", BARE)]
)
def test_nothing_left(name, strategy):
    """N9: a name of which nothing is left is refused."""
    with pytest.raises(Unnameable):
        metric_name(name, "", G, strategy)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [(DEFAULT, "_9_lives_x"), (BARE, "_9_lives_x"), (UTF8, "9.lives_x"), (UTF8_SUFFIXES, "9.lives_x")],
)
def test_namespace(strategy, expected):
    """N10: a namespace stands before the name, and the digit check comes after it."""
    assert metric_name("x", "", G, strategy, namespace="9.lives").sample == expected


@pytest.mark.parametrize(
    ("name", "underscores", "dots", "values"),
    [
        ("", "", "", ""),
        ("valid_name", "valid_name", "valid__name", "valid_name"),
        ("my.metric_1", "my_metric_1", "my_dot_metric__1", "U__my_2e_metric__1"),
        ("1x", "_x", "__x", "U___31_x"),
        ("ö😀", "__", "____", "U___f6__1f600_"),
        ("\ud800", "_", "__", "U___FFFD_"),
    ],
)
def test_escaping(name, underscores, dots, values):
    """N11: the schemes of Prometheus' model."""
    assert [escape(name, scheme) for scheme in Escaping] == [name, underscores, dots, values]


def test_escaping_of_label_names():
    """A colon is legal in a metric's name but not in a label's."""
    assert [escape("a:b", Escaping.VALUES), escape("a:b", Escaping.VALUES, colon=False)] == ["a:b", "U__a_3a_b"]


@given(st.text(), st.text(max_size=8), st.sampled_from(Kind), st.sampled_from([DEFAULT, BARE]))
def test_default_names_are_legacy_names(name, unit, kind, strategy):
    """Whatever is sent, the escaping strategies give a name that every scraper takes, or refuse."""
    try:
        sample = metric_name(name, unit, kind, strategy).sample
    except Unnameable:
        return
    assert is_legacy(sample)


@given(st.text(min_size=1), st.sampled_from([Escaping.UNDERSCORES, Escaping.DOTS, Escaping.VALUES]))
def test_escaped_names_are_legacy_names(name, scheme):
    """Whatever the name, what is escaped needs no quotes."""
    assert is_legacy(escape(name, scheme))
