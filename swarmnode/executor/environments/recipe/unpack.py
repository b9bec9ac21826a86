"""Applies the layers of an image to a folder, without trusting them.

Every step is taken from the descriptor of a folder, and no link is followed but by our own hand,
inside the root: a link that one layer makes leads no later entry out. Files are the caller's own;
devices, owners, set-user-id bits and attributes are nobody's to give here.
"""

import os
import stat
from hashlib import blake2b

from tarball import DEVICE, FILE, FOLDER, LINK, NAME, RefusedError, Tar, TarMember  # type: ignore[import-not-found]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_HIDES = b".wh."
_OPAQUE = b".wh..wh..opq"
_LINKS_MAX = 40
_DEPTH_MAX = 60
_FOLDER_BYTES_MAX = 2800
"""Of a folder's whole name: an object holds names of 3,072 bytes, and 64 folders deep."""


class NoFolderError(RefusedError):  # type: ignore[misc]
    """What a name lies in is not there, or is none."""


class Made:
    """The names of one layer and the folders above them, by a hash each: names may be long."""

    def __init__(self) -> None:
        self._hashes: "set[bytes]" = set()

    def add(self, parts: "tuple[bytes, ...]") -> int:
        """How many are new."""
        before, above = len(self._hashes), b""
        for part in parts:
            above = _hash_of(above, part)
            self._hashes.add(above)
        return len(self._hashes) - before

    def drop(self, parts: "tuple[bytes, ...]") -> None:
        """The layer has it no more."""
        self._hashes.discard(self._of(parts))

    def has(self, parts: "tuple[bytes, ...]") -> bool:
        """Whether the layer has it itself."""
        return self._of(parts) in self._hashes

    def _of(self, parts: "tuple[bytes, ...]") -> bytes:
        above = b""
        for part in parts:
            above = _hash_of(above, part)
        return above


def _hash_of(above: bytes, part: bytes) -> bytes:
    return blake2b(above + part, digest_size=16).digest()


def apply(root: int, tar: "Tar", budget: "list[int]") -> int:
    """One layer; `budget` is how many names all of them may have. Raises RefusedError.

    Returns how many names of devices and pipes were dropped.
    """
    made, devices, dropped = Made(), Made(), 0
    opaque = []
    for member in tar.members():
        parts = _parts(member.name)
        is_mark = bool(parts) and parts[-1].startswith(_HIDES)
        # folders that it lies in are made, too
        budget[0] -= max(1, 0 if is_mark else made.add(parts))
        if budget[0] < 0:
            raise RefusedError("the layers have more names than an image may have")
        if not parts:
            continue
        if parts[-1] == _OPAQUE:
            opaque.append(parts[:-1])
        elif is_mark:
            _hide(root, parts, made)
        elif _is_device(member, devices):
            devices.add(parts)
            dropped += 1
        else:
            devices.drop(parts)
            _put(root, parts, member, tar)
    for parts in opaque:  # it is about the layers below, wherever it stands in this one
        folder = _down_or_none(root, parts)
        if folder is None:
            continue
        for name in os.listdir(folder):
            _prune(folder, os.fsencode(name), (*parts, os.fsencode(name)), made)
        os.close(folder)
    return dropped


def _is_device(member: "TarMember", devices: "Made") -> bool:
    """One, or one more name of one that this layer has; a name is of its own layer's files."""
    if member.kind == NAME:
        return devices.has(_parts(member.target))
    return bool(member.kind == DEVICE)


def _parts(name: bytes) -> "tuple[bytes, ...]":
    parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
    if b".." in parts:
        raise RefusedError("a name leads out of the image: %r" % name[:200])
    if len(parts) > _DEPTH_MAX or any(len(part) > 255 for part in parts):
        raise RefusedError("a name is too long or too deep: %r" % name[:200])
    return parts


def _down_or_none(root: int, parts: "tuple[bytes, ...]") -> "int | None":
    """None where there is no such folder: nothing of it can be taken away."""
    try:
        return down(root, parts)
    except NoFolderError:
        return None


def down(root: int, parts: "tuple[bytes, ...]", *, make: bool = False) -> int:
    """A descriptor of a folder; links on the way lead where they would if root were all there is.

    Raises RefusedError.
    """
    names: "list[bytes]" = []
    stack, todo, links = [os.dup(root)], list(reversed(parts)), 0
    try:
        while todo:
            part = todo.pop()
            if part in (b"", b".", b".."):
                if part == b".." and names:
                    os.close(stack.pop())
                    names.pop()
                continue
            mode = _mode(stack[-1], part)
            if mode is not None and stat.S_ISLNK(mode):
                links += 1
                if links > _LINKS_MAX:
                    raise RefusedError("links lead nowhere: %r" % b"/".join(parts)[:200])
                target = os.fsencode(os.readlink(part, dir_fd=stack[-1]))
                while target.startswith(b"/") and names:
                    os.close(stack.pop())
                    names.pop()
                todo += reversed(target.split(b"/"))
                continue
            names.append(part)
            _check_place(names)  # where it really is: links lead to longer names than an entry has
            stack.append(_entered(stack[-1], part, mode, make=make))
        return os.dup(stack[-1])
    finally:
        for folder in stack:
            os.close(folder)


