"""The files that come with the exporter: dashboards, rules, Alertmanager's and Prometheus' settings, runbooks.

They lie at the top of a clone, and in `agent_exporter/stack/` of an installed wheel, under the same paths;
pyproject.toml says so to whoever builds the wheel.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Final

PACKAGE: Final = Path(__file__).parents[1]
IN_WHEEL: Final = PACKAGE / "stack"
IN_CLONE: Final = PACKAGE.parents[1]

PATTERNS: Final = (
    "docker-compose.yml",
    *(
        f"alerts/{name}"
        for name in ("README.md", "alertmanager.yml", "prometheus.yml", "thresholds.yaml", "generate.py")
    ),
    *(f"alerts/{folder}/**/*" for folder in ("discovery", "receivers", "rules", "source", "templates")),
    "dashboards/agent-*.json",
    "dashboards/provisioning/*/*.yaml",
    *(  # what runbooks lead to, and these pages
        f"docs/{name}.md"
        for name in ("agents", "alerts", "configuration", "dialects", "library", "metrics", "performance")
    ),
    "docs/kubernetes/**/*",
    "docs/runbooks/*.md",
    "examples/agent.py",
)
RULES: Final = "alerts/rules/*.yml"


def root() -> Path:
    """Return the folder that the files lie in."""
    return IN_WHEEL if IN_WHEEL.is_dir() else IN_CLONE


def shipped(*patterns: str) -> dict[PurePosixPath, Path]:
    """Return files by the paths under which they are written, all if no pattern is given."""
    found = {file for pattern in patterns or PATTERNS for file in root().glob(pattern) if _is_meant(file)}
    return {PurePosixPath(file.relative_to(root()).as_posix()): file for file in sorted(found)}


def _is_meant(file: Path) -> bool:
    """Leave out what Python and editors leave behind."""
    return (
        file.is_file() and "__pycache__" not in file.parts and not file.name.startswith(".") and file.suffix != ".pyc"
    )
