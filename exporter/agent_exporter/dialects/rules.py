"""A rule of a dialect file to functions of attributes.

Rule: compiled once, run for every event and span. Everything here takes it that check.py found no
problem.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ..model import Attributes, Form, Instrument, Kind, Labels, Measurement, Metric, Resource
from .bounds import Bounds
from .labels import First, Read, first, reads
from .lenient import text
from .names import matcher
from .schema import Condition, Label, MetricRule, RecordRule, SpanRule
from .sessions import Counts, Session, Sessions
from .traces import Told, tell
from .units import factor
from .values import Amount, amount, names, one

Test = Callable[[Attributes], bool]
Tests = tuple[Test, ...]

_DISTRIBUTIONS: Final = (Form.HISTOGRAM, Form.EXPONENTIAL_HISTOGRAM)
# What a metric must be to feed a family of a kind with a part of it.
_FITS: Final[dict[tuple[Kind, str], Callable[[Metric], bool]]] = {
    (Kind.COUNTER, ""): lambda metric: metric.form is Form.SUM and metric.monotonic,
    (Kind.COUNTER, "count"): lambda metric: metric.form in _DISTRIBUTIONS,
    (Kind.COUNTER, "sum"): lambda metric: metric.form in _DISTRIBUTIONS,
    (Kind.GAUGE, ""): lambda metric: metric.form is Form.GAUGE or (metric.form is Form.SUM and not metric.monotonic),
    (Kind.GAUGE, "mean"): lambda metric: metric.form in _DISTRIBUTIONS,
    (Kind.HISTOGRAM, ""): lambda metric: metric.form in _DISTRIBUTIONS,
}
PARTS: Final = {kind: tuple(part for known, part in _FITS if known is kind and part) for kind in Kind}


@dataclass(slots=True)
class Moment:
    """One event or span while it is measured; `time` is its own, in Unix seconds."""

    agent: str
    resource: Resource
    attributes: Attributes
    session: Session | None
    time: float
    sessions: Sessions
    counts: Counts
    role: str = ""  # of a span
    told: frozenset[Told] = frozenset()  # what other spans have told of the same


@dataclass(frozen=True, slots=True)
class Rule:
    """What one entry of a dialect file does.

    `amount` is what an event or span adds (None: nothing); a metric's points bring their own
    numbers, which `unit`, `factor` and `part` turn into the instrument's. `names` are the
    attributes that are read. `finish` replaces the measurement of special families.
    """

    id: str
    instrument: Instrument
    names: frozenset[str]
    tests: Tests
    reads: tuple[tuple[str, Read], ...]
    amount: Amount = one
    unit: str = ""
    factor: float = 1.0
    part: str = ""
    alone: str = ""  # metrics that say the same have other words
    role: str = ""
    yields: bool = False
    once: First | None = None
    repeats: str = ""  # what `once` is about
    finish: Finish | None = None

    def labels(self, attributes: Attributes, agent: str, resource: Resource) -> Labels | None:
        """Return the labels in the catalogue's order, None if the rule does not apply."""
        found = []
        for name, read in self.reads:
            value = read(attributes, agent, resource)
            if value:
                found.append((name, value))
            elif value is None:
                return None
        return tuple(found)

    def applies(self, attributes: Attributes) -> bool:
        """Tell whether the rule's conditions hold."""
        for test in self.tests:  # noqa: SIM110 - a generator costs more than the tests
            if not test(attributes):
                return False
        return True

    def measure(self, moment: Moment) -> Measurement | None:
        """Say what an event or span adds, None if nothing."""
        attributes = moment.attributes
        if self.tests and not self.applies(attributes):
            return None
        amount = self.amount(attributes)
        if amount is None:
            return None
        labels = self.labels(attributes, moment.agent, moment.resource)
        if labels is None or (moment.told and tell(moment.role, self.instrument.name, labels) in moment.told):
            return None
        if self.once is not None and self._is_repeated(self.once(attributes), moment):
            return None
        if self.finish is not None:
            return self.finish(self, labels, moment)
        if amount < 0:
            moment.counts["agent_exporter.clamped.values", (("agent", moment.agent),)] += 1
            amount = 0.0
        return Measurement(self.instrument, labels, amount)

    def _is_repeated(self, value: str, moment: Moment) -> bool:
        session = moment.session.key if moment.session else 0
        return bool(value) and not moment.sessions.is_first(self.repeats, moment.agent, session, value)

    def fits(self, metric: Metric) -> bool:
        """Tell whether a metric's numbers are of the kind that the instrument takes."""
        return _FITS[self.instrument.kind, self.part](metric)

    def scale(self, unit: str) -> float | None:
        """Return the factor for a metric in a unit, None if the unit does not fit the instrument."""
        if self.part == "count":
            return self.factor
        own = factor(unit, self.instrument.unit)
        if own is None and (self.unit or not unit):
            own = factor(self.unit or self.instrument.unit, self.instrument.unit)
        return None if own is None else own * self.factor


