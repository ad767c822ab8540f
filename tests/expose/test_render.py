"""Pages byte for byte, and pages at random against parsers and against a renderer that remembers nothing."""

from __future__ import annotations

import gzip
import math
import shutil
import subprocess
from array import array
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agent_exporter.expose.labels import block
from agent_exporter.expose.names import Escaping
from agent_exporter.expose.render import Renderer
from agent_exporter.expose.shape import Format, float_text
from agent_exporter.model import Exemplar, Family, Kind, Table
from agent_exporter.store.families import Series

NAN, INF = math.nan, math.inf


def table(*rows, bounds=(), **columns):
    """Make a table of (labels, cells) rows."""
    made = Table(len(rows[0][1]), bounds, [block(tuple(labels.items())) for labels, _ in rows], layout=1)
    made.values = array("d", [cell for _, cells in rows for cell in cells])
    made.created = array("d", columns.pop("created", [NAN] * len(rows)))
    for name, column in columns.items():
        setattr(made, name, column)
    return made


def text(*families):
    """Render families as text 0.0.4."""
    return b"".join(Renderer().render(families)).decode()


def openmetrics(*families, scheme=Escaping.UNDERSCORES, created=True):
    """Render families as OpenMetrics."""
    return b"".join(Renderer(created=created).render(families, Format.OPENMETRICS, scheme)).decode()


REQUESTS = Family(
    "requests_total",
    Kind.COUNTER,
    "",
    "All requests.",
    [table(({"b": "2"}, [2.0]), ({"a": "1", "b": "x"}, [1.5]), created=[1.5, NAN])],
)


def test_counter_text():
    """A counter in text 0.0.4: series in order of labels, no created lines."""
    expected = """\
# HELP requests_total All requests.
# TYPE requests_total counter
requests_total{a="1",b="x"} 1.5
requests_total{b="2"} 2.0
"""
    assert text(REQUESTS) == expected


def test_counter_openmetrics():
    """A counter in OpenMetrics: no `_total` in the family's name, created after its own series, where known."""
    expected = """\
# HELP requests All requests.
# TYPE requests counter
requests_total{a="1",b="x"} 1.5
requests_total{b="2"} 2.0
requests_created{b="2"} 1.5
# EOF
"""
    assert openmetrics(REQUESTS) == expected


def test_created_is_an_option():
    """Without `created` there are no created lines, and that is the default."""
    default = b"".join(Renderer().render([REQUESTS], Format.OPENMETRICS)).decode()
    assert default == openmetrics(REQUESTS, created=False)
    assert "_created" not in default


def test_unlabelled_series():
    """A series without labels has no braces and comes first."""
    page = text(Family("up", Kind.GAUGE, "", "", [table(({"a": "1"}, [0.0]), ({}, [1.0]))]))
    assert page == '# TYPE up gauge\nup 1.0\nup{a="1"} 0.0\n'


def test_special_numbers():
    """NaN and the infinities are written as the formats want them, and large and small numbers read back."""
    rows = [({"n": str(n)}, [v]) for n, v in enumerate([NAN, INF, -INF, -0.0, 1e300, 5e-324, 1e16])]
    lines = text(Family("x", Kind.GAUGE, "", "", [table(*rows)])).splitlines()[1:]
    assert [line.split()[1] for line in lines] == ["NaN", "+Inf", "-Inf", "-0.0", "1e+300", "5e-324", "1e+16"]


HISTOGRAM = Family(
    "wait_seconds",
    Kind.HISTOGRAM,
    "seconds",
    "Wait.",
    [
        table(
            ({"q": "a"}, [1.0, 2.0, 3.0, 4.5, 3.0]),
            ({}, [0.0, 0.0, 1.0, 0.0, 1.0]),
            bounds=(0.5, 1.0),
            created=[7.0, 8.0],
            absent={8},
            exemplars={
                1: Exemplar(b'trace_id="t"', 0.75, 12.5),
                4: Exemplar(b'trace_id="t"', 0.75, 12.5),
            },
        )
    ],
)


