"""Content encodings: what is read, what is refused, and how much memory a bomb gets."""

import gzip
import io
import tracemalloc
import zlib

import pytest
import zstandard

from agent_exporter.model import Malformed
from agent_exporter.receive.coding import CODINGS, MEMBERS, TooLarge, UnknownEncoding, decompress

BODY = bytes(range(256)) * 40
MIB = 1 << 20
LIMIT = 64 * MIB


def _raw_deflate(body):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def _streamed_zstd(body):
    """Compress without the size in the frame's header."""
    out = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(out, closefd=False) as writer:
        writer.write(body)
    return out.getvalue()


PACKERS = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("GZIP ", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", _raw_deflate),
    ("zstd", zstandard.ZstdCompressor().compress),
    ("zstd", _streamed_zstd),
]
REAL = [pair for pair in PACKERS if pair[0] in CODINGS]


def test_identity():
    """An encoding of identity changes nothing."""
    assert decompress("identity", BODY, LIMIT) == BODY


@pytest.mark.parametrize(("encoding", "pack"), PACKERS)
def test_reads(encoding, pack):
    """Every encoding of the table is undone, in any case."""
    assert decompress(encoding, pack(BODY), LIMIT) == BODY


@pytest.mark.parametrize(("encoding", "pack"), REAL)
def test_exact_limit(encoding, pack):
    """The limit itself is allowed, one byte more is not."""
    assert decompress(encoding, pack(BODY), len(BODY)) == BODY
    with pytest.raises(TooLarge, match=str(len(BODY) - 1)):
        decompress(encoding, pack(BODY), len(BODY) - 1)


@pytest.mark.parametrize("encoding", CODINGS)
def test_compressed_size_is_limited(encoding):
    """A body that is too large as it came is not even looked at."""
    with pytest.raises(TooLarge):
        decompress(encoding, b"x" * 11, 10)


@pytest.mark.parametrize("encoding", CODINGS)
def test_nothing_is_nothing(encoding):
    """An empty body is an empty request in every encoding."""
    assert decompress(encoding, b"", LIMIT) == b""


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "", "snappy"])
def test_unknown(encoding):
    """An encoding that is not in the table is refused with the table."""
    with pytest.raises(UnknownEncoding, match="identity, gzip, x-gzip, deflate, zstd"):
        decompress(encoding, BODY, LIMIT)


@pytest.mark.parametrize(("encoding", "pack"), REAL)
def test_cut_short(encoding, pack):
    """A stream that ends too early is Malformed, wherever it ends."""
    whole = pack(BODY)
    for size in {1, 2, 5, len(whole) // 2, len(whole) - 4, len(whole) - 1}:
        with pytest.raises(Malformed):
            decompress(encoding, whole[:size], LIMIT)


@pytest.mark.parametrize(("encoding", "pack"), REAL)
@pytest.mark.parametrize("garbage", [b"\0", b"garbage after the end"])
def test_trailing_garbage(encoding, pack, garbage):
    """Bytes after the end are Malformed."""
    with pytest.raises(Malformed):
        decompress(encoding, pack(BODY) + garbage, LIMIT)


@pytest.mark.parametrize("encoding", [name for name in CODINGS if name != "identity"])
def test_garbage(encoding):
    """What was never compressed is Malformed."""
    with pytest.raises(Malformed):
        decompress(encoding, b"\xff" * 100, LIMIT)


def test_checksum():
    """A wrong checksum is Malformed."""
    body = bytearray(gzip.compress(BODY))
    body[-6] ^= 1
    with pytest.raises(Malformed):
        decompress("gzip", bytes(body), LIMIT)


@pytest.mark.parametrize(("encoding", "pack"), [pair for pair in REAL if pair[0] != "deflate"])
def test_members(encoding, pack):
    """Several members in a row are one body, also when a piece of input ends between them."""
    noise = zlib.compress(BODY) * 50  # does not shrink, so that members are longer than a piece
    parts = [BODY, noise, b"", b"tail"]

    assert decompress(encoding, b"".join(map(pack, parts)), LIMIT) == b"".join(parts)


@pytest.mark.parametrize(("encoding", "pack"), [pair for pair in REAL if pair[0] != "deflate"])
def test_many_members(encoding, pack):
    """A body of empty members is refused after a while."""
    with pytest.raises(Malformed, match=str(MEMBERS)):
        decompress(encoding, pack(b"") * (MEMBERS + 2), LIMIT)


@pytest.mark.parametrize(("encoding", "pack"), REAL)
def test_bomb(encoding, pack):
    """A bomb costs the limit and one piece, not what it would become."""
    limit = MIB
    bomb = pack(bytes(96 * MIB))
    assert len(bomb) < limit
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            decompress(encoding, bomb, limit)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < limit + 3 * 8 * MIB


def test_zstd_window():
    """A frame that wants a window beyond what the format's rules ask of us is refused, not allocated."""
    packer = zstandard.ZstdCompressor(level=22).compressobj()
    body = packer.compress(BODY) + packer.flush()
    with pytest.raises(Malformed):
        decompress("zstd", body, LIMIT)
