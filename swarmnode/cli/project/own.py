"""What we keep in a project: what its tasks brought, and what is in its files."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swarmnode.cli.files import folders
from swarmnode.cli.files.local import cannot_write
from swarmnode.cli.files.upload import FileReader
from swarmnode.cli.talk import here

if TYPE_CHECKING:
    from swarmnode.tree.scan import Found

OWN_FOLDER: Final = ".swarm"
"""Ours in a project: never sent, and ignored by git."""
SEEN_MIN: Final = 64
"""Fewer files are read in no time: nothing is left in their folder for that."""
_READ_ONLY: Final = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_own(root: Path) -> None:
    """Have our folder in a project. Raises OSError."""
    (root / OWN_FOLDER).mkdir(exist_ok=True)
    with own_folder(root) as own, suppress(FileExistsError):
        file = os.open(".gitignore", _NEW, 0o666, dir_fd=own)
        try:
            os.write(file, b"*\n")
        except OSError:
            os.unlink(".gitignore", dir_fd=own)  # an empty one would stay, and git take all of it
            raise
        finally:
            os.close(file)


def own_or_refuse(root: Path) -> Path:
    """Our folder in a project, made where it lacks. Raises CliError, also where another user made
    it, and we could only read it."""
    own = root / OWN_FOLDER
    try:
        make_own(root)
        if not _may_write(own):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise cannot_write(folders.shown(own), error) from error
    return own


def own_or_elsewhere(root: Path) -> Path:
    """The same; of a project that is only to be read, a folder of this user's cache for its path.

    Raises CliError where that cannot be written either.
    """
    try:
        make_own(root)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise cannot_write(folders.shown(root / OWN_FOLDER), error) from error
    if _may_write(root / OWN_FOLDER):
        return root / OWN_FOLDER
    place = _elsewhere(root)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folders.shown(place), error) from error
    return place


def own_place(root: Path) -> Path:
    """Where `own_or_elsewhere` has it, which may not be there yet."""
    own = root / OWN_FOLDER
    there = own if own.exists() else root
    return own if _may_write(there) else _elsewhere(root)


def _may_write(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=True)


def _elsewhere(root: Path) -> Path:
    path = blake2b(os.fsencode(root.absolute()), digest_size=16, person=b"swarm-project")
    return here().cache / "projects" / path.hexdigest()


@contextmanager
def own_folder(root: Path) -> Iterator[int]:
    """Our folder itself, and not what a link of that name leads to. Raises OSError."""
    own = os.open(root / OWN_FOLDER, _FOLDER)
    try:
        yield own
    finally:
        os.close(own)


def reader_in(root: Path) -> FileReader:
    """Reads files of a project; what was read before and has not changed is known.

    A log that grows meanwhile is read as long as it was at the look.
    """

    def hashes(at: str, files: "Sequence[Found]", /) -> Iterator[bytes]:
        from swarmnode.tree.pack import hashes_of

        if len(files) < SEEN_MIN:
            yield from hashes_of(at, files, may_grow=True)
            return
        with ExitStack() as stack:
            try:
                make_own(root)
                own = stack.enter_context(own_folder(root))
            except OSError:  # a folder that is only to be read: all of it is read each time
                yield from hashes_of(at, files, may_grow=True)
            else:
                yield from _known_or_read(own, at, files)

    return hashes


def _known_or_read(own: int, root: str, files: "Sequence[Found]") -> Iterator[bytes]:
    from swarmnode.project.seen import SeenFiles, now_ns
    from swarmnode.tree.pack import hashes_of

    seen, began_ns = SeenFiles(own), now_ns()
    known = [seen.hash_of(file) for file in files]
    unread = [file for file, content in zip(files, known, strict=True) if content is None]
    read = hashes_of(root, unread, may_grow=True)
    hashes = [content or next(read) for content in known]
    with suppress(OSError):  # a full disk: the next time all of it is read again
        seen.write(files, hashes, began_ns)
    yield from hashes
