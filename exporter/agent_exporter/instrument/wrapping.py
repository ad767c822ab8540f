"""Callables of every kind with something measured around them.

Rule: a wrapped callable keeps its kind, signature and type; what it returns, yields and raises passes through
unchanged, with one more frame in a traceback, or two where what a generator yields is looked at.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from types import CoroutineType
from typing import Any, Final, Protocol, cast

from . import cells


class Measured(Protocol):
    """One call that is measured."""

    @property
    def passed(self) -> Callable[[object], None] | None:
        """Give what is to be shown each item that is yielded, if anything; asked once the call has begun."""

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Begin, with what goes in."""

    def done(self, result: object) -> None:
        """End well, with what came out."""

    def failed(self, error: BaseException) -> None:
        """End with an error."""

    def abandoned(self) -> None:
        """End as nobody waits for it any more."""


Make = Callable[[], Measured]
_ASKED: Final = ("cache_info", "cache_clear", "cache_parameters")  # of functools.lru_cache, which is no function
NOTHING: Final = object()  # came out: what came out was yielded


def wrap(function: Callable[..., Any], make: Make) -> Callable[..., Any]:
    """Measure every call of a function; what is none is given back as it is."""
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(wrap(function.__func__, make))
    if not callable(function):
        misfit(function)
        return function
    return dressed(_WRAPPERS[kind(function)](function, make), function)


def misfit(thing: object) -> None:
    """Complain of what cannot be measured: a property, or what a framework has made of a function."""
    kind = type(thing)
    cells.fail("misuse", f"a {kind.__module__}.{kind.__qualname__} is no function; decorate the function inside it")


def dressed(wrapper: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a wrapper the name, text and signature of what it wraps, and what a cache is asked, as far as it has any."""
    with contextlib.suppress(Exception):  # objects may answer with anything
        functools.update_wrapper(wrapper, function, assigned=(*functools.WRAPPER_ASSIGNMENTS, *_ASKED))
    return wrapper


def name_of(function: Callable[..., Any]) -> str:
    """Say what a callable is called, by its class if it has no name."""
    with contextlib.suppress(Exception):
        name = function.__name__
        if isinstance(name, str):
            return name
    return type(function).__name__


def kind(function: Callable[..., Any]) -> str:
    """Say how a callable has to be called."""
    while isinstance(function, functools.partial):
        function = function.func
    called = (function, getattr(type(function), "__call__", None))  # noqa: B004  # the method, not whether there is one
    return next((name for name, test in _TESTS.items() if any(_passes(test, each) for each in called)), "plain")


def _passes(test: Callable[[Any], bool], function: object) -> bool:
    try:
        return test(function)
    except Exception:  # noqa: BLE001  # objects may answer with anything
        return False


def _plain(function: Callable[..., Any], make: Make) -> Callable[..., Any]:
    def measured(*args: Any, **kwargs: Any) -> Any:
        call = make()
        call.begin(args, kwargs)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        if type(result) is CoroutineType:
            return later(result, call)
        call.done(result)
        return result

    return measured


def later(result: CoroutineType[Any, Any, Any], call: Measured) -> Coroutine[Any, Any, Any]:
    """End a call with the coroutine that a plain function gave back, as those do that decorators put around others."""
    made = cast("CoroutineType[Any, Any, Any]", _awaited(result, call))
    made.__name__, made.__qualname__ = result.__name__, result.__qualname__  # which Python's warnings say
    weakref.finalize(made, call.abandoned).atexit = False  # nobody need await it
    return made


async def _awaited(result: Coroutine[Any, Any, Any], call: Measured) -> Any:
    try:
        value = await result
    except GeneratorExit:
        call.abandoned()
        raise
    except BaseException as error:
        call.failed(error)
        raise
    call.done(value)
    return value


def _coroutine(function: Callable[..., Any], make: Make) -> Callable[..., Any]:
    async def measured(*args: Any, **kwargs: Any) -> Any:
        call = make()
        call.begin(args, kwargs)
        try:
            result = await function(*args, **kwargs)
        except GeneratorExit:
            call.abandoned()
            raise
        except BaseException as error:
            call.failed(error)
            raise
        call.done(result)
        return result

    return measured


def _generator(function: Callable[..., Any], make: Make) -> Callable[..., Any]:
    def measured(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        call = make()
        call.begin(args, kwargs)
        try:
            inner, passed = function(*args, **kwargs), call.passed
            result = yield from inner if passed is None else _shown(inner, passed)
        except GeneratorExit:
            call.done(NOTHING)
            raise
        except BaseException as error:
            call.failed(error)
            raise
        call.done(NOTHING)
        return result

    return measured


def _shown(inner: Generator[Any, Any, Any], passed: Callable[[object], None]) -> Generator[Any, Any, Any]:
    """Do what `yield from` does, and show each item."""
    sent: Any = None
    thrown: BaseException | None = None
    while True:
        try:
            item = inner.send(sent) if thrown is None else inner.throw(thrown)
        except StopIteration as end:
            return end.value
        finally:
            thrown = None  # else it would hold this frame, and this frame it
        passed(item)
        try:
            sent = yield item
        except GeneratorExit:
            inner.close()
            raise
        except BaseException as error:  # noqa: BLE001  # it is for the function
            thrown = error


def _async_generator(function: Callable[..., Any], make: Make) -> Callable[..., Any]:
    async def measured(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        call = make()
        call.begin(args, kwargs)
        try:
            inner, passed = function(*args, **kwargs), call.passed
            step = _first(inner)
            while True:
                try:
                    item = await step
                except StopAsyncIteration:
                    break
                finally:
                    del step  # else what was thrown would hold this frame, and this frame it
                if passed is not None:
                    passed(item)
                try:
                    sent = yield item
                except GeneratorExit:
                    await inner.aclose()
                    raise
                except BaseException as thrown:  # noqa: BLE001  # it is for the function
                    step = inner.athrow(thrown)
                else:
                    step = inner.asend(sent)
        except GeneratorExit:
            call.done(NOTHING)
            raise
        except BaseException as error:
            call.failed(error)
            raise
        call.done(NOTHING)

    return measured


def _first(inner: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
    """Ask for the first item without the event loop noting this generator.

    The loop notes what is around it. Were it told of both, it would close both at once at its end, and they would
    be in each other's way.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return inner.__anext__()
    finally:
        sys.set_asyncgen_hooks(*hooks)


_WRAPPERS: Final[dict[str, Callable[[Callable[..., Any], Make], Callable[..., Any]]]] = {
    "plain": _plain,
    "coroutine": _coroutine,
    "generator": _generator,
    "async generator": _async_generator,
}
_TESTS: Final[dict[str, Callable[[Any], bool]]] = {
    "coroutine": inspect.iscoroutinefunction,
    "generator": inspect.isgeneratorfunction,
    "async generator": inspect.isasyncgenfunction,
}
