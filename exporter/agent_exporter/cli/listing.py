"""`agent-exporter setup --list`: what each dialect covers and what its agent cannot tell, as plain text.

Rule: 80 columns; the data are those of docs/agents.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Final

from ..dialects.coverage import GROUPS, LEGEND, Coverage

WIDTH: Final = 80
NOTHING: Final = "–"


def listing(covered: Sequence[Coverage]) -> str:
    """Write a table of dialects and kinds of families, what its signs mean, and what is not told."""
    return "\n".join([*table(covered), "", *legend(), *(line for each in covered for line in gaps(each))])


def table(covered: Sequence[Coverage]) -> Iterator[str]:
    """Write a line a dialect."""
    width = max(len(each.file.called) for each in covered)
    yield " ".join([" " * width, *(group.short for group in GROUPS)])
    for each in covered:
        cells = (f"{each.cell(group) or NOTHING:<{len(group.short)}}" for group in GROUPS)
        yield " ".join([f"{each.file.called:<{width}}", *cells]).rstrip()


def legend() -> Iterator[str]:
    """Write what marks and headings stand for."""
    yield from (f"{mark}  {meaning}" for mark, meaning in {**LEGEND, NOTHING: "not told"}.items())
    yield ""
    yield from wrap(", ".join(f"{group.short}: {group.title}" for group in GROUPS), WIDTH)


def gaps(covered: Coverage) -> Iterator[str]:
    """Write what an agent cannot tell."""
    file = covered.file
    yield f"\n{file.called}: {file.title or file.called}"
    yield from _bullet(f"Nothing tells of: {', '.join(covered.missing)}.") if covered.missing else ()
    for family, reason in file.untold.items():
        yield from _bullet(f"{family}: {reason}.")
    for gap in file.gaps:
        yield from _bullet(gap)


def _bullet(text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)
