"""Imports go one way: what design.md says of rooms, held by reading every import with `ast`."""

import ast
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import agent_exporter

PACKAGE = "agent_exporter"
ROOT = Path(agent_exporter.__file__).parent

# Who may import whom. A room not named here may import nothing of ours.
ROOMS = {
    "model": set(),
    "catalog": {"model"},
    "config": {"model"},
    "web": set(),
    "decode": {"model"},
    "receive": {"model", "decode", "web"},
    "dialects": {"model", "catalog"},
    "prices": set(),
    "store": {"model"},
    "sample": {"catalog", "model"},
    "expose": {"model", "web"},
    "lint": {
        *("model", "catalog"),
        "expose",  # the names that families have in Prometheus
        "dialects",  # YAML that remembers its lines
    },
    "forward": {"model"},
    "instrument": {
        *("catalog", "model"),
        "",  # the version, for the scope of what it pushes
    },
    "collector": {
        *("model", "catalog", "config", "web", "decode", "receive", "dialects", "prices", "store"),
        *("sample", "expose", "forward"),
        "",  # the version, for build_info
    },
    "cli": {
        *("collector", "config", "dialects", "catalog", "lint", "model"),
        "",  # the version, for --version
    },
    "demo": set(),  # knows no more of us than any agent does
    "__main__": {"cli"},
    "": set(),  # the package itself
}

# Which modules may touch a dependency. A room stands for all its modules, where the reason is given.
DEPENDENCIES = {
    # Frameworks of agents: each in its adapter, which only those import who use the framework.
    "agents": {"instrument.frameworks.openai_agents"},
    "claude_agent_sdk": {"instrument.frameworks.claude_agent_sdk"},
    "fastmcp": {"instrument.frameworks.fastmcp"},
    "langchain_core": {"instrument.frameworks.langchain"},
    "mcp_types": {"instrument.frameworks.fastmcp"},  # FastMCP's requests are those of mcp
    "pydantic_ai": {"instrument.frameworks.pydantic_ai"},
    "click": {"cli"},  # what a command is
    "genai_prices": {"prices"},
    "google": {
        "decode",  # our descriptors, and the stock messages where speed does not matter
        "receive",  # google.rpc.Status, the body of every error
    },
    "grpc": {"receive.grpc"},
    "httptools": {"web"},  # uvicorn's parser, for the limits that uvicorn does not have
    "isal": {"expose.gzip", "receive.coding"},  # packing and unpacking, each at its end
    "opentelemetry": {
        "decode",  # opentelemetry-proto, for what the hot path leaves aside
        "demo",
        "instrument.otlp",  # the exporter and its data classes, loaded by the exporting thread
        "receive.status",  # the stock answers
        "sample",
    },
    "orjson": {
        "decode.json",
        "expose.sheet",  # the fastest way to write a float
        "receive.status",  # answers in JSON
    },
    "promql_parser": {"lint.promql"},  # a grammar is better kept by those who follow Prometheus' own
    "psutil": {"sample"},
    "pydantic": {"config", "dialects"},
    "tomlkit": {"cli.settings"},  # a user's file is edited, not written anew
    "uvicorn": {"web"},
    "uvloop": {"cli.serve"},
    "yaml": {"config.sources", "dialects.source"},
    "zstandard": {"receive.coding"},
}


@cache
def modules() -> dict[str, Path]:
    """Map every module of the package, without the package's name, to its file."""
    files = {file.relative_to(ROOT).with_suffix("").parts: file for file in sorted(ROOT.rglob("*.py"))}
    return {".".join(part for part in parts if part != "__init__"): file for parts, file in files.items()}


def room(module: str) -> str:
    """Name the room a module is in."""
    return module.partition(".")[0]


@cache
def imports(module: str) -> tuple[frozenset[str], frozenset[str]]:
    """List what a module imports, anywhere in it: modules of ours, and packages of others."""
    file = modules()[module]
    here = [PACKAGE, *module.split(".")] if module else [PACKAGE]
    package = here if file.name == "__init__.py" else here[:-1]
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *(node.module.split(".") if node.module else [])])
            names |= {f"{source}.{alias.name}" for alias in node.names}
    ours = {ours_of(name) for name in names if room(name) == PACKAGE}
    return frozenset(ours), frozenset(room(name) for name in names) - {PACKAGE} - sys.stdlib_module_names


def ours_of(name: str) -> str:
    """Find the module that an imported name is, or lies in."""
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in modules():
        parts.pop()
    return ".".join(parts)


@pytest.mark.parametrize("module", modules())
def test_rooms_import_only_what_they_may(module):
    """A module imports only rooms that stand below its own."""
    ours, _ = imports(module)

    strangers = {name for name in ours if room(name) != room(module)} - {
        name for name in ours if room(name) in ROOMS.get(room(module), set())
    }

    assert strangers == set()


@pytest.mark.parametrize("module", modules())
def test_a_room_is_named(module):
    """A new room is entered in the table before it is used."""
    assert room(module) in ROOMS


@pytest.mark.parametrize("module", modules())
def test_dependencies_stay_behind_their_file(module):
    """A dependency is touched in the few modules that the table names."""
    _, others = imports(module)

    strangers = {name for name in others if not {module, room(module)} & DEPENDENCIES.get(name, set())}

    assert strangers == set()


def test_frameworks_are_imported_by_their_users_only():
    """Nothing of ours imports an adapter, as that would load its framework into every agent."""
    adapters = {f"instrument.frameworks.{path.stem}" for path in (ROOT / "instrument" / "frameworks").glob("*.py")}
    shared = "instrument.frameworks.running"

    assert {module for module in modules() if imports(module)[0] & (adapters - {shared})} == set()


def test_no_cycles():
    """Modules can be put in an order in which each imports only those before it."""
    graph = {module: imports(module)[0] - {module} for module in modules()}

    assert list(TopologicalSorter(graph).static_order())


def test_pure_rooms_import_the_standard_library_only():
    """The nouns and the catalogue need nothing but Python."""
    assert {module: imports(module)[1] for module in ("model", "catalog")} == {"model": set(), "catalog": set()}