Finish = Callable[[Rule, Labels, Moment], Measurement | None]


def metric_rule(id_: str, rule: MetricRule, instrument: Instrument, bounds: Bounds) -> Rule:
    """Compile a rule for metrics."""
    return Rule(
        id_,
        instrument,
        frozenset((*rule.where, *_label_names(rule.labels))),
        tests(rule.where),
        reads(instrument, rule.labels, bounds),
        unit=rule.unit or "",
        factor=rule.factor,
        part=rule.part,
        alone=rule.alone or "",
    )


def record_rule(id_: str, rule: RecordRule, instrument: Instrument, bounds: Bounds) -> Rule:
    """Compile a rule for events or spans."""
    own = rule if isinstance(rule, SpanRule) else None
    read = (*rule.where, *rule.failed, *_label_names(rule.labels), *names(rule.value), *(rule.once or ()))
    kind = rule.labels.get("type")
    return Rule(
        id_,
        instrument,
        frozenset(read),
        tests(rule.where),
        reads(instrument, rule.labels, bounds),
        amount(rule.value, instrument),
        role=(own and own.role) or "",
        yields=bool(own and own.yields),
        once=first(rule.once) if rule.once else None,
        repeats=f"{rule.to} {kind.is_ if kind else ''}",
        finish=_finish(rule, instrument),
    )


def identity_rule(instrument: Instrument, bounds: Bounds) -> Rule:
    """Compile the rule of a metric that has a catalogue name already: its attributes are the labels."""
    labels = {name: Label.model_validate({"from": name}) for name in instrument.labels}
    return Rule("", instrument, frozenset(labels), (), reads(instrument, labels, bounds))


def tests(where: Mapping[str, Condition]) -> Tests:
    """Compile conditions."""
    return tuple(_test(name, condition) for name, condition in where.items())


def _label_names(labels: Mapping[str, Label]) -> tuple[str, ...]:
    return tuple(name for label in labels.values() for name in label.from_ or ())


def _test(name: str, condition: Condition) -> Test:
    words, others, present = condition.is_ or (), condition.not_ or (), condition.present
    if words and not others and present is None and not any("*" in word for word in words):
        return _is(name, frozenset(words))
    allowed, refused = matcher(words), matcher(others)

    def test(attributes: Attributes) -> bool:
        value = text(attributes.get(name))
        if (words and not (value and allowed(value))) or (value and refused(value)):
            return False
        return present is None or present is bool(value)

    return test


def _is(name: str, allowed: frozenset[str]) -> Test:
    """Compile the usual condition, which every span meets many of."""

    def test(attributes: Attributes) -> bool:
        value = attributes.get(name)
        return value is not None and (value if type(value) is str else text(value)) in allowed

    return test


# -- families that need to know what was before --------------------------------


def _finish(rule: RecordRule, instrument: Instrument) -> Finish | None:
    if instrument.name == "agent.tool.transitions":
        return _transition
    if rule.failed:
        return _failures(tests(rule.failed))
    if since := next((value.since for value in rule.value if value.since), None):
        return _since(since)
    return None


def _transition(rule: Rule, labels: Labels, moment: Moment) -> Measurement | None:
    """Say which tool came before this one in its session."""
    found, session = dict(labels), moment.session
    if session is None or "to" not in found:
        return None
    before, session.tool = session.tool, found["to"]
    return Measurement(rule.instrument, (*labels[:-1], ("from", before), labels[-1]), 1.0) if before else None


def _failures(failed: Tests) -> Finish:
    def finish(rule: Rule, labels: Labels, moment: Moment) -> Measurement:
        lost = all(test(moment.attributes) for test in failed)
        return Measurement(rule.instrument, labels, moment.sessions.fail(labels, failed=lost))

    return finish


def _since(name: str) -> Finish:
    def finish(rule: Rule, labels: Labels, moment: Moment) -> Measurement | None:
        start = moment.session.marks.pop(name, None) if moment.session else None
        return None if start is None else Measurement(rule.instrument, labels, max(moment.time - start, 0.0))

    return finish
