"""From cells to a collector: the one thread of ours.

What may live here: when to push, what a fork and an end mean for that, and `start`, `flush` and `shutdown`.
The program sees of a collector that is not there one line of log and a count. A push that failed is not tried
again, as the next one says everything that it said.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401  # has hooks for forks, which must not come in the middle of one
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from threading import Event, Lock, RLock, Thread
from typing import Any, Final, Protocol

from . import cells
from .cells import SWITCH
from .resource import Identity
from .runtime import watch_runtime

INTERVAL: Final = 15.0  # seconds: as often as Prometheus reads the collector (alerts/prometheus.yml)
SHORTEST: Final = 0.1
LONGEST: Final = 86_400.0  # what is longer, `inf` for one, no lock can wait
COMPANY: Final = 0.1  # seconds that a new family waits for others
PATIENCE: Final = 2.0  # seconds that a fork waits at most
ENDING: Final = 2.0  # seconds that the end of the program waits at most
FLUSHING: Final = 5.0
_INSTALL: Final = "pip install opentelemetry-exporter-otlp-proto-http, or -grpc if OTEL_EXPORTER_OTLP_PROTOCOL says so"
_MULTIPROCESSING: Final = "multiprocessing.util"  # what has to be done at a worker's end it knows, if it is loaded


class Exporter(Protocol):
    """What is asked of an exporter of the SDK."""

    def export(self, metrics_data: Any) -> Any:
        """Push."""

    def shutdown(self, timeout_millis: float) -> None:
        """End."""


class Pusher:
    """Pushes all cells at an interval, when a family is new, when asked and at the end."""

    def __init__(self, identity: Identity, interval: float) -> None:
        self.identity, self.interval = identity, interval
        self.busy = Lock()  # held while a fork would leave a child with half of something
        self.wake, self.loaded, self.done = Event(), Event(), Event()
        self.asked: list[Event] = []
        self.ending = self.delivered = False
        self.exporter: Exporter | None = None
        self.loud: Callable[[], None] = _nothing  # ends that nothing is logged
        self.thread = Thread(target=self._run, name="agent-exporter", daemon=True)

    def start(self) -> None:
        """Begin to push."""
        cells.announce(self.wake.set)
        self.thread.start()

    def push(self, timeout: float) -> bool:
        """Push now; tell whether all was delivered in time."""
        asked = Event()
        self.asked.append(asked)
        self.wake.set()
        if self.done.is_set():
            return False
        return asked.wait(timeout) and self.delivered

    def stop(self, timeout: float) -> bool:
        """Push once more and end; a push that takes longer is given up. Tell whether all was delivered."""
        self.ending = True
        self.wake.set()
        ended = self.done.wait(timeout)
        self._give_up()
        return ended and self.delivered

    # -- the thread -------------------------------------------------------

    def _run(self) -> None:
        try:
            with self.busy:  # a module that is half loaded can never be loaded in the child
                self._load()
            self.loaded.set()
            while not self._turn():
                pass
        except ImportError as error:
            SWITCH.on = False
            cells.log.error("nothing is measured: %s is not installed; %s", error.name, _INSTALL)
        except Exception as error:  # noqa: BLE001  # nobody else would see it
            self.delivered = False
            cells.fail("push", "a collector", error)
        finally:
            self._give_up()
            self.loud()
            self.loaded.set()
            self.done.set()
            self._answer(self.asked)

    def _load(self) -> None:
        from . import otlp  # noqa: PLC0415  # here and not before: it takes half a second and much memory

        self.otlp = otlp
        self.exporter, self.where = otlp.exporter()
        self.loud = otlp.hush(self._give_up)  # what it would log is that it tries again later
        self.resource = self.identity.attributes()

    def _give_up(self) -> None:
        """End what the exporter is about to wait for; the next push has another."""
        exporter, self.exporter = self.exporter, None
        if exporter is not None:
            with contextlib.suppress(Exception):
                exporter.shutdown(0)

    def _turn(self) -> bool:
        """Push, then wait until it is time again; tell whether that was the last."""
        self.wake.clear()  # first: who asks from here on wakes us once more
        asked, last, due = [*self.asked], self.ending, time.monotonic() + self.interval
        self._push()
        self._answer(asked)
        if not last and self.wake.wait(max(0.0, due - time.monotonic())) and not (self.asked or self.ending):
            time.sleep(COMPANY)
        return last

    def _push(self) -> None:
        try:
            points = cells.collect()
            if self.exporter is None:
                self.exporter, _ = self.otlp.exporter()
            # What gRPC is in the middle of, it is in the middle of for ever in a child.
            with self.busy if "grpc" in self.exporter.__module__ else contextlib.nullcontext():
                done = self.exporter.export(self.otlp.data(points, self.resource)) if points else None
            self.delivered = done is None or done.name == "SUCCESS"
        except Exception:  # noqa: BLE001  # it is code of others
            self.delivered = False
        if not self.delivered:
            cells.fail("push", self.where)

    def _answer(self, asked: Iterable[Event]) -> None:
        for each in [*asked]:
            self.asked.remove(each)
            each.set()


def _nothing() -> None:
    """Have nothing to end."""


class Library:
    """The state of the library in this process."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.pusher: Pusher | None = None
        self.identity: Identity | None = None
        self.parents: list[Pusher] = []  # kept, as exporters of another process had better not be finalized
        self.held: dict[int, Lock] = {}  # by the thread that forks: several may at once
        self.known = self.follows = False

    def start(self, name: str | None, interval: float) -> bool:
        """Begin to record and push, and say so; a second start changes nothing."""
        with self.lock:
            if self.pusher is not None:
                return False
            self._remember()
            # The same as before a shutdown: another would count all that was counted once more.
            self.identity = self.identity or Identity(name)
            self.pusher = Pusher(self.identity, interval)
            SWITCH.on = True
            cells.begun()
            self.pusher.start()
            return True

    def _remember(self) -> None:
        """Ask to be told of forks and the end, once."""
        if not self.known:
            self.known = True
            atexit.register(self.stop, ENDING)
            if hasattr(threading, "_register_atexit"):  # as concurrent.futures does, whose end must come later
                threading._register_atexit(self.finish_loading)  # noqa: SLF001
            if _MULTIPROCESSING in sys.modules:
                _finalize(self)  # this may be a worker of it
            os.register_at_fork(before=self.before_fork, after_in_parent=self.after_fork, after_in_child=self.go_on)

    def finish_loading(self) -> None:
        """Wait for modules before the program ends: the SDK's cannot be loaded once threads may not be started."""
        if self.pusher is not None:
            self.pusher.loaded.wait(ENDING)

    def flush(self, timeout: float) -> bool:
        """Push now."""
        pusher = self.pusher
        return pusher is None or pusher.push(timeout)

    def stop(self, timeout: float) -> bool:
        """Push once more and record nothing from here on."""
        with self.lock:
            pusher, self.pusher = self.pusher, None
        ended = pusher is None or pusher.stop(timeout)
        SWITCH.on = False
        return ended

    # -- forks ------------------------------------------------------------

    def before_fork(self) -> None:
        """Wait until nothing is half done."""
        pusher, util = self.pusher, sys.modules.get(_MULTIPROCESSING)
        if pusher is not None and pusher.busy.acquire(timeout=PATIENCE):
            self.held[threading.get_ident()] = pusher.busy
        if util is not None and not self.follows:
            self.follows = True
            util.register_after_fork(self, _finalize)

    def after_fork(self) -> None:
        """Go on in the parent."""
        held = self.held.pop(threading.get_ident(), None)
        if held is not None:
            held.release()

    def go_on(self) -> None:
        """Push as another instance, by a thread of its own: the parent's did not come along."""
        self.lock = RLock()
        self.held.clear()
        if self.identity is not None:
            self.identity.fork()
        if self.pusher is not None:
            self.parents.append(self.pusher)
            self.pusher = Pusher(self.pusher.identity, self.pusher.interval)
            with contextlib.suppress(RuntimeError):  # the interpreter is ending
                self.pusher.start()


