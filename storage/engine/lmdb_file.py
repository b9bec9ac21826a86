"""Opens an LMDB store, or makes one: never a damaged or foreign one as if it were new and empty.

A new store is made complete beside its place and renamed into it, so that whatever lies there
without our mark is not ours to overwrite.
"""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lmdb

from p2p.errors import DISK_FULL
from storage.engine.lmdb_records import Handle, get_record, seal
from storage.errors import TABLES_REMEDY as REMEDY
from storage.errors import RecordCorruptError, StoreFailedError
from storage.limits import COMMIT_BYTES_MAX, TABLES_MAX, TABLES_READERS_MAX

MARK_TABLE = "about this store"
MARK_KEY, MARK = b"format", b"swarm tables 1"
UNWRITTEN_BYTES_MAX = 16 * COMMIT_BYTES_MAX
"""Far more than some commits that freed all they wrote can leave at the end of the file."""

DATA_FILE, LOCK_FILE = "data.mdb", "lock.mdb"
LOCK_FILE_BYTES = 128 + 64 * TABLES_READERS_MAX
"""As LMDB makes it; where it is longer, LMDB takes it for one with more readers."""


def open_store(path: Path, map_bytes: int) -> tuple[Any, dict[str, Handle]]:
    """The environment in folder `path` and a handle of every table. Raises StoreFailedError."""
    try:
        if not path.exists() or not any(path.iterdir()):
            _create(path, map_bytes)
        if not (path / DATA_FILE).is_file():
            raise StoreFailedError(
                f"{path} is not a store of ours, {DATA_FILE} is missing: {REMEDY}"
            )
        environment = _open(path, map_bytes)
    except OSError as error:
        is_full = error.errno in DISK_FULL
        remedy = "free some space" if is_full else "make it readable and writable for this user"
        raise StoreFailedError(f"{path} cannot be opened ({error}): {remedy}") from error
    with ExitStack() as undo:
        undo.callback(environment.close)
        _mend_size(path, environment)  # first: the others read pages
        handles = _handles(environment)
        _check_mark(path, environment, handles)
        environment.reader_check()
        undo.pop_all()
    return environment, handles


def sync_folder(path: Path) -> None:
    """Make names in a folder durable. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _create(path: Path, map_bytes: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.mkdir(mode=0o700, exist_ok=True)
    for leftover in (DATA_FILE, LOCK_FILE):  # of a first start that was cut off
        (fresh / leftover).unlink(missing_ok=True)
    environment = _open(fresh, map_bytes)
    try:
        with environment.begin(write=True) as txn:
            table = environment.open_db(MARK_TABLE.encode(), txn=txn)
            txn.put(MARK_KEY, seal(MARK_TABLE, MARK_KEY, MARK), db=table)
    except lmdb.Error as error:
        raise StoreFailedError(f"{path} cannot be made ({error}): free some space") from error
    finally:
        environment.close()
    sync_folder(fresh)
    fresh.rename(path)
    sync_folder(path.parent)


def _open(path: Path, map_bytes: int) -> Any:  # noqa: ANN401 - lmdb has no types
    _make_room_for_locks(path / LOCK_FILE)
    try:
        return lmdb.open(
            str(path),
            map_size=map_bytes,
            max_dbs=TABLES_MAX,
            max_readers=TABLES_READERS_MAX,
            mode=0o600,
            # sync and metasync stay on, writemap stays off: anything else loses acknowledged
            # commits, or turns a full disk into a dead process
        )
    except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError) as error:
        raise StoreFailedError(f"{path} is damaged or foreign ({error}): {REMEDY}") from error
    except lmdb.Error as error:
        raise StoreFailedError(
            f"{path} cannot be opened ({error}): give this user the rights to it, and room"
        ) from error


def _make_room_for_locks(path: Path) -> None:
    """LMDB writes this file by a map of it: on a full disk that would end the process (SIGBUS)."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.posix_fallocate(fd, 0, LOCK_FILE_BYTES)
    finally:
        os.close(fd)


def _handles(environment: Any) -> dict[str, Handle]:  # noqa: ANN401
    try:
        with environment.begin() as txn:
            names = [bytes(name) for name in txn.cursor().iternext(keys=True, values=False)]
        return {name.decode(): environment.open_db(name, create=False) for name in names}
    except (lmdb.Error, UnicodeDecodeError) as error:
        where = environment.path()
        raise StoreFailedError(f"{where} is damaged or foreign ({error}): {REMEDY}") from error


def _check_mark(path: Path, environment: Any, handles: dict[str, Handle]) -> None:  # noqa: ANN401
    try:
        with environment.begin(buffers=True) as txn:
            table = handles.get(MARK_TABLE)
            mark = table and get_record(txn, table, str(path), MARK_TABLE, MARK_KEY)
    except RecordCorruptError as error:
        raise StoreFailedError(f"{path} is damaged (its mark fails its hash): {REMEDY}") from error
    if mark is None:
        raise StoreFailedError(f"{path} is another program's store: {REMEDY}")
    if mark != MARK:
        raise StoreFailedError(f"{path} is not a store of this version ({mark!r}): {REMEDY}")


def _mend_size(path: Path, environment: Any) -> None:  # noqa: ANN401
    """A read past the end of the file would end the process (SIGBUS), so there is none.

    LMDB leaves its newest pages unwritten when they are freed within one commit; a file that is
    shorter than these can be was cut. What lies in the zeros that fill it up fails its hash.
    """
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    size = (path / DATA_FILE).stat().st_size
    if needed - size > UNWRITTEN_BYTES_MAX:
        raise StoreFailedError(f"{path / DATA_FILE} was cut short: {REMEDY}")
    if size < needed:
        os.truncate(path / DATA_FILE, needed)
