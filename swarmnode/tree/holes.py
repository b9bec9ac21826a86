"""Zeros come as bytes and go to disk as holes: a sparse file comes back as one. Blocking."""

import errno
import os
from itertools import groupby
from typing import Final

_BLOCK_BYTES: Final = 1 << 16
_ZEROS: Final = bytes(_BLOCK_BYTES)
_HOLE_BYTES_MIN: Final = 1 << 12
"""The block of most file systems: a shorter hole saves nothing."""
_NO_HOLES: Final = frozenset(
    {errno.ESPIPE, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.ENOSYS}
)
"""What file systems say that take one byte after the other and nothing else."""


class SparseFile:
    """A new file, written from its begin to its end: blocks of zeros are holes where it has any."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        """Whoever opened it closes it."""
        self._has_holes: bool | None = None
        """What its file system said to the first hole; None: there was none to ask for."""
        self._ends_in_hole = False
        """What was written last is one: the size of the file is not set yet."""

    def write(self, data: bytes | memoryview) -> None:
        """The next bytes; after the last ones comes `end`."""
        view = memoryview(data)
        blocks = (view[at : at + _BLOCK_BYTES] for at in range(0, len(view), _BLOCK_BYTES))
        begin = 0
        for is_nothing, run in groupby(blocks, _is_nothing):
            end = begin + sum(map(len, run))
            self._ends_in_hole = is_nothing and self._skip(end - begin)
            if not self._ends_in_hole:
                _write(self.fd, view[begin:end])
            begin = end

    def end(self) -> None:
        """The file is as long as it was written, a hole at its end included."""
        if self._ends_in_hole:
            os.ftruncate(self.fd, os.lseek(self.fd, 0, os.SEEK_CUR))

    def _skip(self, size: int) -> bool:
        """Whether it has a hole now; else nothing was changed."""
        if self._has_holes is None:
            self._has_holes = _can_grow(self.fd, size)
        if self._has_holes:
            os.lseek(self.fd, size, os.SEEK_CUR)
        return self._has_holes


def _can_grow(fd: int, size: int) -> bool:
    """Whether it grows without a write: a write beyond the end could not be taken back."""
    try:
        os.ftruncate(fd, os.lseek(fd, 0, os.SEEK_CUR) + size)
    except OSError as error:
        if error.errno in _NO_HOLES:
            return False
        raise
    return True


def _is_nothing(block: memoryview) -> bool:
    """Two bytes tell of nearly all others that they are something, without a look at the rest."""
    if len(block) < _HOLE_BYTES_MIN or block[0] or block[-1]:
        return False
    return bytes(block) == _ZEROS[: len(block)]  # views are compared byte by byte, and slowly


def _write(fd: int, view: memoryview) -> None:
    while view:
        view = view[os.write(fd, view) :]
