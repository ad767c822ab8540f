"""Tool calls: how often, how long, how they ended, how large, how many now.

What may live here: the decorator `tool`, which is also one call of a tool, and `wrap_tools`. All that can be
decided when a tool is named is decided there; `_hot` is written for speed and not for looks.

How a call ended: what it raises is an `error`, named after the exception's class. But nobody knows how a call
would have ended that was cancelled or interrupted (`unknown`), and who stops asking a generator has what he
wants (`ok`).
"""

from __future__ import annotations

import functools
import os
import time
import tracemalloc
from asyncio import CancelledError
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from threading import RLock
from typing import Any, Final, Literal, NamedTuple, ParamSpec, Self, TypeVar, overload

from . import cells
from .cells import ATTRIBUTED, SWITCH, Counter, Histogram
from .sizes import size
from .wrapping import NOTHING, kind, wrap

Status = Literal["ok", "error", "rejected", "unknown"]
ToolType = Literal["function", "builtin", "mcp", "unknown"]
Memory = Literal["tracemalloc", "rss"]
P = ParamSpec("P")
R = TypeVar("R")

MAX_ATTRIBUTES: Final = 8
MAX_TRACKS: Final = 1_000  # tools
MAX_WEIGHT: Final = 1_000_000  # calls that one timed call may stand for
STATUSES: Final = ("ok", "error", "rejected", "unknown")
_ENDED: Final[tuple[tuple[type[BaseException], Status], ...]] = (
    (GeneratorExit, "ok"),
    (CancelledError, "unknown"),
    (KeyboardInterrupt, "unknown"),
    (SystemExit, "unknown"),
)
_clock = time.perf_counter
_random = Random().random  # noqa: S311  # not the program's own, whose seed is the program's


class Options(NamedTuple):
    """What was said of a tool."""

    name: str
    type: str = "function"
    interface: str = ""
    weight: int = 1
    sizes: bool = True
    memory: str = ""
    attributes: tuple[tuple[str, str], ...] = ()


class Track:
    """The cells of one tool, found once."""

    def __init__(self, said: Options) -> None:
        name = said.name
        self.said = said
        self.running: dict[float, None] = {}  # calls by when they began, oldest first
        self.inside = 0.0  # calls of a sampled tool
        self.ok = self.count("ok")
        self.spent = cells.histogram("agent.tool.execution.duration", tool=name, status="ok")
        self.input = cells.histogram("agent.tool.input.size", tool=name) if said.sizes else None
        self.output = cells.histogram("agent.tool.output.size", tool=name) if said.sizes else None
        self.memory = cells.histogram("agent.tool.memory.growth", tool=name) if said.memory else None
        self.failures = cells.gauge("agent.interface.consecutive_failures", interface=said.interface)
        self.named = self.attributed("ok") if said.attributes else None

    def count(self, status: str, error_type: str = "") -> Counter:
        """Find the counter of an outcome."""
        said = self.said
        return cells.counter(
            "agent.tool.executions", tool=said.name, tool_type=said.type, status=status, error_type=error_type
        )

    def attributed(self, status: str) -> Counter:
        """Find the counter of an outcome with the attributes that the program gave."""
        return cells.counter(ATTRIBUTED.name, tool=self.said.name, status=status, **dict(self.said.attributes))

    def ended(self, status: str, error_type: str = "") -> None:
        """Count a call by how it ended."""
        self.count(status, error_type).add()
        if self.named is not None:
            self.attributed(status).add()
        if status == "error":
            self.failures.add(1.0)
        elif status == "ok":
            self.failures.set(0.0)

    def end(self, start: float, status: str, error_type: str = "", weight: int = 1) -> None:
        """Count a call and how long it took."""
        taken = _clock() - start
        self.running.pop(start, None)
        self.ended(status, error_type)
        cells.histogram("agent.tool.execution.duration", tool=self.said.name, status=status).record(taken, weight)

    def failed(self, start: float, error: BaseException) -> None:
        """Count a call that raised."""
        self.end(start, *outcome(error), self.said.weight)

    def enter(self) -> int:
        """Begin a call; say how many calls stand behind its time, 0 if it is not timed."""
        weight = self.said.weight
        if weight == 1:
            return 1
        self.inside += 1.0
        return weight if _random() * weight < 1.0 else 0

    def leave(self) -> None:
        """End a call."""
        if self.said.weight > 1:
            self.inside -= 1.0

    def allocated(self) -> int:
        """Tell how much memory the process has now, if that is asked for."""
        return _ALLOCATED[self.said.memory]()

    def zero(self) -> None:
        """Forget what runs: after a fork it runs elsewhere."""
        self.running.clear()
        self.inside = 0.0


