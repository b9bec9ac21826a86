"""System calls that Python 3.11 has no function for, and the numbers that go with them.

Imported late by the shim: ctypes costs four milliseconds. `typing` would cost ten more.
https://man7.org/linux/man-pages/man2/open_tree.2.html, fsopen.2.html, move_mount.2.html (Linux 5.2)
https://man7.org/linux/man-pages/man4/loop.4.html (LOOP_CONFIGURE: Linux 5.8)
"""

import ctypes
import os
import struct

AT_FDCWD = -100
_AT_RECURSIVE, _AT_EMPTY_PATH = 0x8000, 0x1000
_CLONE_NEWNS = 0x20000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_SLAVE = 2, 4, 8, 0x4000, 0x80000
# the same on x86_64 and aarch64
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_OPENAT2, _NO_SYMLINKS = 437, 4
_OPEN_TREE_CLONE = 1
_FROM_EMPTY_PATH = 4
_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV, _ATTR_NOATIME = 1, 2, 4, 0x10

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: "int | bytes | None") -> int:
    typed = [
        ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments
    ]
    result: int = getattr(_libc, name)(*typed)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def call(number: int, *arguments: "int | bytes | None") -> int:
    """A system call by its number. Raises OSError."""
    return _call("syscall", number, *arguments)


def unshare(namespaces: int) -> None:
    """Be in new namespaces of these kinds (CLONE_NEW...). Raises OSError."""
    _call("unshare", namespaces)


def new_mount_namespace() -> None:
    """What this process mounts from here on is seen by it and its children only. Raises OSError.

    What the machine unmounts is let go of here, too: a task of three days must not hold a disk.
    """
    unshare(_CLONE_NEWNS)
    _call("mount", b"none", b"/", None, _MS_REC | _MS_SLAVE, None)


def cover(folder: str, options: str) -> None:
    """Mount an empty tmpfs. Raises OSError."""
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _call("mount", b"tmpfs", os.fsencode(folder), b"tmpfs", flags, options.encode())


def clone_tree(path: str) -> int:
    """A descriptor of a copy of what is mounted at a path, mounted nowhere.

    No part of the path may be a link: what was looked at before is what is meant, and nobody who
    can move a folder above it can put another one there by a link. Raises OSError (ELOOP).
    """
    wanted = struct.pack("3Q", os.O_PATH | os.O_CLOEXEC, 0, _NO_SYMLINKS)
    place = _call("syscall", _OPENAT2, AT_FDCWD, os.fsencode(path), wanted, len(wanted))
    try:
        how = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE | _AT_EMPTY_PATH
        return _call("syscall", _OPEN_TREE, place, b"", how)
    finally:
        os.close(place)


def attach(tree: int, target: str) -> None:
    """Mount what a descriptor holds. Raises OSError."""
    _call("syscall", _MOVE_MOUNT, tree, b"", AT_FDCWD, os.fsencode(target), _FROM_EMPTY_PATH)


def open_file_system(
    kind: str,
    settings: "dict[str, str]",
    flags: "tuple[str, ...]" = (),
    *,
    is_read_only: bool = False,
) -> int:
    """A descriptor of a file system, which no mount namespace holds. Raises OSError.

    It goes when the last descriptor of it is closed, however that comes about. Two of one device
    are one file system.
    """
    context = _call("syscall", _FSOPEN, kind.encode(), _CLOEXEC)
    try:
        _configure(context, settings, flags)
        attributes = _ATTR_NOSUID | _ATTR_NODEV | _ATTR_NOATIME | is_read_only * _ATTR_RDONLY
        return _call("syscall", _FSMOUNT, context, _CLOEXEC, attributes)
    finally:
        os.close(context)


def _configure(context: int, settings: "dict[str, str]", flags: "tuple[str, ...]") -> None:
    for key, value in settings.items():
        _call("syscall", _FSCONFIG, context, _SET_STRING, key.encode(), os.fsencode(value), 0)
    for flag in flags:
        _call("syscall", _FSCONFIG, context, _SET_FLAG, flag.encode(), None, 0)
    _call("syscall", _FSCONFIG, context, _CREATE, None, None, 0)


def sync_file_system(fd: int) -> None:
    """Raises OSError, also for a write that failed since the descriptor was opened."""
    _call("syncfs", fd)
