"""Small files of `key=value` entries, NUL after each: what node and shim tell each other.

Not JSON because the shim must start in milliseconds, and because a value may hold any byte that
an argument may hold. A file appears whole or not at all.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def write_pairs(path: str, pairs: "Sequence[tuple[str, str]]", *, durable: bool) -> None:
    """Replace the file at once; with `durable` it survives a power cut after this returns.

    ValueError: something has a NUL byte. Whoever runs a job has looked for such before; with one
    in an argument the shim would obey whoever wrote it.
    """
    if odd := [key for key, value in pairs if "\0" in key or "=" in key or "\0" in value]:
        raise ValueError(f"{odd[0]!r} would be read as more than one entry")
    data = b"".join(
        key.encode() + b"=" + value.encode(errors="surrogateescape") + b"\0" for key, value in pairs
    )
    temporary = path + ".new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write_all(fd, data)
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    if durable:
        sync_folder(os.path.dirname(path))


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def read_pairs(path: str) -> "list[tuple[str, str]]":
    """The entries in order. Raises FileNotFoundError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b""
        while piece := os.read(fd, 1 << 20):
            data += piece
    finally:
        os.close(fd)
    pairs = []
    for entry in data.split(b"\0")[:-1]:
        key, _, value = entry.partition(b"=")
        pairs.append((key.decode(), value.decode(errors="surrogateescape")))
    return pairs


def sync_folder(path: str) -> None:
    """Make renames in the folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
