"""Pack a folder of captures into this one: `python tests/captures/pack.py FOLDER [SENDER ...]`.

One archive a sender, without `decoded/` (for reading only). The same input gives the same bytes
with the same liblzma: names are sorted; times, owners and modes are fixed.
"""

from __future__ import annotations

import io
import lzma
import shutil
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).parent


def pack(sender: Path) -> bytes:
    """Turn one sender's folder into the bytes of its archive."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(path for path in sender.rglob("*") if path.is_file()):
            if "decoded" not in path.parts:
                _add(archive, path.relative_to(sender.parent).as_posix(), path.read_bytes())
    return lzma.compress(raw.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    archive.addfile(info, io.BytesIO(content))


def main(folder: Path, wanted: list[str]) -> None:
    """Write the archives of the wanted senders (all, if none is named) and the folder's notes."""
    for sender in sorted(path for path in folder.iterdir() if path.is_dir()):
        if not wanted or sender.name in wanted:
            archive = pack(sender)
            (HERE / f"{sender.name}.tar.xz").write_bytes(archive)
            print(f"{len(archive):>8} {sender.name}")
    for note in sorted(folder.glob("*.md")):
        shutil.copyfile(note, HERE / note.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
