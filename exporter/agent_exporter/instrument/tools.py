"""Tool calls: how often, how long, how they ended, how large, how many now.

What may live here: the decorator `tool`, which is also one call of a tool, and `wrap_tools`. All that can be
decided when a tool is named is decided there; `_hot` is written for speed and not for looks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from types import CoroutineType
from typing import Any, Final, Literal, ParamSpec, Self, TypeVar, overload

from . import cells, given
from .cells import SWITCH, Histogram
from .families import ATTRIBUTED
from .memory import Memory
from .sizes import size
from .tracks import MAX_TRACKS, STATUSES, TRACKS, Options, Status, Track, chance, clock, outcome
from .wrapping import NOTHING, dressed, kind, later, misfit, name_of, wrap

ToolType = Literal["function", "builtin", "mcp", "unknown"]
P = ParamSpec("P")
R = TypeVar("R")

Read = tuple[Callable[[Any], Any], str]

MAX_ATTRIBUTES: Final = 8
MAX_WEIGHT: Final = 1_000_000  # calls that one timed call may stand for
_NAMES: Final = (str, bytes, int, float, complex, type(None))  # what is a name, or was meant to be one


class Tool:
    """A tool to decorate a function with, or one call of it."""

    __slots__ = ("_memory", "_said", "_start", "_track", "_weight", "_yielded")

    def __init__(self, said: Options, track: Track | None = None) -> None:
        self._said, self._track = said, track
        self._start = -1.0  # not running
        self._memory: float | None = None
        self._weight = 1
        self._yielded = -1  # nothing adds up what is yielded

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
            if self._start >= 0.0:
                self.complete("unknown")  # it ran already; left there, it would look like a call that hangs
            track = self._find()
            self._weight = track.enter()
            self._memory = track.allocated()
            self._start = clock()
            if self._weight:
                track.running[self._start] = None
        return self

    def complete(self, status: Status = "ok", *, error_type: str = "") -> None:
        """End the call; a second end of the same call counts for nothing."""
        start, self._start = self._start, -1.0
        if start < 0.0:
            return
        track = self._find()
        ended = given.word(status, STATUSES, "how a tool call ended")
        raised = given.text(error_type, "the type of an error")
        track.grown(self._memory)
        track.leave()
        if self._weight:
            track.end(start, ended, raised, self._weight)
        else:
            track.ended(ended, raised)

    def input(self, value: object) -> None:
        """Say what goes into the call; only its size is kept."""
        _measure(self._find().input, value, self._weight)

    def output(self, value: object) -> None:
        """Say what came out of the call; only its size is kept."""
        _measure(self._find().output, value, self._weight)

    def _find(self) -> Track:
        if self._track is None:
            said = self._said
            self._track = TRACKS.find(said if said.name else _named(said, "unknown"))
        return self._track

    # -- as wrapping.Measured ---------------------------------------------

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Begin with a function's arguments."""
        if SWITCH.on:
            self.start()
            if args or kwargs:
                self.input((*args, *kwargs.values()))

    @property
    def passed(self) -> Callable[[object], None] | None:
        """Give what adds up the sizes of what is yielded, if they are measured."""
        if self._start < 0.0 or not self._weight or self._find().output is None:
            return None
        self._yielded = 0
        return self._add

    def _add(self, item: object) -> None:
        self._yielded += size(item)

    def done(self, result: object) -> None:
        """End with what a function returned, or with nothing but what was yielded."""
        into = self._find().output
        if result is not NOTHING and self._start >= 0.0:
            self.output(result)
        elif into is not None and self._yielded >= 0:
            into.record(self._yielded, self._weight)
        self.complete()

    def failed(self, error: BaseException) -> None:
        """End with what was raised."""
        status, error_type = outcome(error)
        self.complete(status, error_type=error_type)

    def abandoned(self) -> None:
        """End as nobody waits for it any more."""
        self.complete("unknown", error_type="GeneratorExit")


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
    counts: bool = True,
) -> Tool: ...


def tool(name: Any = "", /, **said: Any) -> Any:
    """Measure a tool, as a decorator with or without arguments, or a call of one as a context manager.

    `interface` is what its failures in a row are counted for, if not the tool itself. `sample=0.01` times one in
    a hundred calls at random, which then counts for a hundred; all calls are counted. `sizes=False` leaves out
    the sizes of what goes in and comes out. `memory` says how to measure what a call leaves allocated: by
    "tracemalloc" (which slows the whole program) or "rss". `attributes` are labels of the program's own.
    `counts=False` tells only sizes and what runs now, for tools of which something else tells the rest.
    """
    if callable(name) or isinstance(name, (staticmethod, classmethod)):
        return _decorated(name, Options(""))
    if not isinstance(name, _NAMES):
        misfit(name)  # as a decorator above what a framework has made of a function, it is not to take its place
        return name
    if said or type(name) is not str:
        return Tool(_options(name, **said))
    return Tool(TRACKS.plain.get(name) or _plain(name))


Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def wrap_tools(tools: Mapping[str, Function], **said: Any) -> dict[str, Function]: ...


