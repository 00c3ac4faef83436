"""Reproducible zips: the same content gives the same bytes."""

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

Files = dict[str, bytes]
"""Contents by path, with ``/`` between folders."""

_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that zips can store
_LINUX = 3
_LEVEL = 6  # 9 takes four times as long, for one percent


def write(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a zip atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(pack(files))
    beside.replace(path)


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return the bytes of a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = _LINUX
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, files[name], compresslevel=_LEVEL)
    return buffer.getvalue()


def read(path: Path) -> Files:
    """Read all files of a zip."""
    with zipfile.ZipFile(path) as archive:
        return {
            entry.filename: archive.read(entry)
            for entry in archive.infolist()
            if not entry.is_dir()
        }
