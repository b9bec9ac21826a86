"""Gives the blocks in the middle of a file back to the file system: fallocate(2) by ctypes."""

import ctypes
import errno
import os

_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_REFUSED = (errno.EOPNOTSUPP, errno.ENOSYS)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def punch_hole(fd: int, offset: int, size: int) -> bool:
    """Free these bytes, which then read as zeros. False where the file system cannot.

    Raises OSError for anything else.
    """
    while _libc.fallocate(fd, _KEEP_SIZE | _PUNCH_HOLE, offset, size):
        number = ctypes.get_errno()
        if number in _REFUSED:
            return False
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return True
