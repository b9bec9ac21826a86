"""Folders and files of this machine as what the pool keeps: trees go up, trees come down.

What is read here is checked as it is read: a file that changes meanwhile ends the command and
leaves nothing behind. What comes down appears whole or not at all.
"""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from swarmnode.cli import exits
from swarmnode.cli.client import Source
from swarmnode.cli.files.local import Steady, cannot_write, standard_input

if TYPE_CHECKING:
    from swarmnode.tree.scan import Scan


class Pieces(io.RawIOBase):
    """A stream of pieces as the file that an upload reads."""

    def __init__(self, pieces: Iterator[bytes], size: int | None = None) -> None:
        """`size` is about how much comes, where that is known."""
        super().__init__()
        self._pieces, self.size = pieces, size

    def read(self, size: int = -1) -> bytes:
        """The next piece, of whatever size it has."""
        return next(self._pieces, b"")


def is_tree(path: Path) -> bool:
    """Whether a plain stream of bytes would lose something: a folder, or a program's right to run.

    Raises CliError for what is neither file nor folder, and for what cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise cannot_read(path, error) from error
    if stat.S_ISDIR(mode):
        return True
    if not stat.S_ISREG(mode):
        raise exits.CliError(
            f"{shown(path)} is neither a file nor a folder: give - and pipe it in", exits.USAGE
        )
    return bool(mode & 0o111)


def cannot_read(path: Path, error: OSError) -> exits.CliError:
    """The error that says which file of this machine is at fault."""
    return exits.CliError(f"{shown(path)} cannot be read: {error.strerror}", exits.USAGE)


def shown(path: Path | str | bytes) -> str:
    """A path for people and records: text without loss."""
    from swarmnode.tree.names import text_of

    return text_of(os.fsencode(path))


def base_name(path: Path) -> str:
    """What a file or folder is called, as text; of `.` and `..` too."""
    return shown(Path(path.name if path.name not in ("", "..") else path.resolve().name))


@contextmanager
def source(path: Path) -> Iterator[Source]:
    """What goes up for a path that is no tree: a file's bytes, stdin for `-`. Raises CliError."""
    if str(path) == "-":
        yield standard_input()
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise cannot_read(path, error) from error
    with file:
        yield Steady(file, path, shown(path))


def check_whole(looked: "Scan", path: Path) -> None:
    """Raises CliError for what no tree can hold."""
    if looked.left_out:
        more = f" and {len(looked.left_out) - 1} more" if len(looked.left_out) > 1 else ""
        remedy = "only files, folders and links can be kept: take it out of there"
        raise exits.CliError(f"{shown(path)}: {looked.left_out[0]}{more}: {remedy}", exits.USAGE)


def local(pieces: Iterator[bytes], where: str = "") -> Iterator[bytes]:
    """The stream; what breaks it here is this machine's fault, and says so."""
    from swarmnode.errors import OutputUnsafeError

    try:
        yield from pieces
    except OutputUnsafeError as error:
        again = "nothing was stored: try again when it has come to rest"
        raise exits.CliError(f"{where}{error}: {again}") from error
    except OSError as error:
        name = "" if error.filename is None else f"{shown(error.filename)} "
        raise exits.CliError(
            f"{where}{name}cannot be read: {error.strerror}", exits.USAGE
        ) from error


def begins_as_tree(chunks: Iterator[bytes]) -> tuple[bool, Iterator[bytes]]:
    """Whether what comes is a folder, and the same stream from its beginning."""
    from swarmnode.tree.format import MAGIC

    held = b""
    for chunk in chunks:
        held += chunk
        if len(held) >= len(MAGIC):
            break

    def whole() -> Iterator[bytes]:
        if held:
            yield held
        yield from chunks

    return held.startswith(MAGIC), whole()


def unpack_into(
    chunks: Iterator[bytes], folder: Path, base: tuple[bytes, ...], called: str = ""
) -> tuple[int, int]:
    """Make a tree at `base` in a folder that is there: names and bytes.

    Raises CliError, of what is `called` so, or of the folder.
    """
    from swarmnode.errors import OutputUnsafeError

    try:
        return _unpacked(chunks, folder, base)
    except OutputUnsafeError as error:
        raise exits.CliError(f"{shown(folder)}: {error}") from error
    except OSError as error:
        raise cannot_write(called or shown(folder), error) from error


def _unpacked(chunks: Iterator[bytes], folder: Path, base: tuple[bytes, ...]) -> tuple[int, int]:
    from swarmnode.tree.unpack import Unpacker

    unpacker = Unpacker(str(folder.absolute()), base)
    try:
        for chunk in chunks:
            unpacker.feed(chunk)
        index = unpacker.finish()
    finally:
        unpacker.close()
    return index.files, index.content_bytes


def write_tree(chunks: Iterator[bytes], target: Path) -> tuple[int, int]:
    """Make a tree's folder (or file) at `target`, which is not there yet: names and bytes.

    It appears when every byte was verified. Raises CliError.
    """
    part = target.with_name(f".{target.name[:200]}.part{os.getpid()}")
    try:
        base = (os.fsencode(part.name),)
        made = unpack_into(chunks, target.absolute().parent, base, shown(target))
        part.rename(target)
    except OSError as error:
        raise cannot_write(shown(target), error) from error
    finally:
        remove(part)
    return made


def remove(path: Path) -> None:
    """Take away what is left of an attempt, of any depth; nothing when nothing is there."""
    import shutil

    if path.is_dir() and not path.is_symlink():
        for place, folders, _ in os.walk(path):
            for name in folders:
                inner = Path(place, name)
                if not inner.is_symlink():
                    inner.chmod(0o700)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
