"""Files of Prometheus rules: read with their lines, and held to what there is.

`promtool check rules` says whether Prometheus loads a file. This says whether the series, labels and values
that it names exist, and whether annotations name labels that the alert has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Final

from ..dialects.source import Location, Source, Unreadable
from ..dialects.source import read as read_yaml
from . import promql
from .findings import Report, Unusable, meant
from .lexicon import Labels, Lexicon

_DURATION: Final = re.compile(r"0|(?:\d+(?:ms|[smhdwy]))+")
# A label that a template takes for granted; `with` and `if` ask whether it is there.
_TEMPLATE_LABEL: Final = re.compile(r"(?<!with )(?<!if )(?:\$labels|\.Labels)\.([a-zA-Z_]\w*)")
# A template ends with its braces; only texts and comments in it may have others.
_TEMPLATE: Final = re.compile(
    r"""\{\{(?: -?\s*/\*.*?\*/\s*-? | (?: "(?:\\.|[^"\\])*" | `[^`]*` | '(?:\\.|[^'\\])*' | [^{}"`'] )* )\}\}""",
    re.DOTALL | re.VERBOSE,
)
_SHOWN: Final = 30  # characters of a template that is not closed
_GROUP_KEYS: Final = ("name", "rules", "interval", "limit", "labels", "query_offset", "partial_response_strategy")
_RULE_KEYS: Final = ("record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations")
_DURATIONS: Final = ("interval", "query_offset", "for", "keep_firing_for")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as it is written; `lines` are those of its keys and of what is in them."""

    name: str
    lines: Mapping[Location, int]
    is_record: bool
    expr: str
    labels: Mapping[str, Any]
    annotations: Mapping[str, Any]

    def place(self, *keys: str) -> str:
        """Say where something of it is; the file's name stands before it."""
        return f":{self.lines[keys]}: {self.name}"


@dataclass(frozen=True, slots=True)
class RuleFile:
    """The rules of a file, and what is wrong with its shape."""

    path: Path
    rules: tuple[Rule, ...]
    report: Report

    @classmethod
    def load(cls, path: Path) -> RuleFile:
        """Read a file; raise Unusable if it is none of rules."""
        try:
            source = read_yaml(path)
        except Unreadable as error:
            raise Unusable(f"{path}:{error.line}: {error}" if error.line else f"{path}: {error}") from error
        report = Report(path)
        return cls(path, tuple(_rules(source, report)), report)


def learn(files: Iterable[RuleFile], lexicon: Lexicon) -> None:
    """Teach the lexicon what the recording rules of all files make, those first that others are made from."""
    recorded: dict[str, list[Rule]] = {}
    for rule in (rule for file in files for rule in file.rules if rule.is_record):
        recorded.setdefault(rule.name, []).append(rule)
    lexicon.record(dict.fromkeys(recorded))
    needs = {name: {need for rule in rules for need in promql.selected(rule.expr)} for name, rules in recorded.items()}
    try:
        order = [*TopologicalSorter(needs).static_order()]
    except CycleError:  # Prometheus takes it: each evaluates what the other was before
        order = [*recorded]
    for name in order:
        if name in recorded:
            lexicon.record({name: _made(recorded[name], lexicon)})


def check_rules(file: RuleFile, lexicon: Lexicon) -> Report:
    """Hold the rules of a file to a lexicon that has learnt them."""
    report = file.report
    for rule in file.rules:
        reading = promql.read(rule.expr, lexicon)
        report.take(rule.place("expr"), reading)
        if not rule.is_record:
            _check_templates(rule, reading.labels, report)
    return report


def _made(rules: Iterable[Rule], lexicon: Lexicon) -> Labels:
    """Tell the labels of a series that one or more rules record."""
    several = [(promql.read(rule.expr, lexicon).labels, rule.labels) for rule in rules]
    if any(labels is None for labels, _ in several):
        return None
    return frozenset(label for labels, own in several for label in (*(labels or ()), *own))


def _check_templates(rule: Rule, there: Labels, report: Report) -> None:
    """Note templates that are not closed, and each label that a text of an alert names and the alert does not have."""
    for where, texts in (("labels", rule.labels), ("annotations", rule.annotations)):
        for key, text in texts.items():
            _, opened, rest = _TEMPLATE.sub("", str(text)).partition("{{")
            if opened:
                said = f"`{where}.{key}`: `{{{{{rest[:_SHOWN]}` is not closed by `}}}}`"
                report.add(rule.place(where, key), said)
            for label in dict.fromkeys(_TEMPLATE_LABEL.findall(str(text))):
                if there is not None and label not in there:
                    said = f"`{where}.{key}`: the alert has no label `{label}`{meant(label, there)}"
                    report.add(rule.place(where, key), said)


# -- the shape of a file ------------------------------------------------------


def _rules(source: Source, report: Report) -> Iterator[Rule]:
    data = source.data
    if not isinstance(data, dict) or not isinstance(data.get("groups"), list):
        raise Unusable(f"{source.path}:1: is not a file of Prometheus rules: it has no list `groups`")
    for number, group in enumerate(data["groups"]):
        at: Location = ("groups", number)
        if not isinstance(group, dict) or not isinstance(group.get("rules"), list):
            report.add(f":{source.line(at)}", "a group has a name and a list of rules")
            continue
        name = group.get("name", "?")
        _check_keys(group, _GROUP_KEYS, f"group {name}", (source, at), report)
        for index, rule in enumerate(group["rules"]):
            found = _rule(rule, name, (source, (*at, "rules", index)), report)
            if found:
                yield found


def _rule(data: Any, group: str, at: tuple[Source, Location], report: Report) -> Rule | None:  # noqa: ANN401 - any YAML
    source, location = at
    if (
        not isinstance(data, dict)
        or ("record" in data) == ("alert" in data)
        or not isinstance(data.get("expr"), (str, int, float))
    ):
        report.add(f":{source.line(location)}: group {group}", "a rule has `expr`, and either `record` or `alert`")
        return None
    name = str(data.get("record", data.get("alert")))
    _check_keys(data, _RULE_KEYS, name, at, report)
    texts = {key: data.get(key) or {} for key in ("labels", "annotations")}
    for key, found in texts.items():
        if not isinstance(found, dict):
            report.add(f":{source.line((*location, key))}: {name}", f"`{key}` is not a mapping")
            texts[key] = {}
    lines = {at[len(location) :]: line for at, line in source.lines.items() if at[: len(location)] == location}
    return Rule(name, lines, "record" in data, str(data["expr"]), texts["labels"], texts["annotations"])


def _check_keys(
    data: Mapping[str, Any], known: tuple[str, ...], name: str, at: tuple[Source, Location], report: Report
) -> None:
    """Note keys that Prometheus does not know, and durations that are none."""
    source, location = at
    for key, value in data.items():
        place = f":{source.line((*location, key))}: {name}"
        if key not in known:
            report.add(place, f"`{key}` is not a key here{meant(key, known)}")
        elif key in _DURATIONS and not _DURATION.fullmatch(str(value)):
            report.add(place, f"`{key}`: `{value}` is not a duration such as 5m")
