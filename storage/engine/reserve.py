"""Room set aside on the disk: on one that is full LMDB cannot even delete, for it copies pages.

A file of some MiB lies beside the store. It goes when something that frees space finds the disk
full, and comes back once there is room again.
"""

import os
from pathlib import Path

from storage.limits import RESERVE_BYTES

FILE = "reserve"


class Reserve:
    """The file in a store's folder. Its methods write: call them in a thread, or at the start."""

    def __init__(self, folder: Path, size: int = RESERVE_BYTES) -> None:
        self._file, self._size = folder / FILE, size

    def fill(self) -> None:
        """Set the room aside unless it is, or the disk is nearly full: next time."""
        try:
            if self._file.exists() and self._file.stat().st_size >= self._size:
                return
            disk = os.statvfs(self._file.parent)
            if disk.f_bavail * disk.f_frsize < 4 * self._size:
                return
            fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, self._size)
            finally:
                os.close(fd)
        except OSError:
            self.give()  # half of it is nothing to count on

    def give(self) -> bool:
        """Give the room back to the disk; False when there is none left to give."""
        try:
            self._file.unlink()
        except OSError:
            return False
        return True
