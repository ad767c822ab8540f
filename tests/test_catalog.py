import re
from itertools import pairwise

import pytest

from agent_exporter.catalog import CATALOG, DURATION_BOUNDS, SHARED, SIZE_BOUNDS, VALUES
from agent_exporter.model import Kind

ROWS = tuple(CATALOG.values())
NAMED_BY_US = tuple(row for row in ROWS if not row.name.startswith(SHARED))
ALERT_THRESHOLDS = {0.01, 0.5, 1, 5, 30}
BASE_UNITS = {"s", "By", "1", "{USD}"}
TYPE_WORDS = {"counter", "gauge", "histogram", "summary", "total", "count", "bucket", "sum"}
RESERVED_LABELS = {"le", "quantile", "job", "instance"}
OTHER_UNITS = {"ms", "milliseconds", "minutes", "hours", "kb", "kilobytes", "mb", "megabytes", "percent", "bits"}


@pytest.mark.parametrize("row", NAMED_BY_US, ids=lambda row: row.name)
def test_names_are_dotted_words(row):
    """A name is lower-case words, names no type, and spells neither `_total` nor a derived unit."""
    assert re.fullmatch(r"(agent|agent_exporter)(\.[a-z][a-z0-9_]*)+", row.name)
    assert not set(re.split(r"[._]", row.name)) & (TYPE_WORDS | OTHER_UNITS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_units_are_base_units(row):
    """A unit is a base unit or an annotation, which adds nothing to the name."""
    assert row.unit in BASE_UNITS or re.fullmatch(r"\{[a-z_]+\}", row.unit)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_help_is_a_sentence(row):
    """A help text is one line that begins with a capital and ends with a full stop."""
    assert re.fullmatch(r"[A-Z][^\n]+\.", row.help)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_labels_are_legal(row):
    """A label's name needs no quoting, is given once, and is none that Prometheus sets itself."""
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", label) for label in row.labels)
    assert len(set(row.labels)) == len(row.labels)
    assert not set(row.labels) & RESERVED_LABELS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_bounds_go_with_histograms(row):
    """A histogram has ascending finite bounds, nothing else has any."""
    assert bool(row.bounds) is (row.kind is Kind.HISTOGRAM)
    assert all(low < high for low, high in pairwise(row.bounds))
    assert float("inf") not in row.bounds


@pytest.mark.parametrize("row", [row for row in ROWS if row.siblings], ids=lambda row: row.name)
def test_siblings_are_label_values(row):
    """Siblings belong to a counter, by a label it has and values the label may have."""
    label, values = row.siblings

    assert row.kind is Kind.COUNTER
    assert label in row.labels
    assert set(values) <= set(VALUES.get((row.name, label), values))


def test_only_shares_are_ratios():
    """A gauge has the unit 1, and so `_ratio` in its name, only if it is a share."""
    assert {row.name for row in ROWS if row.unit == "1"} == {
        "agent.context.utilization",
        "agent.runtime.event_loop.utilization",
        "system.filesystem.utilization",
        "system.memory.utilization",
        "system.paging.utilization",
    }


def test_names_stay_apart_in_prometheus():
    """No two names become one when dots become underscores."""
    assert len({row.name.replace(".", "_") for row in ROWS}) == len(ROWS)


def test_alert_thresholds_are_bounds():
    """What alerts compare with is a bound, so that no interpolation decides."""
    assert set(DURATION_BOUNDS) >= ALERT_THRESHOLDS


def test_sizes_reach_from_64_bytes_to_64_mebibytes():
    """Size bounds are powers of four."""
    assert SIZE_BOUNDS[0] == 64
    assert SIZE_BOUNDS[-1] == 64 * 2**20


@pytest.mark.parametrize(("name", "label"), VALUES)
def test_closed_values_are_of_known_labels(name, label):
    """A closed set of values belongs to a label that the instrument has."""
    assert label in CATALOG[name].labels
