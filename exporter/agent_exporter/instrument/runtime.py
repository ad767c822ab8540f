"""What the runtime says of this process: garbage collector, memory, processor, threads, descriptors, event loops.

What may live here: readings of public interfaces of CPython and Linux, taken when exporting. Two things cannot wait
until then: the pauses of the garbage collector (`gc.callbacks`) and the heartbeat of an event loop, which is a timer of
that loop. There is no thread of ours, and no lock where the program works.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from . import cells
from .memory import TRACES, traced

if TYPE_CHECKING:  # a program without an event loop need not load asyncio
    from asyncio import AbstractEventLoop

BEAT: Final = 0.1  # seconds between two beats of a loop: what is shorter can pass unseen, and ten a second cost nothing
MAX_BEATS: Final = 6_000  # kept until they are exported: ten minutes
RUNTIME: Final = {"runtime": sys.implementation.name}
SELF: Final = {"role": "self"}
_PROC: Final = Path("/proc/self")

Reading = tuple[dict[str, str], float]
Hook = Callable[[str, dict[str, int]], None]


class Garbage:
    """The garbage collector: how long each run took, by its generation, and what the runs amount to."""

    def __init__(self) -> None:
        self._base: list[dict[str, int]] = []
        self._began: dict[int, float] = {}  # by thread: nobody but the one that began a run ends it
        self._hook: Hook | None = None

    def start(self) -> None:
        """Count from now on."""
        self._base = gc.get_stats()
        pauses = [
            cells.histogram("agent.runtime.gc.pause", **RUNTIME, generation=str(each))
            for each in range(len(self._base))
        ]
        self._hook = _hook(self._began, [pause.record for pause in pauses])
        gc.callbacks.append(self._hook)

    def restart(self) -> None:
        """Count from now on in a child, whose collector remembers the parent's runs."""
        self._base = gc.get_stats()
        self._began.clear()

    def stop(self) -> None:
        """Hear of no run any more."""
        if self._hook in gc.callbacks:
            gc.callbacks.remove(self._hook)
        self._hook = None

    def collections(self) -> Iterator[Reading]:
        """Count runs by generation."""
        for generation, ran in self._since():
            yield {**RUNTIME, "generation": generation}, ran["collections"]

    def objects(self) -> Iterator[Reading]:
        """Count objects that were freed and those that could not be."""
        for generation, ran in self._since():
            for state in ("collected", "uncollectable"):
                yield {**RUNTIME, "generation": generation, "state": state}, ran[state]

    def _since(self) -> Iterator[tuple[str, dict[str, int]]]:
        for generation, (base, now) in enumerate(zip(self._base, gc.get_stats(), strict=True)):
            yield str(generation), {name: value - base[name] for name, value in now.items()}


