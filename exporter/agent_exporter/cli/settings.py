"""An agent's settings file: what has to be in it, put in without touching the rest.

Rule: a settings file belongs to its user. Its text is merged, never made anew; it is shown what
changes, asked, backed up, and replaced in one step. JSON and TOML, by the file's ending; what
cannot be changed safely is left alone, and the error says why.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from difflib import unified_diff
from itertools import count
from pathlib import Path
from typing import Any, Final

import click
import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Array, InlineTable, Table

_MARK: Final = "\ufeff"  # some editors begin a file with it
_SURROGATE: Final = re.compile("[\ud800-\udfff]")  # half a character: JSON may name one, UTF-8 cannot hold it
_NEW_FILE_MODE: Final = 0o600  # settings hold keys; nobody else has to read them


def write(path: Path, wanted: Mapping[str, Any], *, yes: bool) -> None:
    """Show what changes in a settings file, ask unless `yes`, and change it; raise ClickException."""
    path = _resolved(path)
    old = _read(path)
    new = merged(path, old, wanted)
    if new == old:
        click.echo(f"{path} says all of this already.")
        return
    click.echo("".join(unified_diff(*_lines(old, new), f"{path}", f"{path} (new)", n=1)), nl=False)
    if not yes:
        click.confirm("Write this?", abort=True)
    try:
        backup = _changed(path, old, new)
    except OSError as error:
        text = f"cannot be written: {error.strerror or error}; nothing was changed. Its folder has to be writable, too"
        raise click.ClickException(f"{path}: {text}") from error
    click.echo(f"Written to {path}" + (f"; what was there is in {backup}." if backup else "."))


def merged(path: Path, old: str, wanted: Mapping[str, Any]) -> str:
    """Return a settings file's text with what is wanted in it; all else stays, byte order mark and line ends too."""
    text = old.removeprefix(_MARK).replace("\r\n", "\n")
    new = (_merged_toml if path.suffix == ".toml" else _merged_json)(path, text, wanted)
    if new == text:
        return old
    return (_MARK if old.startswith(_MARK) else "") + (new.replace("\n", "\r\n") if "\r\n" in old else new)


def holds(path: Path, wanted: Mapping[str, Any]) -> bool:
    """Tell whether a settings file has all that is wanted; one that cannot be read or changed has not."""
    try:
        text = _read(path)
        return bool(text) and merged(path, text, wanted) == text
    except click.ClickException:
        return False


def lacking(path: Path, there: object, wanted: Sequence[Any], where: str) -> list[Any]:
    """Return what of a list is not in the user's; what the user has there stays, so that lists only grow."""
    if not isinstance(there, list):
        raise click.ClickException(f"{path}: `{where}` is not a list; make it one, or change it by hand")
    return [value for value in wanted if not any(_same(value, each) for each in there)]


def _same(wanted: object, there: object) -> bool:
    """Tell whether an entry is there already: as it is, or as a package of a version that the user chose."""
    return there == wanted or (isinstance(there, str) and there.startswith(f"{wanted}@"))


# -- JSON ---------------------------------------------------------------------


def _merged_json(path: Path, old: str, wanted: Mapping[str, Any]) -> str:
    """Merge objects into objects, with the indentation that is there."""
    data = _parsed(path, old, wanted) if old.strip() else {}
    if _merge(path, data, wanted, "") and old.strip():
        return old
    found = re.search(r'^\s*\{\s*?\n([ \t]+)"', old)
    end = "\n" if not old or old.endswith("\n") else ""
    try:
        return _written(data, found[1] if found else 2) + end
    except ValueError as error:
        text = "has NaN, Infinity or a number as large (such as 1e400), which cannot be written as JSON again"
        raise click.ClickException(f"{path}: {text}; correct it by hand first") from error


