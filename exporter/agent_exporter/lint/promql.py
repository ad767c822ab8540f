"""A query: what it names, which labels come out of it, and what in it cannot be.

The one file that touches `promql-parser`. A tokenizer of our own would find names and matchers in sixty
lines, but not whether `by (tool)` asks for what the inner expression still has; for that the query has
to be understood, and a grammar is better kept by those who follow Prometheus' own. It costs a wheel of
1.4 MB (for every platform that grpcio has one for), loaded by `check` alone.

Labels are inferred from the inside out: what a selector can have, less what aggregations and matching take
away. None stands for any label, as of a series that is not ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import promql_parser as promql

from .findings import Reading, meant
from .lexicon import NAMESPACES, Labels, Lexicon

_NOTHING: Final[frozenset[str]] = frozenset()
_SET_OPERATORS: Final = {"and", "unless"}
_NO_SERIES: Final = {"vector", "time", "scalar", "pi"}  # what comes out has no labels


def read(text: str, lexicon: Lexicon) -> Reading:
    """Understand a query; what cannot be is among its mistakes."""
    reading = Reading()
    try:
        tree = promql.parse(text)
    except ValueError as error:
        reading.mistakes.append(f"is not PromQL: {error}")
        return reading
    reading.labels = _Reader(lexicon, reading).labels(tree)
    reading.mistakes = list(dict.fromkeys(reading.mistakes))
    return reading


def selected(text: str) -> set[str]:
    """Name the series that a query selects by their full names; none if it is not PromQL."""
    found: set[str] = set()

    def visit(node: Any) -> None:  # noqa: ANN401 - nodes have no common type
        if isinstance(node, promql.VectorSelector):
            name, _ = _taken_apart(node)
            found.update([name] if name else ())

    try:
        promql.walk(promql.parse(text), visit)
    except ValueError:
        return set()
    return found


def _taken_apart(node: promql.VectorSelector) -> tuple[str | None, list[promql.Matcher]]:
    """Return a selector's name, however it is written, and its other matchers."""
    alternatives = (each for group in node.matchers.or_matchers for each in group)
    matchers = [*node.matchers.matchers, *alternatives]
    exact = [each.value for each in matchers if each.name == "__name__" and each.op == promql.MatchOp.Equal]
    return (node.name or (exact[0] if exact else None)), [
        each for each in matchers if each.name != "__name__" or not exact
    ]