class Tracks:
    """All tools, by what was said of them."""

    def __init__(self) -> None:
        self.known: dict[Options, Track] = {}
        self.lock = RLock()

    def find(self, said: Options) -> Track:
        """Find or make a tool's cells."""
        found = self.known.get(said)
        if found is None:
            with self.lock:
                found = self._open(said)
        return found

    def _open(self, said: Options) -> Track:
        if not self.known:
            cells.watch("agent.tool.active", self.active)
            cells.watch("agent.tool.oldest_active.age", self.ages)
        if len(self.known) >= MAX_TRACKS:
            cells.fail("labels", "agent.tool.executions")
            said = Options(cells.OTHER, interface=cells.OTHER)
        return self.known.setdefault(said, self.known.get(said) or Track(said))

    def active(self) -> Iterator[tuple[dict[str, str], float]]:
        """Count the calls that run."""
        for said, track in tuple(self.known.items()):
            inside = max(track.inside, 0.0) if said.weight > 1 else len(track.running)
            yield {"tool": said.name}, inside

    def ages(self) -> Iterator[tuple[dict[str, str], float]]:
        """Tell how long the oldest call of each tool has been running."""
        now = _clock()
        oldest: dict[str, float] = {}
        for said, track in tuple(self.known.items()):
            since = next(iter(tuple(track.running)), now)
            oldest[said.name] = min(since, oldest.get(said.name, now))
        for name, since in oldest.items():
            yield {"tool": name}, now - since

    def zero(self) -> None:
        """Forget what runs."""
        self.lock = RLock()
        for track in self.known.values():
            track.zero()


TRACKS: Final = Tracks()
os.register_at_fork(after_in_child=TRACKS.zero)


class Tool:
    """A tool to decorate a function with, or one call of it."""

    __slots__ = ("_memory", "_said", "_start", "_track", "_weight")

    def __init__(self, said: Options, track: Track | None = None) -> None:
        self._said, self._track = said, track
        self._start = -1.0  # not running
        self._memory = 0
        self._weight = 1

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Measure every call of a function."""
        wrapped: Callable[P, R] = _decorated(function, self._said)
        return wrapped

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            self.complete()
        else:
            self.failed(error)

    def start(self) -> Self:
        """Begin a call."""
        if SWITCH.on:
            track = self._find()
            self._weight = track.enter()
            self._memory = track.allocated()
            self._start = _clock()
            if self._weight:
                track.running[self._start] = None
        return self

    def complete(self, status: Status = "ok", *, error_type: str = "") -> None:
        """End the call; a second end of the same call counts for nothing."""
        start, self._start = self._start, -1.0
        if start < 0.0:
            return
        track = self._find()
        if status not in STATUSES:
            cells.fail("misuse", "a tool call ends as one of " + ", ".join(STATUSES))
            status = "unknown"
        if track.memory is not None:
            track.memory.record(max(0, track.allocated() - self._memory))
        track.leave()
        if self._weight:
            track.end(start, status, error_type, self._weight)
        else:
            track.ended(status, error_type)

    def input(self, value: object) -> None:
        """Say what goes into the call; only its size is kept."""
        _measure(self._find().input, value, self._weight)

    def output(self, value: object) -> None:
        """Say what came out of the call; only its size is kept."""
        _measure(self._find().output, value, self._weight)

    def _find(self) -> Track:
        if self._track is None:
            self._track = TRACKS.find(_named(self._said, "unknown"))
        return self._track

    # -- as wrapping.Measured ---------------------------------------------

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Begin with a function's arguments."""
        if SWITCH.on:
            self.start()
            if args or kwargs:
                self.input((*args, *kwargs.values()))

    def done(self, result: object) -> None:
        """End with what a function returned."""
        if result is not NOTHING and self._start >= 0.0:
            self.output(result)
        self.complete()

    def failed(self, error: BaseException) -> None:
        """End with what was raised."""
        status, error_type = outcome(error)
        self.complete(status, error_type=error_type)