def test_histogram_text():
    """A histogram in text: float `le`, no sum where there was none (T8), an unlabelled row."""
    expected = """\
# HELP wait_seconds Wait.
# TYPE wait_seconds histogram
wait_seconds_bucket{le="0.5"} 0.0
wait_seconds_bucket{le="1.0"} 0.0
wait_seconds_bucket{le="+Inf"} 1.0
wait_seconds_count 1.0
wait_seconds_bucket{q="a",le="0.5"} 1.0
wait_seconds_bucket{q="a",le="1.0"} 2.0
wait_seconds_bucket{q="a",le="+Inf"} 3.0
wait_seconds_sum{q="a"} 4.5
wait_seconds_count{q="a"} 3.0
"""
    assert text(HISTOGRAM) == expected


def test_histogram_openmetrics():
    """A histogram in OpenMetrics: unit, created at the end, exemplars on buckets only (T18), no count without sum."""
    expected = """\
# HELP wait_seconds Wait.
# TYPE wait_seconds histogram
# UNIT wait_seconds seconds
wait_seconds_bucket{le="0.5"} 0.0
wait_seconds_bucket{le="1.0"} 0.0
wait_seconds_bucket{le="+Inf"} 1.0
wait_seconds_created 8.0
wait_seconds_bucket{q="a",le="0.5"} 1.0
wait_seconds_bucket{q="a",le="1.0"} 2.0 # {trace_id="t"} 0.75 12.5
wait_seconds_bucket{q="a",le="+Inf"} 3.0
wait_seconds_sum{q="a"} 4.5
wait_seconds_count{q="a"} 3.0
wait_seconds_created{q="a"} 7.0
# EOF
"""
    assert openmetrics(HISTOGRAM) == expected


def test_summary():
    """A summary: float quantiles, sum, count."""
    family = Family("s", Kind.SUMMARY, "", "", [table(({"q": "a"}, [1.0, 2.0, 9.0, 4.0]), bounds=(0.5, 1.0))])
    expected = """\
# TYPE s summary
s{q="a",quantile="0.5"} 1.0
s{q="a",quantile="1.0"} 2.0
s_sum{q="a"} 9.0
s_count{q="a"} 4.0
"""
    assert text(family) == expected


def test_info():
    """An info family is a gauge in text and loses its suffix in OpenMetrics."""
    family = Family("target_info", Kind.INFO, "", "Target.", [table(({"job": "j"}, [1.0]))])
    assert text(family) == '# HELP target_info Target.\n# TYPE target_info gauge\ntarget_info{job="j"} 1.0\n'
    assert openmetrics(family) == '# HELP target Target.\n# TYPE target info\ntarget_info{job="j"} 1.0\n# EOF\n'


def stored(name, kind, *rows):
    """Make a family as the store does, with a row that is nobody's, from rows of (labels, value)."""
    family = Series(name, kind, "", "")
    for labels, value in rows:
        held, row = family.series(block(tuple(labels.items())), (), NAN)
        held.values[row] = value
    return family


@pytest.mark.parametrize(
    ("name", "kind", "rows", "expected"),
    [
        ("state", Kind.STATESET, [({"state": "on"}, 1.0), ({"a": "b", "state": "off"}, 0.0)], "# TYPE state stateset"),
        ("state", Kind.STATESET, [({"mode": "on"}, 1.0)], "# TYPE state gauge"),
        ("state", Kind.STATESET, [({"mode": ',state="on'}, 1.0)], "# TYPE state gauge"),
        ("state", Kind.STATESET, [({"state": "on"}, 2.0)], "# TYPE state gauge"),
        ("..state", Kind.STATESET, [({"..state": "on"}, 1.0)], "# TYPE __state gauge"),
        ("x_info", Kind.INFO, [({"a": "b"}, 1.0), ({"a": "c"}, 1.0)], "# TYPE x info"),
        ("x_info", Kind.INFO, [({"a": "b"}, 1.0), ({"a": "c"}, 5.0)], "# TYPE x_info gauge"),
        ("_info", Kind.INFO, [({"a": "b"}, 1.0)], "# TYPE _info gauge"),
    ],
)
def test_kinds_that_values_must_fit(name, kind, rows, expected):
    """A stateset or an info family is one only where the format, its labels and its values allow."""
    family = stored(name, kind, *rows)
    assert (openmetrics(family).splitlines()[0], text(family).split()[3]) == (expected, "gauge")


