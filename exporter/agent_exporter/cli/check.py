"""`agent-exporter check`: say what is wrong with configuration, dialects, rules and dashboards, or that nothing is.

Rules and dashboards are looked at if they are named; the configuration is if it is named, or if nothing else is.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..config import Config, ConfigError, load
from ..dialects import DialectError, Dialects

_PATH = click.Path(exists=True, path_type=Path)


@click.command("check")
@click.option("--config", "file", type=click.Path(path_type=Path), metavar="FILE", help="Configuration file (YAML).")
@click.option("--rules", multiple=True, type=_PATH, metavar="FILE...", help="Prometheus rules, or a folder of them.")
@click.option("--dashboards", multiple=True, type=_PATH, metavar="FILE...", help="Grafana boards, or a folder of them.")
@click.option("--allow", multiple=True, metavar="NAME", help="A metric or label of your own; may be repeated.")
@click.argument("more", nargs=-1, type=_PATH, metavar="")
def command(
    file: Path | None,
    rules: tuple[Path, ...],
    dashboards: tuple[Path, ...],
    allow: tuple[str, ...],
    more: tuple[Path, ...],
) -> None:
    """Check the configuration and the dialect files; with --rules and --dashboards what you edited of those.

    Every metric, label and value that rules and dashboards name has to be one of ours, of Prometheus or of the
    recording rules. Other names are what other programs tell, and left alone, unless they begin as ours do; --allow
    takes one that is yours all the same. Exit code 1 if anything is wrong.
    """
    edited = bool(rules or dashboards or more)
    fine = [_configuration(file)] if file or not edited else []
    if edited:
        from .agree import agree  # noqa: PLC0415 - it loads a parser of queries

        fine.append(agree(rules, dashboards, allow, more))
    if not all(fine):
        raise SystemExit(1)


def _configuration(file: Path | None) -> bool:
    """Print what is fine to standard output and what is not to standard error; tell whether all is."""
    try:
        config = load(file, os.environ)
        click.echo(f"configuration: {file} is valid" if file else "configuration: the defaults are valid")
        click.echo(f"dialects: {_dialects(config)}")
    except (ConfigError, DialectError) as error:
        click.echo(str(error), err=True)
        return False
    return True


def _dialects(config: Config) -> str:
    Dialects.load(config.dialects.paths)
    own = ", ".join(str(path) for path in config.dialects.paths)
    return f"those built in and {own} are valid" if own else "those built in are valid"
