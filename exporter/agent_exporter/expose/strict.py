"""What OpenMetrics 1.0 does not take although OTLP and Prometheus do.

What may live here compares values with what their kind allows there. Text 0.0.4 shows all of
them; an OpenMetrics page without them is one that strict parsers read to its end.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..model import Family, Kind, Table
from .names import is_legacy_label

_SUM, _COUNT = -2, -1  # the columns of a histogram and of a summary, from the end


def is_info(family: Family) -> bool:
    """Tell whether every series on the page is 1."""
    return all(
        table.hidden.issuperset(row for row, value in enumerate(table.values) if value != 1.0)
        for table in family.tables
    )


def is_stateset(family: Family) -> bool:
    """Tell whether every series on the page has the label of its state, named like the family, and is 0 or 1."""
    label = f'{family.name}="'.encode()
    return is_legacy_label(family.name) and all(
        (text.startswith(label) or b'",' + label in text) and table.values[row] in (0.0, 1.0)
        for table in family.tables
        for row, text in enumerate(table.texts)
        if row not in table.hidden
    )


def unfit(kind: Kind, table: Table) -> set[int]:
    """Tell the cells that may not be on the page.

    Sum and count stand or fall together, and a sum is neither absent, negative nor NaN, nor
    beside buckets below zero. A summary's quantile is not negative.
    """
    if kind not in (Kind.HISTOGRAM, Kind.SUMMARY):
        return set()
    values, width, buckets = table.values, table.width, kind is Kind.HISTOGRAM
    sums: Iterable[int] = range(width + _SUM, len(values), width)
    if not (buckets and table.bounds and table.bounds[0] < 0):
        absent = table.absent
        sums = [cell for cell in sums if not values[cell] >= 0 or cell in absent]  # NaN is not >= 0 either
    cells = {cell + step for cell in sums for step in (0, _COUNT - _SUM)}
    if not buckets:
        cells.update(cell for cell, value in enumerate(values) if value < 0 and cell % width < width + _SUM)
    return cells
