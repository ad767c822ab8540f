"""The examples of docs/library.md run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "library.md"
EXAMPLES = re.findall(r"^## ([^\n]+)$|^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def examples():
    """List examples by the section that they stand in."""
    section = ""
    for heading, code in EXAMPLES:
        section = heading or section
        if code:
            yield pytest.param(code, id=section)


@pytest.mark.parametrize("code", list(examples()))
def test_example(code):
    """An example runs by itself, without a warning or a complaint, where no collector is."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OTEL_METRIC_EXPORT_TIMEOUT": "100"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)

    assert (done.returncode, done.stderr) == (0, "")
