"""Files of this machine that a command reads or writes: every failure says that it is theirs.

What goes up is looked at before and after: a file that changed meanwhile is not stored torn. What
comes down appears whole or not at all, and replaces regular files only.
"""

import errno
import os
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from p2p.errors import DISK_FULL
from swarmnode.cli import exits

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_OPEN_FILES: Final = Path("/proc/self/fd")
_PART_BYTES_MAX: Final = 200
"""Of the file's name in that of its draft: a name may have 255 bytes."""


class ChangedError(exits.CliError):
    """A file was written, replaced or cut while it was read."""


class Steady:
    """A file that goes up: what is read of it is one state of it, or `read` raises ChangedError."""

    def __init__(self, file: IO[bytes], path: Path, shown: str) -> None:
        self._file, self._path, self._shown = file, path, shown
        self._stream = Readable(file, shown)
        self._before = _state(os.fstat(file.fileno()))
        self._read = 0
        self.size = os.fstat(file.fileno()).st_size

    def read(self, size: int = -1) -> bytes:
        """The next bytes. Raises CliError for what cannot be read, ChangedError at the end."""
        data = self._stream.read(size)
        self._read += len(data)
        if not data or self._read > self.size > 0:
            self._check()
        return data

    def _check(self) -> None:
        try:
            now = {_state(os.fstat(self._file.fileno())), _state(os.stat(self._path))}
        except OSError:  # removed, or out of reach: it is another one now
            now = set()
        # A size of 0 may be the kernel's way not to know one (/proc).
        if now != {self._before} or self._read != (self.size or self._read):
            raise ChangedError(
                f"{self._shown} changed while it was read: nothing was stored; put it again when "
                "it has come to rest, or pipe it in (obj put -)"
            )


class Readable:
    """A stream of this machine whose errors are its own."""

    def __init__(self, file: IO[bytes], shown: str) -> None:
        self._file, self._shown = file, shown

    def read(self, size: int = -1) -> bytes:
        """The next bytes. Raises CliError."""
        try:
            return _read(self._file, size)
        except (OSError, ValueError) as error:  # ValueError: stdin is closed
            why = getattr(error, "strerror", None) or str(error)
            raise exits.CliError(f"{self._shown} cannot be read: {why}", exits.USAGE) from error


def _read(file: IO[bytes], size: int) -> bytes:
    return file.read(size)


def standard_input() -> Readable:
    """What is piped in. Raises CliError when nothing can be."""
    if sys.stdin is None:
        raise exits.CliError("standard input is closed: name a file", exits.USAGE)
    return Readable(sys.stdin.buffer, "standard input")


def _state(info: os.stat_result) -> tuple[int, int, int, int]:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


def check_target(file: Path, shown: str, *, force: bool) -> None:
    """Raises CliError unless `file` is free, or a regular file that may be replaced."""
    try:
        mode = file.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_write(shown, error) from error
    if stat.S_ISLNK(mode):
        where = os.fsencode(os.readlink(file)).decode(errors="replace")
        remedy = f"is a link to {where}: give that name, or remove the link"
        raise exits.CliError(f"{shown} {remedy}", exits.USAGE)
    _check_kind(mode, shown)
    if not force:
        raise exits.CliError(f"{shown} exists: choose another name or --force", exits.USAGE)


def _check_kind(mode: int, shown: str) -> None:
    """Raises CliError for what no file may replace."""
    for is_kind, kind in _KINDS:
        if is_kind(mode):
            remedy = "choose another name" if kind == "a folder" else "give - and redirect to it"
            raise exits.CliError(
                f"{shown} exists and is {kind}, which is never replaced: {remedy}", exits.USAGE
            )


def write_whole(chunks: Iterable[bytes], file: Path, shown: str) -> int:
    """Write a file that appears when every chunk has come; its bytes. Raises CliError."""
    from swarmnode.tree.holes import SparseFile

    name = os.fsdecode(os.fsencode(file.name)[:_PART_BYTES_MAX])
    part = file.with_name(f".{name}.part{os.getpid()}")
    size, is_ours = 0, False
    try:
        unnamed = _unnamed_in(file.parent)
        with part.open("xb") if unnamed is None else open(unnamed, "wb") as out:
            is_ours = unnamed is None
            sparse = SparseFile(out.fileno())
            for chunk in chunks:
                sparse.write(chunk)
                size += len(chunk)
            sparse.end()
            os.fsync(out.fileno())
            if unnamed is not None:
                os.link(_OPEN_FILES / str(unnamed), part, src_dir_fd=unnamed)
                is_ours = True
        part.replace(file)
        is_ours = False
    except OSError as error:
        raise cannot_write(shown, error) from error
    finally:
        if is_ours:
            with suppress(OSError):
                part.unlink()
    return size


def _unnamed_in(folder: Path) -> int | None:
    """A file without a name, so that nothing is left of it if we are killed; None: not there."""
    if not _OPEN_FILES.is_dir():
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    except OSError:  # no such kind on this file system; any other fault shows with a name, too
        return None


def write_out(chunks: Iterable[bytes]) -> int:
    """Write to standard output; its bytes. Raises ReaderGoneError, and OSError as it comes."""
    size = 0
    if sys.stdout is None:
        raise exits.CliError("standard output is closed", exits.USAGE)
    try:
        for chunk in chunks:
            size += sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        raise exits.ReaderGoneError from error
    return size


def cannot_write(shown: str, error: OSError) -> exits.CliError:
    """The error that says which file of this machine is at fault."""
    full = error.errno in (*DISK_FULL, errno.EFBIG)
    remedy = "free some space there" if full else "choose another place"
    return exits.CliError(f"cannot write {shown}: {error.strerror}: {remedy}")
