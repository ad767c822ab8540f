"""What real agents and SDKs sent, read from the archives in this folder.

One `<name>.tar.xz` holds every protocol of one sender; README.md and FRAMEWORKS.md say how each was made
and what it holds, `pack.py` makes the archives from a folder of captures. Nothing is unpacked to disk.

    capture = captures.load("claude-code-2.1.329/http-protobuf")
    for payload in capture.payloads: ...
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Payload:
    """One request as it was received.

    `body` has its Content-Encoding still on; for gRPC it is the message without the 5-byte frame.
    `session` names the scripted session, "" where a capture has none; `elapsed` is seconds since the start.
    """

    seq: int
    session: str
    signal: str  # metrics, logs, traces
    path: str  # of the URL, or the gRPC method
    content_type: str
    content_encoding: str  # "" if the body is not compressed
    chunked: bool  # over HTTP, without a content length
    elapsed: float
    body: bytes


@dataclass(frozen=True, slots=True)
class Capture:
    """All that one sender sent over one protocol, in order of arrival.

    `expected` is the scripted truth, `observed` an independent decode of what the payloads say.
    """

    name: str
    protocol: str  # grpc, http-protobuf, http-json
    payloads: tuple[Payload, ...]
    expected: dict[str, Any] | None
    observed: dict[str, Any] | None


@cache
def names() -> tuple[str, ...]:
    """List what can be loaded, as `sender/run`."""
    return tuple(
        sorted({str(PurePosixPath(sender, run)) for sender in senders() for run in _runs(sender)}),
    )


def senders() -> tuple[str, ...]:
    """List the archives."""
    return tuple(sorted(path.name.removesuffix(".tar.xz") for path in FOLDER.glob("*.tar.xz")))


@cache
def load(name: str) -> Capture:
    """Read one capture; the result is shared between callers, so do not change its dicts."""
    sender, _, run = name.partition("/")
    files = _runs(sender)[run]
    return Capture(
        name=name,
        protocol=next(protocol for protocol in ("grpc", "http-json", "http-protobuf") if run.startswith(protocol)),
        payloads=tuple(_payload(files, file) for file in sorted(files) if file.endswith(".meta.json")),
        expected=_json(files, "expected.json"),
        observed=_json(files, "observed.json"),
    )


@cache
def _runs(sender: str) -> dict[str, dict[str, bytes]]:
    """Read an archive: run, then file name, then content."""
    runs: dict[str, dict[str, bytes]] = {}
    with tarfile.open(FOLDER / f"{sender}.tar.xz") as archive:
        for member in archive:
            parts = PurePosixPath(member.name).parts
            content = archive.extractfile(member)
            if len(parts) == 3 and content is not None:
                runs.setdefault(parts[1], {})[parts[2]] = content.read()
    return runs


def _payload(files: dict[str, bytes], file: str) -> Payload:
    meta = json.loads(files[file])
    stem = file.removesuffix(".meta.json")
    return Payload(
        seq=meta["seq"],
        session=meta.get("session", ""),
        signal=stem.rpartition("-")[2],
        path=meta["path"],
        content_type=meta["content_type"],
        content_encoding=meta["content_encoding"] or "",
        chunked=bool(meta.get("chunked")) or meta.get("transfer_encoding") == "chunked",
        elapsed=meta["elapsed_s"],
        body=files[f"{stem}.bin"],
    )


def _json(files: dict[str, bytes], file: str) -> dict[str, Any] | None:
    return json.loads(files[file]) if file in files else None
