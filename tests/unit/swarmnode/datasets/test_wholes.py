"""Where datasets cannot be shown while they arrive they are complete, and no more than fits."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing

from p2p.ids import PeerId
from p2p.workers import InlineWorkers
from storage.facade import ReadCap
from storage.ids import Address
from storage.manifests.capability import text_of_cap
from swarmnode.datasets.service import DataDisk, DatasetService
from swarmnode.errors import DataFailedError
from swarmnode.executor.fake.executor import FakeExecutor
from swarmnode.executor.port import JobId
from swarmnode.tasks.choices import DataWay
from swarmnode.tree.format import EntryKind, TreeEntry, write_index
from swarmnode.tree.pack import packed
from swarmnode.tree.scan import entries_of, scan
from testnet.sim.memory_objects import MemoryObjects, Pool
from tests.executor_lab import pieces

JOB = JobId("t.1")


class NoFuse(FakeExecutor):
    """Bound, but not answered; jobs have what is in `used`."""

    used: frozenset[str] = frozenset()

    def data_way(self) -> tuple[DataWay, str]:
        return DataWay.WHOLE, "nothing can be mounted here"

    def sources_in_use(self) -> frozenset[str]:
        return self.used


async def served(
    folder: Path, executor: NoFuse, objects: MemoryObjects, room: int, nursery: trio.Nursery
) -> DatasetService:
    disk = DataDisk(folder, lambda: room, lambda _kept, _shrink: None)
    datasets = DatasetService(executor, objects, InlineWorkers(), disk)
    await nursery.start(datasets.run)
    return datasets


async def folder_in(objects: MemoryObjects, folder: Path) -> str:
    seen = scan(str(folder))
    data = b"".join(packed(str(folder), seen.found, entries_of(seen.found, ())))
    return text_of_cap((await objects.put(pieces(data))).cap)


def made(folder: Path) -> Path:
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "x").write_bytes(b"x" * 5000)
    (folder / "sub" / "x").chmod(0o600)
    return folder


def seen_at(*names: str) -> tuple[bytes, int]:
    place = Path(*names)
    return place.read_bytes(), place.stat().st_mode & 0o777


async def test_a_folder_and_a_file_are_there_whole_readable_and_not_writable(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    objects = MemoryObjects(Pool(), PeerId("alice"))
    tree = await folder_in(objects, made(tmp_path / "f"))
    file = text_of_cap((await objects.put(pieces(b"y" * 100))).cap)
    datasets = await served(tmp_path / "d", NoFuse(), objects, 1 << 30, nursery)
    mounts = await datasets.mounts(JOB, [("/t", tree), ("/y", file)])
    assert [mount.is_folder for mount in mounts] == [True, False]
    assert seen_at(mounts[0].source, "sub", "x") == (b"x" * 5000, 0o444)
    assert seen_at(mounts[1].source)[0] == b"y" * 100
    assert (await datasets.mounts(JOB, [("/u", tree)]))[0].source == mounts[0].source


async def test_what_does_not_fit_is_refused_and_what_a_job_has_stays(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    objects = MemoryObjects(Pool(), PeerId("alice"))
    caps = [text_of_cap((await objects.put(pieces(bytes([n]) * 3000))).cap) for n in range(3)]
    executor = NoFuse()
    datasets = await served(tmp_path / "d", executor, objects, 7000, nursery)
    large = text_of_cap((await objects.put(pieces(bytes(9000)))).cap)
    with pytest.raises(DataFailedError, match="fetched whole here"):
        await datasets.mounts(JOB, [("/d", large)])
    sources = [(await datasets.mounts(JOB, [("/d", cap)]))[0].source for cap in caps[:2]]
    executor.used = frozenset(sources)
    with pytest.raises(DataFailedError):
        await datasets.mounts(JOB, [("/d", caps[2])])
    assert all(map(os.path.exists, sources))


class HeldBack(MemoryObjects):
    """Gives what it has but for one object, which comes later."""

    slow: Address | None = None
    asked = 0

    def __init__(self, pool: Pool, me: PeerId) -> None:
        super().__init__(pool, me)
        self.go = trio.Event()

    async def get(
        self, cap: ReadCap, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        if cap.address == self.slow and not start and length is None:
            self.asked += 1
            await self.go.wait()
        async for piece in super().get(cap, start=start, length=length):
            yield piece


async def test_nobody_waits_for_a_dataset_of_somebody_else_and_one_comes_once(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    objects = HeldBack(Pool(), PeerId("alice"))
    slow, quick = [(await objects.put(pieces(bytes([n]) * 3000))).cap for n in range(2)]
    objects.slow = slow.address
    datasets = await served(tmp_path / "d", NoFuse(), objects, 7000, nursery)
    sources: list[str] = []

    async def show(cap: ReadCap) -> None:
        (mount,) = await datasets.mounts(JOB, [("/d", text_of_cap(cap))])
        sources.append(mount.source)

    async with trio.open_nursery() as jobs:
        jobs.start_soon(show, slow)
        jobs.start_soon(show, slow)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(5):
            await show(quick)
        large = text_of_cap((await objects.put(pieces(bytes(3000)))).cap)
        with pytest.raises(DataFailedError, match="fetched whole here"):
            await datasets.mounts(JOB, [("/d", large)])  # what comes takes its room already
        objects.go.set()
    assert len(set(sources[1:])) == 1
    assert objects.asked == 1


async def test_a_source_that_is_gone_is_named(tmp_path: Path, nursery: trio.Nursery) -> None:
    objects = MemoryObjects(Pool(), PeerId("alice"))
    datasets = await served(tmp_path / "d", NoFuse(), objects, 7000, nursery)
    lie = b"swarm tree 1\n\0\0\0\x05\x93\1\1\1\1 nonsense"
    cap = text_of_cap((await objects.put(pieces(lie))).cap)
    with pytest.raises(DataFailedError, match="data at /d: cannot be read"):
        await datasets.mounts(JOB, [("/d", cap)])


async def test_a_file_that_may_be_run_is_one_file(tmp_path: Path, nursery: trio.Nursery) -> None:
    objects = MemoryObjects(Pool(), PeerId("alice"))
    tree = write_index([TreeEntry(b"", EntryKind.FILE, 0o700, 10)]) + b"#!/bin/sh\n"
    cap = text_of_cap((await objects.put(pieces(tree))).cap)
    datasets = await served(tmp_path / "d", NoFuse(), objects, 1 << 20, nursery)
    (mount,) = await datasets.mounts(JOB, [("/run.sh", cap)])
    assert not mount.is_folder
    assert seen_at(mount.source) == (b"#!/bin/sh\n", 0o555)
