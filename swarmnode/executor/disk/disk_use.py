"""How much disk a job uses, measured without trusting anything the job made.

Shim-side: the standard library only. Every directory is opened relative to its parent and never
through a link, so neither a rename under our feet nor a path of any length leads the walk outside.
"""

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTH_MAX = 64
"""Nobody nests deeper by accident; whoever does counts as over the limit."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
PIN = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class TooManyEntriesError(Exception):
    """The tree has more entries, or is deeper, than can be looked at."""


def disk_use(path: str, entries_max: int) -> int:
    """Bytes on disk under a folder, hard links once. Raises TooManyEntriesError."""
    seen: set[tuple[int, int]] = set()
    entries = total = 0
    top = _open_folder(path, None)
    if top is None:
        raise NotADirectoryError(errno.ENOTDIR, "there is nothing to measure", path)
    stack = [(top, _names_in(top))]
    try:
        while stack:
            folder, names = stack[-1]
            name = next(names, None)
            if name is None:
                os.close(stack.pop()[0])
                continue
            entries += 1
            info = _look(name, folder)
            if info is None:
                continue
            if (info.st_dev, info.st_ino) not in seen:
                total += info.st_blocks * 512
            if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
                seen.add((info.st_dev, info.st_ino))
            if entries > entries_max or len(stack) > DEPTH_MAX:
                raise TooManyEntriesError(path)
            if stat.S_ISDIR(info.st_mode):
                below = _open_folder(name, folder)
                if below is not None:
                    stack.append((below, _names_in(below)))
    finally:
        for folder, _ in stack:
            os.close(folder)
    return total


def unlinked_use(pids: "list[int]", device: int) -> int:
    """Bytes of deleted files that processes still hold open on that device.

    Only what /proc lets us see: a file that is mapped and closed is missed.
    """
    held: dict[int, int] = {}
    for pid in pids:
        base = f"/proc/{pid}/fd"
        for name in _list(base):
            info = _look(f"{base}/{name}", None, follow=True)
            if info is not None and info.st_nlink == 0 and info.st_dev == device:
                held[info.st_ino] = info.st_blocks * 512
    return sum(held.values())


def in_flight(pids: "list[int]") -> int:
    """Files that were sent over the processes' sockets and lie there, as Linux 5.11 tells."""
    total = 0
    for pid in pids:
        base = f"/proc/{pid}/fd"
        for name in _list(base):
            info = _look(f"{base}/{name}", None, follow=True)
            if info is not None and stat.S_ISSOCK(info.st_mode):
                total += _sent(f"/proc/{pid}/fdinfo/{name}")
    return total


def written(pids: "list[int]") -> int:
    """Bytes that processes, and children they waited for, gave to disks; 0 if nobody counts."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/io") as file:
                words = file.read().partition("\nwrite_bytes:")[2].split()
        except OSError:
            continue
        total += int(words[0]) if words else 0
    return total


def _sent(path: str) -> int:
    try:
        with open(path) as file:
            words = file.read().partition("scm_fds:")[2].split()
    except OSError:
        return 0
    return int(words[0]) if words else 0


def namespace_members(pid: int) -> "list[int]":
    """Every process in the pid namespace of `pid`, as far as /proc lets us see."""
    wanted = _namespace(str(pid))
    names = _list("/proc") if wanted else []
    return [int(name) for name in names if name.isdigit() and _namespace(name) == wanted]


def _namespace(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def _look(name: str, folder: "int | None", *, follow: bool = False) -> "os.stat_result | None":
    """None for what is gone again: the job is busy while we look."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=follow)
    except OSError:
        return None


def _names_in(folder: int) -> "Iterator[str]":
    """One after another: many names of few files need little disk, and a list of them memory."""
    try:
        with os.scandir(folder) as found:
            for entry in found:
                yield entry.name
    except OSError:
        return


def _open_folder(name: str, parent: "int | None") -> "int | None":
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent)
    except PermissionError:
        return _reopen_locked(name, parent)
    except OSError:
        return None


def _reopen_locked(name: str, parent: "int | None") -> "int | None":
    """A job may take its own rights away to hide what lies below; they are ours to give back."""
    try:
        pinned = os.open(name, PIN, dir_fd=parent)  # a swap for a link cannot lead us elsewhere
    except OSError:
        return None
    try:
        os.chmod(f"/proc/self/fd/{pinned}", 0o700)
        return os.open(f"/proc/self/fd/{pinned}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    finally:
        os.close(pinned)


def _list(folder: "int | str") -> "list[str]":
    try:
        return os.listdir(folder)
    except OSError:
        return []
