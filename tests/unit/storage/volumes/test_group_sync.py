"""One sync for all who wait."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
import trio

from p2p.workers import InlineWorkers
from storage.errors import StoreFailedError, StoreFullError
from storage.volumes.group_sync import GroupSync
from testnet.sim.seeded import simulated


class Disk:
    """Counts syncs; fails as it is told."""

    def __init__(self) -> None:
        self.syncs: list[list[int]] = []
        self.failure: Exception | None = None

    def sync(self, files: Iterable[int]) -> None:
        self.syncs.append(list(files))
        if self.failure is not None:
            raise self.failure


@asynccontextmanager
async def serving(disk: Disk) -> AsyncIterator[GroupSync]:
    group = GroupSync(InlineWorkers(), disk.sync)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run)
        yield group
        nursery.cancel_scope.cancel()


@simulated
async def test_those_who_wait_for_one_sync_share_the_next() -> None:
    disk = Disk()
    async with serving(disk) as group, trio.open_nursery() as nursery:
        for file in (1, 1, 2, 1, 2):
            nursery.start_soon(group.flush, file)
    assert len(disk.syncs) <= 2
    assert {file for files in disk.syncs for file in files} == {1, 2}


@simulated
async def test_a_full_disk_fails_those_of_its_group_and_no_others() -> None:
    disk = Disk()
    async with serving(disk) as group:
        disk.failure = StoreFullError("full")
        with pytest.raises(StoreFullError):
            await group.flush(1)
        disk.failure = None
        await group.flush(1)


@simulated
async def test_a_failed_sync_ends_the_store() -> None:
    disk = Disk()
    disk.failure = StoreFailedError("EIO")
    with pytest.RaisesGroup(StoreFailedError):
        async with serving(disk) as group:
            with pytest.raises(StoreFailedError):
                await group.flush(1)
            await trio.sleep_forever()
    with pytest.raises(StoreFailedError):
        await group.flush(1)
