"""`agent-exporter check`: say what is wrong with configuration and dialect files, or that nothing is."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..config import Config, ConfigError, load
from ..dialects import DialectError, Dialects


@click.command("check", help="Check the configuration and the dialect files. Exit code 1 if anything is wrong.")
@click.option("--config", "file", type=click.Path(path_type=Path), metavar="FILE", help="Configuration file (YAML).")
def command(file: Path | None) -> None:
    """Print what is fine to standard output and what is not to standard error."""
    try:
        config = load(file, os.environ)
        click.echo(f"configuration: {file or 'defaults'} is valid")
        click.echo(f"dialects: {_dialects(config)}")
    except (ConfigError, DialectError) as error:
        click.echo(str(error), err=True)
        raise SystemExit(1) from None


def _dialects(config: Config) -> str:
    Dialects.load(config.dialects.paths)
    own = ", ".join(str(path) for path in config.dialects.paths)
    return f"those built in and {own} are valid" if own else "those built in are valid"
