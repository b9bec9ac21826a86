"""What the compiled files of an environment need of a machine, read and not run."""

import mmap
import os
import re
import struct
from typing import BinaryIO, NamedTuple

_HEAD = 20
_MACHINES = {62: "x86_64", 183: "aarch64", 3: "i386", 40: "arm", 243: "riscv64"}
_VERSION = re.compile(rb"\0GLIBC_2\.(\d{1,2})(?:\.\d+)?(?=\0)")
_RELR = b"\0GLIBC_ABI_DT_RELR\0"
_RELR_MINOR = 36
"""Not a number, yet a libc before 2.36 does not know it."""
_GNU_PROPERTY = 0x6474E553
_ISA_NEEDED = 0xC0008002
_PROPERTIES_MAX = 4096


class ElfNeeds(NamedTuple):
    """What compiled files name of a machine."""

    machines: "list[str]"
    glibc: int
    """The newest minor version of glibc 2; 0 for none."""
    cpu: int
    """The level of x86-64 that they say they need, 1 to 4; 0: none says."""


def needs_of(top: str, passed_over: "frozenset[str] | set[str]" = frozenset()) -> ElfNeeds:
    """Of the packages below `top`; folders called one of `passed_over` are not looked into."""
    machines: set[str] = set()
    newest = level = 0
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name not in passed_over]
        for name in names:
            path = os.path.join(folder, name)
            if os.path.islink(path) or os.path.getsize(path) < 64:
                continue
            with open(path, "rb") as file:
                head = file.read(_HEAD)
                if head[:4] != b"\x7fELF":
                    continue
                machines.add(_MACHINES.get(int.from_bytes(head[18:20], "little"), "unknown"))
                newest = max(newest, _glibc(file))
                level = max(level, cpu_level(file))
    return ElfNeeds(sorted(machines), newest, level)


def _glibc(file: "BinaryIO") -> int:
    with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        minor = max((int(match[1]) for match in _VERSION.finditer(data)), default=0)
        return max(minor, _RELR_MINOR) if data.find(_RELR) >= 0 else minor


def cpu_level(file: "BinaryIO") -> int:
    """The level of x86-64 that a program or library says it needs; 0: it says nothing.

    A note of the linker (`-z x86-64-v2`); gABI of Linux, "Program Property".
    """
    file.seek(0)
    head = file.read(64)
    if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01" or head[18:20] != b"\x3e\x00":
        return 0
    (table,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    for number in range(min(count, 64)):
        file.seek(table + number * size)
        entry = file.read(56)
        if len(entry) == 56 and struct.unpack_from("<I", entry)[0] == _GNU_PROPERTY:
            (at,) = struct.unpack_from("<Q", entry, 8)
            (length,) = struct.unpack_from("<Q", entry, 32)
            file.seek(at)
            return _level_in(file.read(min(length, _PROPERTIES_MAX)))
    return 0


def _level_in(notes: bytes) -> int:
    """Properties lie behind the note's head, whose name is GNU."""
    at, bits = 16, 0
    while at + 8 <= len(notes):
        kind, size = struct.unpack_from("<II", notes, at)
        if kind == _ISA_NEEDED and size == 4 and at + 12 <= len(notes):
            (bits,) = struct.unpack_from("<I", notes, at + 8)
        at += 8 + size + -size % 8
    return min(bits.bit_length(), 4)