class _Reader:
    """Walks a tree; each kind of node has a method that returns the labels that come out of it."""

    def __init__(self, lexicon: Lexicon, reading: Reading) -> None:
        self.lexicon = lexicon
        self.reading = reading
        self.wants_buckets = False  # within histogram_quantile
        self.kinds: dict[type, Callable[[Any], Labels]] = {
            promql.VectorSelector: self.selector,
            promql.MatrixSelector: lambda node: self.selector(node.vector_selector),
            promql.SubqueryExpr: lambda node: self.labels(node.expr),
            promql.ParenExpr: lambda node: self.labels(node.expr),
            promql.UnaryExpr: lambda node: self.labels(node.expr),
            promql.AggregateExpr: self.aggregate,
            promql.BinaryExpr: self.binary,
            promql.Call: self.call,
            promql.NumberLiteral: lambda _: _NOTHING,
            promql.StringLiteral: lambda _: _NOTHING,
        }

    def labels(self, node: Any) -> Labels:  # noqa: ANN401 - nodes have no common type
        """Return the labels that come out of a node."""
        return self.kinds[type(node)](node)

    def wrong(self, text: str) -> None:
        """Note a mistake."""
        self.reading.mistakes.append(text)

    def expect(self, wanted: Iterable[str], there: Labels, where: str) -> None:
        """Note each label that is asked for and cannot be there."""
        for label in wanted:
            if there is not None and label not in there and label not in self.lexicon.allowed:
                self.wrong(f"{where}: there is no label `{label}`{meant(label, there)}")

    # -- selectors ------------------------------------------------------------

    def selector(self, node: promql.VectorSelector) -> Labels:
        name, matchers = _taken_apart(node)
        if name is None:
            return self.nameless(matchers)
        if not self.lexicon.knows(name):
            if self.lexicon.is_ours(name):
                self.reading.unknown.update([] if ":" in name else [name])
                self.wrong(f"there is no series `{name}`{self.like(name)}")
            else:
                self.reading.strangers.add(name)
            return None
        there = self.lexicon.labels(name)
        self.expect((each.name for each in matchers), there, f"`{name}`")
        for each in matchers:
            self.value(name, each)
        return there

    def like(self, name: str) -> str:
        """Ask whether another series was meant: the buckets, a name that goes on, one that is alike after the space."""
        known = self.lexicon.series
        if self.wants_buckets and f"{name}_bucket" in known:
            return f"; did you mean `{name}_bucket`?"
        longer = [each for each in known if each.startswith(f"{name}_")]
        return meant(name, longer) or meant(name, known, next(filter(name.startswith, NAMESPACES), ""))

    def nameless(self, matchers: list[promql.Matcher]) -> Labels:
        """Take a selector whose name is a regular expression, or that has none."""
        patterns = [each.value for each in matchers if each.name == "__name__" and each.op == promql.MatchOp.Re]
        found = [name for pattern in patterns for name in self.lexicon.fitting(pattern)]
        for pattern in patterns:
            if pattern.startswith(NAMESPACES) and not found:
                self.wrong(f"no series has a name like `{pattern}`")
        return _united(self.lexicon.labels(name) for name in found) if found else None

    def value(self, name: str, matcher: promql.Matcher) -> None:
        """Note a matcher that no value of a closed set fits, or that leaves out what is not in it."""
        values = self.lexicon.values.get((name, matcher.name))
        if values is None or matcher.value == "":
            return
        is_pattern = matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe)
        try:
            pattern = re.compile(matcher.value if is_pattern else re.escape(matcher.value))
        except re.error:  # Go's expressions and Python's differ in corners
            return
        if not any(pattern.fullmatch(value) for value in values):
            known = ", ".join(sorted(values))
            hint = meant(matcher.value, values) or f"; it is one of {known}"
            self.wrong(f"`{name}`: `{matcher.name}` is never `{matcher.value}`{hint}")

    # -- what labels go through -----------------------------------------------

    def aggregate(self, node: promql.AggregateExpr) -> Labels:
        inner, operator = self.labels(node.expr), str(node.op)
        if node.param is not None:
            self.labels(node.param)
        kept: Labels = _NOTHING
        if node.modifier is not None:
            by = node.modifier.type == promql.AggModifierType.By
            self.expect(node.modifier.labels, inner, f"`{operator} {'by' if by else 'without'}`")
            listed = frozenset(node.modifier.labels)
            kept = listed if by else _less(inner, listed)
        if operator in ("topk", "bottomk", "limitk", "limit_ratio"):
            return inner
        if operator == "count_values" and isinstance(node.param, promql.StringLiteral):
            return _united([kept, frozenset({node.param.val})])
        return kept

    def binary(self, node: promql.BinaryExpr) -> Labels:
        left, right, operator = self.labels(node.lhs), self.labels(node.rhs), str(node.op)
        modifier = node.modifier
        matching = modifier.matching if modifier else None
        listed = frozenset(matching.labels) if matching else _NOTHING
        on = bool(matching and matching.type == promql.LabelModifierType.Include)
        if matching:
            for side in (left, right) if on else (_united([left, right]),):
                self.expect(matching.labels, side, f"`{operator} {'on' if on else 'ignoring'}`")
        if operator in _SET_OPERATORS:
            return left
        if operator == "or":
            return _united([left, right])
        if modifier and modifier.card in (
            promql.VectorMatchCardinality.ManyToOne,
            promql.VectorMatchCardinality.OneToMany,
        ):
            to_one = modifier.card == promql.VectorMatchCardinality.ManyToOne
            many, one = (left, right) if to_one else (right, left)
            word = "group_left" if to_one else "group_right"
            added = frozenset(modifier.group_labels or ())
            self.expect(sorted(added), one, f"`{operator} {word}`")
            return _united([many, added])
        if on:
            return listed
        if _is_number(node.lhs) or _is_number(node.rhs):
            return _united([left, right])
        return _less(left, listed)

    def call(self, node: promql.Call) -> Labels:
        name = node.func.name
        outside, self.wants_buckets = self.wants_buckets, self.wants_buckets or name == "histogram_quantile"
        arguments = [self.labels(each) for each in node.args]
        self.wants_buckets = outside
        texts = [each.val for each in node.args if isinstance(each, promql.StringLiteral)]
        if name in ("absent", "absent_over_time"):
            return frozenset(_exact(node.args[0]))
        if name in _NO_SERIES or not arguments:
            return _NOTHING
        inner = next(
            (labels for labels, each in zip(arguments, node.args, strict=True) if not _is_number(each)), _NOTHING
        )
        if name == "label_replace":
            self.expect(texts[2:3], inner, "`label_replace`")
            return _united([inner, frozenset(texts[:1])])
        if name == "label_join":
            self.expect(texts[2:], inner, "`label_join`")
            return _united([inner, frozenset(texts[:1])])
        if name == "histogram_quantile":
            self.expect(["le"], inner, "`histogram_quantile`")
            return _less(inner, frozenset({"le"}))
        return None if name == "info" else inner


def _united(several: Iterable[Labels]) -> Labels:
    """Return what any of several can have."""
    found = list(several)
    return None if any(each is None for each in found) else frozenset().union(*(each for each in found if each))


def _less(labels: Labels, taken: frozenset[str]) -> Labels:
    return None if labels is None else labels - taken


def _is_number(node: Any) -> bool:  # noqa: ANN401 - nodes have no common type
    """Tell whether a node is a number or a text and no vector."""
    if isinstance(node, (promql.ParenExpr, promql.UnaryExpr)):
        return _is_number(node.expr)
    if isinstance(node, promql.BinaryExpr):
        return _is_number(node.lhs) and _is_number(node.rhs)
    if isinstance(node, promql.Call):
        return bool(node.func.return_type == promql.ValueType.Scalar)
    return isinstance(node, (promql.NumberLiteral, promql.StringLiteral))


def _exact(node: Any) -> Iterator[str]:  # noqa: ANN401 - nodes have no common type
    """Yield the labels that a selector gives a value: those that `absent` has."""
    selector = getattr(node, "vector_selector", node)
    if isinstance(selector, promql.VectorSelector):
        _, matchers = _taken_apart(selector)
        yield from (each.name for each in matchers if each.op == promql.MatchOp.Equal and each.name != "__name__")
