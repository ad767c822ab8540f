"""docs/library.md: its code runs, and it names all that is public and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent_exporter import instrument

PAGE = (Path(__file__).parents[2] / "docs" / "library.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NAMES = PAGE.partition("\n## Names\n")[2]
ENV = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}


@pytest.mark.parametrize("code", BLOCKS, ids=lambda code: code.strip().splitlines()[-1][:40])
@pytest.mark.parametrize("started", [True, False], ids=["started", "never started"])
def test_the_code_runs(tmp_path, code, started):
    """Each block is a program that ends well, whether the library was started or not, and misuses nothing."""
    before = "from agent_exporter import instrument; instrument.start()\n" if started else ""
    env = ENV | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", before + code],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    said = [line for line in done.stderr.splitlines() if "not delivered to http://127.0.0.1:9" not in line]
    assert (done.returncode, said) == (0, [])


def test_all_names_are_documented():
    """The table of names has what can be imported, no more and no less."""
    named = {name for row in re.findall(r"^\| (`.*?) \|", NAMES, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}

    assert sorted(named) == instrument.__all__
    assert [name for name in instrument.__all__ if not hasattr(instrument, name)] == []


def test_sections_are_there():
    """Links within the page lead somewhere."""
    titles = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }

    assert set(re.findall(r"\]\(#(.*?)\)", PAGE)) - titles == set()
