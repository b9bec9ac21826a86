"""A work folder that is a file system of its own: ext4 in a sparse file of the job's size.

Whatever a job does to hide what it wrote (deleted files that it holds or sends to itself, names by
the hundred thousand, holes and preallocation), its disk ends where the file system does. What the
job was given lies beneath it, outside: see overlay.py. Both together are mounted in no namespace:
the node and the shim hold them by a descriptor, the shim mounts it in a namespace that ends with
the job. So `mount` and `df` of the machine never show it, and nothing is left of it after a kill
but the file in the job's folder. Blocking; node-side.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

import msgspec

from swarmnode.executor.disk.overlay import SCRATCH, UPPER, laid_over
from swarmnode.executor.disk.work_use import IMAGE
from swarmnode.executor.kernel import syscalls as kernel
from swarmnode.limits import (
    DISK_SLACK_PARTS,
    DISK_SPARES_MAX,
    DISK_TEMPLATES_MAX,
    WALKED_ENTRIES_MAX,
)
from swarmnode.resources.mounts import read_proc

_MIB: Final = 1024 * 1024
_BLOCK: Final = 4096
_INODE: Final = 256
_INODES_LEAST: Final = 1024
_GROUP_BLOCKS: Final = 32_768  # ext4: one bitmap block each of 32,768 blocks, 128 MiB
_LOOP_GET_FREE, _LOOP_CONFIGURE = 0x4C82, 0x4C0A  # linux/loop.h
_LOOP_AUTOCLEAR: Final = 4
_TRIES: Final = 64
"""Somebody else may take the free loop device that we were told of."""
_MKFS_S: Final = 60.0
_FD_FIRST, _FD_COUNT = 4096, 4096


class WorkDisk:
    """One job's work folder, held by this process until `close`."""

    def __init__(self, fd: int, *, holds_all: bool = False) -> None:
        self._fd = _place_high(fd)
        """Of the work folder, with a number that no new process has for its own."""
        self.holds_all = holds_all
        """Of a version before: what the job was given is in there, too."""

    @property
    def root(self) -> str:
        """A path of the work folder; only this process can follow it."""
        return f"/proc/self/fd/{self._fd}/."

    def another(self) -> int:
        """A descriptor of the same folder, for a shim to mount. Raises OSError."""
        return os.dup(self._fd)

    def close(self) -> None:
        """Let go; the kernel frees the device once the job's own mount is gone, too."""
        os.close(self._fd)


