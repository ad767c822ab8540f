"""The number that an event or span adds: from attributes, in a unit, less its parts.

Rule: compiled once, run for every item. A number below 0 is a difference whose parts exceed the
whole: the sender's mistake, which the engine counts and takes for 0, the nearest truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..model import Attributes, Instrument
from .lenient import number
from .schema import Value
from .units import factor

Amount = Callable[[Attributes], float | None]


def one(_attributes: Attributes) -> float | None:
    """Count the item."""
    return 1.0


def amount(values: Sequence[Value], instrument: Instrument) -> Amount:
    """Compile alternatives: the first that is there; 1 where there are none."""
    compiled = tuple(_amount(value, instrument) for value in values if value.from_)
    if not compiled:
        return one
    return compiled[0] if len(compiled) == 1 else _either(compiled)


def _either(alternatives: tuple[Amount, ...]) -> Amount:
    def either(attributes: Attributes) -> float | None:
        for each in alternatives:
            if (found := each(attributes)) is not None:
                return found
        return None

    return either


def _amount(value: Value, instrument: Instrument) -> Amount:
    scale = factor(value.unit or instrument.unit, instrument.unit) or 1.0
    whole = first_number(value.from_ or ())
    parts = tuple(_part(names) for names in value.minus)

    def read(attributes: Attributes) -> float | None:
        found = whole(attributes)
        return None if found is None or found < 0 else found * scale

    def rest(attributes: Attributes) -> float | None:
        found = whole(attributes)
        if found is None or found < 0:
            return None
        for part in parts:
            found -= max(part(attributes) or 0.0, 0.0)
        return found * scale

    return rest if parts else read


def _part(names: tuple[str, ...]) -> Amount:
    """Compile what is taken off: a number itself, or that of an attribute."""
    fixed = number(names[0])
    return first_number(names) if fixed is None else lambda _attributes: fixed


def first_number(names: tuple[str, ...]) -> Amount:
    """Compile a look-up of the first of these attributes that is a number."""

    def first(attributes: Attributes) -> float | None:
        for name in names:
            value = attributes.get(name)
            if value is not None and (found := number(value)) is not None:
                return found
        return None

    return first


def names(values: Sequence[Value]) -> tuple[str, ...]:
    """List the attributes that values are read from."""
    return tuple(name for value in values for group in (value.from_ or (), *value.minus) for name in group)
