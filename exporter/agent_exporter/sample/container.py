"""What the container may use, and uses, by cgroup v2; nothing where there is no limit.

What may live here: which file says what. Only the collector's own cgroup and those above it are
looked at, each resource where it is limited most: that is what agents in the same container run
into. Source: Linux, Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from .reading import Misses, Reading

ROOT: Final = Path("/sys/fs/cgroup")
MEMBERSHIP: Final = Path("/proc/self/cgroup")

_MICRO: Final = 1e-6


def read(misses: Misses, root: Path = ROOT, membership: Path = MEMBERSHIP) -> Iterator[Reading]:
    """Read each resource that is limited; version 1, or no cgroup at all, has none."""
    groups = _groups(root, membership)
    for look in (_memory, _processor, _tasks):
        try:
            yield from tuple(look(groups))
        except (OSError, ValueError) as error:
            misses.fail("container", look.__name__, error)


def _memory(groups: list[Path]) -> Iterator[Reading]:
    if found := _tightest(groups, "memory.max", int):
        group, limit = found
        yield Reading("container.memory.limit", (), limit)
        yield Reading("container.memory.usage", (), int((group / "memory.current").read_text()))
        kills = _fields(group / "memory.events").get("oom_kill")
        if kills is not None:
            yield Reading("container.memory.oom_kills", (), kills)


def _processor(groups: list[Path]) -> Iterator[Reading]:
    if found := _tightest(groups, "cpu.max", _quota):
        group, limit = found
        used = _fields(group / "cpu.stat")
        yield Reading("container.cpu.limit", (), limit)
        for mode in ("user", "system"):
            yield Reading("container.cpu.time", (("cpu_mode", mode),), used[f"{mode}_usec"] * _MICRO)
        yield Reading("container.cpu.throttled.time", (), used.get("throttled_usec", 0) * _MICRO)


def _tasks(groups: list[Path]) -> Iterator[Reading]:
    if found := _tightest(groups, "pids.max", int):
        group, limit = found
        yield Reading("container.pids.limit", (), limit)
        yield Reading("container.pids.usage", (), int((group / "pids.current").read_text()))


def _quota(text: str) -> float:
    """Read `quota period` as a number of processors."""
    quota, period = text.split()
    return int(quota) / int(period)


def _groups(root: Path, membership: Path) -> list[Path]:
    """List the folders of the own cgroup and of those above it."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:  # no Linux
        return []
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    if own is None or "/.." in own:  # version 1; a cgroup that this namespace does not show
        return []
    group = root / own.strip("/")
    return [group, *(above for above in group.parents if above.is_relative_to(root))]


def _tightest(groups: list[Path], file: str, number: Callable[[str], float]) -> tuple[Path, float] | None:
    """Find the group whose limit is the lowest; the root has no such file, and `max` is no limit."""
    found = []
    for group in groups:
        try:
            text = (group / file).read_text().strip()
        except FileNotFoundError:
            continue
        if not text.startswith("max"):
            found.append((group, number(text)))
    return min(found, key=lambda each: each[1], default=None)


def _fields(file: Path) -> dict[str, int]:
    """Read a file of `name number` lines."""
    return {name: int(value) for name, value in (line.split() for line in file.read_text().splitlines())}