class WorkDisks:
    """Makes and finds work disks. `templates` is a folder of ours."""

    def __init__(self, templates: Path) -> None:
        self._templates = templates
        """Where spares lie until a job takes them."""
        self._mkfs = shutil.which("mkfs.ext4", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        """None: no disk can be made here."""
        self._lock = threading.Lock()
        """Guards the two below, and templates while they are made: several threads call."""
        self._spares: dict[int, _Spare] | None = {}
        """By size, the least recently wanted first; None: no more are kept."""
        self._making: set[int] = set()
        """Sizes of which a spare is being made: tasks that start together want it all at once."""

    def trouble(self) -> str:
        """ "" when a work disk can be made here, tried with a small one, else why not."""
        if os.geteuid() != 0:
            return "only a node that is root can give a task a file system of its own"
        if self._mkfs is None:
            return "mkfs.ext4 is missing (apt install e2fsprogs)"
        try:
            self._try_one(self._templates / f"trial-{os.getpid()}")
        except (OSError, subprocess.SubprocessError) as exc:
            return f"a loop device with ext4 and overlayfs cannot be had here ({exc})"
        return ""

    def _try_one(self, place: Path) -> None:
        place.mkdir(parents=True)
        for left in self._templates.glob("spare-*"):  # of a node before us
            left.unlink()
        try:
            self.make(place, place, _MIB).close()
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def make(self, folder: Path, below: Path, disk_bytes: int) -> WorkDisk:
        """A new one over a folder that changes no more. Raises OSError, SubprocessError."""
        image = folder / IMAGE
        try:
            spare = self._take_spare(disk_bytes)
            disk = self._new(image, disk_bytes) if spare is None else spare.moved_to(image)
            return _over(below, disk)
        except (OSError, subprocess.SubprocessError):
            image.unlink(missing_ok=True)
            raise

    def stock(self, disk_bytes: int) -> None:
        """Have one of this size ready for the next job. Raises OSError, SubprocessError."""
        with self._lock:
            if self._spares is None or disk_bytes in (*self._spares, *self._making):
                return
            self._making.add(disk_bytes)
        try:
            # Of a name of its own: the one before may just be on its way to a job.
            image = self._templates / f"spare-{disk_bytes}-{next(_numbers)}"
            spare = _Spare(image, self._new(image, disk_bytes))
        finally:
            with self._lock:
                self._making.discard(disk_bytes)
        self._keep(spare, disk_bytes)

    def _keep(self, spare: "_Spare", disk_bytes: int) -> None:
        with self._lock:
            if self._spares is None or disk_bytes in self._spares:
                over = [spare]
            else:
                self._spares[disk_bytes] = spare
                kept = list(self._spares)[-DISK_SPARES_MAX:]
                over = [self._spares.pop(size) for size in list(self._spares) if size not in kept]
        for spare in over:
            spare.close()

    def _take_spare(self, disk_bytes: int) -> "_Spare | None":
        with self._lock:
            return (self._spares or {}).pop(disk_bytes, None)

    def let_go(self) -> None:
        """No spares any more."""
        with self._lock:
            spares, self._spares = self._spares, None
        for spare in (spares or {}).values():
            spare.close()

    def _new(self, image: Path, disk_bytes: int) -> int:
        """A descriptor of a new file system in an image."""
        try:
            self._copy_template(disk_bytes, image)
            with _new_loop(image) as device:
                return _mounted(device)
        except (OSError, subprocess.SubprocessError):
            image.unlink(missing_ok=True)
            raise

    def find(self, folder: Path, below: Path) -> WorkDisk:
        """That of a job of a node before us, of which no process lives. Raises OSError.

        Two devices of one image would ruin it, so one that is still there must be found.
        """
        image = folder / IMAGE
        with _present_loop(image) as device:
            if device:
                return _over(below, _mounted(device))
        with _new_loop(image) as device:
            return _over(below, _mounted(device))

    def _copy_template(self, disk_bytes: int, image: Path) -> None:
        template = self._templates / f"{disk_bytes}-2.ext4"  # without a number: no folders in it
        with self._lock:
            if not template.exists():
                self._make_template(template, disk_bytes)
        with open(template, "rb") as source, open(image, "wb", opener=_private) as target:
            _copy_sparse(source.fileno(), target.fileno())

    def _make_template(self, template: Path, disk_bytes: int) -> None:
        self._templates.mkdir(parents=True, exist_ok=True)
        old = sorted(self._templates.glob("*.ext4"), key=lambda path: path.stat().st_mtime)
        for path in old[: max(0, len(old) + 1 - DISK_TEMPLATES_MAX)]:
            path.unlink()
        draft = template.with_suffix(".new")
        with open(draft, "wb", opener=_private) as file:
            file.truncate(image_bytes(disk_bytes))
        self._format(draft, inodes_of(disk_bytes))
        with _new_loop(draft) as device:
            _furnish(device)
        draft.rename(template)

    def _format(self, image: Path, inodes: int) -> None:
        assert self._mkfs is not None
        subprocess.run(  # noqa: S603
            [
                self._mkfs, "-q", "-F", "-b", str(_BLOCK), "-I", str(_INODE), "-N", str(inodes),
                "-m", "0", "-O", "^has_journal,^resize_inode",
                "-E", "lazy_itable_init=1,nodiscard", str(image),
            ],
            check=True, capture_output=True, timeout=_MKFS_S,
        )  # fmt: skip


def inodes_of(disk_bytes: int) -> int:
    """As many as there can be files with a block each, and no more than we would look at."""
    return min(max(disk_bytes // _BLOCK, _INODES_LEAST), WALKED_ENTRIES_MAX)


def image_bytes(disk_bytes: int) -> int:
    """The image's size: what the job may have, a little more, and what ext4 itself needs.

    The little more tells a job that went over its limit from one that just filled it.
    """
    wanted = disk_bytes + slack_bytes(disk_bytes) + inodes_of(disk_bytes) * _INODE
    groups = wanted // (_GROUP_BLOCKS * _BLOCK) + 1
    overhead = groups * (4 * _BLOCK) + (groups // 64 + 1) * 32 * _BLOCK
    return (wanted + overhead + 2 * _MIB) // _MIB * _MIB


def slack_bytes(disk_bytes: int) -> int:
    """How far above its limit a job can get."""
    return disk_bytes // DISK_SLACK_PARTS + _MIB


def _mounted(device: str) -> int:
    return kernel.open_file_system("ext4", {"source": device}, ("nobarrier", "noinit_itable"))


def _furnish(device: str) -> None:
    """Make the two folders of a new file system; it is written whole when this returns."""
    disk = _mounted(device)
    try:
        root = f"/proc/self/fd/{disk}"
        os.rmdir(f"{root}/lost+found")
        for name in (UPPER, SCRATCH):
            os.mkdir(f"{root}/{name}", 0o700)
    finally:
        os.close(disk)


def _over(below: Path, disk: int) -> WorkDisk:
    """A file system over a folder; the descriptor is closed here."""
    try:
        if not os.path.isdir(f"/proc/self/fd/{disk}/{UPPER}"):
            return WorkDisk(os.dup(disk), holds_all=True)
        return WorkDisk(laid_over(str(below), disk))
    finally:
        os.close(disk)


class _Spare(msgspec.Struct, frozen=True):
    """A file system that is ready: to make one takes longer than a job's start should."""

    image: Path
    disk: int

    def moved_to(self, image: Path) -> int:
        """Its descriptor; it is a job's now. Raises OSError."""
        try:
            self.image.rename(image)
        except OSError:
            self.close()
            raise
        return self.disk

    def close(self) -> None:
        """Nobody wanted it."""
        os.close(self.disk)
        self.image.unlink(missing_ok=True)


_numbers = count()
"""Of descriptors and of spare images: none means another's."""


def _place_high(fd: int) -> int:
    """Move it where numbers come round late: a path made of it never means another job's."""
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FD_FIRST + next(_numbers) % _FD_COUNT)
    except OSError:  # this process may not have so many files open
        return os.dup(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _new_loop(image: Path) -> Iterator[str]:
    """A loop device of an image, that goes when nothing uses it any more. Raises OSError."""
    with open(image, "r+b") as backing, open("/dev/loop-control", "rb") as control:
        for _ in range(_TRIES):
            number = fcntl.ioctl(control, _LOOP_GET_FREE)
            with open(f"/dev/loop{number}", "r+b", buffering=0) as device:
                try:
                    fcntl.ioctl(device, _LOOP_CONFIGURE, _loop_config(backing.fileno(), number))
                except OSError as exc:
                    if exc.errno != errno.EBUSY:
                        raise
                    continue
                yield f"/dev/loop{number}"
                return
    raise OSError(errno.EBUSY, "others were quicker to take every free loop device")


def _loop_config(backing: int, number: int) -> bytes:
    """struct loop_config with its struct loop_info64."""
    name = b"swarm task"
    info = struct.pack(
        "=5Q4I64s64s32s2Q",
        *(0, 0, 0, 0, 0), *(number, 0, 0, _LOOP_AUTOCLEAR), name, b"", b"", *(0, 0),
    )  # fmt: skip
    return struct.pack("=2I", backing, 0) + info + bytes(64)


@contextlib.contextmanager
def _present_loop(image: Path) -> Iterator[str]:
    """The loop device that has this image already, held while we look; or ""."""
    for name in sorted(os.listdir("/sys/block")):
        if name.startswith("loop") and _backing(name) == str(image):
            with contextlib.suppress(OSError), open(f"/dev/{name}", "rb", buffering=0):
                if _backing(name) == str(image):  # it can go no more
                    yield f"/dev/{name}"
                    return
    yield ""


def _backing(name: str) -> str:
    try:
        return read_proc(f"/sys/block/{name}/loop/backing_file").removesuffix("\n")
    except OSError:
        return ""


def _copy_sparse(source: int, target: int) -> None:
    """Copy what is there, leave the rest a hole."""
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    at = 0
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
        except OSError:  # ENXIO: holes to the end
            return
        end = os.lseek(source, at, os.SEEK_HOLE)
        while at < end:
            piece = os.pread(source, min(end - at, _MIB), at)
            at += os.pwrite(target, piece, at)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
