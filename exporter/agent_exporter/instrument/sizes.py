"""How large what goes in and out is, without running anybody's code.

Rule: exact built-in types only, a limited number of parts, and nothing is kept. A text counts as its UTF-8
bytes, a number as 8, containers as the sum of what is in them; anything else counts as nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

MAX_PARTS: Final = 1_000  # of containers; what is beyond is not looked at
NUMBER: Final = 8


def _text(value: str) -> int:
    return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))


_FIXED: Final[dict[type, int]] = {int: NUMBER, float: NUMBER, bool: NUMBER}
_PLAIN: Final[dict[type, Callable[..., int]]] = {
    str: _text,
    bytes: len,
    bytearray: len,
    memoryview: lambda value: value.nbytes,
}
_PARTS: Final[dict[type, Callable[..., Iterable[object]]]] = {
    # Copied in one step: another thread may change what is walked through.
    list: tuple,
    tuple: tuple,
    set: tuple,
    frozenset: tuple,
    dict: lambda value: (*value.keys(), *value.values()),
}


def size(value: object) -> int:
    """Measure a value in bytes, 0 if it is of a kind that cannot be measured."""
    kind = type(value)
    if kind in _FIXED:
        return _FIXED[kind]
    if kind in _PLAIN:
        return _PLAIN[kind](value)
    return _walk(value) if kind in _PARTS else 0


def _walk(value: object) -> int:
    total, waiting, left = 0, [value], MAX_PARTS
    while waiting and left:
        each, left = waiting.pop(), left - 1
        kind = type(each)
        if kind in _PARTS:
            waiting += [*_PARTS[kind](each)][:left]
        else:
            total += size(each)
    return total
