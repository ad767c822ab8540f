"""Metric names: OTLP to Prometheus (rules N1 to N11).

What may live here turns one name or unit into another. Where the specification and the
library that Prometheus and the Collector share (otlptranslator) differ, the library wins,
so that dashboards carry over; what departs from both is said where it does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from ..model import Form, Kind


class Strategy(StrEnum):
    """How names are translated (N1); the values are the names that the configuration takes."""

    UNDERSCORES_SUFFIXES = "UnderscoreEscapingWithSuffixes"
    UNDERSCORES = "UnderscoreEscapingWithoutSuffixes"
    UTF8_SUFFIXES = "NoUTF8EscapingWithSuffixes"
    UTF8 = "NoTranslation"

    @property
    def suffixes(self) -> bool:
        """Tell whether units and types are written into names; without, OpenMetrics 1.0 cannot be served."""
        return self in (Strategy.UNDERSCORES_SUFFIXES, Strategy.UTF8_SUFFIXES)

    @property
    def utf8(self) -> bool:
        """Tell whether names keep their characters."""
        return self in (Strategy.UTF8_SUFFIXES, Strategy.UTF8)


class Escaping(StrEnum):
    """What a scraper accepts in names; the values are those of the `escaping` parameter (1.7)."""

    ALLOW_UTF8 = "allow-utf-8"
    UNDERSCORES = "underscores"
    DOTS = "dots"
    VALUES = "values"


class Name(NamedTuple):
    """A translated name; `unit` is the word that it ends with (before `_total`), or ""."""

    sample: str
    unit: str


class Unnameable(ValueError):
    """Nothing printable is left of a metric's name (N9): the metric is refused, not renamed."""


# The library's table with its two odd rows: `TiBy` is `tibibytes`, and `KBy` stands where the specification has `kBy`.
UNITS = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tibibytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "%": "percent",
    "1": "",
}
# Denominators have a table of their own, in which `m` is a minute (N5).
RATES = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}

_TOKEN = re.compile(r"[a-zA-Z0-9:]+")
_FIELD = re.compile(r"[a-zA-Z0-9:_]+")
_UNCLEAN = re.compile(r"[^a-zA-Z0-9:]+")
_LEGACY = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LEGACY_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def metric_name(
    name: str, unit: str, kind: Kind, strategy: Strategy, *, form: Form = Form.GAUGE, namespace: str = ""
) -> Name:
    """Translate a metric's name for the page (N1 to N10).

    `unit` is UCUM as sent. `form` matters for unit `1` alone: only what was sent as a gauge
    becomes a ratio (N7), an up-down sum does not. Raises Unnameable (N9).
    """
    main, per = unit_words(unit)
    ratio = unit == "1" and form is Form.GAUGE and kind in (Kind.GAUGE, Kind.UNKNOWN)
    if strategy.utf8:
        full = f"{namespace}_{name}" if namespace and name else name
        sample = _suffixed(full, main, per, kind, ratio=ratio) if strategy.suffixes else full
    else:
        main, per = _clean(main), _clean(per).removesuffix("_")
        sample = _tokens(name, main, per, kind, ratio=ratio) if strategy.suffixes else "_".join(_FIELD.findall(name))
        if namespace:
            sample = "_".join([*_TOKEN.findall(namespace), sample])
        if sample[:1].isdigit():
            sample = "_" + sample  # N8
    if not sample.strip("_"):
        raise Unnameable(f"nothing is left of the metric name {name!r}")
    word = "ratio" if ratio else "_".join(filter(None, (main.removesuffix("_"), per)))
    return Name(sample, word if _ends_with(sample, word, kind) else "")


def unit_words(unit: str) -> tuple[str, str]:
    """Translate a UCUM unit to its words, ("bytes", "per_second") for `By/s`; annotations vanish (N4, N5)."""
    main, _, per = unit.partition("/")
    words = [
        "" if "{" in part or "}" in part else table.get(part, part)
        for part, table in ((main.strip(), UNITS), (per.strip(), RATES))
    ]
    return words[0], words[1] and "per_" + words[1]


