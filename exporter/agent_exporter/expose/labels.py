"""Labels: OTLP attributes to label pairs and label text (rules L1 to L9, R1 to R5).

What may live here reads attributes and writes labels. Which attributes become labels at
all is policy, and the caller's.
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64encode
from collections.abc import Collection
from decimal import Decimal
from functools import lru_cache

from ..model import Attributes, Kind, Labels, Value
from .names import Strategy, is_legacy_label

# Labels that the page itself adds (L8): an attribute of that name would corrupt the series.
RESERVED: dict[Kind, frozenset[str]] = {Kind.HISTOGRAM: frozenset({"le"}), Kind.SUMMARY: frozenset({"quantile"})}
TARGET = frozenset({"job", "instance"})
NAMES = 4096  # names whose translation is remembered: all series of an agent share a few

_IDENTITY = frozenset({"service.name", "service.namespace", "service.instance.id"})
_DIRT = re.compile(r"[^a-zA-Z0-9]+")
_WRAPPED = 4  # the four underscores of `__reserved__`
_EXPONENT_FROM, _EXPONENT_BELOW = 1e21, 1e-6  # where Go's JSON turns to exponents; the Collector writes its labels so


def label_pairs(
    attributes: Attributes, strategy: Strategy, *, reserved: Collection[str] = ()
) -> tuple[Labels, tuple[str, ...]]:
    """Translate attributes to labels, sorted by name, and name the keys that have no label of their own.

    Keys follow the library's default, which is the specification's: runs of discouraged
    characters become one `_`, a leading digit gets `key_` (L1, L2). Colliding keys join their
    values with `;` in order of the original keys (L3) and are all reported; so is a key of
    underscores only, whose value is lost. `__name__` (L5) and empty values (L7) vanish. A name in
    `reserved` (L6, L8) or with two leading underscores gets the prefix `exported_`.
    """
    keys: dict[str, list[str]] = {}
    values: dict[str, str] = {}
    for key in sorted(attributes):
        value = value_text(attributes[key])
        name = key if strategy.utf8 else label_name(key)
        if value and name != "__name__":
            values[key] = value
            keys.setdefault(exported(name, reserved) if name.strip("_") else "", []).append(key)
    lost = keys.pop("", [])
    names = sorted(keys)
    labels = tuple((name, ";".join([values[key] for key in keys[name]])) for name in names)
    joined = [key for name in names if len(keys[name]) > 1 for key in keys[name]]
    return labels, (*joined, *lost)


def exported(name: str, reserved: Collection[str] = ()) -> str:
    """Rename a label that is not the sender's to set: Prometheus keeps names that begin with `__` for itself."""
    return "exported_" + name if name in reserved or name.startswith("__") else name


@lru_cache(NAMES)
def label_name(key: str) -> str:
    """Translate an attribute key to a label name (L1, L2); "" or underscores when nothing is left."""
    if len(key) >= _WRAPPED and key.startswith("__") and key.endswith("__"):
        return f"__{_DIRT.sub('_', key[2:-2])}__"
    name = _DIRT.sub("_", key)
    return "key_" + name if name[:1].isdigit() else name


def value_text(value: Value) -> str:
    """Write an attribute's value as label text (L4): JSON but for strings, bytes in base64, null empty."""
    match value:
        case str() | None:
            return value or ""
        case bool() | int():
            return json.dumps(value)
        case float():
            return _number(value)
        case bytes():
            return b64encode(value).decode()
    return _json(value)


def block(labels: Labels) -> bytes:
    r"""Write labels as they stand between braces, `a="x",b="y"`, in order of their names.

    Names that are not legacy names are quoted. Text with surrogates, which UTF-8 cannot
    hold, gets `?` in their place.
    """
    pairs = [f'{_label(name)}="{escaped(value)}"' for name, value in sorted(labels)]
    return ",".join(pairs).encode("utf-8", "replace")


def escaped(text: str) -> str:
    r"""Escape backslash, newline and quote, as label values and quoted names need it, without NUL."""
    return without_nul(text).replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def without_nul(text: str) -> str:
    """Put U+FFFD in the place of NUL, at which Prometheus' OpenMetrics parser ends and refuses the page."""
    return text.replace("\0", "\ufffd")


def job_instance(attributes: Attributes) -> Labels:
    """Tell `job` and `instance` of a resource (R1, R2); what is absent is left out."""
    name, space, instance = (
        value_text(attributes.get(key)) for key in ("service.name", "service.namespace", "service.instance.id")
    )
    job = f"{space}/{name}" if space and name else name
    return tuple((label, value) for label, value in (("instance", instance), ("job", job)) if value)


def target_labels(attributes: Attributes, strategy: Strategy = Strategy.UNDERSCORES_SUFFIXES) -> Labels:
    """Tell the labels of a resource's `target_info` (R3); empty when there should be none (R5)."""
    identity = job_instance(attributes)
    rest = {key: value for key, value in attributes.items() if key not in _IDENTITY}
    labels, _ = label_pairs(rest, strategy, reserved=TARGET)
    return tuple(sorted(identity + labels)) if identity and labels else ()


@lru_cache(NAMES)
def _label(name: str) -> str:
    return name if is_legacy_label(name) else f'"{escaped(name)}"'


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value.is_integer() and abs(value) < _EXPONENT_FROM:
        return str(int(value))
    if _EXPONENT_BELOW <= abs(value) < _EXPONENT_FROM:
        return format(Decimal(repr(value)), "f")
    return repr(value)


def _json(value: Value) -> str:
    """Write JSON without blanks, keys sorted; numbers as at top level, what JSON has no number for in quotes."""
    match value:
        case list():
            return f"[{','.join(map(_json, value))}]"
        case dict():
            return f"{{{','.join(f'{json.dumps(k, ensure_ascii=False)}:{_json(value[k])}' for k in sorted(value))}}}"
        case None:
            return "null"
        case float() if math.isfinite(value):
            return _number(value)
        case bool() | int():
            return value_text(value)
    return json.dumps(value_text(value), ensure_ascii=False)