def test_unknown():
    """Unknown is `untyped` in text."""
    unknown = Family("x", Kind.UNKNOWN, "", "", [table(({}, [1.0]))])
    assert (text(unknown), openmetrics(unknown)) == ("# TYPE x untyped\nx 1.0\n", "# TYPE x unknown\nx 1.0\n# EOF\n")


@pytest.mark.parametrize(
    ("kind", "bounds", "cells", "left_out"),
    [
        (Kind.HISTOGRAM, (1.0,), [1.0, 2.0, 0.0, 2.0], []),
        (Kind.HISTOGRAM, (1.0,), [1.0, 2.0, INF, 2.0], []),
        (Kind.HISTOGRAM, (1.0,), [1.0, 2.0, -1.0, 2.0], ["x_sum -1.0", "x_count 2.0"]),
        (Kind.HISTOGRAM, (1.0,), [1.0, 2.0, NAN, 2.0], ["x_sum NaN", "x_count 2.0"]),
        (Kind.HISTOGRAM, (-1.0, 1.0), [0.0, 1.0, 2.0, 3.0, 2.0], ["x_sum 3.0", "x_count 2.0"]),
        (Kind.SUMMARY, (0.5, 1.0), [-1.0, NAN, 3.0, 2.0], ['x{quantile="0.5"} -1.0']),
        (Kind.SUMMARY, (0.5,), [1.0, -3.0, 2.0], ["x_sum -3.0", "x_count 2.0"]),
    ],
)
def test_lines_that_openmetrics_does_not_take(kind, bounds, cells, left_out):
    """What OpenMetrics has no form for is in text alone; a strict parser reads the rest."""
    family = Family("x", kind, "", "", [table(({}, cells), bounds=bounds)])
    page = openmetrics(family)
    list(parse_openmetrics(page))
    assert [line for line in text(family).splitlines() if line not in page.splitlines()] == left_out


def test_lines_that_come_and_go():
    """A sum that becomes negative takes its lines off the page, and back on it."""
    made = table(*[({"n": str(n)}, [1.0, 5.0, 1.0]) for n in range(50)])
    kept = Renderer()
    for total in (5.0, -1.0, NAN, -1.0, 5.0):
        made.values[10] = total
        family = Family("x", Kind.HISTOGRAM, "", "", [World.copy(made)])
        assert kept.render([family], Format.OPENMETRICS) == Renderer().render([family], Format.OPENMETRICS)


def test_family_without_lines():
    """A family of which nothing is left has no comments either."""
    family = Family("x", Kind.SUMMARY, "", "", [table(({}, [-1.0, -3.0, 2.0]), bounds=(0.5,))])
    assert openmetrics(family, created=False) == "# EOF\n"


def test_escapes():
    r"""Help escapes backslash and newline, in OpenMetrics quotes too; label values always all three."""
    family = Family("x", Kind.GAUGE, "", 'a\\b\n"c"', [table(({"l": 'a\\b\n"c"é'}, [1.0]))])
    sample = 'x{l="a\\\\b\\n\\"c\\"é"} 1.0\n'
    assert text(family) == '# HELP x a\\\\b\\n"c"\n# TYPE x gauge\n' + sample
    assert openmetrics(family) == '# HELP x a\\\\b\\n\\"c\\"\n# TYPE x gauge\n' + sample + "# EOF\n"


def test_nul():
    """Prometheus refuses an OpenMetrics page with a NUL: there is none on any page."""
    hung = {0: Exemplar(block((("a", "x\0y"),)), 1.0, 0.0)}
    family = Family("x\0_total", Kind.COUNTER, "\0", "a\0b", [table(({"l\0": "\0"}, [1.0]), exemplars=hung)])
    for scheme in Escaping:
        page = openmetrics(family, scheme=scheme) + b"".join(Renderer().render([family], scheme=scheme)).decode()
        assert ("\0" in page, "a\ufffdb" in page, 'a="x\ufffdy"' in page) == (False, True, True)


def test_help_is_cut():
    """A description of any length is a line of some length."""
    family = Family("x", Kind.GAUGE, "", "é" * 1000, [table(({}, [1.0]))])
    assert (text(family).split("\n")[0], openmetrics(family).split("\n")[0]) == (f"# HELP x {'é' * 400}",) * 2


