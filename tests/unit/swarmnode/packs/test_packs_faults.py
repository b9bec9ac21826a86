"""Folders in packs through kills, cuts, full disks and copied keyrings, on real storage."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path

import pytest
import trio

from storage.errors import StorageError
from storage.facade import Mark, ObjectEntry, ObjectHealth, ObjectKind, ReadCap
from storage.service import StorageService
from swarmnode.errors import FolderStaleError
from swarmnode.packs.arriving import Arriving, head_of
from swarmnode.packs.reading import read
from swarmnode.packs.writing import FolderPut, FolderWriter
from swarmnode.tree.pack import contents_of
from testnet.sim.seeded import simulated
from tests.storage_lab import StorageLab, storage_lab
from tests.tree_lab import pack
from tests.unit.storage.objects.test_objects import HASTY, used
from tests.unit.swarmnode.packs.test_packs import described

FILE_BYTES = 10 * 1024
FILES = 60
WANTED = FolderPut("code", Mark(ObjectKind.INPUT))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place, dice = tmp_path / "code", random.Random(1)
    place.mkdir()
    for number in range(FILES):
        (place / f"{number:02}").write_bytes(dice.randbytes(FILE_BYTES))
    return place


class Putting:
    """A folder on its way to a machine; `midway` happens when half of the contents have come."""

    def __init__(self, service: StorageService, folder: Path) -> None:
        self._service, self._folder = service, folder
        self._writer = FolderWriter(service.objects, lambda _person, cap: cap, lambda: 0)
        self.sent = 0

    async def put(
        self, midway: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    ) -> ReadCap:
        names, full = described(self._folder)
        numbers = await self._writer.missing(names, WANTED.name, "")
        contents = b"".join(contents_of(str(self._folder), [full[at] for at in numbers]))
        self.sent = len(contents)

        async def stream() -> AsyncGenerator[bytes, None]:
            yield head_of(names, list(numbers))
            yield contents[: len(contents) // 2]
            await midway()
            yield contents[len(contents) // 2 :]

        async with aclosing(stream()) as coming:
            return (await self._writer.put(Arriving(coming), WANTED)).cap


async def bytes_of(service: StorageService, cap: ReadCap) -> bytes:
    with trio.fail_after(120):
        return b"".join([piece async for piece in read(service.objects, cap)])


async def all_gone(lab: StorageLab) -> None:
    """Return once nothing is on any keyring or disk; what was only held ends by itself."""
    with trio.fail_after(600):
        while used(lab) or any(one.objects.entries() for one in lab.up()):  # noqa: ASYNC110
            await trio.sleep(0.5)


def packs(service: StorageService) -> list[ObjectEntry]:
    return [one for one in service.objects.entries() if one.mark.kind == ObjectKind.PACK]


@simulated
async def test_a_node_that_is_killed_in_the_middle_of_a_folder_leaves_nothing_of_it(
    folder: Path,
) -> None:
    async with storage_lab(3) as lab:
        service, gone = lab["p0"], trio.CancelScope()

        async def power_cut() -> None:
            await trio.sleep(1)
            assert service.objects.unfinished(), "it is on its way"
            lab.kill("p0")
            gone.cancel()
            await trio.sleep_forever()

        with gone:
            await Putting(service, folder).put(power_cut)
        await lab.start("p0")
        await all_gone(lab)
        cap = await Putting(lab["p0"], folder).put()
        assert await bytes_of(lab["p2"], cap) == pack(folder)


@simulated
async def test_a_node_that_is_killed_after_the_pack_and_before_the_index_leaves_nothing(
    folder: Path,
) -> None:
    async with storage_lab(3, config=HASTY) as lab:
        service, gone = lab["p0"], trio.CancelScope()

        async def kill_when_packed() -> None:
            while not packs(service):  # noqa: ASYNC110 - it stands there
                await trio.sleep(1e-4)
            assert len(service.objects.entries()) == 1
            lab.kill("p0")
            gone.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill_when_packed)
            with gone:
                await Putting(service, folder).put()
        assert gone.cancelled_caught
        await lab.start("p0")
        await all_gone(lab)


@simulated
async def test_a_disk_that_fills_in_the_middle_of_a_folder_is_said_and_leaves_nothing(
    folder: Path,
) -> None:
    async with storage_lab(3) as lab:
        tables = [keeper.tables for keeper in lab.keepers.values()]

        async def fill() -> None:
            for table in tables:
                table.is_full = True
            await trio.sleep(1)

        with pytest.raises(StorageError):
            await Putting(lab["p0"], folder).put(fill)
        for table in tables:
            table.is_full = False
        await all_gone(lab)
        cap = await Putting(lab["p0"], folder).put()
        assert await bytes_of(lab["p1"], cap) == pack(folder)


@simulated
async def test_a_pool_that_is_cut_in_the_middle_of_a_folder_keeps_nothing_of_it_for_ever(
    folder: Path,
) -> None:
    async with storage_lab(3, config=HASTY) as lab:

        async def cut() -> None:
            lab.freeze("p0")
            await trio.sleep(1)

        with pytest.raises(StorageError), trio.fail_after(300):
            await Putting(lab["p0"], folder).put(cut)
        lab.thaw()
        await all_gone(lab)
        cap = await Putting(lab["p0"], folder).put()
        assert await bytes_of(lab["p1"], cap) == pack(folder)


@simulated
async def test_a_folder_is_whole_though_the_last_one_with_its_packs_is_removed_while_it_comes(
    folder: Path,
) -> None:
    async with storage_lab(3, config=HASTY) as lab:
        service = lab["p0"]
        old = await Putting(service, folder).put()
        (folder / "07").write_bytes(b"new" * 1000)
        new = Putting(service, folder)

        async def remove_old() -> None:
            assert await service.objects.forget(old.address)

        cap = await new.put(remove_old)
        assert new.sent == 3000
        await trio.sleep(300)
        assert await bytes_of(lab["p2"], cap) == pack(folder)
        assert (await service.objects.stat(cap.address)).health is ObjectHealth.WHOLE
        assert await service.objects.forget(cap.address)
        await all_gone(lab)


@pytest.mark.parametrize("seed", range(4))
async def test_a_removal_at_any_moment_of_a_put_leaves_a_whole_folder_or_a_plain_answer(
    folder: Path, seed: int
) -> None:
    @simulated
    async def once() -> None:
        dice = random.Random(seed)
        async with storage_lab(3, seed=seed) as lab:
            service = lab["p0"]
            old = await Putting(service, folder).put()
            (folder / "07").write_bytes(dice.randbytes(3000))

            async def remove_old() -> None:
                await trio.sleep(dice.random() * 0.02)
                await service.objects.forget(old.address)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(remove_old)
                try:
                    cap = await Putting(service, folder).put()
                except FolderStaleError:
                    cap = await Putting(service, folder).put()
            assert await bytes_of(lab["p1"], cap) == pack(folder)
            await service.objects.forget(cap.address)
            await all_gone(lab)

    await trio.to_thread.run_sync(partial(once))


@simulated
async def test_another_member_reads_a_folder_after_its_submitter_is_gone_for_good(
    folder: Path,
) -> None:
    async with storage_lab(5) as lab:
        first = await Putting(lab["p0"], folder).put()
        (folder / "07").write_bytes(b"new" * 1000)
        second = await Putting(lab["p0"], folder).put()
        await lab["p0"].objects.forget(first.address)
        lab.kill("p0")
        await trio.sleep(60)
        assert await bytes_of(lab["p4"], second) == pack(folder)
        assert not lab["p4"].objects.entries()


@simulated
async def test_a_copied_keyring_keeps_folders_whole_on_a_blank_machine(folder: Path) -> None:
    async with storage_lab(4, config=HASTY, not_lending=("p3",)) as lab:
        for change in range(3):
            (folder / "07").write_bytes(b"new" * 1000 * (change + 1))
            cap = await Putting(lab["p0"], folder).put()
        copy = lab["p0"].objects.keyring.dump()
        lab.kill("p0")
        blank = lab["p3"]
        await blank.objects.keyring.restore(copy)
        await trio.sleep(300)  # longer than any lease that is not renewed
        entry = next(one for one in blank.objects.entries() if one.cap == cap)
        assert await bytes_of(blank, entry.cap) == pack(folder)
        again = Putting(blank, folder)
        own = await again.put()
        assert again.sent == (FILES - 1) * FILE_BYTES + 9000, "nothing is counted on that came so"
        await blank.objects.forget(cap.address)
        assert await bytes_of(lab["p1"], own) == pack(folder)
