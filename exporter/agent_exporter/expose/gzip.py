"""Compression of a page of which most was compressed before.

What may live here cuts a page into segments and keeps their compressed form. A segment is
raw deflate that ends with a full flush, so that segments can be put together in any order;
together they are one gzip member, since some clients read no second one.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from isal import isal_zlib

SEGMENT_SIZE = 1 << 16  # bytes before compression; smaller ones compress worse
LEVEL = 1  # 4.5 times faster than zlib's level 1 and smaller (reference/performance.md)

# RFC 1952: magic, deflate, no flags, no time, fastest, unknown system.
_HEADER = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 4, 255))
_LAST_BLOCK = b"\x03\x00"  # an empty deflate block that says it is the last


class Segment(NamedTuple):
    """Compressed chunks; they are kept, so that their ids are theirs alone."""

    chunks: tuple[bytes, ...]
    deflated: bytes
    crc: int
    size: int


class Gzip:
    """Compresses pages that share chunks, the same bytes objects, with the page before."""

    def __init__(self) -> None:
        self._segments: dict[tuple[int, ...], Segment] = {}

    def compress(self, chunks: list[bytes]) -> list[bytes]:
        """Compress a page; only the segments with a new chunk cost anything."""
        segments: dict[tuple[int, ...], Segment] = {}
        for group in _grouped(chunks):
            key = tuple(map(id, group))
            segments[key] = segments.get(key) or self._segments.get(key) or deflated(group)
        self._segments = segments
        crc = size = 0
        body = [_HEADER]
        for group in _grouped(chunks):
            segment = segments[tuple(map(id, group))]
            body.append(segment.deflated)
            crc = isal_zlib.crc32_combine(crc, segment.crc, segment.size)
            size += segment.size
        body.append(_LAST_BLOCK + struct.pack("<II", crc, size & 0xFFFFFFFF))
        return body


def deflated(chunks: tuple[bytes, ...]) -> Segment:
    """Compress one segment."""
    text = b"".join(chunks)
    squeeze = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, -15)
    body = squeeze.compress(text) + squeeze.flush(isal_zlib.Z_FULL_FLUSH)
    return Segment(chunks, body, isal_zlib.crc32(text), len(text))


def _grouped(chunks: list[bytes]) -> list[tuple[bytes, ...]]:
    """Cut a page into segments; where one ends depends on few chunks, so that a new family moves few."""
    groups, group, size = [], [], 0
    for chunk in chunks:
        group.append(chunk)
        size += len(chunk)
        if size >= SEGMENT_SIZE:
            groups.append(tuple(group))
            group, size = [], 0
    return [*groups, tuple(group)] if group else groups
