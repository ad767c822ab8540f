"""What type checkers make of caches, pools and queues that are watched."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

CODE = """\
import asyncio
import queue
import threading
from collections.abc import MutableMapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import lru_cache
from typing import assert_type

from agent_exporter.instrument import (
    instrumented,
    pool,
    single_flight,
    stamped,
    watch_cache,
    watch_pool,
    watch_queue,
)


class Limited:
    in_use = 1


async def take() -> int:
    return 1


def give(member: int) -> None: ...


@lru_cache
def length(text: str) -> int:
    return len(text)


@single_flight("numbers")
async def load(key: str, *, unit: int = 1) -> float:
    return 1.0


async def right() -> None:
    assert_type(watch_cache({"a": 1}, "cache"), dict[str, int])
    assert_type(watch_cache(length, "cache")("a"), int)
    assert_type(instrumented({"a": 1}, "cache"), MutableMapping[str, int])
    assert_type(await load("a", unit=2), float)
    assert_type(watch_pool(Limited(), "pool", limit=3, used=lambda limited: limited.in_use), Limited)
    assert_type(watch_queue(queue.Queue[int](), "queue", waits=True).get(), int)
    assert_type(pool("pool").acquire(queue.Queue[str]().get, print), AbstractContextManager[str])
    assert_type(pool("pool").acquire(take, give), AbstractAsyncContextManager[int])
    async with pool("pool", limit=1).acquire(asyncio.Lock()) as nothing:
        assert_type(nothing, None)
    with pool("pool").acquire(threading.Lock()) as got:
        assert_type(got, bool)
    stamped(queue.SimpleQueue[int](), "queue").put(1)
"""
WRONG = """\
watch_cache({})
watch_pool(Limited(), "pool", used=lambda limited: limited.nothing)
load(1)
load("a", unit="b")
instrumented([1], "cache")
pool("pool").acquire(3)
pool("pool").acquire(take, lambda member: member.upper())
stamped(3, "queue")
watch_queue(queue.Queue[int](), "queue", waiting=True)
"""


def complaints(tmp_path, code):
    """Run mypy as strict as we are; lists the lines it complains of."""
    file = tmp_path / "typed.py"
    file.write_text(code)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "--config-file", "", file]
    environment = {"MYPYPATH": str(Path(__file__).parents[2] / "exporter")}
    said = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False).stdout
    return sorted({int(line) for line in re.findall(r"typed.py:(\d+): error", said)}), said


def test_types(tmp_path):
    """Right uses keep their types and pass, and every wrong one is complained of."""
    right, wrong = len(CODE.splitlines()), len(WRONG.splitlines())

    lines, said = complaints(tmp_path, CODE + WRONG)

    assert lines == list(range(right + 1, right + wrong + 1)), said
