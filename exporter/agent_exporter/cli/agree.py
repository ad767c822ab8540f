"""`agent-exporter check --rules … --dashboards …`: whether what a user edited still matches the catalogue.

Our own recording rules are there too, so that a board or a file of rules can be looked at alone; a file of the
user's takes the place of ours of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import click

from ..lint import Lexicon, Report, RuleFile, Unusable, check_board, check_rules, learn
from .shipped import RULES, shipped

T = TypeVar("T")

_KINDS: Final = {".yml": "rules", ".yaml": "rules", ".json": "dashboards"}
_SHOWN: Final = 5  # names of others, before the rest are a number


def agree(rules: Iterable[Path], dashboards: Iterable[Path], allow: Iterable[str], more: Iterable[Path]) -> bool:
    """Print what is fine to standard output and what is not to standard error; tell whether all is."""
    given = {"rules": _files(rules, "rules"), "dashboards": _files(dashboards, "dashboards")}
    for path in more:  # a shell makes one file and further ones of `--rules *.yml`
        given[_kind(path)] += _files([path], _kind(path))
    lexicon = Lexicon.of_catalog(allow)
    loaded = [partial(RuleFile.load, path) for path in given["rules"]]
    own = [file for file in map(_tried, loaded) if file]
    names = {path.name for path in given["rules"]}
    ours = [RuleFile.load(path) for name, path in shipped(RULES).items() if name.name not in names]
    learn([*ours, *own], lexicon)
    checks = [partial(check_rules, file, lexicon) for file in own]
    checks += [partial(check_board, path, lexicon) for path in given["dashboards"]]
    reports = [report for report in map(_tried, checks) if report]
    for report in reports:
        _tell(report)
    if unknown := sorted(set().union(*(report.unknown for report in reports))):
        click.echo(f"a series of your own is allowed with: {' '.join(f'--allow {name}' for name in unknown)}", err=True)
    looked_at_all = len(reports) == len(loaded) + len(given["dashboards"])
    return looked_at_all and not any(report.findings for report in reports)


def _tried(look: Callable[[], T]) -> T | None:
    """Return what a look at a file gives; tell why if it cannot be looked at."""
    try:
        return look()
    except Unusable as error:
        click.echo(str(error), err=True)
        return None


def _tell(report: Report) -> None:
    """Write what was found in a file, and what was left alone."""
    for finding in report.findings:
        click.echo(str(finding), err=True)
    if not report.findings:
        click.echo(f"{report.path}: all that its {report.queries} queries name is there")
    if names := sorted(report.strangers):
        rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        click.echo(f"{report.path}: not looked at, because others tell it: {', '.join(names[:_SHOWN])}{rest}")


def _kind(path: Path) -> str:
    if path.suffix not in _KINDS:
        raise click.UsageError(f"say what {path} is: --rules {path} or --dashboards {path}")
    return _KINDS[path.suffix]


def _files(paths: Iterable[Path], kind: str) -> list[Path]:
    """List files, and of folders those that are in it and of the kind."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(each for each in path.iterdir() if _KINDS.get(each.suffix) == kind) if path.is_dir() else [path]
        if not inside:
            raise click.UsageError(f"{path}: there are no {kind} in it")
        found += inside
    return found
