"""Datasets for tests: content that says where it is from, and jobs that see it."""

import os
import struct
from collections.abc import Sequence
from functools import partial

import trio

from swarmnode.executor.port import DataMount, JobId
from swarmnode.fuse.core import FuseCore
from swarmnode.fuse.inodes import ROOT, ContentPlace, Inode, Inodes, file_inode, folder_mode
from swarmnode.fuse.serve import FuseMount, Pieces

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


def one_file(size: int) -> Inodes:
    return Inodes(file_inode(0o644, size, ContentPlace()))


def folder_of(names: Sequence[bytes], size: int) -> Inodes:
    inodes = Inodes(Inode(folder_mode(0o755), 0, ROOT))
    for number, name in enumerate(names):
        inodes.add_file(ROOT, name, 0o644, size, ContentPlace(0, number * size))
    return inodes


class Serving:
    """Answers jobs' datasets, as a node does: `on_data(serving.serve)`."""

    def __init__(self, content: Numbered, *trees: Inodes) -> None:
        self.content, self.trees = content, trees
        self.taken_over = 0

    async def serve(
        self, _job: JobId, mounts: Sequence[DataMount], fds: Sequence[int], is_taken_over: bool
    ) -> None:
        self.taken_over += is_taken_over
        async with trio.open_nursery() as nursery:
            for fd, tree in zip(fds, self.trees, strict=True):
                mount = FuseMount(fd, FuseCore(tree, 1 << 40), self.content)
                nursery.start_soon(partial(mount.run, is_taken_over=is_taken_over))


def shown(target: str, *, is_folder: bool) -> DataMount:
    return DataMount(target, "", is_folder)


def has_fuse() -> bool:
    return os.access("/dev/fuse", os.R_OK | os.W_OK)