def _check_place(names: "list[bytes]") -> None:
    if len(names) > _DEPTH_MAX or sum(map(len, names)) + len(names) > _FOLDER_BYTES_MAX:
        raise RefusedError("a name is too long or too deep: %r" % b"/".join(names)[:200])


def _entered(above: int, name: bytes, mode: "int | None", *, make: bool) -> int:
    if mode is None and make:
        os.mkdir(name, 0o755, dir_fd=above)
    elif mode is None or not stat.S_ISDIR(mode):
        raise NoFolderError("%r is no folder, and something lies in it" % name)
    return os.open(name, _FOLDER, dir_fd=above)


def _mode(folder: int, name: bytes) -> "int | None":
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def _remove(folder: int, name: bytes) -> None:
    mode = _mode(folder, name)
    if mode is not None and stat.S_ISDIR(mode):
        _remove_below(folder, name)
    elif mode is not None:
        os.unlink(name, dir_fd=folder)


def _remove_below(folder: int, name: bytes) -> None:
    inside = os.open(name, _FOLDER, dir_fd=folder)
    for one in os.listdir(inside):
        _remove(inside, os.fsencode(one))
    os.close(inside)
    os.rmdir(name, dir_fd=folder)


def _hide(root: int, parts: "tuple[bytes, ...]", made: "Made") -> None:
    """What a layer below has, wherever it stands in this one; what this one has itself stays."""
    name = parts[-1][len(_HIDES) :]
    if name in (b"", b".", b".."):
        raise RefusedError("a layer takes away %r" % name)
    folder = _down_or_none(root, parts[:-1])
    if folder is not None:
        _prune(folder, name, (*parts[:-1], name), made)
        os.close(folder)


def _prune(folder: int, name: bytes, parts: "tuple[bytes, ...]", made: "Made") -> None:
    if not made.has(parts):
        _remove(folder, name)
    elif stat.S_ISDIR(_mode(folder, name) or 0):
        inside = os.open(name, _FOLDER, dir_fd=folder)
        for one in os.listdir(inside):
            _prune(inside, os.fsencode(one), (*parts, os.fsencode(one)), made)
        os.close(inside)


def _put(root: int, parts: "tuple[bytes, ...]", member: "TarMember", tar: "Tar") -> None:
    folder, name = down(root, parts[:-1], make=True), parts[-1]
    try:
        if member.kind == FOLDER:
            if not stat.S_ISDIR(_mode(folder, name) or 0):
                _remove(folder, name)  # a link to a folder, too
                os.mkdir(name, 0o755, dir_fd=folder)
        elif member.kind == FILE:
            _remove(folder, name)  # never into a file that has another name
            file = os.open(name, _NEW, 0o600, dir_fd=folder)
            with os.fdopen(file, "wb") as opened:
                for piece in tar.pieces():
                    opened.write(piece)
                os.fchmod(file, 0o755 if member.mode & 0o111 else 0o644)
                opened.flush()
                os.utime(file, (member.time_s, member.time_s))  # compiled.py goes by it
        elif member.kind == LINK:
            _remove(folder, name)
            os.symlink(member.target, name, dir_fd=folder)
        else:
            _name(root, folder, parts, member)
    finally:
        os.close(folder)


def _name(root: int, folder: int, parts: "tuple[bytes, ...]", member: "TarMember") -> None:
    """One more name of a file that is there; a link is named itself."""
    other = _parts(member.target)
    if not other or other == parts:
        return
    above = down(root, other[:-1])
    try:
        mode = _mode(above, other[-1])
        if mode is None or stat.S_ISDIR(mode):
            raise RefusedError("%r is one more name of no file" % member.name[:200])
        if os.path.samestat(
            os.stat(other[-1], dir_fd=above, follow_symlinks=False),
            _stat_or(folder, parts[-1], os.fstat(folder)),
        ):
            return
        _remove(folder, parts[-1])
        os.link(other[-1], parts[-1], src_dir_fd=above, dst_dir_fd=folder, follow_symlinks=False)
    finally:
        os.close(above)


def _stat_or(folder: int, name: bytes, other: "os.stat_result") -> "os.stat_result":
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return other
