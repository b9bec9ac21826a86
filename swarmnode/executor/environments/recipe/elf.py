"""What the compiled files of an environment need of a machine, read and not run."""

import mmap
import os
import re
from typing import BinaryIO

_HEAD = 20
_MACHINES = {62: "x86_64", 183: "aarch64", 3: "i386", 40: "arm", 243: "riscv64"}
_VERSION = re.compile(rb"\0GLIBC_2\.(\d{1,2})(?:\.\d+)?(?=\0)")
_RELR = b"\0GLIBC_ABI_DT_RELR\0"
_RELR_MINOR = 36
"""Not a number, yet a libc before 2.36 does not know it."""


def needs_of(
    top: str, passed_over: "frozenset[str] | set[str]" = frozenset()
) -> "tuple[list[str], int]":
    """(machines, newest minor version of glibc 2) that the packages below `top` name.

    Folders called one of `passed_over` are not looked into.
    """
    machines: set[str] = set()
    newest = 0
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
    return sorted(machines), newest


def _glibc(file: "BinaryIO") -> int:
    with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        minor = max((int(match[1]) for match in _VERSION.finditer(data)), default=0)
        return max(minor, _RELR_MINOR) if data.find(_RELR) >= 0 else minor