@overload
def wrap_tools(tools: Iterable[Function], **said: Any) -> list[Function]: ...


def wrap_tools(tools: Any, **said: Any) -> Any:
    """Measure a whole toolbox: a mapping of names to functions, or functions; `said` as for `tool`."""
    if isinstance(tools, Mapping):
        return {name: _decorated(each, _options(str(name), **said)) for name, each in tools.items()}
    if isinstance(tools, str) or not isinstance(tools, Iterable):
        cells.fail("misuse", "wrap_tools() takes a mapping of names to functions, or a list of functions")
        return tools
    return [_decorated(each, _options("", **said)) for each in tools]


# -- what was said -----------------------------------------------------------


def _plain(name: str) -> Options:
    """Remember the options of a tool of which nothing but the name is said."""
    made = _options(name)
    if len(TRACKS.plain) < MAX_TRACKS:
        TRACKS.plain[name] = made
    return made


def _options(name: object = "", **said: Any) -> Options:
    """Make options of what was said; what makes no sense is left out and told of once."""
    which = f"tool({name!r})" if isinstance(name, str) and name else "tool()"
    found = {key: _taken(read, said[key]) for key, (read, _) in _READ.items() if said.get(key) is not None}
    for key in [key for key, value in found.items() if value is None]:
        del found[key]
        cells.fail("misuse", f"{which} is measured without its {key}, which {_READ[key][1]}")
    if unknown := sorted(said.keys() - _READ.keys()):
        cells.fail("misuse", f"{which} takes no {unknown[0]}, only {', '.join(_READ)}")
    if "sample" in found:
        found["weight"] = found.pop("sample")
    made = Options(given.text(name, "the name of a tool"), **found)
    return _named(made, made.name) if made.name else made


def _taken(read: Callable[[Any], Any], value: object) -> Any:
    try:
        return read(value)
    except Exception:  # noqa: BLE001  # it is code of others
        return None


def _weight(sample: object) -> int | None:
    if not isinstance(sample, (int, float)) or not 1 / MAX_WEIGHT <= sample <= 1:
        return None
    return round(1 / sample)


def _attributes(pairs: object) -> tuple[tuple[str, str], ...] | None:
    if not isinstance(pairs, Mapping) or len(pairs) > MAX_ATTRIBUTES:
        return None
    return tuple(sorted((str(key), str(value)) for key, value in pairs.items() if key not in ATTRIBUTED.labels))


def _one_of(*words: object) -> Read:
    """Take one of a few words."""
    return lambda value: value if value in words and type(value) in (str, bool) else None, f"is {_listed(words)}"


def _listed(words: tuple[object, ...]) -> str:
    *most, last = [str(word) for word in words]
    return f"{', '.join(most)} or {last}"


_READ: Final[dict[str, Read]] = {  # how each is read, and what it has to be
    "type": _one_of("function", "builtin", "mcp", "unknown"),
    "interface": (lambda value: value if type(value) is str else None, "is a text"),
    "sample": (_weight, f"is a number from {1 / MAX_WEIGHT:f} to 1"),
    "sizes": _one_of(True, False),
    "memory": _one_of("tracemalloc", "rss"),
    "attributes": (_attributes, f"is a mapping of at most {MAX_ATTRIBUTES} names to texts"),
    "counts": _one_of(True, False),
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
        misfit(function)
        return function
    track = TRACKS.find(_named(said, name_of(function)))
    if track.memory is not None or kind(function) != "plain":
        return wrap(function, lambda: Tool(said, track))
    return dressed((_hot if track.said.weight == 1 else _sampled)(function, track), function)


def _hot(function: Callable[..., Any], track: Track) -> Callable[..., Any]:
    """Wrap a plain function; cells are added to in place, as in their own methods."""
    switch, now, bisect, sized = SWITCH, clock, bisect_left, size
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
        start = now()
        running[start] = None
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            end(start, None)  # first, as at the limit of recursion nothing else may be possible
            try:  # noqa: SIM105  # which needs calls itself
                track.failed(start, error)
            except RecursionError:
                pass
            raise
        taken = now() - start
        end(start, None)
        if result is not None and type(result) is CoroutineType:
            return later(result, Tool(track.said, track).start())
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
    switch, random, share = SWITCH, chance, 1.0 / track.said.weight
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
        if result is not None and type(result) is CoroutineType:
            return later(result, Tool(track.said, track).start())
        ok.total += 1.0
        failures.value = 0.0
        if named is not None:
            named.total += 1.0
        return result

    return measured


def _measure(into: Histogram | None, value: object, weight: int = 1) -> None:
    if into is not None and value is not None and weight:
        into.record(size(value), weight)
