"""Types of what is public, as a strict type checker sees them from outside."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent_exporter import instrument

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "exporter"


@pytest.fixture(scope="session")
def check(tmp_path_factory):
    """Run mypy strictly; gives a function from a file to the lines it refuses and all it said."""
    cache = tmp_path_factory.mktemp("mypy")

    def check(name):
        command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}", "--no-pretty"]
        done = subprocess.run(
            [*command, "--follow-imports=silent", name],
            cwd=HERE,
            env={"MYPYPATH": str(SOURCE), "PATH": ""},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        return {int(line) for line in re.findall(rf"^{name}:(\d+): error", done.stdout, re.MULTILINE)}, done.stdout

    return check


def test_right_uses_are_accepted(check):
    """A strict type checker accepts the right uses, and knows what decorated functions take and give."""
    assert check("typed_good.py") == (set(), "Success: no issues found in 1 source file\n")


def test_wrong_uses_are_refused(check):
    """A strict type checker refuses every wrong use."""
    lines = (HERE / "typed_bad.py").read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}
    refused, _ = check("typed_bad.py")

    assert (refused, len(marked) > 20) == (marked, True)


def test_types_are_installed():
    """Type checkers look at types of packages that say that they have them."""
    assert (Path(instrument.__file__).parents[1] / "py.typed").is_file()
