"""How large what goes in and out is, without running anybody's code.

Rule: exact built-in types only, a limited number of parts, and nothing is kept. A text counts as its UTF-8
bytes, a number as 8, containers as the sum of what is in them; anything else counts as nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import islice
from typing import Final

MAX_PARTS: Final = 1_000  # of containers; what is beyond is not looked at
MAX_TEXT: Final = 100_000  # characters that are encoded; what is beyond is taken to be like them
NUMBER: Final = 8


def _text(value: str) -> int:
    if value.isascii():
        return len(value)
    if len(value) > MAX_TEXT:
        return _text(value[:MAX_TEXT]) * len(value) // MAX_TEXT
    return len(value.encode("utf-8", "surrogatepass"))


def _view(value: memoryview) -> int:
    try:
        return value.nbytes
    except ValueError:  # it was released
        return 0


def _some(values: Collection[object], most: int) -> tuple[object, ...]:
    # Copied in one step: another thread may change what is walked through.
    if len(values) <= most:
        return tuple(values)
    try:
        return tuple(islice(values, most))
    except RuntimeError:  # it changed all the same
        return ()


_FIXED: Final[dict[type, int]] = {int: NUMBER, float: NUMBER, bool: NUMBER}
_PLAIN: Final[dict[type, Callable[..., int]]] = {
    str: _text,
    bytes: len,
    bytearray: len,
    memoryview: _view,
}
_PARTS: Final[dict[type, Callable[..., Sequence[object]]]] = {
    list: lambda value, most: value[:most],
    tuple: lambda value, most: value[:most],
    set: _some,
    frozenset: _some,
    dict: lambda value, most: (*_some(value.keys(), most), *_some(value.values(), most)),
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
            waiting += _PARTS[kind](each, left)[:left]
        else:
            total += size(each)
    return total
