"""The installed package as a wheel again, for an image that needs neither a clone nor a package index to have it.

A wheel is a zip of the package and of what its installer noted down; ours is plain Python, so what is installed here
runs anywhere. From a clone (`pip install --editable`) it has the clone's code, and the dependencies of the day it was
installed. The same package gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from base64 import urlsafe_b64encode
from importlib import metadata
from pathlib import PurePosixPath
from typing import Final

from .shipped import IN_WHEEL, PACKAGE, shipped

_DISTRIBUTION: Final = "agent-exporter"
_NOTED: Final = ("METADATA", "entry_points.txt", "licenses/LICENSE")
_WHEEL: Final = "Wheel-Version: 1.0\nGenerator: agent-exporter stack\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_LONG_AGO: Final = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can tell
_MODE: Final = 0o644 << 16


def wheel() -> tuple[str, bytes]:
    """Return the wheel's file name and its bytes; raise PackageNotFoundError if nothing is installed."""
    found = metadata.distribution(_DISTRIBUTION)
    stem = f"{_DISTRIBUTION.replace('-', '_')}-{found.version}"
    files = {**_package(), **_notes(found, f"{stem}.dist-info")}
    record = f"{stem}.dist-info/RECORD"
    lines = [f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items()]
    files[record] = "".join([*lines, f"{record},,\n"]).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.external_attr = _MODE
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return f"{stem}-py3-none-any.whl", packed.getvalue()


def _package() -> dict[str, bytes]:
    """Read the package, with what is shipped in it, wherever that lies now."""
    stack = PurePosixPath(IN_WHEEL.relative_to(PACKAGE.parent).as_posix())
    files = {str(stack / name): file.read_bytes() for name, file in shipped().items()}
    for file in sorted(PACKAGE.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts and IN_WHEEL not in file.parents:
            files[file.relative_to(PACKAGE.parent).as_posix()] = file.read_bytes()
    return files


def _notes(found: metadata.Distribution, folder: str) -> dict[str, bytes]:
    """Read what the installer noted down and a wheel begins with."""
    texts = {name: found.read_text(name) for name in _NOTED}
    noted = {f"{folder}/{name}": text.encode() for name, text in texts.items() if text is not None}
    return {**noted, f"{folder}/WHEEL": _WHEEL.encode()}


def _digest(data: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
