"""The inline Dockerfile without Docker: its steps run on this machine, in a folder that stands for the root.

What may live here: reading instructions and doing them. Paths of the image become paths below the folder, and the
base image's python and pip are those that run the tests; all else is as it is written.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = re.compile(r"(?<![\w.])/(opt|wheels|src)\b")  # where the image's own paths begin
UNREACHABLE = re.compile(r"Temporary failure in name resolution|NewConnectionError|Network is unreachable")
PYTHON = {"python": [sys.executable], "pip": [sys.executable, "-m", "pip", "--disable-pip-version-check"]}


class Image:
    """What the instructions of the last stage leave."""

    def __init__(self, text: str, root: Path) -> None:
        self.root = root
        self.here = root
        self.said: dict[str, str] = {}  # the instructions that only say something, the last of each
        self.bases: list[str] = []
        for line in filter(None, text.replace("$$", "$").splitlines()):
            verb, _, rest = line.partition(" ")
            getattr(self, f"do_{verb.lower()}", lambda said, verb=verb: self.said.update({verb: said}))(rest)

    def place(self, text: str) -> str:
        """Put the paths of the image below the root."""
        return PLACES.sub(lambda found: f"{self.root}/{found[1]}", text)

    def do_from(self, rest: str) -> None:
        """Begin a stage; stages share the root, so what one makes is where the next copies it from."""
        self.bases.append(rest.split(maxsplit=1)[0])
        self.said.clear()

    def do_workdir(self, rest: str) -> None:
        """Go to a folder."""
        self.here = Path(self.place(rest))
        self.here.mkdir(parents=True, exist_ok=True)

    def do_copy(self, rest: str) -> None:
        """Copy from the repository; from another stage it is there already."""
        *sources, target = rest.split()
        if sources[0].startswith("--from="):
            assert sources[1] == target
            return
        for source in sources:
            found, to = ROOT / source, self.here / target
            if found.is_dir():
                shutil.copytree(found, to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(found, to)

    def do_run(self, rest: str) -> None:
        """Run a command; of the shell's ways it may use the star."""
        program, *arguments = self.place(rest).split()
        expanded = [path for part in arguments for path in self.matching(part)]
        made = subprocess.run(
            [*PYTHON[program], *expanded], cwd=self.here, check=False, timeout=110, capture_output=True, text=True
        )
        if made.returncode and UNREACHABLE.search(made.stderr) and not os.environ.get("CI"):
            pytest.skip("no package index can be reached, and the image is built from one")
        assert made.returncode == 0, (rest, made.stderr)

    def matching(self, text: str) -> list[str]:
        """List the files that a word with a star means; another word is itself."""
        return sorted(map(str, Path("/").glob(text[1:]))) if "*" in text else [text]

    def words(self, verb: str) -> list[str]:
        """Give the words of ENTRYPOINT or CMD."""
        return json.loads(self.said[verb])
