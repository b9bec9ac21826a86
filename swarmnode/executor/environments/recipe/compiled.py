"""Compiled modules of Python that go on being good where their times are lost.

A compiled module names the time and the size of its source, and is compiled again where these are
others (Python's docs, "Cached bytecode invalidation"). Objects hold no times: each task would
compile whatever it imports of an image, into its own memory. So every file is laid out with one
time, and the modules that were good in the image name that. One whose source a task changes is
compiled again, as ever; those that go by a hash stay as they are.
"""

import os
import stat
import struct

LAID_OUT_S = 315619200
"""The time of every file of an environment on a machine: 2 January 1980, UTC."""
_CACHE = b"__pycache__"
_HEAD = 16
_PLACES = ((8, bytes(4)), (4, b""))
"""Where time and size stand and what is between them and the magic number: CPython 3.7, 3.3."""
_WORD = 0xFFFFFFFF


def settle(root: bytes) -> int:
    """Those below a folder whose sources have the times that they had; how many. Raises OSError."""
    count = 0
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith(b".pyc"):
                count += _settle(os.path.join(folder, name), _source_of(folder, name))
    return count


def _source_of(folder: bytes, name: bytes) -> bytes:
    if os.path.basename(folder) == _CACHE:  # x.cpython-311.opt-1.pyc
        return os.path.join(os.path.dirname(folder), name.partition(b".")[0] + b".py")
    return os.path.join(folder, name[:-1])


def _settle(path: bytes, source: bytes) -> bool:
    try:
        of_source = os.stat(source)
    except OSError:  # no source, or a link that leads nowhere
        return False
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return False
    facts = (int(of_source.st_mtime_ns // 10**9) & _WORD, of_source.st_size & _WORD)
    told = struct.pack("<II", *facts)
    with open(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "r+b", buffering=0) as file:
        head = file.read(_HEAD)
        for place, between in _PLACES:
            if head[4 : place + len(told)] == between + told:
                file.seek(place)
                file.write(struct.pack("<I", LAID_OUT_S))
                return True
    return False
