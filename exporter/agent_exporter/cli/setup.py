"""`agent-exporter setup AGENT`: what makes an agent report here, shown or written.

Rule: what an agent needs is data in its dialect file; this file knows no agent. A settings file
belongs to its user: it is shown what changes, asked, backed up, and replaced in one step.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from difflib import unified_diff
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from ..dialects import DialectError, Dialects, Setup

HTTP_ENDPOINT: Final = "http://127.0.0.1:4318"
GRPC_ENDPOINT: Final = "http://127.0.0.1:4317"
_NEW_FILE_MODE: Final = 0o600  # settings hold keys; nobody else has to read them


def _endpoint(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise click.BadParameter("give a URL such as http://127.0.0.1:4318")
    return value.rstrip("/")


@click.command("setup")
@click.argument("agent")
@click.option("--write", is_flag=True, help="Write it to the agent's settings file, after showing what changes.")
@click.option("--yes", is_flag=True, help="Do not ask before writing.")
@click.option("--settings", type=click.Path(dir_okay=False, path_type=Path), help="The agent's settings file.")
@click.option("--endpoint", callback=_endpoint, help=f"Where agent-exporter listens; {HTTP_ENDPOINT} if not given.")
@click.option(
    "--dialects",
    "paths",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Dialect files or folders of your own.",
)
def command(
    agent: str, *, write: bool, yes: bool, settings: Path | None, endpoint: str | None, paths: tuple[Path, ...]
) -> None:
    """Show, or write, what makes AGENT report to agent-exporter."""
    setup = _find(agent, paths)
    ends = {"{http}": endpoint or HTTP_ENDPOINT, "{grpc}": endpoint or GRPC_ENDPOINT}
    if not write:
        _show(setup, settings, ends)
        return
    if setup.settings is None:
        raise click.UsageError(f"{agent} has no settings file that can be written; see `agent-exporter setup {agent}`")
    _write(settings or Path(setup.settings.path).expanduser(), _filled(setup.settings.merge, ends), yes=yes)


def _find(agent: str, paths: tuple[Path, ...]) -> Setup:
    try:
        setups = Dialects.load(paths).setups
    except DialectError as error:
        raise click.ClickException(str(error)) from error
    if agent not in setups:
        raise click.UsageError(f"no setup is known for `{agent}`; known: {', '.join(sorted(setups))}")
    return setups[agent]


def _filled(value: Any, ends: Mapping[str, str]) -> Any:  # noqa: ANN401 - any JSON
    """Return JSON data with the endpoints in the places that are left for them."""
    if isinstance(value, dict):
        return {key: _filled(inner, ends) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, ends) for inner in value]
    if isinstance(value, str):
        for place, end in ends.items():
            value = value.replace(place, end)
    return value


def _show(setup: Setup, settings: Path | None, ends: Mapping[str, str]) -> None:
    if setup.env:
        click.echo("# For one shell:\n")
        for name, value in setup.env.items():
            click.echo(f"export {name}={shlex.quote(_filled(value, ends))}")
    if setup.settings:
        click.echo(f"\n# For every start, in {settings or setup.settings.path} (--write does it):\n")
        click.echo(json.dumps(_filled(setup.settings.merge, ends), indent=2))
    for snippet in setup.snippets:
        click.echo(f"\n# In {snippet.file}:\n")
        click.echo(_filled(snippet.text, ends).rstrip())
    for note in setup.notes:
        click.echo(f"\n# {note}")


def _write(path: Path, wanted: Mapping[str, Any], *, yes: bool) -> None:
    try:
        path = path.resolve()  # a link stays a link: what it points to is replaced
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        new = _merged(path, old, wanted)
        if new == old:
            click.echo(f"{path} says all of this already.")
            return
        click.echo("".join(unified_diff(*_lines(old, new), f"{path}", f"{path} (new)", n=1)), nl=False)
        if not yes:
            click.confirm("Write this?", abort=True)
        backup = _backup(path) if old else None
        _replace(path, new)
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{path}: {error}") from error
    click.echo(f"Written to {path}" + (f"; what was there is in {backup}." if backup else "."))


def _lines(old: str, new: str) -> tuple[list[str], list[str]]:
    """Return both texts in lines; one without a final line end gets one, for the diff only."""
    return [f"{line}\n" for line in old.splitlines()], [f"{line}\n" for line in new.splitlines()]


def _merged(path: Path, old: str, wanted: Mapping[str, Any]) -> str:
    """Return a settings file's text with what is wanted in it; all else and the indentation stay."""
    data = _parsed(path, old) if old.strip() else {}
    if _merge(path, data, wanted, "") and old.strip():
        return old
    found = re.search(r'^\s*\{\s*?\n([ \t]+)"', old)
    end = "\n" if not old or old.endswith("\n") else ""
    return json.dumps(data, indent=found[1] if found else 2, ensure_ascii=False) + end


def _parsed(path: Path, text: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        data = dict(pairs)
        if len(data) < len(pairs):
            raise click.ClickException(f"{path}: a key is given twice in one object; correct it by hand first")
        return data

    try:
        data = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise click.ClickException(f"{path}:{error.lineno}:{error.colno}: is not JSON: {error.msg}") from error
    if not isinstance(data, dict):
        raise click.ClickException(f"{path}: is not a JSON object")
    return data


def _merge(path: Path, data: dict[str, Any], wanted: Mapping[str, Any], around: str) -> bool:
    """Put what is wanted into data, in place; return whether all of it was there."""
    same = True
    for key, value in wanted.items():
        if isinstance(value, Mapping):
            inner = data.setdefault(key, {})
            if not isinstance(inner, dict):
                raise click.ClickException(f"{path}: `{around}{key}` is not an object")
            same = _merge(path, inner, value, f"{around}{key}.") and same
        elif key not in data or data[key] != value:
            data[key], same = value, False
    return same


def _backup(path: Path) -> Path:
    for number in count():
        backup = path.with_name(f"{path.name}.bak{number or ''}")
        if not backup.exists():
            break
    shutil.copy2(path, backup)
    return backup


def _replace(path: Path, text: str) -> None:
    """Replace a file in one step, so that a reader sees the old text or the new; its mode stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o7777 if path.exists() else _NEW_FILE_MODE
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