UTF8 = Family(
    "foo.bar_total",
    Kind.COUNTER,
    "",
    "Foo.",
    [table(({"a.b": "1,", "c": '="'}, [1.0]), ({}, [2.0]), created=[3.0, NAN])],
)


def test_utf8_names():
    """Names that are not legacy names move into the braces, quoted."""
    expected = """\
# HELP "foo.bar" Foo.
# TYPE "foo.bar" counter
{"foo.bar_total"} 2.0
{"foo.bar_total","a.b"="1,",c="=\\""} 1.0
{"foo.bar_created","a.b"="1,",c="=\\""} 3.0
# EOF
"""
    assert openmetrics(UTF8, scheme=Escaping.ALLOW_UTF8) == expected


@pytest.mark.parametrize(
    ("scheme", "sample"),
    [
        (Escaping.UNDERSCORES, 'foo_bar_total{a_b="1,",c="=\\""} 1.0'),
        (Escaping.DOTS, 'foo_dot_bar__total{a_dot_b="1,",c="=\\""} 1.0'),
        (Escaping.VALUES, 'U__foo_2e_bar__total{U__a_2e_b="1,",c="=\\""} 1.0'),
    ],
)
def test_utf8_names_are_escaped(scheme, sample):
    """A scraper that asks for an escaping gets legacy names, of labels too (N11)."""
    assert openmetrics(UTF8, scheme=scheme).splitlines()[3] == sample


def test_exemplars_are_escaped():
    """The label names of exemplars follow the scraper's wish too."""
    hung = {0: Exemplar(b'"a.b"="1"', 2.0, 0.0)}
    family = Family("x_total", Kind.COUNTER, "", "", [table(({}, [1.0]), exemplars=hung)])
    lines = [openmetrics(family, scheme=scheme).splitlines()[1] for scheme in (Escaping.UNDERSCORES, Escaping.VALUES)]
    assert lines == ['x_total 1.0 # {a_b="1"} 2.0', 'x_total 1.0 # {U__a_2e_b="1"} 2.0']


def test_escaping_does_not_make_names_of_prometheus():
    """An attribute cannot become `__name__` by escaping."""
    family = Family("x", Kind.GAUGE, "", "", [table(({"..name..": "evil"}, [1.0]))])
    assert text(family) == '# TYPE x gauge\nx{exported___name__="evil"} 1.0\n'


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (0.0, "0.0"), (1.0, "1.0"), (-1.0, "-1.0"), (0.0001, "0.0001"), (0.00001, "1e-05"), (1.5e-7, "1.5e-07"),
        (100000.0, "100000.0"), (1e6, "1e+06"), (1048576.0, "1.048576e+06"), (-2.5e100, "-2.5e+100"),
        (INF, "+Inf"), (-INF, "-Inf"), (NAN, "NaN"),
    ],
)  # fmt: skip
def test_bounds_as_prometheus_writes_them(bound, expected):
    """1.5: `le` and `quantile` as Prometheus 3 normalises them."""
    assert float_text(bound) == expected


def test_exemplar_limit():
    """Over 128 code points an exemplar keeps its ids only, then goes; the sample stays (T19)."""
    ids, long = 'span_id="s",trace_id="t"', f'zz="{"é" * 110}"'
    cases = [ids, f"{ids},{long}", f"{long}", f'trace_id="{"x" * 121}"']
    rows = [({"n": str(n)}, [1.0]) for n in range(len(cases))]
    exemplars = {n: Exemplar(case.encode(), 2.0, 0.0) for n, case in enumerate(cases)}
    family = Family("x_total", Kind.COUNTER, "", "", [table(*rows, exemplars=exemplars)])
    lines = openmetrics(family).splitlines()[1:-1]
    tail = f" # {{{ids}}} 2.0"
    assert [line.split("1.0", 1)[1] for line in lines] == [tail, tail, f" # {{{long}}} 2.0", ""]


