"""docker-compose.yml as docker compose understands it.

What may live here: loading it with `docker compose`, or else with its loader, which .ci/servers builds.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LOADER = ROOT / ".cache" / "compose-loader"
FILE = ROOT / "docker-compose.yml"


@cache
def command() -> list[str] | None:
    """Find what loads compose files: the plugin of docker, or the loader that it is built on."""
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        return [docker, "compose", "--file", str(FILE), "--profile", "demo", "config"]
    return [str(LOADER), str(FILE), "demo"] if LOADER.exists() else None


@cache
def project() -> dict[str, Any]:
    """Load the file with everything resolved, all profiles on."""
    found = command()
    if found is None:
        pytest.skip(
            "neither docker compose nor its loader is here; with Go, .ci/servers builds the loader when CI=true"
        )
    made = subprocess.run(found, capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    return yaml.safe_load(made.stdout)
