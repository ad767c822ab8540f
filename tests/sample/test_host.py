import os
import shutil
from pathlib import Path

import psutil
import pytest

from agent_exporter.catalog import CATALOG, VALUES
from agent_exporter.sample import host
from agent_exporter.sample.reading import Misses


def look():
    """Read the host; tell values by instrument and label values."""
    misses = Misses()
    found = {(name, *(value for _, value in labels)): value for name, labels, value in host.read(misses)}
    assert not [reading for reading in misses.read() if reading.value]
    return found


def of(found, name):
    """Tell the values of one instrument by its label values."""
    return {key[1:]: value for key, value in found.items() if key[0] == name}


def test_readings_fit_the_catalogue():
    """Every instrument, label and closed value is one of the catalogue's."""
    for name, labels, _ in host.read(Misses()):
        assert set(dict(labels)) == set(CATALOG[name].labels)
        assert all(value in VALUES.get((name, label), (value,)) for label, value in labels)


def test_processor_time(monkeypatch):
    """The modes together are all the time of all processors; guests' is part of other modes."""
    times = psutil.cpu_times()
    monkeypatch.setattr(psutil, "cpu_times", lambda: times)  # held still: the kernel's idle time may even fall

    found = of(look(), "system.cpu.time")

    assert (found["user",], found["idle",]) == (times.user, times.idle)
    assert found["interrupt",] == times.irq + times.softirq
    assert sum(found.values()) == pytest.approx(sum(times) - times.guest - times.guest_nice)


def test_processors_and_load():
    """There are as many processors as the system says, and loads are averages."""
    found = look()

    assert found["system.cpu.logical.count",] == os.cpu_count()
    for minutes, average in zip((1, 5, 15), os.getloadavg(), strict=True):
        assert found[f"system.cpu.load_average.{minutes}m",] == pytest.approx(average, abs=2)


def test_memory_adds_up():
    """The states of memory are the whole of it, and their shares are 1."""
    found = look()
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024

    assert found["system.memory.limit",] == sum(of(found, "system.memory.usage").values()) == total
    assert sum(of(found, "system.memory.utilization").values()) == pytest.approx(1)
    assert 0 < found["system.linux.memory.available",] < total


def test_swap():
    """Swap space is used or free; where there is none there are no shares of it."""
    found, swap = look(), psutil.swap_memory()

    assert sum(of(found, "system.paging.usage").values()) == swap.total
    assert bool(of(found, "system.paging.utilization")) is bool(swap.total)
    assert set(of(found, "system.paging.operations")) == {("in",), ("out",)}


def test_disks_without_partitions():
    """Bytes are counted where they go through once: in disks, not in partitions or layers."""
    found = of(look(), "system.disk.io")
    disks = {device for device, _ in found}

    assert disks <= {file.name for file in Path("/sys/block").iterdir()}
    assert not [name for name in disks if name.startswith(("loop", "ram", "zram", "dm-", "md"))]
    assert all(value <= sum(psutil.disk_io_counters(perdisk=True)[device][2:4]) for (device, _), value in found.items())


def test_networks_without_loopback():
    """Each real interface has its bytes, errors and drops in both directions."""
    found = look()
    names = {name for name, _ in of(found, "system.network.io")}

    assert "lo" not in names
    for instrument in ("system.network.io", "system.network.errors", "system.network.packet.dropped"):
        assert set(of(found, instrument)) == {(name, way) for name in names for way in ("receive", "transmit")}
    for name in names:
        assert found["system.network.io", name, "receive"] <= psutil.net_io_counters(pernic=True)[name].bytes_recv


@pytest.mark.parametrize("name", ["lo", "veth12ab", "br-0a1b", "cali123", "docker0"])
def test_which_interfaces_count(name, monkeypatch):
    """What comes and goes with containers is left out; the bridge to all of them stays."""
    counts = psutil.net_io_counters()
    monkeypatch.setattr(psutil, "net_io_counters", lambda **_: {name: counts})

    assert bool(of(look(), "system.network.io")) is (name == "docker0")


def test_more_devices_than_shown(monkeypatch):
    """A machine with very many interfaces shows the first of them."""
    counts = psutil.net_io_counters()
    monkeypatch.setattr(psutil, "net_io_counters", lambda **_: {f"eth{number}": counts for number in range(100)})

    assert len(of(look(), "system.network.io")) == 2 * host.MAX_DEVICES


def test_filesystems():
    """The root is there, and its states add up to its size."""
    found = look()
    usage = {key: value for key, value in of(found, "system.filesystem.usage").items() if key[0] == "/"}

    assert sum(usage.values()) == shutil.disk_usage("/").total
    assert [value for (mount, _), value in of(found, "system.filesystem.limit").items() if mount == "/"] == [
        shutil.disk_usage("/").total
    ]


def test_uptime():
    """The machine has been up as long as /proc/uptime says, to the second that `btime` is rounded to."""
    assert look()["system.uptime",] == pytest.approx(float(Path("/proc/uptime").read_text().split()[0]), abs=5)


def test_what_fails_leaves_the_others(monkeypatch):
    """A kind of resource that cannot be read is counted once, and the others stand."""

    def denied(**_):
        raise PermissionError

    monkeypatch.setattr(psutil, "disk_io_counters", denied)
    misses = Misses()
    for _ in range(3):
        found = {name for name, *_ in host.read(misses)}

    assert "system.disk.io" not in found
    assert "system.cpu.time" in found
    assert [labels for _, labels, count in misses.read() if count] == [(("source", "host"), ("reason", "denied"))]