@pytest.mark.parametrize(
    ("name", "unit"), [("seconds_behind", "seconds"), ("g_a\nevil 1", "a\nevil 1"), ("g_é", "é"), ("g_a b", "a b")]
)
def test_unit_must_be_a_word_and_the_suffix(name, unit):
    """A unit that the name does not end with, or that is no word, gets no UNIT line."""
    family = Family(name, Kind.GAUGE, unit, "", [table(({}, [1.0]))])
    assert "UNIT" not in openmetrics(family, scheme=Escaping.ALLOW_UTF8)


def test_counter_without_suffix_is_unknown_in_openmetrics():
    """A counter that does not end with `_total` cannot be a counter there."""
    family = Family("x", Kind.COUNTER, "", "", [table(({}, [1.0]), created=[1.0])])
    assert openmetrics(family) == "# TYPE x unknown\nx 1.0\n# EOF\n"


def test_names_that_clash_without_suffix():
    """A gauge `foo` beside a counter `foo_total`: the counter stays on the page as unknown."""
    gauge = Family("foo", Kind.GAUGE, "", "", [table(({}, [1.0]))])
    counter = Family("foo_total", Kind.COUNTER, "", "", [table(({}, [2.0]), created=[1.0])])
    expected = "# TYPE foo gauge\nfoo 1.0\n# TYPE foo_total unknown\nfoo_total 2.0\n# EOF\n"
    assert openmetrics(counter, gauge) == expected


def test_families_with_one_escaped_name():
    """Of two families with one name after escaping the second is left out, and named."""
    families = [Family(name, Kind.GAUGE, "", "", [table(({}, [1.0]))]) for name in ("a.b", "a_b")]
    renderer = Renderer()
    assert (b"".join(renderer.render(families)), renderer.omitted) == (b"# TYPE a_b gauge\na_b 1.0\n", ("a_b",))


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("name", ["a_b", "a_b_bucket", "a_b_sum", "a_b_count", "a_b_created"])
def test_families_with_one_escaped_sample_name(name, form):
    """A family whose name another one's sample has after escaping is left out, and named; unescaped both stay."""
    histogram = Family("a.b", Kind.HISTOGRAM, "", "", [table(({}, [1.0, 2.0, 1.0]))])
    gauge = Family(name, Kind.GAUGE, "", "", [table(({}, [1.0]))])
    for scheme, omitted in ((Escaping.UNDERSCORES, (name,)), (Escaping.ALLOW_UTF8, ())):
        renderer = Renderer()
        page = b"".join(renderer.render([gauge, histogram], form, scheme))
        assert (renderer.omitted, page.count(b"# TYPE")) == (omitted, 2 - len(omitted))


def test_hidden_rows_and_empty_families():
    """Hidden rows are not on the page; neither is a family without visible ones."""
    some = Family("a", Kind.GAUGE, "", "", [table(({"x": "1"}, [1.0]), ({"x": "2"}, [2.0]), hidden={0})])
    none = Family("b", Kind.GAUGE, "", "B.", [table(({}, [1.0]), hidden={0})])
    assert text(none, some) == '# TYPE a gauge\na{x="2"} 2.0\n'


def test_tables_in_order_of_bounds():
    """Tables of one family follow each other in order of their bounds under one comment."""
    family = Family("h", Kind.HISTOGRAM, "", "", [table(({"x": b}, [1.0] * 4), bounds=(float(b),)) for b in ("2", "1")])
    lines = text(family).splitlines()
    assert [line for line in lines if "#" in line] == ["# TYPE h histogram"]
    assert [line.split('x="')[1][0] for line in lines if "_count" in line] == ["1", "2"]


def test_patched_drawn_and_patched_again():
    """What a patch measured does not outlive the text it measured."""
    made = table(*[({"n": str(n)}, [1.0]) for n in range(50)])
    kept, family = Renderer(), Family("x", Kind.GAUGE, "", "", [made])
    kept.render([family])
    for start, stop, step in ((3, 4, 1), (0, 50, 1), (0, 50, 25)):
        for row in range(start, stop, step):
            made.values[row] *= 1000.0
        assert kept.render([family]) == Renderer().render([family])


def test_another_family_of_the_same_name():
    """A family that went and came back between two pages with other labels is not taken for the old one."""
    kept = Renderer()
    for label in "ab":
        family = Family("x", Kind.GAUGE, "", "", [table(({label: "1"}, [1.0]))])
        assert kept.render([family]) == Renderer().render([family])


