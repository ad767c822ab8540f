"""YAML text to plain data that remembers its lines.

Rule: knows YAML and nothing of dialects. Mappings have text keys (so that `true: ok` and
`200: ok` are looked up by what the file says), `yes`, `no`, `on` and `off` are words as in YAML
1.2, and what PyYAML would pass in silence (a key given twice) is a problem.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Location = tuple[str | int, ...]


class Unreadable(ValueError):
    """The file is not YAML that we take; `line` counts from 1, 0 is the file as a whole."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Source:
    """A file's data and the line of every key and item in it."""

    path: Path
    data: Any
    lines: dict[Location, int] = field(default_factory=dict)

    def line(self, location: Location) -> int:
        """Return the line of the nearest thing around a location that the file has."""
        for length in range(len(location), 0, -1):
            if (line := self.lines.get(location[:length])) is not None:
                return line
        return 1

    def find(self, location: Location) -> Location:
        """Return a location as the file has it: where one thing may stand for a list, without the index."""
        found: Location = ()
        for part in location:
            if isinstance(part, str) or (*found, part) in self.lines:
                found = (*found, part)
        return found


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way to say it
        first: [(tag, pattern) for tag, pattern in found if tag.rpartition(":")[2] in ("int", "float", "null")]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF")


def read(path: Path) -> Source:
    """Read a YAML file; raise Unreadable."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(0, f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return parse(path, text)


def parse(path: Path, text: str) -> Source:
    """Parse YAML text; raise Unreadable."""
    lines: dict[Location, int] = {}
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        data = _plain(loader, root, (), lines, ()) if root else {}
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(mark.line + 1 if mark else 1, f"is not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise Unreadable(1, f"is not YAML: {' '.join(str(error).split())}") from error
    return Source(path, data, lines)


def _plain(
    loader: _Loader, node: yaml.Node, location: Location, lines: dict[Location, int], around: tuple[int, ...]
) -> Any:  # noqa: ANN401 - YAML is any data
    lines.setdefault(location, node.start_mark.line + 1)
    if id(node) in around:
        raise Unreadable(node.start_mark.line + 1, "contains itself")
    around = (*around, id(node))
    if isinstance(node, yaml.MappingNode):
        return _mapping(loader, node, location, lines, around)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(loader, item, (*location, n), lines, around) for n, item in enumerate(node.value)]
    return loader.construct_object(node)


def _mapping(
    loader: _Loader, node: yaml.MappingNode, location: Location, lines: dict[Location, int], around: tuple[int, ...]
) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = _key(key_node)
        if key in data:
            raise Unreadable(line, f"`{key}` is given twice")
        lines[(*location, key)] = line
        data[key] = _plain(loader, value_node, (*location, key), lines, around)
    return data


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise Unreadable(node.start_mark.line + 1, "a key must be a word")
    value: str = node.value
    return value.lower() if node.tag.endswith(":bool") else value
