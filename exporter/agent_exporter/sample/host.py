"""The machine as psutil sees it, in the words of the semantic conventions for system metrics.

What may live here: one function a kind of resource, and which devices count. Each is read by
itself, so that one that fails leaves the others.

Names and states: open-telemetry/semantic-conventions, model/system/metrics.yaml. The conventions
have no load average; its names are those of the Collector's hostmetrics receiver.
"""

from __future__ import annotations

import mmap
import re
import tempfile
import time
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Final

import psutil

from ..model import Labels
from .reading import FAILURES, Misses, Reading

MAX_DEVICES = 32  # disks, and network interfaces, by name

# Devices over other devices (their traffic would count twice) and in memory.
_LAYERS = re.compile(r"(loop|ram|zram|dm-|md|sr|fd)\d*")
# Interfaces that come and go with containers, and copies of others; `lo` is no network.
_VIRTUAL = re.compile(r"(lo\d*|veth.*|ifb\d+|dummy\d+|br-.*|cali.*|lxc.*|cilium_.*|vnet\d+)")
# A file system over the network may hang who asks it.
_REMOTE = re.compile(r"(nfs\d?|cifs|smb.*|9p|ceph|glusterfs|afs|fuse\.(sshfs|s3fs|rclone|gcsfuse).*)")

_PAGE: Final = mmap.PAGESIZE
_MODES: Final = {
    "user": "user",
    "nice": "nice",
    "system": "system",
    "idle": "idle",
    "iowait": "iowait",
    "irq": "interrupt",
    "softirq": "interrupt",
    "interrupt": "interrupt",  # Windows
    "dpc": "interrupt",  # Windows
    "steal": "steal",
}


def read(misses: Misses) -> Iterator[Reading]:
    """Read everything that can be read."""
    for look in _LOOKS:
        try:
            yield from tuple(look())
        except FAILURES as error:
            misses.fail("host", look.__name__, error)


def processors() -> Iterator[Reading]:
    """Read processor time by mode, summed over the processors, and how many there are."""
    times: dict[str, float] = {}
    for field, value in psutil.cpu_times()._asdict().items():
        if mode := _MODES.get(field):  # guests are part of user and nice
            times[mode] = times.get(mode, 0.0) + value
    for mode, seconds in times.items():
        yield Reading("system.cpu.time", (("cpu_mode", mode),), seconds)
    yield Reading("system.cpu.logical.count", (), psutil.cpu_count() or 1)


def load() -> Iterator[Reading]:
    """Read the load averages."""
    for minutes, value in zip(("1m", "5m", "15m"), psutil.getloadavg(), strict=True):
        yield Reading(f"system.cpu.load_average.{minutes}", (), value)


def memory() -> Iterator[Reading]:
    """Read memory by state; the states do not overlap, so their sum is the whole."""
    found = psutil.virtual_memory()
    states = {"free": found.free, "buffers": getattr(found, "buffers", 0), "cached": getattr(found, "cached", 0)}
    states["used"] = max(0, found.total - sum(states.values()))
    yield from _shares("system.memory", "system_memory_state", states, found.total)
    yield Reading("system.memory.limit", (), found.total)
    yield Reading("system.linux.memory.available", (), found.available)


def paging() -> Iterator[Reading]:
    """Read swap space by state, and pages swapped in and out."""
    found = psutil.swap_memory()
    yield from _shares("system.paging", "system_paging_state", {"used": found.used, "free": found.free}, found.total)
    for direction, size in (("in", found.sin), ("out", found.sout)):
        yield Reading("system.paging.operations", (("system_paging_direction", direction),), size // _PAGE)


def disks() -> Iterator[Reading]:
    """Read bytes and operations of each disk, not of its partitions."""
    found = psutil.disk_io_counters(perdisk=True) or {}
    for device in [name for name in sorted(found) if _is_disk(name)][:MAX_DEVICES]:
        counts = found[device]
        for direction in ("read", "write"):
            labels = (("system_device", device), ("disk_io_direction", direction))
            yield Reading("system.disk.io", labels, getattr(counts, f"{direction}_bytes"))
            yield Reading("system.disk.operations", labels, getattr(counts, f"{direction}_count"))


def networks() -> Iterator[Reading]:
    """Read bytes, errors and dropped packets of each network interface."""
    found = psutil.net_io_counters(pernic=True)
    for name in [name for name in sorted(found) if not _VIRTUAL.fullmatch(name)][:MAX_DEVICES]:
        for direction, way, side in (("receive", "recv", "in"), ("transmit", "sent", "out")):
            labels = (("network_interface_name", name), ("network_io_direction", direction))
            yield Reading("system.network.io", labels, getattr(found[name], f"bytes_{way}"))
            yield Reading("system.network.errors", labels, getattr(found[name], f"err{side}"))
            yield Reading("system.network.packet.dropped", labels, getattr(found[name], f"drop{side}"))


def filesystems() -> Iterator[Reading]:
    """Read how full the file systems are that agents cannot do without: of /, the home and temporary files."""
    mounts = {mount.mountpoint: mount for mount in psutil.disk_partitions(all=True)}
    places = (Path("/"), Path.home(), Path(tempfile.gettempdir()))
    for point in sorted({_mount(place, mounts) for place in places} - {""}):
        kind = mounts[point].fstype
        if _REMOTE.fullmatch(kind):
            continue
        found = psutil.disk_usage(point)
        labels = (("system_filesystem_mountpoint", point), ("system_filesystem_type", kind))
        states = {"used": found.used, "free": found.free, "reserved": max(0, found.total - found.used - found.free)}
        yield from _shares("system.filesystem", "system_filesystem_state", states, found.total, labels)
        yield Reading("system.filesystem.limit", labels, found.total)


def uptime() -> Iterator[Reading]:
    """Read how long the machine has been up."""
    yield Reading("system.uptime", (), time.time() - psutil.boot_time())


_LOOKS: tuple[Callable[[], Iterator[Reading]], ...] = (
    *(processors, load, memory, paging),
    *(disks, networks, filesystems, uptime),
)


def _shares(name: str, label: str, states: dict[str, int], total: int, labels: Labels = ()) -> Iterator[Reading]:
    """Read bytes by state, and each state's share of the whole unless that is nothing."""
    for state, size in states.items():
        yield Reading(f"{name}.usage", (*labels, (label, state)), size)
        if total:
            yield Reading(f"{name}.utilization", (*labels, (label, state)), size / total)


def _is_disk(name: str) -> bool:
    """Tell disks from partitions, which Linux lists beside them, and from layers over disks."""
    listed = Path("/sys/block")
    return not _LAYERS.fullmatch(name) and (not listed.exists() or (listed / name.replace("/", "!")).exists())


def _mount(place: Path, mounts: Container[str]) -> str:
    """Find the mount that holds a place."""
    found = place.resolve()
    return next((str(each) for each in (found, *found.parents) if str(each) in mounts), "")
