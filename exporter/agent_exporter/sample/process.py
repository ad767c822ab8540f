"""The own process as psutil and the garbage collector see it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import psutil

from ..model import Labels

_Row = tuple[str, Labels, float]


class Process:
    """Reads one process under the labels of an agent's process and runtime families."""

    def __init__(self, agent: str, instance: str) -> None:
        self._process = psutil.Process()
        self._labels: Labels = (("agent", agent), ("agent_instance", instance))

    def read(self) -> Iterator[_Row]:
        """Read processor time, memory, threads, descriptors and collections."""
        role = (*self._labels, ("role", "collector"))
        with self._process.oneshot():
            cpu, memory = self._process.cpu_times(), self._process.memory_info()
            yield "agent.process.cpu.time", role, cpu.user + cpu.system
            yield "agent.process.memory.usage", (*role, ("type", "rss")), memory.rss
            yield "agent.process.memory.usage", (*role, ("type", "vms")), memory.vms
            yield "agent.process.threads", role, self._process.num_threads()
            yield "agent.process.start_time", role, self._process.create_time()
        if hasattr(self._process, "num_fds"):  # not on Windows
            yield "agent.process.open_fds", role, self._process.num_fds()
        yield from self._collections()

    def _collections(self) -> Iterator[_Row]:
        for generation, stats in enumerate(gc.get_stats()):
            labels = (*self._labels, ("runtime", "cpython"), ("generation", str(generation)))
            yield "agent.runtime.gc.collections", labels, stats["collections"]
            yield "agent.runtime.gc.objects", (*labels, ("state", "collected")), stats["collected"]
            yield "agent.runtime.gc.objects", (*labels, ("state", "uncollectable")), stats["uncollectable"]