def test_change_of_an_absent_cell():
    """A change that is not on the page changes nothing."""
    made = table(*[({"n": str(n)}, [1.0, 1.0, 1.0]) for n in range(20)], absent={1})
    kept = Renderer()
    family = Family("h", Kind.HISTOGRAM, "", "", [made])
    before = kept.render([family])
    made.values[1] = 5.0
    assert kept.render([family]) == before


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool():
    """Prometheus' own checker accepts a page."""
    info = Family("target_info", Kind.INFO, "", "Target.", [table(({"job": "j"}, [1.0]))])
    page = text(REQUESTS, HISTOGRAM, info)
    done = subprocess.run(["promtool", "check", "metrics"], input=page, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


# At random

numbers = st.floats(width=64) | st.integers(0, 50).map(float) | st.sampled_from([0.0, -0.0, NAN, INF])
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=4)
label_sets = st.dictionaries(st.sampled_from(["a", "b", "c.d", "é"]), words.filter(bool), max_size=3)
KINDS = {
    Kind.COUNTER: "{}_total",
    Kind.GAUGE: "{}",
    Kind.HISTOGRAM: "{}_h",
    Kind.SUMMARY: "{}_s",
    Kind.INFO: "{}_info",
    Kind.UNKNOWN: "{}_u",
}


class World:
    """A store in miniature: families that change at random between snapshots."""

    def __init__(self, data, names, rows):
        self.data, self.rows, self.layout = data, rows, 0
        self.families = {}
        for name, kind in names:
            bounds = [()]
            if kind in (Kind.HISTOGRAM, Kind.SUMMARY):
                bounds = data.draw(st.sampled_from([[()], [(0.5,)], [(0.25, 1.0), ()]]))
            self.families[name] = Family(KINDS[kind].format(name), kind, "", data.draw(words), [])
            self.families[name].tables = [Table(self.width(kind, b), b) for b in bounds]

    @staticmethod
    def width(kind, bounds):
        """Count the cells of a row."""
        return {Kind.HISTOGRAM: len(bounds) + 3, Kind.SUMMARY: len(bounds) + 2}.get(kind, 1)

    def snapshot(self):
        """Copy what is on the page."""
        return [
            Family(f.name, f.kind, f.unit, f.help, [self.copy(t) for t in f.tables]) for f in self.families.values()
        ]

    @staticmethod
    def copy(t):
        """Copy a table."""
        return Table(
            t.width,
            t.bounds,
            list(t.texts),
            array("d", t.values),
            array("d", t.created),
            set(t.hidden),
            set(t.absent),
            dict(t.exemplars),
            t.layout,
        )

    def change(self):
        """Change a table or two: rows, hidden rows, absent cells, values, created times, exemplars."""
        draw = self.data.draw
        family = self.families[draw(st.sampled_from(sorted(self.families)))]
        t = draw(st.sampled_from(family.tables))
        what = draw(st.sampled_from(["add", "hide", "absent", "value", "value", "all", "created", "exemplar"]))
        cells = st.integers(0, len(t.values) - 1)
        if what == "add" or not t.texts:
            self.add(t)
        elif what == "hide":
            t.hidden = draw(st.sets(st.integers(0, len(t.texts) - 1), max_size=3))
        elif what == "absent" and family.kind is Kind.HISTOGRAM:
            row = draw(st.integers(0, len(t.texts) - 1))
            t.absent = t.absent ^ {row * t.width + t.width - 2}
        elif what == "value":
            for cell in draw(st.sets(cells, min_size=1, max_size=3)):
                t.values[cell] = draw(numbers)
        elif what == "all":
            t.values = array("d", [value + draw(st.sampled_from([0.0, 1.0, 10.0])) for value in t.values])
        elif what == "created":
            t.created[draw(st.integers(0, len(t.texts) - 1))] = draw(st.sampled_from([NAN, 1.0, 1.7e9]))
        elif what == "exemplar":
            pairs = (("trace_id", draw(words)),)
            t.exemplars[draw(cells)] = Exemplar(block(pairs), 1.0, draw(st.sampled_from([0.0, 1.5])))
        if what in {"add", "hide", "absent"}:
            self.layout += 1
            t.layout = self.layout

    def add(self, t):
        """Add rows with labels that the table does not have yet."""
        draw = self.data.draw
        for labels in draw(st.lists(label_sets, min_size=1, max_size=self.rows)):
            bare = not t.texts and not t.bounds and draw(st.booleans())
            made = b"" if bare else block((*labels.items(), ("n", f"{len(t.texts)}{t.bounds}")))
            t.texts.append(made)
            t.values.extend([draw(numbers)] * t.width)
            t.created.append(draw(st.sampled_from([NAN, 2.0])))
        self.layout += 1
        t.layout = self.layout


