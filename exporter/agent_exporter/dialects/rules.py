"""A rule of a dialect file to functions of attributes.

Rule: compiled once, run for every event: look-ups in dicts, no regular expressions, no
exceptions for what a peer may send. Everything here takes it that check.py found no problem.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..catalog import CATALOG, VALUES
from ..model import Attributes, Instrument, Labels, Resource
from .bounds import Bounds
from .lenient import number, text
from .schema import Condition, Label, MetricRule, RecordRule, Value
from .units import factor

Test = Callable[[Attributes], bool]
Amount = Callable[[Attributes], float | None]
# Of attributes, the agent's name and the resource: a label's value, "" for no such label, None
# if the rule does not apply.
Read = Callable[[Attributes, str, Resource], str | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """What one entry of a dialect file does.

    `amount` is what an event or span adds (None: nothing); a metric's points bring their own
    numbers, which `unit` and `factor` turn into the instrument's.
    """

    instrument: Instrument
    tests: tuple[Test, ...]
    reads: tuple[tuple[str, Read], ...]
    amount: Amount
    unit: str = ""
    factor: float = 1.0

    def labels(self, attributes: Attributes, agent: str, resource: Resource) -> Labels | None:
        """Return the labels in the catalogue's order, None if the rule does not apply."""
        for test in self.tests:
            if not test(attributes):
                return None
        found = []
        for name, read in self.reads:
            value = read(attributes, agent, resource)
            if value:
                found.append((name, value))
            elif value is None:
                return None
        return tuple(found)

    def scale(self, unit: str) -> float | None:
        """Return the factor for a metric in a unit, None if the unit does not fit the instrument."""
        own = factor(unit, self.instrument.unit)
        if own is None and (self.unit or not unit):
            own = factor(self.unit or self.instrument.unit, self.instrument.unit)
        return None if own is None else own * self.factor


def metric_rule(rule: MetricRule, bounds: Bounds) -> Rule:
    """Compile a rule for metrics."""
    instrument = CATALOG[rule.to]
    return Rule(
        instrument, _tests(rule.where), _reads(instrument, rule.labels, bounds), _one, rule.unit or "", rule.factor
    )


def record_rule(rule: RecordRule, bounds: Bounds) -> Rule:
    """Compile a rule for events or spans."""
    instrument = CATALOG[rule.to]
    amount = _amount(rule.value, instrument) if rule.value else _one
    return Rule(instrument, _tests(rule.where), _reads(instrument, rule.labels, bounds), amount)


def identity_rule(instrument: Instrument, bounds: Bounds) -> Rule:
    """Compile the rule of a metric that has a catalogue name already: its attributes are the labels."""
    labels = {name: Label.model_validate({"from": name}) for name in instrument.labels}
    return Rule(instrument, (), _reads(instrument, labels, bounds), _one)


def instance(resource: Resource) -> str:
    """Return what tells processes of an agent apart: `service.instance.id`, else host name and pid."""
    found = resource.attributes
    if own := text(found.get("service.instance.id")):
        return own
    parts = (text(found.get("host.name")), text(found.get("process.pid")))
    return ":".join(part for part in parts if part)


def _one(_attributes: Attributes) -> float:
    return 1.0


def _tests(where: Mapping[str, Condition]) -> tuple[Test, ...]:
    return tuple(_test(name, condition) for name, condition in where.items())


def _test(name: str, condition: Condition) -> Test:
    allowed = frozenset(condition.is_) if condition.is_ else None
    refused = frozenset(condition.not_ or ())
    present = condition.present

    def test(attributes: Attributes) -> bool:
        value = text(attributes.get(name))
        if (allowed is not None and value not in allowed) or value in refused:
            return False
        return present is None or present is bool(value)

    return test


def _reads(instrument: Instrument, labels: Mapping[str, Label], bounds: Bounds) -> tuple[tuple[str, Read], ...]:
    return tuple(
        (name, read)
        for name in instrument.labels
        if (read := _read(instrument, name, labels.get(name), bounds)) is not None
    )


def _read(instrument: Instrument, name: str, label: Label | None, bounds: Bounds) -> Read | None:
    if name == "agent":
        return _agent(bounds) if label else lambda _attributes, agent, _resource: agent
    if name == "agent_instance":
        return _instance(label, bounds)
    if label is None:
        return None
    if label.is_:
        word = label.is_
        return lambda _attributes, _agent, _resource: word
    return _mapped(label) if label.map else _bounded(instrument, name, label, bounds)


def _agent(bounds: Bounds) -> Read:
    def read(attributes: Attributes, agent: str, _resource: Resource) -> str:
        own = text(attributes.get("agent"))
        return bounds.agent(own) if own else agent

    return read


def _instance(label: Label | None, bounds: Bounds) -> Read:
    first = _first(label.from_ if label and label.from_ else ())
    return lambda attributes, agent, resource: bounds.fold(
        agent, "agent_instance", first(attributes) or instance(resource)
    )


def _mapped(label: Label) -> Read:
    first, default = _first(label.from_ or ()), label.default
    table = dict(label.map or {})
    # The longest prefix is the most precise; `*` alone, the last, takes what is left.
    prefixes = sorted(((key[:-1], table.pop(key)) for key in tuple(table) if key.endswith("*")), key=_longest)

    def read(attributes: Attributes, _agent: str, _resource: Resource) -> str | None:
        value = first(attributes)
        if (found := table.get(value)) is not None:
            return found
        if value:
            for prefix, found in prefixes:
                if value.startswith(prefix):
                    return found
        return default

    return read


def _longest(entry: tuple[str, str]) -> int:
    return -len(entry[0])


def _bounded(instrument: Instrument, name: str, label: Label, bounds: Bounds) -> Read:
    first, default = _first(label.from_ or ()), label.default or ""
    if allowed := frozenset(VALUES.get((instrument.name, name), ())):

        def choose(attributes: Attributes, _agent: str, _resource: Resource) -> str:
            value = first(attributes)
            return bounds.choose(name, value, allowed) if value else default

        return choose

    def fold(attributes: Attributes, agent: str, _resource: Resource) -> str:
        value = first(attributes)
        return bounds.fold(agent, name, value) if value else default

    return fold


def _first(names: tuple[str, ...]) -> Callable[[Attributes], str]:
    def first(attributes: Attributes) -> str:
        for name in names:
            value = attributes.get(name)
            if value is not None and (found := value if type(value) is str else text(value)):
                return found
        return ""

    return first


def _amount(value: Value, instrument: Instrument) -> Amount:
    names, minus = value.from_, value.minus
    scale = factor(value.unit or instrument.unit, instrument.unit) or 1.0

    def whole(attributes: Attributes) -> float | None:
        for name in names:
            if (found := number(attributes.get(name))) is not None:
                return found * scale if found >= 0 else None
        return None

    def rest(attributes: Attributes) -> float | None:
        found = whole(attributes)
        if found is None:
            return None
        parts = sum(number(attributes.get(name)) or 0.0 for name in minus) * scale
        # Parts that exceed the whole are the sender's mistake: 0 is the nearest truth.
        return max(found - parts, 0.0)

    return rest if minus else whole
