"""`agent-exporter stack DIR`: the whole stack as files, from what is installed; no clone is needed.

A file that its user changed is never written over: a note in DIR says what was written, so that a file of
which only ours is new is replaced, one of which only the user's is new is left, and where both are, ours is
put beside it (`NAME.new`). A file that is shipped no more goes, unless it was changed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from importlib.metadata import PackageNotFoundError
from pathlib import Path, PurePosixPath
from typing import Final

import click

from .. import __version__
from .shipped import shipped
from .wheel import wheel

_NOTE: Final = ".agent-exporter.json"
_COMPOSE: Final = "docker-compose.yml"
_IGNORE: Final = ".gitignore"
_SECRETS: Final = b"/.env\n/alerts/secrets/\n"  # who keeps DIR in git does not commit them
# The lines of the image that build the wheel in a clone; here it is built already.
_FROM_CLONE: Final = re.compile(r"^( +)COPY pyproject\.toml .*\n(?:.*\n)*?\1RUN pip wheel .*\n", re.MULTILINE)
_SAID: Final = {
    "updated": "updated (it was as we wrote it)",
    "yours": "left as you changed it",
    "overwritten": "written over, with what you had changed",
    "removed": "removed (it is part of the stack no more)",
    "orphaned": "left as you changed it; it is part of the stack no more",
    "kept": "CHANGED BY YOU AND BY US: yours is kept, ours is beside it, in {}.new",
}
_LOOK: Final = """
First put together what you changed and what is new (`diff FILE FILE.new`), and remove the .new files. Rules need not
be: with your thresholds, `python3 alerts/generate.py` writes them again."""
_RELOAD: Final = """  docker compose kill --signal HUP prometheus alertmanager   they run: let them read what changed
"""
_NEXT: Final = """
Next, with Docker:

  cd {folder}
  docker compose up --detach --build                  then open http://localhost:3000
  docker compose --profile demo up --detach --build   the same with a pretend agent, so that graphs move
{reload}
Without, alerts/prometheus.yml and alerts/alertmanager.yml say at their top how to use them. Edit what you like, and
see whether it still fits: agent-exporter check --rules {folder}/alerts/rules --dashboards {folder}/dashboards
"""


@click.command("stack")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Write over what you changed, too.")
def command(folder: Path, *, force: bool) -> None:
    """Write dashboards, rules and the settings of Prometheus, Alertmanager, Grafana and Docker Compose to DIR.

    Again after an upgrade, it brings DIR up to date and leaves what you changed. Exit code 1 if a file was changed
    by you and by us, so that somebody has to look.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(f"the folder {folder} cannot be made: {error.strerror}") from error
    try:
        done = write(folder, files(), force=force)
    except PackageNotFoundError:
        raise click.ClickException("agent-exporter runs, but is not installed: pip install it first") from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or folder} cannot be written: {error.strerror}") from error
    for state, text in _SAID.items():
        for name in (name for name, found in done.items() if found == state):
            click.echo(f"{name}: {text.format(name)}", err=state == "kept")
    fresh = sum(state == "written" for state in done.values())
    click.echo(
        f"{folder}: {fresh} files written, {sum(state == 'same' for state in done.values())} were there already."
    )
    if "kept" in done.values():
        click.echo(_LOOK)
    click.echo(_NEXT.format(folder=shlex.quote(str(folder)), reload=_RELOAD if "updated" in done.values() else ""))
    if "kept" in done.values():
        raise SystemExit(1)


def files() -> dict[str, bytes]:
    """Return all that the stack consists of, by path."""
    name, packed = wheel()
    found = {str(path): file.read_bytes() for path, file in shipped().items()}
    made = {_COMPOSE: compose(found[_COMPOSE].decode(), name).encode(), name: packed, _IGNORE: _SECRETS}
    return found | made


def compose(text: str, name: str) -> str:
    """Let the image be made from a wheel that lies beside the file."""
    made, count = _FROM_CLONE.subn(rf"\1COPY {name} /wheels/\n", text)
    if count != 1:
        raise AssertionError("BUG: docker-compose.yml no longer builds the wheel in a way that is known here")
    return made


def write(folder: Path, wanted: dict[str, bytes], *, force: bool) -> dict[str, str]:
    """Write files, and remove those written before that are not wanted any more; return what became of each."""
    before = _noted(folder)
    done = {name: _put(folder / name, data, before.get(name), force=force) for name, data in wanted.items()}
    for name in before.keys() - wanted.keys():
        path = folder / name
        if path.is_file():
            done[name] = "removed" if force or _digest(path.read_bytes()) == before[name] else "orphaned"
        if done.get(name) == "removed":
            path.unlink()
    note = {"version": __version__, "files": {name: _digest(data) for name, data in sorted(wanted.items())}}
    (folder / _NOTE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    return done


def _put(path: Path, data: bytes, before: str | None, *, force: bool) -> str:
    """Write a file if that takes nothing from its user; return what became of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(data)
        return "written"
    there = path.read_bytes()
    if there == data:
        return "same"
    if force or _digest(there) == before:
        path.write_bytes(data)
        return "updated" if _digest(there) == before else "overwritten"
    beside = path.with_name(f"{path.name}.new")
    if _digest(data) == before and not beside.exists():  # once that is gone, somebody has looked
        return "yours"
    beside.write_bytes(data)
    return "kept"


def _noted(folder: Path) -> dict[str, str]:
    """Read which files were written here before, with their digests."""
    try:
        found = json.loads((folder / _NOTE).read_text(encoding="utf-8"))["files"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name): str(digest) for name, digest in found.items() if _is_inside(str(name))}


def _is_inside(name: str) -> bool:
    """Tell whether a path leads nowhere else: what is noted may be removed, and anybody may have written the note."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
