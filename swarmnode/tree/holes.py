"""Zeros come as bytes and go to disk as holes: a sparse file comes back as one. Blocking."""

import os
from typing import Final

_BLOCK_BYTES: Final = 1 << 16
_ZEROS: Final = bytes(_BLOCK_BYTES)
_HOLE_BYTES_MIN: Final = 1 << 12
"""The block of most file systems: a shorter hole saves nothing."""


def write_all(fd: int, data: bytes | memoryview) -> bool:
    """Write where the file stands, blocks of zeros as holes; whether it ends in one.

    Then the file's size has to be set (`end_here`) unless more is written. It must be a new file:
    what lies under a hole would stay.
    """
    view = memoryview(data)
    begin, is_hole = 0, False
    for at in range(0, len(view), _BLOCK_BYTES):
        block = view[at : at + _BLOCK_BYTES]
        is_hole = _is_nothing(block)
        if is_hole:
            _write(fd, view[begin:at])
            begin = at + len(block)
            os.lseek(fd, len(block), os.SEEK_CUR)
    _write(fd, view[begin:])
    return is_hole


def end_here(fd: int) -> None:
    """The file is as long as it was written, the hole at its end included."""
    os.ftruncate(fd, os.lseek(fd, 0, os.SEEK_CUR))


def _is_nothing(block: memoryview) -> bool:
    """Two bytes tell of nearly all others that they are something, without a look at the rest."""
    if len(block) < _HOLE_BYTES_MIN or block[0] or block[-1]:
        return False
    return bytes(block) == _ZEROS[: len(block)]  # views are compared byte by byte, and slowly


def _write(fd: int, view: memoryview) -> None:
    while view:
        view = view[os.write(fd, view) :]