def _finalize(library: Library) -> None:
    """Let a child of `multiprocessing` push at its end, which passes by `atexit`."""
    sys.modules[_MULTIPROCESSING].Finalize(None, library.stop, args=(ENDING,), exitpriority=0)


_LIBRARY: Final = Library()


def start(
    service_name: str | None = None, *, enabled: bool = True, interval: float | None = None, runtime: bool = True
) -> None:
    """Begin to measure and to push to a collector.

    `service_name` is what the agent is called if nothing else says it: OpenTelemetry's providers, where the program
    has set them up before, OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES. `interval` in seconds, 15 if neither it nor
    OTEL_METRIC_EXPORT_INTERVAL (milliseconds) is given. `runtime=False` leaves out what Python says of this process.
    """
    try:
        if enabled and os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true":
            name = service_name if isinstance(service_name, str) else None
            if _LIBRARY.start(name, _interval(interval)) and runtime:
                watch_runtime()
    except Exception as error:  # noqa: BLE001  # the program comes first
        cells.fail("misuse", "the library cannot start", error)


def flush(timeout: float = FLUSHING) -> bool:
    """Push now, and wait for it at most this many seconds; tell whether all was delivered."""
    return _LIBRARY.flush(_timeout(timeout, FLUSHING))


def shutdown(timeout: float = ENDING) -> bool:
    """Push a last time and stop measuring, in at most this many seconds; tell whether all was delivered.

    The end of the program does the same by itself.
    """
    return _LIBRARY.stop(_timeout(timeout, ENDING))


def _interval(given: float | None) -> float:
    """Choose the interval in seconds: the environment's, the program's or ours."""
    for text, unit in ((os.environ.get("OTEL_METRIC_EXPORT_INTERVAL"), 1e-3), (given, 1.0)):
        try:
            if text is not None and float(text) > 0:
                return min(max(SHORTEST, float(text) * unit), LONGEST)
        except (TypeError, ValueError, OverflowError):
            cells.fail("misuse", "the interval is a number")
    return INTERVAL


def _timeout(given: float, usual: float) -> float:
    """Take how many seconds somebody waits."""
    try:
        return min(max(0.0, float(given)), LONGEST)
    except (TypeError, ValueError, OverflowError):
        cells.fail("misuse", "a timeout is a number of seconds")
        return usual
