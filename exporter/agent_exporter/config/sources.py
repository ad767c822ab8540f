"""Four sources, one configuration: defaults, then a YAML file, then the environment, then flags.

What may live here: reading the sources, and what is said of a mistake: where the value was set, its key,
the value and what is allowed.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ValidationError

from .keys import ENTRY, FIELDS, Config, Key, notation
from .notation import Address

PREFIX = "AGENT_EXPORTER_"
# Kubernetes gives every pod such variables for a service called agent-exporter; they are not ours.
FOREIGN = re.compile(rf"{PREFIX}(SERVICE|PORT)(_.*)?")


class ConfigError(ValueError):
    """The configuration cannot be used; `problems` has one line for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


Problem = tuple[str, str]  # where, and what is wrong
Inner = tuple[str | int, ...]  # the way to a part of a value: (0, "input")


class Setting(NamedTuple):
    """A value and the place that set it: `exporter.yaml:12`, a variable or a flag; in a file its node, too."""

    value: object
    where: str
    node: yaml.Node | None = None

    def written(self) -> object:
        """Return the value as it was written, a path without the folder it starts at."""
        return _value(self.node) if self.node else self.value

    def place(self, inner: Inner) -> str:
        """Find where a part of the value was set, or the nearest thing around it that was."""
        lines = list(_lines(self.node, inner))
        return f"{self.where.rpartition(':')[0]}:{lines[-1]}" if lines else self.where


def load(
    file: Path | None = None, environment: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
) -> Config:
    """Read all sources into one configuration.

    `flags` are by dotted key (`otlp.grpc_address`). Raises ConfigError, which names every mistake.
    """
    settings = _from_file(file) if file else {}
    settings |= _from_environment(environment or {})
    settings |= _from_flags(flags or {})
    try:
        config = Config.model_validate(_nest(settings))
    except ValidationError as error:
        raise ConfigError(_in_order(_problem(detail, settings) for detail in error.errors())) from None
    if wrong := _in_order([*_lost(config, settings), *_shared(config, settings)]):
        raise ConfigError(wrong)
    return config


def _in_order(problems: Iterable[Problem]) -> list[str]:
    """Write mistakes in the order of the file's lines, then those of the other sources."""

    def line(problem: Problem) -> float:
        number = problem[0].rpartition(":")[2]
        return int(number) if number.isdecimal() else math.inf

    return [f"{where}: {what}" for where, what in sorted(problems, key=line)]


def variable(key: Key) -> str:
    """Name the environment variable of a key."""
    return PREFIX + "_".join(key).upper()


def flag(key: Key) -> str:
    """Name the flag of a key."""
    return "--" + ".".join(key).replace("_", "-")


VARIABLES = {variable(key): key for key in FIELDS}
SECTIONS = {key[:depth] for key in FIELDS for depth in range(1, len(key))}
DOORS = (("otlp", "grpc_address"), ("otlp", "http_address"), ("web", "listen_address"))
PATH_KEYS = {("dialects", "paths"), ("state", "path")}


def _from_environment(environment: Mapping[str, str]) -> dict[Key, Setting]:
    ours = [name for name in sorted(environment) if name.startswith(PREFIX) and not FOREIGN.fullmatch(name)]
    if unknown := [f"{name}: unknown variable; {_like(name)}" for name in ours if name not in VARIABLES]:
        raise ConfigError(unknown)
    return {VARIABLES[name]: Setting(environment[name], name) for name in ours}


def _like(name: str) -> str:
    """Name the variable that is meant; as all begin alike, only what follows is compared."""
    keys = [known.removeprefix(PREFIX) for known in VARIABLES]
    close = difflib.get_close_matches(name.removeprefix(PREFIX), keys, n=1)
    return f"did you mean {PREFIX}{close[0]}?" if close else f"write {PREFIX} and a key, such as {variable(DOORS[0])}"


def _from_flags(flags: Mapping[str, str]) -> dict[Key, Setting]:
    keys = {name: tuple(name.split(".")) for name in flags}
    return {key: Setting(flags[name], flag(key)) for name, key in keys.items()}


def _from_file(file: Path) -> dict[Key, Setting]:
    try:
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}"]) from None
    except yaml.YAMLError as error:
        raise ConfigError([_syntax(file, error)]) from None
    if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError([f"{file}:1: the file must hold sections ({', '.join(Config.model_fields)})"])
    return dict(_settings(node, file, ()))


