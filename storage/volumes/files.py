"""The volumes themselves. Every method blocks and may run in any thread.

<folder>/id             the id of the tables that index this folder
<folder>/0000002a.seg   extents: shard | leaf hashes | zeros up to the next block
"""

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from p2p.errors import DISK_FULL
from storage.errors import StoreFailedError, StoreFullError
from storage.limits import OPEN_AGAIN_S, OPEN_TRIES_MAX, SEGMENT_FILES_OPEN_MAX
from storage.volumes.punch import punch_hole
from storage.volumes.space import Extent

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
SUFFIX = ".seg"


class _Open:
    """A descriptor that is closed when the last thread that reads from it lets go."""

    def __init__(self, path: Path, flags: int) -> None:
        self.fd = -1
        self.fd = os.open(path, flags | os.O_RDWR | os.O_CLOEXEC, 0o600)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class VolumeFiles:
    """Reads, writes, frees. Raises StoreFullError, and StoreFailedError for a failing disk."""

    def __init__(self, folder: Path, punch: Callable[[int, int, int], bool] = punch_hole) -> None:
        self._folder = folder
        self._punch = punch
        """(descriptor, offset, bytes): False where the file system cannot."""
        self._lock = threading.Lock()
        """Held while `_open` changes: many threads work here."""
        self._open: OrderedDict[int, _Open] = OrderedDict()
        """By number, the one used last at the end; at most SEGMENT_FILES_OPEN_MAX."""
        self._unnamed = False
        """A file may have been made whose name is not durable yet."""
        self._naming = threading.Lock()
        """Held while names are made durable: `_unnamed` is False by then already."""
        self._rest = threading.Event()
        """Never set: waited for between two tries."""

    def path(self, number: int) -> Path:
        """Where a volume lies."""
        return self._folder / f"{number:08x}{SUFFIX}"

    def numbers(self) -> list[int]:
        """All volumes there are, ascending."""
        return sorted(int(path.stem, 16) for path in self._folder.glob(f"*{SUFFIX}"))

    def write(self, extent: Extent, parts: Sequence[bytes]) -> None:
        """Write `parts` one after the other; not durable before `sync`."""
        views = [memoryview(part) for part in parts]
        at = extent.offset
        try:
            opened = self._opened(extent.file, create=True)
            while views:
                done = os.pwritev(opened.fd, views, at)
                at += done
                while views and done >= len(views[0]):
                    done -= len(views.pop(0))
                if views:
                    views[0] = views[0][done:]
        except OSError as error:
            raise self._failure(error) from error

    def read(self, number: int, offset: int, size: int) -> bytes:
        """What is there: less than `size` bytes when the file is shorter or gone."""
        try:
            return os.pread(self._opened(number).fd, size, offset)
        except FileNotFoundError:
            return b""
        except OSError as error:
            if error.errno == errno.EIO:  # a bad sector costs one shard, not the store
                return b""
            raise self._failure(error) from error

    def sync(self, numbers: Iterable[int]) -> None:
        """Make all that was written to these files durable, their names included."""
        try:
            for number in numbers:
                os.fdatasync(self._opened(number).fd)
            with self._naming:  # whose file another thread is just naming waits for that
                self._name()
        except OSError as error:
            raise self._failure(error) from error

    def _name(self) -> None:
        if not self._unnamed:
            return
        self._unnamed = False  # before: what is named meanwhile is named anew
        try:
            self.sync_folder()
        except OSError:
            self._unnamed = True
            raise

    def sync_folder(self) -> None:
        """Make the names in the folder durable. Raises OSError."""
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def punch(self, extents: Iterable[Extent]) -> list[Extent]:
        """Give the blocks back to the disk; those the file system would not punch out."""
        return [extent for extent in extents if not self._punch_one(extent)]

    def cut(self, number: int, end: int) -> int:
        """Drop what lies past `end`; the bytes the file still takes on the disk."""
        try:
            opened = self._opened(number)
            if os.fstat(opened.fd).st_size > end:
                os.ftruncate(opened.fd, end)
            return os.fstat(opened.fd).st_blocks * 512
        except OSError as error:
            raise self._failure(error) from error

    def remove(self, numbers: Iterable[int]) -> None:
        """Remove empty files. A name that comes back after a crash is removed at the next start."""
        for number in numbers:
            self.path(number).unlink(missing_ok=True)
            with self._lock:
                self._open.pop(number, None)

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            self._open.clear()

    def free_bytes(self) -> int:
        """Bytes free on this disk for us."""
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize

    def _opened(self, number: int, *, create: bool = False) -> _Open:
        """Open a file, or find it open; a lack of descriptors is waited for, for a while."""
        for _ in range(OPEN_TRIES_MAX):
            try:
                return self._open_one(number, create)
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._rest.wait(OPEN_AGAIN_S)
        return self._open_one(number, create)

    def _open_one(self, number: int, create: bool) -> _Open:
        with self._lock:
            opened = self._open.get(number)
            if opened is None:
                opened = self._open[number] = _Open(self.path(number), os.O_CREAT if create else 0)
                self._unnamed = self._unnamed or create
            self._open.move_to_end(number)
            if len(self._open) > SEGMENT_FILES_OPEN_MAX:
                self._open.popitem(last=False)
            return opened

    def _punch_one(self, extent: Extent) -> bool:
        try:
            return self._punch(self._opened(extent.file).fd, extent.offset, extent.size)
        except FileNotFoundError:
            return True  # never written, or removed whole meanwhile
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> StoreFullError | StoreFailedError:
        if error.errno in DISK_FULL:
            return StoreFullError(f"{self._folder}: the disk is full")
        if error.errno in _EXHAUSTED:
            return StoreFullError(
                f"{self._folder}: {error.strerror}: raise the limit (ulimit -n, LimitNOFILE=)"
            )
        return StoreFailedError(
            f"{self._folder} cannot be read or written ({error}): see the kernel's log (dmesg) for "
            "its disk, mend that, and start the node again"
        )
