"""Give one living object a subclass of its own class, so that some of its methods can be counted.

What may live here: that and nothing else. The object stays the same object, `isinstance` and its
class's name hold, other objects of its class are not touched; copies and pickles are of the class it had.
"""

from __future__ import annotations

import copyreg
import functools
from collections.abc import Callable
from typing import Any, Final

# What is grafted on has no types here: the classes are of libraries that are not imported.
Method = Callable[..., Any]
MARK: Final = "__watched_class__"


def subclass(base: type, methods: dict[str, Method]) -> type:
    """Make a subclass that looks like its base, with some methods of its own.

    Without slots its objects are laid out like its base's, so that one can become the other.
    """
    for name, method in methods.items():
        if hasattr(base, name):
            functools.update_wrapper(method, getattr(base, name))
    body = {
        "__slots__": (),
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "__reduce_ex__": _reduce,
        MARK: base,
        **methods,
    }
    return type(base)(base.__name__, (base,), body)


def graft(target: Any, methods: Callable[[Any], dict[str, Method]]) -> None:
    """Give an object its own subclass, once, with methods made for its class; a TypeError where it is written in C."""
    base = type(target)
    if not hasattr(base, MARK):
        target.__class__ = subclass(base, methods(base))


def _reduce(self: Any, protocol: Any) -> Any:
    kind = type(self)
    base = getattr(kind, MARK)
    made = base.__reduce_ex__(self, protocol)
    if not isinstance(made, tuple):
        return made
    make, args, *rest = made
    args = tuple(base if each is kind else each for each in args)
    if make is copyreg.__newobj__:  # type: ignore[attr-defined]  # pickle wants it for the object's own class only
        make = base.__new__
    return (make, args, *rest)