def is_legacy(name: str) -> bool:
    """Tell whether a metric name needs neither quotes nor escaping."""
    return _LEGACY.fullmatch(name) is not None


def is_legacy_label(name: str) -> bool:
    """Tell whether a label name needs neither quotes nor escaping."""
    return _LEGACY_LABEL.fullmatch(name) is not None


def escape(name: str, scheme: Escaping, *, colon: bool = True) -> str:
    """Escape a name by a scraper's scheme (N11), as Prometheus does.

    `dots` also doubles the underscores of a name that needs no escaping: it is for the caller
    to leave those alone. `colon` is false for label names, which may not hold one.
    """
    return _ESCAPES[scheme](name, colon)


def _clean(word: str) -> str:
    return _UNCLEAN.sub("_", word).removeprefix("_")


def _tokens(name: str, main: str, per: str, kind: Kind, *, ratio: bool) -> str:
    """Join the words of a name with those of its unit and type, none of them twice (N3, N6)."""
    tokens = _TOKEN.findall(name)
    main = "" if main in tokens else main
    per = "" if per == "per" or per in tokens else per
    tokens += filter(None, (main.removesuffix("_") if per else main, per))
    for word, wanted in (("total", kind is Kind.COUNTER), ("ratio", ratio)):
        if wanted:
            tokens = [token for token in tokens if token != word] + [word]
    return "_".join(tokens)


def _suffixed(name: str, main: str, per: str, kind: Kind, *, ratio: bool) -> str:
    """Append unit and type to a name that keeps its characters."""
    tails = [word for word, wanted in (("ratio", ratio), ("total", kind is Kind.COUNTER), (per, bool(per))) if wanted]
    for tail in tails:
        name = _trimmed(name, tail)
    if main and not name.endswith(main):
        name = f"{name}_{main}"
    return "_".join([name, *reversed(tails)])


def _trimmed(name: str, suffix: str) -> str:
    """Take a suffix and its delimiter off a name.

    The library takes any character for the delimiter (`subtotal` becomes `su_total`); here it
    has to be one.
    """
    rest = name.removesuffix(suffix)
    return rest[:-1] if rest != name and len(rest) > 1 and not rest[-1].isalnum() else name


def _ends_with(sample: str, word: str, kind: Kind) -> bool:
    return bool(word) and (sample.removesuffix("_total") if kind is Kind.COUNTER else sample).endswith("_" + word)


def _valid(char: str, index: int, *, colon: bool) -> bool:
    return char.isascii() and (
        char.isalpha() or char == "_" or (colon and char == ":") or (index > 0 and char.isdigit())
    )


def _fits(name: str, *, colon: bool) -> bool:
    return is_legacy(name) if colon else is_legacy_label(name)


def _underscores(name: str, colon: bool) -> str:
    return "".join(char if _valid(char, i, colon=colon) else "_" for i, char in enumerate(name))


def _dots(name: str, colon: bool) -> str:
    spelled = {"_": "__", ".": "_dot_"}
    return "".join(spelled.get(c) or (c if _valid(c, i, colon=colon) else "__") for i, c in enumerate(name))


def _values(name: str, colon: bool) -> str:
    if not name or _fits(name, colon=colon):
        return name
    return "U__" + "".join(_value(char, i, colon=colon) for i, char in enumerate(name))


def _value(char: str, index: int, *, colon: bool) -> str:
    if char == "_":
        return "__"
    if _valid(char, index, colon=colon):
        return char
    return "_FFFD_" if "\ud800" <= char <= "\udfff" else f"_{ord(char):x}_"


_ESCAPES: dict[Escaping, Callable[[str, bool], str]] = {
    Escaping.ALLOW_UTF8: lambda name, _: name,
    Escaping.UNDERSCORES: _underscores,
    Escaping.DOTS: _dots,
    Escaping.VALUES: _values,
}
