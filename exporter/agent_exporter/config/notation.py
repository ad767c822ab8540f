"""How values are written: addresses, durations, sizes, lists.

What may live here: one reader and, for the documentation, one writer a notation. A reader raises
ValueError with what is allowed; it knows neither keys nor sources.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field

MIB = 1 << 20
MINUTE = 60.0
HOUR = 60 * MINUTE
SECONDS = {"ms": 0.001, "s": 1.0, "m": MINUTE, "h": HOUR, "d": 24 * HOUR}
BYTES = {"B": 1, "KiB": 1 << 10, "MiB": MIB, "GiB": 1 << 30, "kB": 10**3, "MB": 10**6, "GB": 10**9}
DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+")
DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
SIZE = re.compile(rf"(\d+)\s*({'|'.join(BYTES)})?")


EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 - hosts that stand for every interface


class Address(NamedTuple):
    """Where a door listens; port 0 lets the system choose."""

    host: str
    port: int

    def meets(self, other: Address) -> bool:
        """Tell whether both would listen on the same port of an interface."""
        hosts = {"127.0.0.1" if at.host.lower() == "localhost" else at.host.lower() for at in (self, other)}
        return self.port == other.port != 0 and (len(hosts) == 1 or bool(hosts & EVERYWHERE))

    def __str__(self) -> str:
        """Write HOST:PORT, an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Addresses(NamedTuple):
    """Where the three doors are open."""

    grpc: Address
    http: Address
    web: Address


@dataclass(frozen=True, slots=True)
class Notation:
    """How the values of a key are written: what is allowed, and a value's text in the documentation."""

    allowed: str  # {default} stands for the key's own
    show: Callable[[Any], str] = str


def address(value: object) -> Address:
    """Read HOST:PORT; an IPv6 host needs brackets."""
    if isinstance(value, Address):
        return value
    if re.fullmatch(r"\d{1,5}", str(value)) and int(str(value)) <= 0xFFFF:
        raise ValueError(f"HOST:PORT; to listen on this machine only write 127.0.0.1:{value}")
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%\w]+\]|[^\[\]:\s]*):(\d{1,5})", str(value))
    if match is None or int(match[2]) > 0xFFFF:
        raise ValueError(ADDRESS.allowed)
    if not match[1]:
        raise ValueError(f"HOST:PORT; to listen on every interface write 0.0.0.0:{match[2]}")
    return Address(match[1].strip("[]"), int(match[2]))


def duration(value: object) -> float:
    """Read a duration such as `90s` or `1h30m` into seconds; a number without a unit is refused."""
    if isinstance(value, float):
        return value
    if not isinstance(value, str) or not DURATION.fullmatch(value):
        raise ValueError(DURATIONS.allowed)
    seconds = sum(float(number) * SECONDS[unit] for number, unit in DURATION_PART.findall(value))
    if seconds <= 0:
        raise ValueError(DURATIONS.allowed)
    return seconds


def size(value: object) -> int:
    """Read a size such as `64MiB` or `4096` into bytes."""
    match = SIZE.fullmatch(str(value))
    if match is None or int(match[1]) == 0:
        raise ValueError(SIZES.allowed)
    return int(match[1]) * BYTES[match[2] or "B"]


def words(value: object) -> object:
    """Read a list, or one string with commas."""
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value


def entries(value: object) -> object:
    """Read a list of sections; in the environment it is JSON."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(ENTRIES.allowed) from None


def path(value: object) -> object:
    """Read a path; an empty one is none."""
    return value or None


def number(value: object) -> object:
    """Keep `true` from being the number 1."""
    if isinstance(value, bool):
        raise ValueError(COUNTS.allowed)  # noqa: TRY004 - pydantic collects ValueErrors
    return value


def show_duration(seconds: float) -> str:
    """Write seconds as one number and the largest unit that divides them."""
    unit = next((unit for unit in ("h", "m", "s") if seconds % SECONDS[unit] == 0), "ms")
    return f"{seconds / SECONDS[unit]:.0f}{unit}"


def show_size(count: int) -> str:
    """Write bytes as one number and the largest binary unit that divides them."""
    unit = next(unit for unit in ("GiB", "MiB", "KiB", "B") if count % BYTES[unit] == 0)
    return f"{count // BYTES[unit]}{unit}"


def show_words(value: tuple[object, ...] | None) -> str:
    """Write a list as YAML has it."""
    return "null" if value is None else "[" + ", ".join(f'"{word}"' for word in value) + "]"


def show_scalar(value: object) -> str:
    """Write a boolean, a missing value or a word as YAML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


ADDRESS = Notation("HOST:PORT, such as {default}; an IPv6 host stands in brackets, port 0 picks a free one")
DURATIONS = Notation("a duration with its unit (ms, s, m, h, d), such as 30s, 5m or 1h30m", show_duration)
SIZES = Notation("a size above 0, such as 64MiB, 512KiB or a number of bytes", show_size)
COUNTS = Notation("a whole number above 0")
DOLLARS = Notation("US dollars for a million tokens, 0 or more", show_scalar)
SWITCH = Notation("true or false", show_scalar)
WORDS = Notation("a list of words (in the environment: separated by commas)", show_words)
WORD = Notation("a word")
ENTRIES = Notation("a list of entries (in the environment: JSON)", show_words)
PATH = Notation("a path; relative ones start at the configuration file's folder", show_scalar)
PATHS = Notation("a list of paths; relative ones start at the configuration file's folder", show_words)

At = Annotated[Address, BeforeValidator(address), ADDRESS]
Duration = Annotated[float, BeforeValidator(duration), DURATIONS]
Size = Annotated[int, BeforeValidator(size), SIZES]
Count = Annotated[int, Field(gt=0), BeforeValidator(number), COUNTS]
Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(number), DOLLARS]
Switch = Annotated[bool, SWITCH]
Word = Annotated[str, Field(min_length=1), WORD]
Words = Annotated[tuple[str, ...], BeforeValidator(words), WORDS]
Paths = Annotated[tuple[Path, ...], BeforeValidator(words), PATHS]
Folder = Annotated[Path | None, BeforeValidator(path), PATH]