@overload
def tool(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def tool(
    name: str = "",
    /,
    *,
    type: ToolType = "function",
    interface: str | None = None,
    sample: float = 1.0,
    sizes: bool = True,
    memory: Memory | None = None,
    attributes: Mapping[str, str] | None = None,
) -> Tool: ...


def tool(name: Any = "", /, **said: Any) -> Any:
    """Measure a tool, as a decorator with or without arguments, or a call of one as a context manager.

    `interface` is what its failures in a row are counted for, if not the tool itself. `sample=0.01` times one in
    a hundred calls at random, which then counts for a hundred; all calls are counted. `sizes=False` leaves out
    the sizes of what goes in and comes out. `memory` says how to measure what a call leaves allocated: by
    "tracemalloc" (which slows the whole program) or "rss". `attributes` are labels of the program's own.
    """
    if callable(name) or isinstance(name, (staticmethod, classmethod)):
        return _decorated(name, Options(""))
    return Tool(_options(name, **said))


Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def wrap_tools(tools: Mapping[str, Function], **said: Any) -> dict[str, Function]: ...


@overload
def wrap_tools(tools: Iterable[Function], **said: Any) -> list[Function]: ...


def wrap_tools(tools: Any, **said: Any) -> Any:
    """Measure a whole toolbox: a mapping of names to functions, or functions; `said` as for `tool`."""
    if isinstance(tools, Mapping):
        return {name: _decorated(each, _options(str(name), **said)) for name, each in tools.items()}
    return [_decorated(each, _options("", **said)) for each in tools]


def outcome(error: BaseException) -> tuple[Status, str]:
    """Say how a call ended that raised, and the name of what it raised."""
    for kinds, status in _ENDED:
        if isinstance(error, kinds):
            return status, "" if status == "ok" else type(error).__name__
    return "error", type(error).__name__


# -- what was said -----------------------------------------------------------


def _options(name: object = "", **said: Any) -> Options:
    """Make options of what was said; what makes no sense is left out and told of once."""
    found = {key: read(said[key]) for key, read in _READ.items() if key in said and said[key] is not None}
    for key in [key for key, value in found.items() if value is None]:
        del found[key]
        cells.fail("misuse", f"tool() cannot use this {key}")
    if unknown := sorted(said.keys() - _READ.keys()):
        cells.fail("misuse", f"tool() takes no {unknown[0]}")
    if type(name) is not str:
        cells.fail("misuse", "the name of a tool is a text")
    if "sample" in found:
        found["weight"] = found.pop("sample")
    made = Options(name if type(name) is str else "unknown", **found)
    return _named(made, made.name) if made.name else made


def _weight(sample: object) -> int | None:
    if not isinstance(sample, (int, float)) or not 1 / MAX_WEIGHT <= sample <= 1:
        return None
    return round(1 / sample)


def _attributes(given: object) -> tuple[tuple[str, str], ...] | None:
    if not isinstance(given, Mapping) or len(given) > MAX_ATTRIBUTES:
        return None
    return tuple(sorted((str(key), str(value)) for key, value in given.items() if key not in ATTRIBUTED.labels))


_READ: Final[dict[str, Callable[[Any], Any]]] = {
    "type": lambda value: value if value in ("function", "builtin", "mcp", "unknown") else None,
    "interface": lambda value: value if type(value) is str else None,
    "sample": _weight,
    "sizes": lambda value: value if type(value) is bool else None,
    "memory": lambda value: value if value in ("tracemalloc", "rss") else None,
    "attributes": _attributes,
}


def _named(said: Options, name: str) -> Options:
    """Complete what was said with a name."""
    return said._replace(name=said.name or name, interface=said.interface or said.name or name)


# -- measuring ---------------------------------------------------------------


def _decorated(function: Any, said: Options) -> Any:
    """Wrap a function, in the fastest way that does what was said."""
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(_decorated(function.__func__, said))
    if not callable(function):
        cells.fail("misuse", "only functions are wrapped as tools")
        return function
    track = TRACKS.find(_named(said, getattr(function, "__name__", type(function).__name__)))
    if track.memory is not None or kind(function) != "plain":
        return wrap(function, lambda: Tool(said, track))
    return functools.wraps(function)((_hot if track.said.weight == 1 else _sampled)(function, track))


def _hot(function: Callable[..., Any], track: Track) -> Callable[..., Any]:
    """Wrap a plain function; cells are added to in place, as in their own methods."""
    switch, clock, bisect, sized = SWITCH, _clock, bisect_left, size
    running, end, weight = track.running, track.running.pop, track.said.weight
    ok, spent, named, failures = track.ok, track.spent, track.named, track.failures
    counts, bounds = spent.counts, spent.bounds
    into, out = track.input, track.output

    def measured(*args: Any, **kwargs: Any) -> Any:
        if not switch.on:
            return function(*args, **kwargs)
        if into is not None and (args or kwargs):
            amount = 0
            for each in (*args, *kwargs.values()) if kwargs else args:
                amount += sized(each)
            into.record(amount, weight)
        start = clock()
        running[start] = None
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            track.failed(start, error)
            raise
        taken = clock() - start
        end(start, None)
        ok.total += 1.0
        counts[bisect(bounds, taken)] += weight
        spent.sum += taken * weight
        failures.value = 0.0
        if named is not None:
            named.total += 1.0
        if out is not None and result is not None:
            out.record(sized(result), weight)
        return result

    return measured


def _sampled(function: Callable[..., Any], track: Track) -> Callable[..., Any]:
    """Wrap a plain function that is called too often to time every call."""
    switch, random, share = SWITCH, _random, 1.0 / track.said.weight
    ok, named, failures = track.ok, track.named, track.failures
    timed = _hot(function, track)

    def measured(*args: Any, **kwargs: Any) -> Any:
        if not switch.on:
            return function(*args, **kwargs)
        track.inside += 1.0
        if random() < share:
            try:
                return timed(*args, **kwargs)
            finally:
                track.inside -= 1.0
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            track.inside -= 1.0
            track.ended(*outcome(error))
            raise
        track.inside -= 1.0
        ok.total += 1.0
        failures.value = 0.0
        if named is not None:
            named.total += 1.0
        return result

    return measured


def _measure(into: Histogram | None, value: object, weight: int = 1) -> None:
    if into is not None and value is not None and weight:
        into.record(size(value), weight)


def _tracemalloc() -> int:
    if not tracemalloc.is_tracing():
        tracemalloc.start()
    return tracemalloc.get_traced_memory()[0]


def _rss() -> int:
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  # a third of the time
        return int(file.read().split()[1]) * _PAGE


_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_ALLOCATED: Final[dict[str, Callable[[], int]]] = {"": lambda: 0, "tracemalloc": _tracemalloc, "rss": _rss}