def _hook(began: dict[int, float], records: list[Callable[[float], None]]) -> Hook:
    """Make what CPython calls before and after each run; it holds all it needs, as runs can come by the thousand."""
    clock, ident, end = time.perf_counter, threading.get_ident, began.pop

    def ran(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            began[ident()] = clock()
        elif (since := end(ident(), None)) is not None:
            records[info["generation"]](clock() - since)

    return ran


class Heartbeat:
    """How late a loop runs its timers, by one of our own; it ends with the loop and does not keep it."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop = weakref.ref(loop)
        self._late: deque[float] = deque(maxlen=MAX_BEATS)
        self._due: float | None = None
        self._on = True

    def start(self) -> None:
        """Begin to beat; any thread may say so."""
        loop = self.loop()
        if loop is not None:
            loop.call_soon_threadsafe(self._beat)

    def stop(self) -> None:
        """End with the next beat."""
        self._on = False

    def _beat(self) -> None:
        now, loop = time.monotonic(), self.loop()
        if self._due is not None:
            self._late.append(max(now - self._due, 0.0))
        if self._on and loop is not None:
            self._due = now + BEAT
            loop.call_later(BEAT, self._beat)

    def read(self) -> list[float]:
        """Take the delays since the last reading, and that of a beat which is due: a blocked loop has no other."""
        late = [self._late.popleft() for _ in range(len(self._late))]
        loop, due = self.loop(), self._due
        if loop is None or not loop.is_running():
            self._due = None  # it stands still, which is no delay
        elif due is not None and time.monotonic() > due:
            late.append(time.monotonic() - due)
        return late

    def tasks(self) -> int:
        """Count the tasks of the loop that are not done."""
        from asyncio import all_tasks  # noqa: PLC0415 - loaded already: there is a loop

        loop = self.loop()
        return 0 if loop is None or loop.is_closed() else len(all_tasks(loop))


class Runtime:
    """All that is watched of this process; `stop` ends it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._garbage = Garbage()
        self._beats: list[Heartbeat] = []
        self._watches: dict[str, cells.Watch] = {}
        self._follows = False

    def watch(self, loop: AbstractEventLoop | None, *, heap: bool) -> None:
        """Watch the process once, and each loop once."""
        with self._lock:
            if not self._watches:
                self._start()
            if heap and "agent.runtime.heap.usage" not in self._watches:
                self._trace()
            if loop is not None and all(loop is not beat.loop() for beat in self._beats):
                beat = Heartbeat(loop)
                beat.start()
                self._beats = [*self._living(), beat]

    def stop(self) -> None:
        """Watch nothing any more."""
        with self._lock:
            self._garbage.stop()
            for beat in self._beats:
                beat.stop()
            for watch in self._watches.values():
                watch.stop()
            TRACES.leave(self)
            self._beats, self._watches = [], {}

    def _start(self) -> None:
        if not self._follows:
            os.register_at_fork(after_in_child=self._follow)
            self._follows = True
        self._garbage.start()
        readings = {
            **READINGS,
            "agent.runtime.gc.collections": self._garbage.collections,
            "agent.runtime.gc.objects": self._garbage.objects,
            "agent.runtime.tasks": self._tasks,
            "agent.runtime.event_loop.delay": self._delays,
        }
        self._watches = {name: cells.watch(name, read, fresh=True) for name, read in readings.items() if _works(read)}

    def _trace(self) -> None:
        TRACES.enter(self)
        self._watches["agent.runtime.heap.usage"] = cells.watch("agent.runtime.heap.usage", _heap, fresh=True)

    def _follow(self) -> None:
        """Go on in a forked child: it has our hooks and watches, but none of the loops runs there."""
        self._lock = threading.Lock()
        self._beats = []
        self._garbage.restart()

    def _living(self) -> list[Heartbeat]:
        return [beat for beat in self._beats if (loop := beat.loop()) is not None and not loop.is_closed()]

    def _tasks(self) -> Iterator[Reading]:
        yield {**RUNTIME, "kind": "thread"}, threading.active_count()
        if beats := self._living():
            yield {**RUNTIME, "kind": "asyncio_task"}, sum(beat.tasks() for beat in beats)

    def _delays(self) -> Iterator[Reading]:
        late = [delay for beat in self._living() for delay in beat.read()]
        if late:
            yield {**RUNTIME, "stat": "mean"}, sum(late) / len(late)
            yield {**RUNTIME, "stat": "max"}, max(late)


_ALL: Final = Runtime()


def watch_runtime(loop: AbstractEventLoop | None = None, *, heap: bool = False) -> Runtime:
    """Watch this process: garbage collector, memory, processor, threads, descriptors, and the given or running loop.

    `heap=True` also tells the memory that Python's objects take. That needs tracemalloc, which makes every allocation
    about three times as dear. Calling it again is fine: each loop is watched once, the process as well.
    """
    try:
        _ALL.watch(loop or _running(), heap=heap)
    except Exception as error:  # noqa: BLE001 - the caller's program comes first
        cells.fail("misuse", "watch_runtime: this cannot be watched", error)
    return _ALL


def _running() -> AbstractEventLoop | None:
    asyncio = sys.modules.get("asyncio")
    try:
        found: Any = asyncio and asyncio.get_running_loop()
    except RuntimeError:
        return None
    return found  # type: ignore[no-any-return]  # sys.modules knows no types


def _works(read: Callable[[], Iterable[Reading]]) -> bool:
    """Tell whether this platform has what is read; what it lacks is no failure."""
    try:
        return list(read()) is not None
    except Exception:  # noqa: BLE001 - the ways of lacking something are many
        return False


def _cpu() -> Iterator[Reading]:
    yield SELF, sum(os.times()[:4])  # user and system, of children that ended too


def _memory() -> Iterator[Reading]:
    size, resident = (int(pages) * os.sysconf("SC_PAGE_SIZE") for pages in _words("statm")[:2])
    yield {**SELF, "type": "rss"}, resident
    yield {**SELF, "type": "vms"}, size


def _threads() -> Iterator[Reading]:
    yield SELF, float(_stat(20))


def _open_fds() -> Iterator[Reading]:
    yield SELF, sum(1 for _ in os.scandir(_PROC / "fd")) - 1  # one is open for the listing


def _fd_limit() -> Iterator[Reading]:
    import resource  # noqa: PLC0415 - not on every platform

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY:
        yield SELF, limit


def _disk() -> Iterator[Reading]:
    words = _words("io")
    for way in ("read", "write"):
        yield {**SELF, "direction": way}, int(words[words.index(f"{way}_bytes:") + 1])


def _started() -> Iterator[Reading]:
    up = _stat(22) / os.sysconf("SC_CLK_TCK")
    yield SELF, round(time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + up, 1)  # the clocks drift by less


def _heap() -> Iterator[Reading]:
    if (usage := traced()) is not None:
        yield RUNTIME, usage


def _words(name: str) -> list[str]:
    return (_PROC / name).read_text().split()


def _stat(field: int) -> int:
    """Read a field of /proc/self/stat by its number in proc(5); the second is a name, in parentheses."""
    return int((_PROC / "stat").read_text().rpartition(")")[2].split()[field - 3])


READINGS: Final[dict[str, Callable[[], Iterable[Reading]]]] = {
    "agent.process.cpu.time": _cpu,
    "agent.process.memory.usage": _memory,
    "agent.process.threads": _threads,
    "agent.process.open_fds": _open_fds,
    "agent.process.fd_limit": _fd_limit,
    "agent.process.disk.io": _disk,
    "agent.process.start_time": _started,
}
