"""Queries as trees: what the rules' tests ask of them.

What may live here: walking what promql-parser makes of a query, and questions about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import promql_parser as promql


def below(node: Any) -> Iterator[Any]:
    """Give the parts of a node."""
    parts = [getattr(node, name, None) for name in ("expr", "lhs", "rhs", "vector_selector", "param")]
    yield from (part for part in [*parts, *getattr(node, "args", ())] if part is not None)


def walk(node: Any, above: tuple = ()) -> Iterator[tuple[Any, tuple]]:
    """Give every node of a tree, each with those above it, the nearest last."""
    yield node, above
    for part in below(node):
        yield from walk(part, (*above, node))


def nodes(query: str, kind: type) -> Iterator[tuple[Any, tuple]]:
    """Give the nodes of a kind."""
    yield from ((node, above) for node, above in walk(promql.parse(query)) if isinstance(node, kind))


def functions(above: tuple) -> list[str]:
    """Name the functions around a node, the nearest last."""
    return [node.func.name for node in above if isinstance(node, promql.Call)]


def asked_only_for_being_there(node: Any, above: tuple) -> bool:
    """Say whether a part of a query is on the right of `and` or `unless`, where values do not matter."""
    parents = [*above, node]
    return any(
        isinstance(parent, promql.BinaryExpr) and str(parent.op) in ("and", "unless") and str(parent.rhs) == str(child)
        for parent, child in pairwise(parents)
    )


def compared(node: Any) -> bool:
    """Say whether a query gives only what a comparison lets through."""
    if isinstance(node, promql.ParenExpr):
        return compared(node.expr)
    return isinstance(node, promql.BinaryExpr) and str(node.op) in (">", ">=")
