"""Environments that were built for the pool, laid out on this machine once for all tasks.

    trees/ID/      one environment, whole
    marks/ID       it is whole; how many bytes it has, and by its time when it was used last
    files/ab/HASH  every file once; a tree holds hard links to it (a file is never changed)

What is begun has another name until it is whole and on the disk, so a process that dies at any
point leaves nothing that is taken for an environment. Nobody but the node reaches the folder: tasks
are shown one tree, read-only. Blocking.
"""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Collection, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final

from swarmnode.errors import ExecutorUnavailableError
from swarmnode.executor.environments.recipe.compiled import LAID_OUT_S
from swarmnode.executor.kernel.syscalls import sync_file_system

ENVIRONMENTS_HERE_MAX: Final = 64
"""Of those that others bring: the advert of the machine names them all."""
_PART: Final = ".part-"
_SPARE_BYTES: Final = 256 << 20
"""Of the disk, what stays free beside an environment that comes."""
_READ_BYTES: Final = 1 << 20


class EnvironmentStore:
    """Of one executor; one thread at a time changes it."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        """`bytes_max` is what all of them may take; those used last stay."""
        self._trees, self._marks, self._files = (
            folder / name for name in ("trees", "marks", "files")
        )
        self.folder, self._bytes_max = folder, bytes_max
        self._whole: set[str] = set()
        """Ids of those that are here."""
        self._coming: dict[str, int] = {}
        """Bytes of those that are being filled."""

    def open(self) -> None:
        """Find what is here; what an earlier life had begun goes."""
        for path in (self.folder, self._trees, self._marks, self._files):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        marked = {path.name for path in self._marks.iterdir()}
        there = {path.name for path in self._trees.iterdir()}
        for name in there - marked:
            _remove(self._trees / name)
        for name in marked - there:
            (self._marks / name).unlink()
        for left in self._files.glob(f"*/{_PART}*"):
            left.unlink()
        self._drop_spare()  # they may not have been on the disk when the power went
        self._whole = marked & there

    def names(self) -> tuple[str, ...]:
        """Ids of all that are here."""
        return tuple(sorted(self._whole))

    def has(self, name: str) -> bool:
        """Whether it is here, whole."""
        return name in self._whole

    def use(self, name: str) -> Path:
        """Its folder; noted as used now."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._marks / name)
        return self._trees / name

    def begin(self, name: str) -> Path:
        """An empty folder to fill; what was begun before goes."""
        part = self._trees / f"{_PART}{name}"
        _remove(part)
        part.mkdir()
        part.chmod(0o755)
        return part

    def check_room(self, name: str, size: int) -> None:
        """Raises ExecutorUnavailableError where so much is too much, before most of it is here.

        Others that are being filled may still write all that they have.
        """
        others = sum(size for other, size in self._coming.items() if other != name)
        free = max(0, shutil.disk_usage(self.folder).free - others)
        if size > min(self._bytes_max, free - _SPARE_BYTES):
            raise ExecutorUnavailableError(
                f"the environment has {size >> 20} MiB; {self._bytes_max >> 20} MiB may be taken "
                f"by environments here, {free >> 20} are free"
            )
        self._coming[name] = size

    def drop_part(self, name: str) -> None:
        """It will not be filled."""
        self._coming.pop(name, None)
        _remove(self._trees / f"{_PART}{name}")
        if name not in self._whole:  # in its place already, and its mark could not be written
            _remove(self._trees / name)

    def finish(self, name: str, used: Collection[str]) -> None:
        """What was filled is whole: share its files, have it on the disk, make it known.

        Others that are not in `used` go, the one used least recently first, where room is short.
        Raises ExecutorUnavailableError when it is larger than what is not in use.
        """
        part = self._trees / f"{_PART}{name}"
        paths = list(_files_in(part))
        size = sum(path.stat().st_size for path in paths)
        self._make_room(size, used)  # before anything is shared: what is refused leaves nothing
        for path in paths:
            self._share(path)
        with _opened(part) as folder:
            sync_file_system(folder)
        mark = self._marks / f"{_PART}{name}"
        mark.write_text(f"{size}\n")  # before anything is in its place: the disk may be full
        part.rename(self._trees / name)
        with _opened(self._trees) as trees, _opened(self._marks) as marks:
            os.fsync(trees)
            mark.rename(self._marks / name)
            os.fsync(marks)
        self._whole.add(name)
        self._coming.pop(name, None)

    def _share(self, path: Path) -> None:
        """Have one copy of a file under all its names."""
        info = path.stat()
        runs = bool(info.st_mode & 0o111)
        # A hard link shares its rights. Who may write to an image is its owner in a copy of his.
        path.chmod(0o755 if runs else 0o644)
        os.utime(path, (LAID_OUT_S, LAID_OUT_S))  # what builds leave goes by it
        digest = _digest_of(path)
        kept = self._files / digest[:2] / f"{digest}{'.x' if runs else ''}"
        try:
            _link(path, kept)
        except FileExistsError:
            if kept.samefile(path):  # two names of one file: renaming one to the other does nothing
                return
            part = path.with_name(f"{_PART}link")
            try:
                os.link(kept, part)
            except OSError as error:
                if error.errno != errno.EMLINK:  # ext4 has 65,000 names for a file: it stays a copy
                    raise
            else:
                part.rename(path)
                os.utime(path, (LAID_OUT_S, LAID_OUT_S))  # of a node before it may have another

    def _make_room(self, size: int, used: Collection[str]) -> None:
        sizes = {name: self._size_of(name) for name in self._whole}
        for name in sorted(self._whole - set(used), key=self._used_at):
            if self._fits(size, sizes.values()):
                break
            self.remove(name)
            del sizes[name]
        if not self._fits(size, sizes.values()):
            raise ExecutorUnavailableError(
                f"the environment has {size >> 20} MiB; of the {self._bytes_max >> 20} MiB that "
                f"environments may take here {sum(sizes.values()) >> 20} are in use"
            )

    def _fits(self, size: int, others: Collection[int]) -> bool:
        has_place = len(others) < ENVIRONMENTS_HERE_MAX
        return has_place and size + sum(others) <= self._bytes_max

    def _size_of(self, name: str) -> int:
        text = (self._marks / name).read_text()
        return int(text) if text.strip().isdigit() else 0

    def _used_at(self, name: str) -> tuple[float, str]:
        return (self._marks / name).stat().st_mtime, name

    def remove(self, name: str) -> None:
        """Give it up, and every file that no other has."""
        self._whole.discard(name)
        with contextlib.suppress(FileNotFoundError):
            (self._marks / name).unlink()
        tree = self._trees / name
        if tree.exists():
            gone = self._trees / f"{_PART}{name}"
            _remove(gone)
            tree.rename(gone)
            _remove(gone)
        self._drop_spare()

    def _drop_spare(self) -> None:
        """Files that no tree has."""
        for path in self._files.glob("*/*"):
            if path.stat().st_nlink == 1:
                path.unlink()


def _link(path: Path, kept: Path) -> None:
    try:
        os.link(path, kept)
    except FileNotFoundError:
        kept.parent.mkdir(mode=0o700, exist_ok=True)
        os.link(path, kept)


def _files_in(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where, name)
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


def _digest_of(path: Path) -> str:
    digest = blake2b(digest_size=20)
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _remove(folder: Path) -> None:
    """Whatever rights a build gave its folders."""
    if not folder.exists():
        return
    for where, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(where, name)
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder)
