"""A process that does what it is told, with children that do: what the tests of `sample` look at."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

NAME = f"toy{os.getpid()}"  # nobody else's, whatever else is tested on this machine
OTHER = f"other{os.getpid()}"
SECRET = "tell-nobody-what-I-was-asked"  # a command line, which must not be shown

PROGRAM = """\
import os, subprocess, sys, time

kept, children = [], []

def burn(seconds):
    end = time.process_time() + float(seconds)
    while time.process_time() < end:
        pass

def take(size):
    kept.append(b"x" * int(size))

def open_files(count):
    kept.extend(open(os.devnull) for _ in range(int(count)))

def write(path, size):
    with open(path, "wb") as file:
        file.write(b"x" * int(size))
        os.fsync(file.fileno())

def spawn(program):
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    children.append(subprocess.Popen([program, *sys.orig_argv[1:]], **pipes))
    return children[-1].pid

def leave(program):
    return subprocess.Popen([program, "-c", "import time; time.sleep(60)"]).pid

def child(index, *words):
    print(*words, file=children[int(index)].stdin, flush=True)
    return children[int(index)].stdout.readline().strip()

def kill(index):
    children[int(index)].kill()

def wait(index):
    children[int(index)].kill()
    children[int(index)].wait()

for line in sys.stdin:
    word, *rest = line.split()
    print(globals()[word](*rest), flush=True)
"""


class Toy(NamedTuple):
    """A running toy; `pid` is that of its process."""

    program: Path
    popen: subprocess.Popen

    @property
    def pid(self) -> int:
        """Tell the process's id."""
        return self.popen.pid

    @property
    def process(self) -> psutil.Process:
        """Look at it with psutil."""
        return psutil.Process(self.pid)

    def do(self, *words: object) -> str:
        """Let it do something and wait until it has."""
        print(*words, file=self.popen.stdin, flush=True)
        answer = self.popen.stdout.readline().strip()
        assert answer, "the toy broke"
        return answer

    def spawn(self, program: Path | None = None) -> psutil.Process:
        """Let it start a child of the same kind, which is known by its place among them."""
        return psutil.Process(int(self.do("spawn", program or self.program)))

    def end(self) -> None:
        """Kill it and wait, as its parent would."""
        self.popen.kill()
        self.popen.wait()


class Toys:
    """Starts toys, each a program with a name of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[Toy] = []

    def program(self, name: str = NAME) -> Path:
        """Make a program of this name."""
        path = self._folder / name
        if not path.exists():
            path.symlink_to(Path(sys.executable).resolve())
        return path

    def start(self, name: str = NAME) -> Toy:
        """Start a toy and wait until it listens."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        popen = subprocess.Popen([self.program(name), "-c", PROGRAM, SECRET], **pipes)
        toy = Toy(self.program(name), popen)
        self._running.append(toy)
        toy.do("burn", 0)
        return toy

    def stop(self) -> None:
        """End all that still run, with their children."""
        for toy in self._running:
            children = toy.process.children(recursive=True) if toy.popen.poll() is None else []
            toy.end()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            psutil.wait_procs(children, timeout=10)
            toy.popen.stdin.close()
            toy.popen.stdout.close()
