"""What a family looks like in a format: its comments, and the constant parts of its lines.

What may live here is fixed as long as a family's name, kind, unit, help and bucket bounds
are: everything of a page that is not a label value or a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from ..model import Exemplar, Family, Kind, Labels
from .labels import block, escaped
from .names import Escaping, escape, is_legacy, is_legacy_label


class Format(StrEnum):
    """What a page is written in; the values are media types."""

    TEXT = "text/plain"  # 0.0.4, and 1.0.0, which adds quoted names
    OPENMETRICS = "application/openmetrics-text"


class Title(NamedTuple):
    """A family's name without what OpenMetrics takes off it, and what it is on the page."""

    base: str
    kind: Kind
    name: str  # with `_total` or `_info`


class Line(NamedTuple):
    """The constant parts of one line; a value stands after them.

    A labelled line is `head`, label text, `tail`; a line without labels is `bare`.
    """

    head: bytes
    tail: bytes
    bare: bytes
    exemplars: bool = False


class Shape(NamedTuple):
    """The lines of one row of a table: one a cell, then `created` if there is one."""

    lines: tuple[Line, ...]
    created: Line | None


EXEMPLAR_LIMIT = 128  # code points of all names and values (OpenMetrics 1.0, «Exemplars»)
EXEMPLAR_IDS = frozenset({"trace_id", "span_id"})  # what is kept when the rest is too long (T19)

_PAIR = re.compile(rb'(?:"((?:[^"\\]|\\.)*)"|([^"=,]+))="((?:[^"\\]|\\.)*)"(?:,|$)')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SUFFIXES = {Kind.COUNTER: "_total", Kind.INFO: "_info"}
_TEXT_TYPES = {Kind.INFO: "gauge", Kind.STATESET: "gauge", Kind.UNKNOWN: "untyped"}
# What a family becomes when its name or values do not allow its kind in OpenMetrics 1.0.
_FALLBACKS = {Kind.COUNTER: Kind.UNKNOWN, Kind.INFO: Kind.GAUGE, Kind.STATESET: Kind.GAUGE}
_FIXED_POINT = range(-4, 6)  # exponents that Go's shortest format writes without `e`


def title(family: Family, name: str, form: Format, taken: Collection[str]) -> Title:
    """Decide name and kind on the page; `name` is the escaped sample name, `taken` the names above.

    In OpenMetrics counter and info families lose their suffix; where that is impossible, or
    would give two families one name, they become `unknown` and `gauge` and keep it.
    """
    kind = family.kind
    if form is Format.TEXT:
        return Title(name, kind, name)
    suffix = _SUFFIXES.get(kind, "")
    base = name.removesuffix(suffix)
    fits = bool(base) and (base != name or not suffix) and (base == name or base not in taken)
    if kind is Kind.STATESET:
        fits = _is_stateset(family)
    return Title(base, kind, name) if fits else Title(name, _FALLBACKS.get(kind, kind), name)


def head(at: Title, family: Family, form: Format) -> bytes:
    """Write HELP, TYPE and, in OpenMetrics, UNIT (1.5); an empty help or unfit unit is left out."""
    name = _quoted(at.base)
    help_text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    lines = [f"# TYPE {name} {_TEXT_TYPES.get(at.kind, at.kind) if form is Format.TEXT else at.kind}\n"]
    if family.help:
        lines.insert(0, f"# HELP {name} {help_text if form is Format.TEXT else escaped(family.help)}\n")
    unit_fits = family.unit and at.base.endswith("_" + family.unit) and at.kind not in (Kind.INFO, Kind.STATESET)
    if form is Format.OPENMETRICS and unit_fits:
        lines.append(f"# UNIT {name} {family.unit}\n")
    return "".join(lines).encode("utf-8", "replace")


def shape(at: Title, bounds: tuple[float, ...], *, openmetrics: bool, created: bool) -> Shape:
    """Decide the lines of a row; exemplars and `_created` are OpenMetrics only (T18, T21)."""
    lines = tuple(
        line._replace(exemplars=openmetrics and line.exemplars) for line in _LINES.get(at.kind, _scalar)(at, bounds)
    )
    wanted = openmetrics and created and at.kind in (Kind.COUNTER, Kind.HISTOGRAM, Kind.SUMMARY)
    return Shape(lines, _line(at.base + "_created") if wanted else None)


