"""Native libraries: what they are for, and what of them only debuggers read."""

import re
import struct
from typing import NamedTuple

MACHINES = {62: "x86_64", 183: "aarch64"}
_MAGIC = b"\x7fELF"
_LITTLE_64 = b"\x02\x01"


class Library(NamedTuple):
    """machine: as in wheels; None: another one. glibc: the newest version that it asks for."""

    machine: str | None
    glibc: tuple[int, int]


def is_elf(content: bytes) -> bool:
    """Whether that is a native file of Linux."""
    return content.startswith(_MAGIC)


def library(content: bytes) -> Library:
    """What an ELF file is for."""
    if content[4:6] != _LITTLE_64:
        return Library(None, (0, 0))
    (machine,) = struct.unpack_from("<H", content, 18)
    versions = re.findall(rb"\0GLIBC_(\d+)\.(\d+)(?=[.\d]*\0)", content)
    newest = max(((int(major), int(minor)) for major, minor in versions), default=(0, 0))
    return Library(MACHINES.get(machine), newest)


def without_debugging(content: bytes) -> bytes:
    """An ELF file without what stands behind the last byte that a program loads.

    That is where linkers put symbols, information for debuggers and the list of sections. Who loads
    a library reads its segments only. A file that has no such tail is returned as it is.
    """
    if not is_elf(content) or content[4:6] != _LITTLE_64:
        return content
    (offset,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    end = offset + size * count
    for number in range(count):
        segment = struct.unpack_from("<IIQQQQ", content, offset + number * size)
        end = max(end, segment[2] + segment[5])
    (sections,) = struct.unpack_from("<Q", content, 40)
    if sections < end:
        return content
    kept = bytearray(content[:end])
    struct.pack_into("<Q", kept, 40, 0)  # no list of sections,
    struct.pack_into("<HH", kept, 60, 0, 0)  # none in it, and none that has their names
    return bytes(kept)
