"""Labels by rule."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_exporter.expose.labels import (
    RESERVED,
    block,
    job_instance,
    label_name,
    label_pairs,
    target_labels,
    value_text,
)
from agent_exporter.expose.names import Strategy, is_legacy_label
from agent_exporter.expose.shape import unblock
from agent_exporter.model import Kind

DEFAULT, UTF8 = Strategy.UNDERSCORES_SUFFIXES, Strategy.UTF8


@pytest.mark.parametrize(
    ("rule", "key", "expected"),
    [
        ("L1", "http.method", "http_method"),
        ("L1", "a..b__c", "a_b_c"),
        ("L1", "_private", "_private"),
        ("L1", "größe", "gr_e"),
        ("L1", "a:b", "a_b"),
        ("L1", "__reserved.x__", "__reserved_x__"),
        ("L2", "123x", "key_123x"),
        ("L2", "1", "key_1"),
    ],
)
def test_label_names(rule, key, expected):
    """L1, L2: the library's default, which is the specification's."""
    assert label_name(key) == expected, rule


def test_collisions():
    """L3: values join in order of the original keys, and all keys are named."""
    attributes = {"a_b": "3", "a.b": "2", "a-b": "1", "c": "4"}
    assert label_pairs(attributes, DEFAULT) == ((("a_b", "1;2;3"), ("c", "4")), ("a-b", "a.b", "a_b"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", "x"),
        (True, "true"),
        (7, "7"),
        (1.0, "1"),
        (1.5, "1.5"),
        (0.00001, "0.00001"),
        (1e-7, "1e-07"),
        (1e22, "1e+22"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (b"\x00\xff", "AP8="),
        (None, ""),
        (["a", 1, 1.5, True, None, b"\x00", math.nan], '["a",1,1.5,true,null,"AA==","NaN"]'),
        ({"b": {"é": [-math.inf]}, "a": ""}, '{"a":"","b":{"é":["-Infinity"]}}'),
    ],
)
def test_value_text(value, expected):
    """L4: values as label text."""
    assert value_text(value) == expected


def test_names_that_may_not_be_labels():
    """L5, L7: `__name__` and empty values vanish; a key of underscores is reported."""
    assert label_pairs({"__name__": "x", "a": "", "b": None, "__": "1", "": "2"}, DEFAULT) == ((), ("", "__"))


def test_reserved_labels():
    """L6, L8: an attribute that would corrupt the series is renamed."""
    labels, _ = label_pairs({"le": "1", "x": "2"}, DEFAULT, reserved=RESERVED[Kind.HISTOGRAM])
    assert labels == (("exported_le", "1"), ("x", "2"))


@pytest.mark.parametrize("strategy", [DEFAULT, UTF8])
def test_labels_of_prometheus(strategy):
    """L5: a name that begins with two underscores is Prometheus' own."""
    assert label_pairs({"__address__": "1", "__name__": "2"}, strategy) == ((("exported___address__", "1"),), ())


def test_keys_are_kept_where_utf8_is():
    """A strategy without escaping keeps keys as they are."""
    assert label_pairs({"a.b": "1", "a_b": "2"}, UTF8) == ((("a.b", "1"), ("a_b", "2")), ())


def test_block():
    """Sorted, escaped, quoted where needed, UTF-8, `?` for what UTF-8 cannot hold, U+FFFD for NUL."""
    labels = (("b", 'x"\\\ny'), ("a.b", "é"), ("c", "\ud800"), ("d\0", "\0"))
    assert block(labels) == '"a.b"="é",b="x\\"\\\\\\ny",c="?","d\ufffd"="\ufffd"'.encode()


def test_empty_block():
    """No labels, no text."""
    assert block(()) == b""


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"service.name": "s"}, (("job", "s"),)),
        ({"service.name": "s", "service.namespace": "n"}, (("job", "n/s"),)),
        ({"service.namespace": "n"}, ()),
        ({"service.name": "s", "service.instance.id": 7}, (("instance", "7"), ("job", "s"))),
        ({}, ()),
    ],
)
def test_job_instance(attributes, expected):
    """R1, R2: what is absent is left out."""
    assert job_instance(attributes) == expected


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, ()),
        ({"service.name": "s"}, ()),
        ({"host.name": "h"}, ()),
        (
            {"service.name": "s", "host.name": "h", "job": "j"},
            (("exported_job", "j"), ("host_name", "h"), ("job", "s")),
        ),
    ],
)
def test_target_labels(attributes, expected):
    """R3, R5: the other attributes with job and instance, or nothing."""
    assert target_labels(attributes) == expected


text = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(text.filter(bool), text))
def test_block_reads_back(labels):
    """What is written reads back, but for NUL."""
    pairs = tuple(
        (name.replace("\0", "\ufffd"), value.replace("\0", "\ufffd")) for name, value in sorted(labels.items())
    )
    assert unblock(block(tuple(labels.items()))) == pairs


@given(st.dictionaries(text, text))
def test_default_labels_are_legacy_labels(attributes):
    """Whatever is sent, the default strategy gives distinct labels that every scraper takes."""
    labels, _ = label_pairs(attributes, DEFAULT)
    names = [name for name, _ in labels]
    assert all(map(is_legacy_label, names))
    assert len(set(names)) == len(names)