def float_text(value: float) -> str:
    """Write a bound as Prometheus 3 normalises `le` and `quantile`: `1.0`, `1.048576e+06`, `+Inf` (1.5)."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    number = Decimal(repr(value)).normalize()
    exponent = number.adjusted()
    if value == 0 or exponent in _FIXED_POINT:
        text = format(number, "f")
        return text if "." in text else text + ".0"
    digits = "".join(map(str, number.as_tuple().digits))
    mantissa = digits[0] + ("." + digits[1:] if digits[1:] else "")
    return f"{'-' if value < 0 else ''}{mantissa}e{exponent:+03d}"


def fitting(exemplar: Exemplar) -> bytes:
    """Write an exemplar as it stands after a value, or nothing if it is over the limit (T19).

    First all attributes but the ids go, then the whole exemplar; never the sample.
    """
    pairs = unblock(exemplar.text)
    text = exemplar.text
    if _length(pairs) > EXEMPLAR_LIMIT:
        pairs = tuple((name, value) for name, value in pairs if name in EXEMPLAR_IDS)
        text = block(pairs)
        if not pairs or _length(pairs) > EXEMPLAR_LIMIT:
            return b""
    time = f" {exemplar.time!r}" if exemplar.time > 0 and math.isfinite(exemplar.time) else ""
    return b" # {" + text + b"} " + f"{float_text(exemplar.value)}{time}".encode()


def unblock(text: bytes) -> Labels:
    """Read label text back to labels: the reverse of `block`."""
    return tuple((_plain(quoted or bare), _plain(value)) for quoted, bare, value in _PAIR.findall(text))


def legacy_texts(texts: list[bytes], scheme: Escaping) -> list[bytes]:
    """Escape the quoted label names in label texts; the same list if there are none (N11)."""
    if scheme is Escaping.ALLOW_UTF8:
        return texts
    whole = b"\n" + b"\n".join(texts)  # no text holds a line end; two searches in C beat two a text
    if b',"' not in whole and b'\n"' not in whole:
        return texts
    return [_legacy_text(text, scheme) for text in texts]


def legacy_name(name: str, scheme: Escaping) -> str:
    """Escape a metric name unless it needs no escaping, as Prometheus does for a whole family."""
    return name if is_legacy(name) else escape(name, scheme)


def _legacy_text(text: bytes, scheme: Escaping) -> bytes:
    """Escape label names; those that become equal join their values, as in L3."""
    merged: dict[str, str] = {}
    for name, value in unblock(text):
        legacy = name if is_legacy_label(name) else escape(name, scheme, colon=False)
        merged[legacy] = f"{merged[legacy]};{value}" if legacy in merged else value
    return block(tuple(merged.items()))


def _plain(text: bytes) -> str:
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], text.decode())


def _length(pairs: Labels) -> int:
    return sum(len(name) + len(value) for name, value in pairs)


def _is_stateset(family: Family) -> bool:
    """Tell whether every series has the label of its state, named like the family, and is 0 or 1."""
    label = f"{_quoted(family.name)}=".encode()
    return all(
        all(text.startswith(label) or b"," + label in text for text in table.texts)
        and {0.0, 1.0}.issuperset(table.values)
        for table in family.tables
    )


def _quoted(name: str) -> str:
    return name if is_legacy(name) else f'"{escaped(name)}"'


def _line(name: str, extra: str = "", *, exemplars: bool = False) -> Line:
    """Build the parts of a line; a name that is not a legacy name moves into the braces."""
    legacy = is_legacy(name)
    opening = name + "{" if legacy else "{" + _quoted(name)
    head_text = opening if legacy else opening + ","
    bare = (name + "{" if legacy else head_text) + extra + "} " if extra else name + " " if legacy else opening + "} "
    parts = (head_text, f",{extra}}} " if extra else "} ", bare)
    head_bytes, tail, bare_bytes = (part.encode("utf-8", "replace") for part in parts)
    return Line(head_bytes, tail, bare_bytes, exemplars)


def _scalar(at: Title, _: tuple[float, ...]) -> Iterator[Line]:
    yield _line(at.name, exemplars=at.kind is Kind.COUNTER)


def _histogram(at: Title, bounds: tuple[float, ...]) -> Iterator[Line]:
    for bound in (*bounds, math.inf):
        yield _line(at.base + "_bucket", f'le="{float_text(bound)}"', exemplars=True)
    yield _line(at.base + "_sum")
    yield _line(at.base + "_count")


def _summary(at: Title, quantiles: tuple[float, ...]) -> Iterator[Line]:
    for quantile in quantiles:
        yield _line(at.base, f'quantile="{float_text(quantile)}"')
    yield _line(at.base + "_sum")
    yield _line(at.base + "_count")


_LINES = {Kind.HISTOGRAM: _histogram, Kind.SUMMARY: _summary}
