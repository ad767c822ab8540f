"""What is wrong with a dialect file that has the right shape.

Rule: finds every problem and says where, changes nothing, never raises. A problem is a location
in the file and a message that names what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import pairwise
from math import isfinite
from typing import Final

from ..catalog import CATALOG, VALUES
from ..model import Instrument, Kind
from .derived import PARENT_AGENT, SESSION, TRACE, known
from .derived import names as derived_names
from .plans import SERVICE, custom
from .privacy import never_label
from .rules import PARTS
from .schema import AnyFile, Condition, Custom, File, Label, MetricRule, Process, RecordRule, Role, SpanRule, Value
from .source import Location
from .units import factor
from .usage import FAMILY

Problem = tuple[Location, str]
AnyRule = MetricRule | RecordRule
# Labels that set themselves, by family.
_AUTOMATIC: Final = {"": ("agent",), "agent.tool.transitions": ("agent", "from")}
# What the exporter says about itself; no sender may add to it.
_OWN: Final = ("agent_exporter.", "agent.source.")
_ITEMS: Final = {"metric": "a metric", "event": "an event", "span": "a span"}
_RESERVED: Final = ("agent.", "agent_exporter.")
_INSTRUMENT: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,254}")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LE: Final = ("le", "quantile", "job", "instance")


def problems(file: AnyFile) -> Iterator[Problem]:
    """Find everything that is wrong with a file."""
    if isinstance(file, File):
        yield from _agent(file)
    instruments = CATALOG | {name: custom(name, own) for name, own in file.instruments.items()}
    for family in file.authority:
        if family not in instruments:
            yield ("authority", family), _unknown(family, instruments)
    yield from _untold(file, instruments)
    for name, own in file.instruments.items():
        yield from _instrument(name, own)
    for position, name in enumerate(file.session or ()):
        yield from _attribute("span", name, ("session", position))
    for position, role in enumerate(file.roles):
        yield from _role(role, ("roles", position))
    yield from _rules(file, instruments)


def _agent(file: File) -> Iterator[Problem]:
    if not (file.claims.prefixes or file.claims.scopes or file.claims.services):
        yield ("claims",), "claims no sender: give `prefixes`, `scopes` or `services`"
    if file.agent.startswith("@") and (file.agent != SERVICE or not file.dialect):
        yield ("agent",), f"is a name or {SERVICE}; with that, `dialect` must be given"
    for position, process in enumerate(file.processes):
        yield from _process(file, process, ("processes", position))


def _process(file: File, process: Process, where: Location) -> Iterator[Problem]:
    if file.agent == SERVICE:
        yield where, f"whose process is it? `agent` is {SERVICE}"
    if not (process.name or process.command):
        yield where, "give `name`, `command` or both"
    try:
        re.compile(process.command or "")
    except re.error as error:
        yield (*where, "command"), f"is no regular expression: {error}"


def _untold(file: AnyFile, instruments: Mapping[str, Instrument]) -> Iterator[Problem]:
    rules = (rule for *_, each in _sections(file) for rule in each)
    fed = {FAMILY if isinstance(rule, RecordRule) and rule.usage else rule.to for rule in rules}
    for family in file.untold:
        if family not in instruments:
            yield ("untold", family), _unknown(family, instruments)
        elif family in fed:
            yield ("untold", family), "there is a rule for it"


def _instrument(name: str, own: Custom) -> Iterator[Problem]:
    where: Location = ("instruments", name)
    if name.startswith(_RESERVED) or name in CATALOG or not _INSTRUMENT.fullmatch(name):
        yield where, "a name of your own has letters, digits and _ . / -, and does not begin with `agent.`"
    if bool(own.bounds) is not (own.kind == "histogram"):
        yield where, "a histogram has `bounds`, nothing else has any"
    if any(low >= high for low, high in pairwise(own.bounds)) or not all(map(isfinite, own.bounds)):
        yield (*where, "bounds"), "must be finite numbers that ascend"
    for position, label in enumerate(own.labels):
        if not _LABEL.fullmatch(label) or label.startswith("__") or label in _LE:
            allowed = f"letters, digits and _, but no {', '.join(_LE)}"
            yield (*where, "labels", position), f"`{label}` cannot be a label: {allowed}"
        elif never_label(label):
            yield (*where, "labels", position), _private(label)


def _role(role: Role, where: Location) -> Iterator[Problem]:
    if not role.name and not role.where:
        yield where, "says nothing: give `name`, `where` or both"
    yield from _conditions("span", role.where, (*where, "where"))
    for name in role.where:
        if name.startswith("@parent."):
            yield (*where, "where", name), "a role is known before the parent comes"


def _rules(file: AnyFile, instruments: Mapping[str, Instrument]) -> Iterator[Problem]:
    seen: set[str] = set()
    for section, signal, rules in _sections(file):
        for position, rule in enumerate(rules):
            where: Location = (section, position)
            yield from _rule(file, signal, rule, where, instruments)
            if (twice := f"{signal} {rule!r}") in seen:
                yield where, "is the same as an earlier rule: everything would count twice"
            seen.add(twice)


def _sections(file: AnyFile) -> Iterator[tuple[str, str, tuple[AnyRule, ...]]]:
    yield "metrics", "metric", file.metrics
    yield "events", "event", file.events
    yield "spans", "span", file.spans


def _rule(
    file: AnyFile, signal: str, rule: AnyRule, where: Location, instruments: Mapping[str, Instrument]
) -> Iterator[Problem]:
    for name in rule.name or ():
        if name in file.ignored:
            yield where, f"`{name}` is also under `ignored`"
    family = rule.to
    if isinstance(rule, RecordRule):
        yield from _shape(signal, rule, where)
        family = FAMILY if rule.usage else rule.to
    instrument = instruments.get(family)
    if instrument is None or family.startswith(_OWN):
        if family:
            own = instrument is not None
            yield (*where, "to"), f"`{family}` is the exporter's own" if own else _unknown(family, instruments)
        return
    yield from _authority(file, signal, family, where)
    for name, label in rule.labels.items():
        yield from _label(instrument, signal, name, label, (*where, "labels", name))
    yield from _conditions(signal, rule.where, (*where, "where"))
    if isinstance(rule, MetricRule):
        yield from _metric(instrument, rule, where)
    else:
        yield from _record(instrument, signal, rule, where)


def _shape(signal: str, rule: RecordRule, where: Location) -> Iterator[Problem]:
    """Say what does not go together."""
    role = rule.role if isinstance(rule, SpanRule) else None
    if not rule.name and not role:
        yield (*where, "name"), "must be given" if signal == "event" else "give `name`, `role` or both"
    if role == "none":
        yield (*where, "role"), "spans of the role `none` are not counted"
    if bool(rule.to) is bool(rule.usage):
        yield (*where, "to"), "must be given" if not rule.to else "`usage` says already that it is agent.tokens"
    if rule.usage and (rule.value or "type" in rule.labels):
        yield (*where, "usage"), "`usage` sets the value and the label `type` itself"


def _authority(file: AnyFile, signal: str, family: str, where: Location) -> Iterator[Problem]:
    authority = file.authority.get(family)
    if authority is None:
        if family in CATALOG:
            missing = f"`authority` does not say which signal feeds `{family}`: add `{family}: {signal}`"
            yield (*where, "to"), missing
    elif authority != signal and isinstance(file, File):
        yield (
            (*where, "to"),
            f"{signal}s may not feed `{family}`: its authority is {authority}, and both would count twice",
        )


def _label(instrument: Instrument, signal: str, name: str, label: Label, where: Location) -> Iterator[Problem]:
    automatic = _AUTOMATIC.get(instrument.name, _AUTOMATIC[""])
    allowed = [known for known in instrument.labels if known not in automatic]
    if name not in allowed and (name, label.from_) != ("agent", (PARENT_AGENT,)):
        yield where, f"`{instrument.name}` has no such label to set; it has {', '.join(allowed) or 'none'}"
    if (label.is_ is None) is (label.from_ is None):
        yield where, "give either `is` (a word) or `from` (attributes)"
    if label.is_ is not None and (label.map or label.default or label.strip):
        yield where, "`map` and `default` go with `from`"
    if label.keep and not label.map:
        yield where, "`keep` goes with `map`"
    for attribute in label.from_ or ():
        if _is_private(attribute):
            yield where, _private(attribute)
        yield from _attribute(signal, attribute, where)
    yield from _values(instrument, name, label, where)


def _is_private(attribute: str) -> bool:
    bare = attribute.removeprefix("@resource.").removeprefix("@parent.")
    return never_label(bare) or bare in (SESSION, TRACE)


def _private(attribute: str) -> str:
    return f"`{attribute}` is never a label: it tells people, places, texts or single calls apart"


def _attribute(signal: str, name: str, where: Location) -> Iterator[Problem]:
    if not known(signal, name):
        yield where, f"there is no `{name}` for {_ITEMS[signal]}; there are {', '.join(derived_names(signal))}"


def _conditions(signal: str, conditions: Mapping[str, Condition], where: Location) -> Iterator[Problem]:
    for name, condition in conditions.items():
        yield from _attribute(signal, name, (*where, name))
        if condition.is_ is None and condition.not_ is None and condition.present is None:
            yield (*where, name), "tests nothing: give a value, a list of values, `not` or `present`"


def _values(instrument: Instrument, name: str, label: Label, where: Location) -> Iterator[Problem]:
    closed = VALUES.get((instrument.name, name))
    if closed is None:
        return
    for value in (label.is_, label.default, *(label.map or {}).values()):
        if value and value not in closed:
            yield where, f"`{value}` is no value of `{name}`; allowed: {', '.join(closed)}"


def _metric(instrument: Instrument, rule: MetricRule, where: Location) -> Iterator[Problem]:
    if rule.unit is not None:
        yield from _unit(instrument, rule.unit, (*where, "unit"))
    if rule.factor == 0 or (rule.factor < 0 and instrument.kind is Kind.HISTOGRAM):
        yield (*where, "factor"), "must not be 0, nor below 0 for a histogram"
    if rule.part and rule.part not in (allowed := PARTS[instrument.kind]):
        may = f"only `part: {'` or `'.join(allowed)}` can" if allowed else "no part of a histogram can"
        yield (*where, "part"), f"`{instrument.name}` is a {instrument.kind}: {may} feed it"


def _record(instrument: Instrument, signal: str, rule: RecordRule, where: Location) -> Iterator[Problem]:
    counted = rule.value or rule.usage or rule.failed
    if not counted and instrument.kind is not Kind.COUNTER:
        yield where, f"`{instrument.name}` is a {instrument.kind}: say by `value` which attribute has the number"
    if rule.failed and (rule.value or instrument.kind is not Kind.GAUGE):
        yield (*where, "failed"), "counts failures in a row: for a gauge, and without `value`"
    yield from _conditions(signal, rule.failed, (*where, "failed"))
    for position, name in enumerate(rule.once or ()):
        yield from _attribute(signal, name, (*where, "once", position))
    for position, value in enumerate(rule.value):
        yield from _value(instrument, signal, value, (*where, "value", position))


def _value(instrument: Instrument, signal: str, value: Value, where: Location) -> Iterator[Problem]:
    if (value.from_ is None) is (value.since is None):
        yield where, "give either `from` (attributes) or `since` (an event)"
    if value.since and (signal != "event" or instrument.unit != "s" or value.minus or value.unit):
        yield (*where, "since"), "goes with events and families in seconds, and stands alone"
    for name in (name for group in (value.from_ or (), *value.minus) for name in group):
        yield from _attribute(signal, name, where)
    if value.unit is not None:
        yield from _unit(instrument, value.unit, (*where, "unit"))


def _unit(instrument: Instrument, unit: str, where: Location) -> Iterator[Problem]:
    if factor(unit, instrument.unit) is None:
        yield where, f"`{unit}` cannot be turned into `{instrument.unit}`, the unit of `{instrument.name}`"


def _unknown(family: str, instruments: Mapping[str, Instrument]) -> str:
    near = get_close_matches(family, instruments, n=1)
    return f"the catalogue has no `{family}`" + (f"; did you mean `{near[0]}`?" if near else "")