names = st.lists(
    st.tuples(st.sampled_from(["a", "m.n", "x"]), st.sampled_from(list(KINDS))), min_size=1, unique_by=lambda n: n[0]
)


@st.composite
def tunings(draw):
    """Draw sizes so small that a few series have blocks, patches and segments."""
    lines = draw(st.sampled_from([2, 7, 1000]))
    share = draw(st.sampled_from([1, 1, 2, 6]))  # with 1 everything that can be patched is
    return {"sheet.BLOCK_LINES": lines, "sheet.PATCH_SHARE": share, "gzip.SEGMENT_SIZE": lines * 10}


@settings(max_examples=200, deadline=None)
@given(st.data(), names, st.integers(2, 5), st.sampled_from(list(Escaping)), st.booleans(), tunings())
def test_remembering_changes_nothing(data, drawn, turns, scheme, created, tuning):
    """A renderer that keeps blocks and patches them writes what one without a past writes; so does gzip."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in tuning.items():
            patch.setattr(f"agent_exporter.expose.{name}", value)
        world = World(data, drawn, 12)
        fresh = partial(Renderer, created=created)
        kept, squeezed = fresh(), fresh()
        for _ in range(turns):
            for _ in range(data.draw(st.integers(0, 3))):
                world.change()
            page = world.snapshot()
            for form in Format:
                expected = b"".join(fresh().render(page, form, scheme))
                assert b"".join(kept.render(page, form, scheme)) == expected
                assert gzip.decompress(b"".join(squeezed.render_gzip(page, form, scheme))) == expected


def samples(families):
    """Collect samples by name and labels, without what only OpenMetrics has."""
    return sorted(
        (sample.name, tuple(sorted(sample.labels.items())), repr(sample.value))
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    )


def lawful(world):
    """Make values that OpenMetrics allows their kinds; its parser minds."""
    for family in world.families.values():
        for t in family.tables:
            # Counts must be whole and not fall from bucket to bucket.
            if family.kind in (Kind.COUNTER, Kind.SUMMARY):
                t.values = array("d", [abs(round(v)) if math.isfinite(v) else 1.0 for v in t.values])
            elif family.kind in (Kind.HISTOGRAM, Kind.INFO):
                t.values = array("d", [1.0]) * len(t.values)
            t.exemplars = {c: e for c, e in t.exemplars.items() if family.kind is Kind.COUNTER}


@settings(max_examples=100, deadline=None)
@given(st.data(), names)
def test_parsers_accept_pages_and_agree(data, drawn):
    """prometheus_client's two parsers read the two formats and find the same samples."""
    world = World(data, drawn, 6)
    for _ in range(4):
        world.change()
    lawful(world)
    page = world.snapshot()
    for family in page:
        if family.kind is Kind.HISTOGRAM:
            for t in family.tables:
                t.absent = set()
    read = [samples(parse_text(text(*page))), samples(parse_openmetrics(openmetrics(*page)))]
    assert read[0] == read[1]


def test_large_families_are_patched_right():
    """Scattered and clustered changes over several blocks and chunks, gauges with all sorts of numbers."""
    rows = [({"n": f"{(n * 7919) % 5000}"}, [float(n)]) for n in range(5000)]
    made = table(*rows)
    kept = Renderer()
    for step in (1, 501, 97, 3000, 4999, 211):
        copied = World.copy(made)
        for at, cell in enumerate(range(0, 5000, step)):
            copied.values[cell] += (0.5, NAN, 1e9, -0.0)[at % 4]
        family = Family("x", Kind.GAUGE, "", "", [copied])
        assert b"".join(kept.render([family])) == b"".join(Renderer().render([family]))
