"""What is wrong with a dialect file that has the right shape.

Rule: finds every problem and says where, changes nothing, never raises. A problem is a location
in the file and a message that names what is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from ..catalog import CATALOG, VALUES
from ..model import Instrument, Kind
from .privacy import never_label
from .schema import File, Label, MetricRule, RecordRule
from .source import Location
from .units import factor

Problem = tuple[Location, str]
AnyRule = MetricRule | RecordRule
_AUTOMATIC = ("agent",)
# What the exporter says about itself; no sender may add to it.
_OWN = ("agent_exporter.", "agent.source.")


def problems(file: File) -> Iterator[Problem]:
    """Find everything that is wrong with a file."""
    if not (file.claims.prefixes or file.claims.scopes or file.claims.services):
        yield ("claims",), "claims no sender: give `prefixes`, `scopes` or `services`"
    for family in file.authority:
        if family not in CATALOG:
            yield ("authority", family), _unknown(family)
    seen: set[str] = set()
    for section, signal, rules in _sections(file):
        for position, rule in enumerate(rules):
            where: Location = (section, position)
            yield from _rule(file, signal, rule, where)
            if (twice := f"{signal} {rule!r}") in seen:
                yield where, "is the same as an earlier rule: everything would count twice"
            seen.add(twice)


def _sections(file: File) -> Iterator[tuple[str, str, tuple[AnyRule, ...]]]:
    yield "metrics", "metric", file.metrics
    yield "events", "event", file.events
    yield "spans", "span", file.spans


def _rule(file: File, signal: str, rule: AnyRule, where: Location) -> Iterator[Problem]:
    for name in rule.name:
        if name in file.ignored:
            yield where, f"`{name}` is also under `ignored`"
    instrument = CATALOG.get(rule.to)
    if instrument is None or rule.to.startswith(_OWN):
        yield (*where, "to"), _unknown(rule.to) if instrument is None else f"`{rule.to}` is the exporter's own"
        return
    yield from _authority(file, signal, rule, where)
    for name, label in rule.labels.items():
        yield from _label(instrument, name, label, (*where, "labels", name))
    for name, condition in rule.where.items():
        if condition.is_ is None and condition.not_ is None and condition.present is None:
            yield (*where, "where", name), "tests nothing: give a value, a list of values, `not` or `present`"
    yield from _metric(instrument, rule, where) if isinstance(rule, MetricRule) else _record(instrument, rule, where)


def _authority(file: File, signal: str, rule: AnyRule, where: Location) -> Iterator[Problem]:
    authority = file.authority.get(rule.to)
    if authority is None:
        yield (*where, "to"), f"`authority` does not say which signal feeds `{rule.to}`: add `{rule.to}: {signal}`"
    elif authority != signal:
        yield (
            (*where, "to"),
            f"{signal}s may not feed `{rule.to}`: its authority is {authority}, and both would count twice",
        )


def _label(instrument: Instrument, name: str, label: Label, where: Location) -> Iterator[Problem]:
    allowed = [known for known in instrument.labels if known not in _AUTOMATIC]
    if name not in allowed:
        yield where, f"`{instrument.name}` has no such label to set; it has {', '.join(allowed) or 'none'}"
    if (label.is_ is None) is (label.from_ is None):
        yield where, "give either `is` (a word) or `from` (attributes)"
    if label.is_ is not None and (label.map or label.default):
        yield where, "`map` and `default` go with `from`"
    for attribute in label.from_ or ():
        if never_label(attribute):
            yield where, f"`{attribute}` is never a label: it tells people, places, texts or single calls apart"
    yield from _values(instrument, name, label, where)


def _values(instrument: Instrument, name: str, label: Label, where: Location) -> Iterator[Problem]:
    closed = VALUES.get((instrument.name, name))
    if closed is None:
        return
    for value in (label.is_, label.default, *(label.map or {}).values()):
        if value is not None and value not in closed:
            yield where, f"`{value}` is no value of `{name}`; allowed: {', '.join(closed)}"


def _metric(instrument: Instrument, rule: MetricRule, where: Location) -> Iterator[Problem]:
    if rule.unit is not None:
        yield from _unit(instrument, rule.unit, (*where, "unit"))
    if rule.factor == 0 or (rule.factor < 0 and instrument.kind is Kind.HISTOGRAM):
        yield (*where, "factor"), "must not be 0, nor below 0 for a histogram"


def _record(instrument: Instrument, rule: RecordRule, where: Location) -> Iterator[Problem]:
    if rule.value is None and instrument.kind is not Kind.COUNTER:
        yield where, f"`{instrument.name}` is a {instrument.kind}: say by `value` which attribute has the number"
    if rule.value is not None and rule.value.unit is not None:
        yield from _unit(instrument, rule.value.unit, (*where, "value", "unit"))


def _unit(instrument: Instrument, unit: str, where: Location) -> Iterator[Problem]:
    if factor(unit, instrument.unit) is None:
        yield where, f"`{unit}` cannot be turned into `{instrument.unit}`, the unit of `{instrument.name}`"


def _unknown(family: str) -> str:
    near = get_close_matches(family, CATALOG, n=1)
    return f"the catalogue has no `{family}`" + (f"; did you mean `{near[0]}`?" if near else "")
