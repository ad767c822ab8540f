"""Dialect files from the disk: found, read, checked.

Rule: all problems of all files are told at once, each as `file:line: rule: message`,
of a file that cannot be read without line and rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .check import problems
from .schema import AnyFile, File, Vocabulary
from .source import Location, Source, Unreadable, read

BUILT_IN = Path(__file__).parent
_SUFFIXES = (".yaml", ".yml")
_MESSAGES = {"extra_forbidden": "there is no such key", "missing": "must be given"}


class DialectError(ValueError):
    """Dialect files cannot be used; `problems` has every one as `file:line: rule: message`."""

    def __init__(self, found: Sequence[str]) -> None:
        super().__init__("\n".join(found))
        self.problems = tuple(found)


def load(paths: Sequence[Path]) -> list[AnyFile]:
    """Read the user's files and the built-in ones that they do not replace, the user's first; raise DialectError."""
    found: list[str] = []
    own = _read_all(paths, found)
    names = {file.called for file in own}
    built_in = [file for file in _read_all([BUILT_IN], found) if file.called not in names]
    if found:
        raise DialectError(found)
    return [*own, *built_in]


def _read_all(paths: Sequence[Path], found: list[str]) -> list[AnyFile]:
    files: dict[str, tuple[Path, AnyFile]] = {}
    instruments: dict[str, Path] = {}
    for path in (inner for outer in paths for inner in _expand(outer)):
        file = _read(path, found)
        if file is None:
            continue
        if file.called in files:
            key = "agent" if isinstance(file, File) else "vocabulary"
            found.append(f"{path}:1: {key}: `{file.called}` is also in {files[file.called][0]}")
        files[file.called] = (path, file)
        for name in file.instruments:
            if name in instruments:
                found.append(f"{path}:1: instruments.{name}: is also in {instruments[name]}")
            instruments[name] = path
    return [file for _, file in files.values()]


def _expand(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(inner for inner in path.iterdir() if inner.suffix in _SUFFIXES)
    else:
        yield path


def _read(path: Path, found: list[str]) -> AnyFile | None:
    try:
        source = read(path)
    except Unreadable as error:
        found.append(f"{path}:{error.line}: file: {error}" if error.line else f"{path}: {error}")
        return None
    try:
        file = _shape(source.data).model_validate(source.data)
    except ValidationError as error:
        found.extend(_explain(source, detail) for detail in error.errors(include_url=False))
        return None
    wrong = [_say(source, location, message) for location, message in problems(file)]
    found.extend(wrong)
    return None if wrong else file


def _shape(data: Any) -> type[AnyFile]:  # noqa: ANN401 - YAML is any data
    return Vocabulary if isinstance(data, dict) and "vocabulary" in data else File


def _explain(source: Source, detail: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails, whose ctx is any
    return _say(source, detail["loc"], _MESSAGES.get(detail["type"], detail["msg"]))


def _say(source: Source, location: Location, message: str) -> str:
    location = source.find(location)
    rule = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    return f"{source.path}:{source.line(location)}: {rule or 'file'}: {message}"