def _syntax(file: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    line = f":{mark.line + 1}" if mark else ""
    return f"{file}{line}: not YAML: {getattr(error, 'problem', None) or error}"


def _settings(node: yaml.MappingNode, file: Path, path: Key) -> Iterator[tuple[Key, Setting]]:
    """Flatten a mapping to its leaves, each with its line; a key written twice is a mistake."""
    for name, line, value_node in _pairs(node, file, path):
        key = (*path, name)
        if isinstance(value_node, yaml.MappingNode):
            yield from _settings(value_node, file, key)
        elif (value := _value(value_node)) is not None or key not in SECTIONS:
            _check(value_node, file, key)
            yield key, Setting(_anchored(key, value, file.parent), f"{file}:{line}", value_node)


def _pairs(node: yaml.MappingNode, file: Path, path: Inner) -> Iterator[tuple[str, int, yaml.Node]]:
    """List names, lines and values of a mapping; a name written twice is a mistake."""
    seen: dict[str, int] = {}
    for name_node, value_node in node.value:
        name, line = str(name_node.value), name_node.start_mark.line + 1
        if name in seen:
            raise ConfigError([f"{file}:{line}: {_dotted((*path, name))}: already set in line {seen[name]}"])
        seen[name] = line
        yield name, line, value_node


def _check(node: yaml.Node, file: Path, path: Inner) -> None:
    """Look for names written twice in the entries of a list."""
    if isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _check(item, file, (*path, position))
    elif isinstance(node, yaml.MappingNode):
        for name, _, value in _pairs(node, file, path):
            _check(value, file, (*path, name))


def _lines(node: yaml.Node | None, inner: Inner) -> Iterator[int]:
    """List the lines on the way into a value, as far as there is one."""
    for part in inner:
        match node:
            case yaml.SequenceNode(value=items) if isinstance(part, int):
                pair = items[part], items[part]
            case yaml.MappingNode(value=pairs) if found := [pair for pair in pairs if pair[0].value == part]:
                pair = found[0]
            case _:
                return
        mark, node = pair
        yield mark.start_mark.line + 1


def _value(node: yaml.Node) -> Any:  # noqa: ANN401 - YAML holds anything
    try:
        return yaml.SafeLoader("").construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError):  # a tag we do not know, a date that is none: let the key's notation judge
        return node.value


def _anchored(key: Key, value: object, folder: Path) -> object:
    """Let relative paths in a file start at that file's folder."""
    if key not in PATH_KEYS:
        return value
    if isinstance(value, list):
        return [folder / path if isinstance(path, str) else path for path in value]
    return folder / value if isinstance(value, str) else value


def _lost(config: Config, settings: Mapping[Key, Setting]) -> Iterator[Problem]:
    """Name the dialect files and folders that cannot be reached, each with the line that asks for it."""
    key = ("dialects", "paths")
    for position, path in enumerate(config.dialects.paths):
        try:
            path.stat()
        except OSError as error:
            yield settings[key].place((position,)), f"{_dotted(key)}: {path} cannot be read: {error.strerror}"


def _shared(config: Config, settings: Mapping[Key, Setting]) -> Iterator[Problem]:
    """Name every two doors that would listen on the same port, with the place that asks for it."""
    at: dict[Key, Address] = {key: getattr(getattr(config, key[0]), key[1]) for key in DOORS}
    for one, two in combinations(DOORS, 2):
        if at[one].meets(at[two]):
            key, other = (two, one) if two in settings else (one, two)
            where = settings[key].where if key in settings else "configuration"
            taken = f"{at[key]} is taken by {_dotted(other)} ({at[other]}); give one of them another port"
            yield where, f"{_named(key, where)}{taken}"


def _nest(settings: Mapping[Key, Setting]) -> dict[str, Any]:
    """Turn flat keys into nested sections; a value where a section belongs stays for validation to refuse."""
    tree: dict[str, Any] = {}
    for key, setting in settings.items():
        section = tree
        for name in key[:-1]:
            section = section.setdefault(name, {})
            if not isinstance(section, dict):
                break
        else:
            section[key[-1]] = setting.value
    return tree


def _problem(detail: Any, settings: Mapping[Key, Setting]) -> Problem:  # noqa: ANN401 - pydantic's ErrorDetails
    """Write one mistake as where, and `key: value: what is allowed`."""
    location = detail["loc"]
    for leaf, entry in ENTRY.items():
        inner = location[len(leaf) :]
        if inner and location[: len(leaf)] == leaf and leaf in settings:
            return settings[leaf].place(inner), f"{_dotted(location)}: {_misfit(detail, entry)}"
    key = tuple(part for part in location if isinstance(part, str))
    setting = settings.get(key)
    where = next((settings[at].where for at in settings if at[: len(key)] == key), "configuration")
    return where, f"{_named(key, where)}{_reason(detail, key, setting)}"


def _named(key: Key, where: str) -> str:
    """Name a key, unless it was set by its flag, which says its key."""
    return "" if where == flag(key) else f"{_dotted(key)}: "


def _reason(detail: Any, key: Key, setting: Setting | None) -> str:  # noqa: ANN401 - same
    if detail["type"] == "extra_forbidden":
        return f"unknown key{_meant(key[-1], _siblings(key))}"
    if detail["type"] == "value_error" and setting is None:
        return str(detail["ctx"]["error"])
    if key not in FIELDS:
        return f"must be a section with the keys {', '.join(_siblings((*key, '')))}"
    known = notation(FIELDS[key])
    allowed = str(detail["ctx"]["error"]) if detail["type"] == "value_error" else known.allowed
    allowed = allowed.replace("{default}", known.show(FIELDS[key].default))
    given = repr(setting.written()) if setting else "a section"
    return f"{given} is not allowed; allowed: {allowed}"


def _misfit(detail: Any, entry: type[BaseModel]) -> str:  # noqa: ANN401 - same
    """Say what is wrong with an entry of a list."""
    known, name = entry.model_fields, detail["loc"][-1]
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown key{_meant(name, list(known))}"
        case "missing":
            return f"must be given: {notation(known[name]).allowed}"
    allowed = notation(known[name]).allowed if name in known else f"an entry with the keys {', '.join(known)}"
    return f"{detail['input']!r} is not allowed; allowed: {allowed}"


def _dotted(location: Inner) -> str:
    """Write the way to a value: `prices.models[0].input`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def _siblings(key: Key) -> list[str]:
    """List the names that may stand where this key stands."""
    depth = len(key) - 1
    return list(dict.fromkeys(field[depth] for field in FIELDS if field[:depth] == key[:depth] and len(field) > depth))


def _meant(name: str, known: Mapping[str, object] | list[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known)}"
