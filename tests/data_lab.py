"""Datasets for tests: content that says where it is from, and jobs that see it."""

import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from p2p.workers import ThreadWorkers
from swarmnode.datasets.service import DataDisk, DatasetService
from swarmnode.executor.port import DataMount, DataReaders, JobId
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox.capability import ExecutorConfig
from swarmnode.fuse.core import FuseCore
from swarmnode.fuse.inodes import ROOT, ContentPlace, Inode, Inodes, file_inode, folder_mode
from swarmnode.fuse.opens import Opens
from swarmnode.fuse.passthrough import Notes, is_allowed
from swarmnode.fuse.serve import FuseMount, Pieces
from testnet.sim.memory_objects import MemoryObjects

needs_fuse_reason = "/dev/fuse cannot be opened here: modprobe fuse, or chmod 666 /dev/fuse"


def numbered(offset: int, size: int) -> bytes:
    """Every eight bytes say where they are."""
    first, last = offset // 8, -(-(offset + size) // 8)
    data = struct.pack(f"!{last - first}Q", *range(first * 8, last * 8, 8))
    return data[offset - first * 8 :][:size]


class Numbered:
    """Content of any length; with `is_held` nothing comes."""

    def __init__(self, *, is_held: bool = False) -> None:
        self.go = trio.Event()
        self.asked = trio.Event()
        if not is_held:
            self.go.set()

    def ready(self, place: ContentPlace, size: int) -> Pieces | None:
        return None

    async def read(self, place: ContentPlace, size: int) -> Pieces:
        self.asked.set()
        await self.go.wait()
        return [numbered(place.offset, size)]

    def whole(self, place: ContentPlace) -> int | None:
        return None

    def is_settling(self, place: ContentPlace) -> bool:
        return False

    async def settle(self, place: ContentPlace) -> None:
        raise AssertionError("nothing comes")

    def passed(self, place: ContentPlace) -> None:
        raise AssertionError("nothing is whole")


class Filed(Numbered):
    """What `one_file` shows first is a file here, for the kernel to read; part 1 comes by `go`."""

    def __init__(self, file: str, size: int, *, is_held: bool = False) -> None:
        super().__init__(is_held=is_held)
        self.file, self.reads, self.handed_over = file, 0, 0
        Path(file).write_bytes(numbered(0, size))

    async def read(self, place: ContentPlace, size: int) -> Pieces:
        self.reads += place.is_all
        return await super().read(place, size)

    def whole(self, place: ContentPlace) -> int | None:
        return os.open(self.file, os.O_RDONLY | os.O_CLOEXEC) if place.is_all else None

    def passed(self, place: ContentPlace) -> None:
        assert place.is_all
        self.handed_over += 1


def one_file(size: int, part: int = 0) -> Inodes:
    place = ContentPlace(part, is_all=not part)
    return Inodes(file_inode(0o644, size, place))


def folder_of(names: Sequence[bytes], size: int) -> Inodes:
    inodes = Inodes(Inode(folder_mode(0o755), 0, ROOT))
    for number, name in enumerate(names):
        inodes.add_file(ROOT, name, 0o644, size, ContentPlace(0, number * size))
    return inodes


class Serving:
    """Answers jobs' datasets, as a node does: `on_data(serving.serve)`."""

    def __init__(self, content: Numbered, *trees: Inodes, is_opened: bool = False) -> None:
        self.content, self.trees, self.is_opened = content, trees, is_opened
        self.taken_over = 0

    async def serve(
        self,
        _job: JobId,
        readers: DataReaders,
    ) -> None:
        os.close(readers.web)
        is_taken_over = readers.is_taken_over
        self.taken_over += is_taken_over
        async with trio.open_nursery() as nursery:
            for device, tree in zip(readers.devices, self.trees, strict=True):
                notes = Notes(device.notes)
                passed = notes.read() if is_taken_over else None
                core = FuseCore(tree, 1 << 40, Opens(passed, is_wanted=self.is_opened))
                mount = FuseMount(device.fd, core, self.content, notes)
                nursery.start_soon(partial(mount.run, is_taken_over=is_taken_over))


@asynccontextmanager
async def machine(
    folder: Path,
    objects: MemoryObjects,
    shrinks: list[Callable[[int], Awaitable[None]]] | None = None,
) -> AsyncIterator[tuple[ProcessExecutor, DatasetService]]:
    """An executor, and datasets of a pool as a node has them; `shrinks` gets what makes room."""
    workers = ThreadWorkers()
    executor = ProcessExecutor(folder / "x", ExecutorConfig(), {}, workers)

    def lend(kept: Callable[[], int], shrink: Callable[[int], Awaitable[None]]) -> None:
        executor.share_disk(kept, shrink)
        if shrinks is not None:
            shrinks.append(shrink)

    disk = DataDisk(folder / "data", executor.room_for_data, lend)
    datasets = DatasetService(executor, objects, workers, disk)
    async with trio.open_nursery() as nursery:
        await nursery.start(executor.run)
        await nursery.start(datasets.run)
        yield executor, datasets
        nursery.cancel_scope.cancel()


def shown(target: str, *, is_folder: bool) -> DataMount:
    return DataMount(target, "", is_folder)


def has_fuse() -> bool:
    return os.access("/dev/fuse", os.R_OK | os.W_OK)


def passes_through() -> bool:
    """Whether the kernel reads files here that it was handed over."""
    return has_fuse() and is_allowed()


needs_passthrough_reason = "the kernel is handed no files here: Linux 6.9 and root of the machine"
