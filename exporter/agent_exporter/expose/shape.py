"""What a family looks like in a format: its comments, and the constant parts of its lines.

What may live here is fixed as long as a family's name, kind, unit, help and bucket bounds
are: everything of a page that is not a label value or a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from ..model import Exemplar, Family, Kind, Labels
from . import strict
from .labels import block, escaped, exported, without_nul
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
    """The lines of one row of a table: one a cell, then `created` if there is one.

    `strict` is the kind whose cells have to be fit for OpenMetrics; None in text.
    """

    lines: tuple[Line, ...]
    created: Line | None
    strict: Kind | None = None


HELP_LIMIT = 400  # characters; some senders put whole manuals into a description
EXEMPLAR_LIMIT = 128  # code points of all names and values (OpenMetrics 1.0, «Exemplars»)
EXEMPLAR_IDS = frozenset({"trace_id", "span_id"})  # what is kept when the rest is too long (T19)

_PAIR = re.compile(rb'(?:"((?:[^"\\]|\\.)*)"|([^"=,]+))="((?:[^"\\]|\\.)*)"(?:,|$)')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SUFFIXES = {Kind.COUNTER: "_total", Kind.INFO: "_info"}
_TEXT_TYPES = {Kind.INFO: "gauge", Kind.STATESET: "gauge", Kind.UNKNOWN: "untyped"}
# What a family becomes when its name or values do not allow its kind in OpenMetrics 1.0.
_FALLBACKS = {Kind.COUNTER: Kind.UNKNOWN, Kind.INFO: Kind.GAUGE, Kind.STATESET: Kind.GAUGE}
# The names of a kind beside its base: no other family may show one of them.
_PARTS = {
    Kind.COUNTER: ("_created",),
    Kind.HISTOGRAM: ("_bucket", "_sum", "_count", "_created"),
    Kind.SUMMARY: ("_sum", "_count", "_created"),
}
_FITS = {Kind.INFO: strict.is_info, Kind.STATESET: strict.is_stateset}
_UNIT = re.compile(r"[a-zA-Z0-9_:]+")
_FIXED_POINT = range(-4, 6)  # exponents that Go's shortest format writes without `e`


def title(family: Family, name: str, form: Format, taken: set[str]) -> Title | None:
    """Decide name and kind on the page; None when another family has one of the names in every form.

    `name` is the escaped sample name, `taken` holds the names of the families above.
    """
    return next((at for at in _titles(family, name, form) if taken.isdisjoint(owned(at))), None)


def owned(at: Title) -> set[str]:
    """List the names that a family may show."""
    parts = () if at.kind in _SUFFIXES and at.base == at.name else _PARTS.get(at.kind, ())
    return {at.base, at.name, *(at.base + part for part in parts)}


def _titles(family: Family, name: str, form: Format) -> Iterator[Title]:
    """Tell what a family can be, the best first.

    In OpenMetrics counter and info families lose their suffix; where that is impossible, or
    their values do not allow their kind, they become `unknown` and `gauge` and keep it.
    """
    kind = family.kind
    suffix = _SUFFIXES.get(kind, "") if form is Format.OPENMETRICS else ""
    base = name.removesuffix(suffix)
    fits = form is Format.TEXT or _FITS.get(kind, bool)(family)
    if base and (base != name or not suffix) and fits:
        yield Title(base, kind, name)
    if form is Format.OPENMETRICS and kind in _FALLBACKS:
        yield Title(name, _FALLBACKS[kind], name)


def head(at: Title, family: Family, form: Format) -> bytes:
    """Write HELP, TYPE and, in OpenMetrics, UNIT (1.5); an empty help or unfit unit is left out."""
    name, help_text = _quoted(at.base), family.help[:HELP_LIMIT]
    lines = [f"# TYPE {name} {_TEXT_TYPES.get(at.kind, at.kind) if form is Format.TEXT else at.kind}\n"]
    if help_text:
        plain = without_nul(help_text).replace("\\", "\\\\").replace("\n", "\\n")
        lines.insert(0, f"# HELP {name} {plain if form is Format.TEXT else escaped(help_text)}\n")
    unit_fits = _UNIT.fullmatch(family.unit) and at.base.endswith("_" + family.unit)
    if form is Format.OPENMETRICS and unit_fits and at.kind not in (Kind.INFO, Kind.STATESET):
        lines.append(f"# UNIT {name} {family.unit}\n")
    return "".join(lines).encode("utf-8", "replace")


def shape(at: Title, bounds: tuple[float, ...], *, openmetrics: bool, created: bool) -> Shape:
    """Decide the lines of a row; exemplars and `_created` are OpenMetrics only (T18, T21)."""
    lines = tuple(
        line._replace(exemplars=openmetrics and line.exemplars) for line in _LINES.get(at.kind, _scalar)(at, bounds)
    )
    wanted = openmetrics and created and at.kind in (Kind.COUNTER, Kind.HISTOGRAM, Kind.SUMMARY)
    return Shape(lines, _line(at.base + "_created") if wanted else None, at.kind if openmetrics else None)


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


def fitting(exemplar: Exemplar, scheme: Escaping) -> bytes:
    """Write an exemplar as it stands after a value, or nothing if it is over the limit (T19).

    First all attributes but the ids go, then the whole exemplar; never the sample.
    """
    (text,) = legacy_texts([exemplar.text], scheme)
    pairs = unblock(text)
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
        legacy = name if is_legacy_label(name) else exported(escape(name, scheme, colon=False))
        merged[legacy] = f"{merged[legacy]};{value}" if legacy in merged else value
    return block(tuple(merged.items()))


def _plain(text: bytes) -> str:
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], text.decode())


def _length(pairs: Labels) -> int:
    return sum(len(name) + len(value) for name, value in pairs)


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
