"""Content encodings of requests, as a table; every one bounded (rules P5, P6).

May live here: undoing what a client did to its body. Input goes in by small pieces, so that
a bomb is noticed after one piece: at most `limit` plus the output of one piece is held.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, Protocol, cast

import zstandard
from isal import isal_zlib

from ..model import Malformed

MEMBERS: Final = 4096  # gzip members or zstd frames in one body; writers of 64 KiB blocks stay below at 64 MiB
ZSTD_WINDOW: Final = 8 * 1024 * 1024  # RFC 9659, section 3: what a receiver of `zstd` has to support
_DEFLATE_PIECE: Final = 4096  # at most 1032 times as large when inflated: 4 MiB
_ZSTD_PIECE: Final = 256  # at most one block of 128 KiB for every 4 bytes: 8 MiB

# isal's stub calls its exception class an exception
_BROKEN: Final = (zlib.error, cast("type[Exception]", isal_zlib.IsalError), zstandard.ZstdError)


class TooLarge(ValueError):
    """The body, plain or decompressed, is larger than allowed: HTTP 413."""


class UnknownEncoding(ValueError):
    """The Content-Encoding is none of CODINGS: HTTP 415."""


class _Stream(Protocol):
    """What decompressors of zlib, isal and zstandard have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def decompress(encoding: str, body: bytes, limit: int) -> bytes:
    """Undo one Content-Encoding, to at most `limit` bytes.

    An empty body stays empty whatever its encoding. Raises UnknownEncoding, TooLarge, and
    Malformed for streams that are broken, cut short or followed by anything else.
    """
    coding = CODINGS.get(encoding.strip().lower())
    if coding is None:
        raise UnknownEncoding(f"Content-Encoding must be one of {', '.join(CODINGS)}")
    if len(body) > limit:
        raise too_large(limit)
    return coding(body, limit) if body else body


def too_large(limit: int) -> TooLarge:
    """Make the error that names the limit."""
    return TooLarge(f"request body is larger than {limit} bytes")


def _identity(body: bytes, _limit: int) -> bytes:
    return body


def _gzip(body: bytes, limit: int) -> bytes:
    return _inflate(lambda: isal_zlib.decompressobj(31), body, limit, _DEFLATE_PIECE)


def _deflate(body: bytes, limit: int) -> bytes:
    """Inflate what HTTP calls deflate: zlib's format, or, as some clients have it, without its wrapping."""
    wrapped = body[0] & 0x0F == zlib.DEFLATED and int.from_bytes(body[:2]) % 31 == 0  # RFC 1950, section 2.2
    return _inflate(lambda: isal_zlib.decompressobj(15 if wrapped else -15), body, limit, _DEFLATE_PIECE)


def _zstd(body: bytes, limit: int) -> bytes:
    frames = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)

    def new() -> _Stream:
        return frames.decompressobj()

    return _inflate(new, body, limit, _ZSTD_PIECE)


def _inflate(new: Callable[[], _Stream], body: bytes, limit: int, piece: int) -> bytes:
    """Decompress a sequence of members, `piece` bytes of input at a time."""
    parts: list[bytes] = []
    size = members = 0
    stream = new()
    try:
        for start in range(0, len(body), piece):
            rest = body[start : start + piece]
            while rest:
                if stream.eof:
                    members, stream = members + 1, new()
                part = stream.decompress(rest)
                parts.append(part)
                size += len(part)
                rest = stream.unused_data if stream.eof else b""
                if size > limit:
                    raise too_large(limit)
                if members > MEMBERS:
                    raise Malformed(f"compressed body has more than {MEMBERS} members")
    except _BROKEN as error:
        raise Malformed(f"compressed body is broken: {error}") from None
    if not stream.eof:
        raise Malformed("compressed body is cut short")
    return parts[0] if len(parts) == 1 else b"".join(parts)


CODINGS: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "identity": _identity,
    "gzip": _gzip,
    "x-gzip": _gzip,  # RFC 9110, section 8.4.1.3
    "deflate": _deflate,
    "zstd": _zstd,
}
