"""Whole datasets on this machine's disk, where none can be shown while it arrives.

    FOLDER/KEY    a folder or a file as the dataset has it, bound read-only into sandboxes

The least recently used one leaves first, but none that a job has.
"""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Collection
from functools import partial
from pathlib import Path
from typing import Final

import trio

from p2p.workers import Workers
from swarmnode.datasets.tree import Laid
from swarmnode.errors import DataFailedError, OutputUnsafeError
from swarmnode.tree.names import Parts
from swarmnode.tree.stream import told_apart
from swarmnode.tree.unpack import Unpacker

_GIB: Final = 1024**3
_ONE: Final = b"file"
"""The name of a tree that is one file, while it comes."""
_STARTS_S: Final = 600.0
"""A job that was given one runs within this."""
_COMING: Final = "."
"""Before the name of one that is not whole yet."""
_GOING: Final = "..{}-{}"
"""The name of one that leaves: to remove a large one takes seconds."""


class Wholes:
    """What there is, by when it was used last."""

    def __init__(self, folder: Path, room: Callable[[], int], workers: Workers) -> None:
        """`room`: how many bytes all may take."""
        self._folder, self._room, self._workers = folder, room, workers
        self._sizes: dict[str, int] = {}
        """Bytes of each, the least recently used first."""
        self._given: dict[str, float] = {}
        """Those that a job was given lately, and when: it may not run yet."""
        self._turns: dict[str, trio.Lock] = {}
        """Held while that one is fetched: each once."""
        self._coming: dict[str, int] = {}
        """Bytes of those that are being fetched."""
        self._gone = 0
        """How many have left."""

    @property
    def kept_bytes(self) -> int:
        """Of all that are here."""
        return sum(self._sizes.values())

    @property
    def taken_bytes(self) -> int:
        """Those that are on their way included."""
        return self.kept_bytes + sum(self._coming.values())

    def look(self) -> None:
        """Find what a node before us has left. Blocking. Raises OSError."""
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        found = []
        for entry in os.scandir(self._folder):
            if entry.name.startswith(_COMING):
                _remove(Path(entry.path))
            else:
                found.append((entry.stat().st_mtime_ns, entry.name, _bytes_of(Path(entry.path))))
        self._sizes = {name: size for _, name, size in sorted(found)}

    async def path(
        self,
        key: str,
        laid: Laid,
        stream: Callable[[], AsyncIterator[bytes]],
        in_use: Collection[str],
    ) -> str:
        """Where all of it lies. Raises DataFailedError (no room), and what the stream raises."""
        turn = self._turns.setdefault(key, trio.Lock())
        try:
            async with turn:
                if key not in self._sizes:
                    await self._bring(key, laid, stream, in_use)
                self._sizes[key] = self._sizes.pop(key)
                self._given[key] = trio.current_time()
                return str(self._folder / key)
        finally:
            if not turn.locked():
                self._turns.pop(key, None)

    async def _bring(
        self,
        key: str,
        laid: Laid,
        stream: Callable[[], AsyncIterator[bytes]],
        in_use: Collection[str],
    ) -> None:
        await self._make_room(laid.size, in_use)
        self._coming[key] = laid.size
        try:
            await self._fetch(self._folder / key, laid, stream())
            self._sizes[key] = laid.size
        finally:
            del self._coming[key]

    async def shrink(self, bytes_max: int, in_use: Collection[str] = ()) -> None:
        """Let go of the least recently used, as long as no job has it."""
        lately_s = trio.current_time() - _STARTS_S
        self._given = {one: at_s for one, at_s in self._given.items() if at_s > lately_s}
        going = []
        for key in list(self._sizes):
            if self.taken_bytes <= bytes_max:
                break
            if key not in self._given and str(self._folder / key) not in in_use:
                del self._sizes[key]
                going.append(self._out_of_the_way(key))
        for place in going:
            await self._workers.run(partial(_remove, place))

    def _out_of_the_way(self, key: str) -> Path:
        """Where it is removed from: under its own name it may come again meanwhile."""
        self._gone += 1
        place = self._folder / _GOING.format(key, self._gone)
        with contextlib.suppress(FileNotFoundError):
            (self._folder / key).rename(place)
        return place

    async def _make_room(self, size: int, in_use: Collection[str]) -> None:
        room = self._room()
        await self.shrink(room - size, in_use)
        if self.taken_bytes + size > room:
            raise DataFailedError(
                f"it takes {size / _GIB:.1f} GiB and has to be fetched whole here, where there is "
                f"room for {max(0, room - self.taken_bytes) / _GIB:.1f} GiB"
            )

    async def _fetch(self, place: Path, laid: Laid, chunks: AsyncIterator[bytes]) -> None:
        coming = place.with_name(f"{_COMING}{place.name}")
        await self._workers.run(partial(_remove, coming))
        try:
            is_tree, chunks = await told_apart(chunks)
            if is_tree:
                await self._unpack(coming, () if laid.is_folder else (_ONE,), chunks)
            else:
                await self._write(coming, chunks)
            made = coming / os.fsdecode(_ONE) if is_tree and not laid.is_folder else coming
            await self._workers.run(partial(_readable, made))
            made.rename(place)
        except (OSError, OutputUnsafeError) as error:
            raise DataFailedError(f"it cannot be kept on this machine's disk: {error}") from error
        finally:
            with trio.CancelScope(shield=True):
                await self._workers.run(partial(_remove, coming))

    async def _unpack(self, place: Path, base: Parts, chunks: AsyncIterator[bytes]) -> None:
        await self._workers.run(partial(place.mkdir, mode=0o700))
        unpacker = Unpacker(str(place), base)
        try:
            async for chunk in chunks:
                await self._workers.run(partial(unpacker.feed, chunk))
            await self._workers.run(unpacker.finish)
        finally:
            unpacker.close()

    async def _write(self, place: Path, chunks: AsyncIterator[bytes]) -> None:
        async with await trio.open_file(place, "wb") as file:
            async for chunk in chunks:
                await file.write(chunk)


def _readable(place: Path) -> None:
    """For every user, as one of them has the job: nobody else gets to the folder it lies in."""
    for root, folders, files in os.walk(place) if place.is_dir() else [(str(place), [], [])]:
        for name in (root, *(os.path.join(root, name) for name in (*folders, *files))):
            if not os.path.islink(name):
                mode = os.stat(name).st_mode
                runs = 0o111 if os.path.isdir(name) or mode & 0o111 else 0
                os.chmod(name, (mode | 0o444 | runs) & 0o555)


def _bytes_of(place: Path) -> int:
    size = place.lstat().st_size
    for root, _, files in os.walk(place):
        size += sum(os.lstat(os.path.join(root, name)).st_size for name in files)
    return size


def _remove(place: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if place.is_dir() and not place.is_symlink():
            for root, _, _ in os.walk(place):
                os.chmod(root, 0o700)
            shutil.rmtree(place)
        else:
            place.unlink()
