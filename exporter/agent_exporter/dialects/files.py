"""Dialect files from the disk: found, read, checked.

Rule: all problems of all files are told at once, each as `file:line: rule: message`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .check import problems
from .schema import File
from .source import Location, Source, Unreadable, read

BUILT_IN = Path(__file__).parent
_SUFFIXES = (".yaml", ".yml")
_MESSAGES = {"extra_forbidden": "there is no such key", "missing": "must be given"}


class DialectError(ValueError):
    """Dialect files cannot be used; `problems` has every one as `file:line: rule: message`."""

    def __init__(self, found: Sequence[str]) -> None:
        super().__init__("\n".join(found))
        self.problems = tuple(found)


def load(paths: Sequence[Path]) -> list[File]:
    """Read the user's files and the built-in ones that they do not replace, the user's first; raise DialectError."""
    found: list[str] = []
    own = _read_all(paths, found)
    names = {file.agent for file in own}
    built_in = [file for file in _read_all([BUILT_IN], found) if file.agent not in names]
    if found:
        raise DialectError(found)
    return [*own, *built_in]


def _read_all(paths: Sequence[Path], found: list[str]) -> list[File]:
    files: dict[str, tuple[Path, File]] = {}
    for path in (inner for outer in paths for inner in _expand(outer)):
        file = _read(path, found)
        if file is None:
            continue
        if file.agent in files:
            found.append(f"{path}:1: agent: `{file.agent}` is also in {files[file.agent][0]}")
        files[file.agent] = (path, file)
    return [file for _, file in files.values()]


def _expand(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(inner for inner in path.iterdir() if inner.suffix in _SUFFIXES)
    else:
        yield path


def _read(path: Path, found: list[str]) -> File | None:
    try:
        source = read(path)
    except Unreadable as error:
        found.append(f"{path}:{error.line}: file: {error}")
        return None
    try:
        file = File.model_validate(source.data)
    except ValidationError as error:
        found.extend(_shape(source, detail) for detail in error.errors(include_url=False))
        return None
    wrong = [_say(source, location, message) for location, message in problems(file)]
    found.extend(wrong)
    return None if wrong else file


def _shape(source: Source, detail: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails, whose ctx is any
    return _say(source, detail["loc"], _MESSAGES.get(detail["type"], detail["msg"]))


def _say(source: Source, location: Location, message: str) -> str:
    rule = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    return f"{source.path}:{source.line(location)}: {rule or 'file'}: {message}"