def _written(data: Mapping[str, Any], indent: str | int) -> str:
    """Write JSON for people; raise ValueError if there is a number in it that JSON does not have."""
    text = json.dumps(data, indent=indent, ensure_ascii=False, allow_nan=False)
    return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def _parsed(path: Path, text: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        data = dict(pairs)
        if len(data) < len(pairs):
            raise click.ClickException(f"{path}: a key is given twice in one object; correct it by hand first")
        return data

    try:
        data = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        reason = f"{error.msg}. Comments and trailing commas are not supported here; add this by hand"
        where = f"{path}:{error.lineno}:{error.colno}"
        raise click.ClickException(f"{where}: is not JSON: {reason}:\n\n{_written(wanted, 2)}") from error
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
        elif isinstance(value, list):
            added = lacking(path, data.setdefault(key, []), value, f"{around}{key}")
            data[key] += added
            same = not added and same
        elif key not in data or data[key] != value:
            data[key], same = value, False
    return same


# -- TOML ---------------------------------------------------------------------


def _merged_toml(path: Path, old: str, wanted: Mapping[str, Any]) -> str:
    """Set the keys of tables, each as a whole: in TOML a choice between variants is a table within a table."""
    try:
        before, document = _toml(old), tomlkit.parse(old)
    except (tomllib.TOMLDecodeError, TOMLKitError) as error:
        raise click.ClickException(f"{path}: is not TOML: {error}") from error
    if loose := [name for name, keys in wanted.items() if not isinstance(keys, Mapping)]:
        raise click.ClickException(f"{path}: `{loose[0]}` stands in no table; a dialect sets keys of tables only")
    tables = {name: _table(path, before, name) for name in wanted}
    wanted = {name: _grown(path, tables[name], keys, name) for name, keys in wanted.items()}
    after = {**before, **{name: {**tables[name], **keys} for name, keys in wanted.items()}}
    if after == before:
        return old
    for name, keys in wanted.items():
        if name not in document:
            if document.body:
                document.add(tomlkit.nl())
            document.add(name, tomlkit.table())
        _set(document[name], {key: value for key, value in keys.items() if tables[name].get(key) != value})
    new = tomlkit.dumps(document)
    if not _says(new, after):
        raise click.ClickException(f"{path}: its tables cannot be changed safely; do it by hand")
    return new


def _table(path: Path, data: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = data.get(name, {})
    if not isinstance(found, dict):
        raise click.ClickException(f"{path}: `{name}` is not a table")
    return found


def _grown(path: Path, table: Mapping[str, Any], keys: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the keys of a table as they shall be: lists hold what is in the user's, too."""
    there = {key: table.get(key, []) for key, value in keys.items() if isinstance(value, list)}
    return {**keys, **{key: [*old, *lacking(path, old, keys[key], f"{name}.{key}")] for key, old in there.items()}}


def _set(table: Any, keys: Mapping[str, Any]) -> None:  # noqa: ANN401 - any of the library's kinds of tables
    for key, value in keys.items():
        if isinstance(table.get(key), Table):
            del table[key]  # with a heading of its own; the new one is in the line
        if isinstance(table.get(key), Array):  # its comments and lines stay
            table[key].extend(map(_inline, value[len(table[key]) :]))
        else:
            table[key] = _inline(value)


def _inline(value: Any) -> Any:  # noqa: ANN401 - any TOML
    if not isinstance(value, Mapping):
        return value
    table: InlineTable = tomlkit.inline_table()
    table.update({key: _inline(inner) for key, inner in value.items()})
    return table


def _says(text: str, data: Mapping[str, Any]) -> bool:
    """Tell whether a text means what it should: the library's tables have surprised others before."""
    try:
        return _toml(text) == data
    except tomllib.TOMLDecodeError:
        return False


def _toml(text: str) -> dict[str, Any]:
    """Read TOML; nan stays a text, as it would not be equal to itself."""
    return tomllib.loads(text, parse_float=lambda number: number if "nan" in number else float(number))


# -- files --------------------------------------------------------------------


def _lines(old: str, new: str) -> tuple[list[str], list[str]]:
    """Return both texts in lines; one without a final line end gets one, for the diff only."""
    return [f"{line}\n" for line in old.splitlines()], [f"{line}\n" for line in new.splitlines()]


def _resolved(path: Path) -> Path:
    """Follow links, so that a link stays one and what it points to is replaced."""
    try:
        target = path.resolve()
    except RuntimeError:  # a loop; from Python 3.13 on it is returned as it is
        target = path
    if target.is_symlink():
        raise click.ClickException(f"{path}: is a link that leads back to itself; remove it first")
    return target


def _read(path: Path) -> str:
    """Read a file with its line ends as they are; one that is not there is empty."""
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{path}: is not UTF-8: {error}") from error


def _changed(path: Path, old: str, new: str) -> Path | None:
    """Replace a file and return the copy of what was there; if it cannot be replaced, no copy is left."""
    backup = _free(path) if old else None
    try:
        if backup:
            shutil.copy2(path, backup)
        _replace(path, new)
    except BaseException:
        if backup:
            backup.unlink(missing_ok=True)
        raise
    return backup


def _free(path: Path) -> Path:
    """Find a name for a backup that no file has."""
    names = (path.with_name(f"{path.name}.bak{number or ''}") for number in count())
    return next(name for name in names if not name.exists())


def _replace(path: Path, text: str) -> None:
    """Replace a file in one step, so that a reader sees the old text or the new; its mode stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o7777 if path.exists() else _NEW_FILE_MODE
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
