"""Bytes of datasets: from the pool once, then from this machine; never wrong, never for ever."""

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from blake3 import blake3

from p2p.ids import PeerId
from p2p.workers import InlineWorkers
from storage.errors import ManifestError
from storage.facade import ReadCap
from storage.ids import Address, ObjectKey
from swarmnode.datasets.ahead import CHUNK_BYTES
from swarmnode.datasets.chunks import ChunkFiles
from swarmnode.datasets.content import EXACT_MAX, DataParts
from swarmnode.datasets.contents import Contents, Dataset, key_of
from swarmnode.datasets.hot import HotChunks
from swarmnode.datasets.limits import DATA_HOT_BYTES_MAX, DATA_WAIT_S
from swarmnode.datasets.shown import ShownDatasets
from swarmnode.errors import DataFailedError
from swarmnode.fuse.inodes import ROOT
from swarmnode.fuse.serve import ContentFailedError
from swarmnode.packs.veil import veil
from swarmnode.tree.folder import (
    CONTENT_KEY_BYTES,
    FolderIndex,
    FolderNames,
    Pack,
    PackPlace,
    write_folder,
)
from swarmnode.tree.format import EntryKind, TreeEntry, write_index
from swarmnode.tree.pack import packed
from swarmnode.tree.scan import entries_of, scan
from testnet.sim.memory_objects import MemoryObjects, Pool

DATA = random.Random(5).randbytes(5 * CHUNK_BYTES // 2)


class Counted(MemoryObjects):
    """Counts the bytes that it gives, and may give wrong ones."""

    given = 0
    lies = False

    async def get(
        self, cap: ReadCap, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        if self.lies:
            raise ManifestError("the bytes are not the ones asked for")
        async for piece in super().get(cap, start=start, length=length):
            self.given += len(piece)
            yield piece


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def objects(pool: Pool) -> Counted:
    return Counted(pool, PeerId("alice"))


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


@asynccontextmanager
async def contents_of(
    objects: Counted, folder: Path | None, *, room: int = 1 << 40
) -> AsyncIterator[Contents]:
    disk = ChunkFiles(folder, lambda: room) if folder else None
    if disk is not None:
        disk.look()
    async with trio.open_nursery() as nursery:
        hot = HotChunks(2 * CHUNK_BYTES)
        yield Contents(DataParts(objects, InlineWorkers(), hot, disk, nursery))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


def silent(words: str) -> None:
    raise AssertionError(words)


async def read(contents: Contents, cap: ReadCap, offset: int, size: int) -> bytes:
    content = await contents.content(cap)
    ready = content.ready(offset, size)
    return b"".join(ready if ready else await content.read(offset, size, silent))


async def test_a_folder_that_lies_of_its_packs_cannot_be_read_and_harms_nobody(
    objects: Counted,
) -> None:
    """Its files would lie behind the end of what there is."""
    pack = (await objects.put(once(b"short"))).cap
    size = 1 << 20
    entries = (
        TreeEntry(b"", EntryKind.FOLDER, 0o755),
        TreeEntry(b"f", EntryKind.FILE, 0o644, size),
    )
    place = PackPlace(0, 3 * CHUNK_BYTES, bytes(CONTENT_KEY_BYTES))
    names = FolderNames(entries, (bytes(32),))
    index = FolderIndex(names, (Pack(pack, 4 * CHUNK_BYTES),), (place,))
    cap = (await objects.put(once(write_folder(index)))).cap
    said: list[str] = []
    async with contents_of(objects, None) as contents:
        with pytest.raises(ContentFailedError):
            await contents.laid(cap, said.append)
    assert said == ["cannot be read: a pack of the folder is not as long as its index says"]


async def test_a_large_file_of_a_folder_is_one_file_here_once_all_of_it_was_read(
    objects: Counted, tmp_path: Path
) -> None:
    """It begins anywhere in a pack, under a key of its own."""
    small, large = b"small" * 1000, random.Random(7).randbytes(1 << 20) * 33
    keys = [os.urandom(CONTENT_KEY_BYTES) for _ in range(2)]
    veiled = [veil(key).update(data) for key, data in zip(keys, (small, large), strict=True)]
    pack = (await objects.put(once(b"".join(veiled)))).cap
    entries = (
        TreeEntry(b"", EntryKind.FOLDER, 0o755),
        TreeEntry(b"large", EntryKind.FILE, 0o644, len(large)),
        TreeEntry(b"small", EntryKind.FILE, 0o644, len(small)),
    )
    places = PackPlace(0, len(small), keys[1]), PackPlace(0, 0, keys[0])
    index = FolderIndex(
        FolderNames(entries, (blake3(large).digest(), blake3(small).digest())),
        (Pack(pack, len(small) + len(large)),),
        places,
    )
    cap = (await objects.put(once(write_folder(index)))).cap
    async with contents_of(objects, tmp_path) as contents:
        dataset = await contents.laid(cap, silent)
        assert dataset.laid.is_opened
        names = dataset.laid.inodes.names(ROOT)
        assert await all_of(dataset, names[b"small"]) == small
        assert await all_of(dataset, names[b"large"]) == large
        await trio.testing.wait_all_tasks_blocked()
        node = dataset.laid.inodes.get(names[b"large"])
        assert node is not None
        fd = dataset.content(node.place).whole()
        assert fd is not None
        try:
            assert os.pread(fd, len(large) + 1, 0) == large
        finally:
            os.close(fd)


async def all_of(dataset: Dataset, number: int) -> bytes:
    node = dataset.laid.inodes.get(number)
    assert node is not None
    got = bytearray()
    while len(got) < node.size:
        place, size = node.place.after(len(got)), min(1 << 20, node.size - len(got))
        for piece in dataset.ready(place, size) or await dataset.read(place, size, silent):
            got += piece
    return bytes(got)


async def test_one_dataset_is_in_memory_once_and_too_many_names_are_refused(
    objects: Counted,
) -> None:
    caps = [await folder_of_names(objects, b"%d" % n, 30) for n in range(3)]
    async with contents_of(objects, None) as contents:
        shown = ShownDatasets(contents, 70)
        first, again = [await shown.laid(caps[0], silent) for _ in range(2)]
        assert first is again
        shown.promise("t.1", (first,))
        shown.promise("t.2", (again,))
        shown.promise("t.3", (await shown.laid(caps[1], silent),))
        third = await shown.laid(caps[2], silent)
        with pytest.raises(DataFailedError, match="have 31 names, those of other tasks here 62"):
            shown.promise("t.4", (third,))
        del first, again
        for job in ("t.1", "t.2"):
            shown.forget(job)
        shown.promise("t.4", (third,))


async def folder_of_names(objects: Counted, prefix: bytes, count: int) -> ReadCap:
    entries = [TreeEntry(b"", EntryKind.FOLDER, 0o755)]
    entries += [TreeEntry(prefix + b"%03d" % n, EntryKind.FILE, 0o644, 0) for n in range(count)]
    return (await objects.put(once(write_index(entries)))).cap


@pytest.mark.parametrize("readers", [4, 8, 16])
async def test_many_readers_do_not_drive_out_each_others_bytes_where_nothing_is_kept(
    readers: int,
) -> None:
    """As on a machine whose disk is full."""
    size = 6 * CHUNK_BYTES
    source = Endless(size)

    async def read_all(number: int) -> None:
        cap = ReadCap(Address(bytes([number]) * 32), ObjectKey(bytes(32)))
        content = await contents.content(cap)
        for at in range(0, size, 1 << 17):
            content.ready(at, 1 << 17) or await content.read(at, 1 << 17, silent)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as fetches:
        hot = HotChunks(DATA_HOT_BYTES_MAX)
        contents = Contents(DataParts(source, InlineWorkers(), hot, None, fetches))
        async with trio.open_nursery() as nursery:
            for number in range(readers):
                nursery.start_soon(read_all, number)
    assert source.given <= 1.2 * readers * size


class Endless:
    """Objects of nothing but zeros, and how much of them was asked for."""

    def __init__(self, size: int) -> None:
        self._size, self._zeros, self.given = size, bytes(CHUNK_BYTES), 0

    async def get(
        self, _cap: ReadCap, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        assert length is not None
        self.given += length
        await trio.lowlevel.checkpoint()
        yield self._zeros[:length]

    async def size(self, _address: Address) -> int:
        await trio.lowlevel.checkpoint()
        return self._size


class Held:
    """An object without end, of which nobody gets anything before `opened`."""

    def __init__(self) -> None:
        self.opened = trio.Event()
        self.asked = 0

    async def get(
        self, _cap: ReadCap, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        self.asked += 1
        await self.opened.wait()
        yield bytes(length or 0)

    async def size(self, _address: Address) -> int:
        await trio.lowlevel.checkpoint()
        return 1 << 50


async def test_a_task_of_many_threads_has_no_more_than_so_many_reads_under_way() -> None:
    held = Held()
    async with trio.open_nursery() as fetches, trio.open_nursery() as readers:
        parts = DataParts(held, InlineWorkers(), HotChunks(CHUNK_BYTES), None, fetches)
        content = await Contents(parts).content(ReadCap(Address(bytes(32)), ObjectKey(bytes(32))))
        for number in range(1000):
            readers.start_soon(content.read, 2 * number * CHUNK_BYTES, 4096, silent)
        await trio.testing.wait_all_tasks_blocked()
        assert held.asked == EXACT_MAX
        held.opened.set()
    assert held.asked == 1000


async def test_bytes_behind_the_end_of_an_object_are_nobodys_fault_but_its_own(
    objects: Counted,
) -> None:
    cap = (await objects.put(once(b"short"))).cap
    said: list[str] = []
    async with contents_of(objects, None) as contents:
        content = await contents.content(cap)
        for place in (0, CHUNK_BYTES // 2):  # the second of them wants the whole chunk
            with pytest.raises(ContentFailedError):
                await content.read(3 * CHUNK_BYTES + place, 4096, said.append)
    assert len(said) == 2


async def test_what_is_read_twice_or_by_the_next_node_is_fetched_once(
    objects: Counted, tmp_path: Path
) -> None:
    cap = (await objects.put(once(DATA))).cap
    for _ in range(2):  # two nodes, one after the other, on one disk
        async with contents_of(objects, tmp_path) as contents:
            for _ in range(2):
                got = [
                    await read(contents, cap, at, min(1 << 20, len(DATA) - at))
                    for at in range(0, len(DATA), 1 << 20)
                ]
                assert b"".join(got) == DATA
    assert objects.given <= len(DATA) + (1 << 20)  # and the very first bytes, for who reads first


async def test_who_jumps_fetches_little_and_in_the_end_everything_once(
    objects: Counted, tmp_path: Path
) -> None:
    cap = (await objects.put(once(DATA))).cap
    dice = random.Random(2)
    async with contents_of(objects, tmp_path) as contents:
        assert await read(contents, cap, CHUNK_BYTES + 100, 50) == DATA[CHUNK_BYTES + 100 :][:50]
        assert objects.given == 50
        for _ in range(200):
            at, size = dice.randrange(len(DATA) - 5000), dice.randrange(1, 5000)
            assert await read(contents, cap, at, size) == DATA[at : at + size]
    assert objects.given < len(DATA) + 4 * 5000


def damage(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("bytes"))


async def test_a_chunk_that_the_disk_has_damaged_is_fetched_again(
    objects: Counted, tmp_path: Path
) -> None:
    cap = (await objects.put(once(DATA))).cap
    async with contents_of(objects, tmp_path) as contents:
        assert b"".join([piece async for piece in contents.get(cap)]) == DATA
    damage(tmp_path / key_of(cap) / "bytes", CHUNK_BYTES + 1000)
    async with contents_of(objects, tmp_path) as contents:
        assert b"".join([piece async for piece in contents.get(cap)]) == DATA
    assert objects.given == len(DATA) + CHUNK_BYTES


def test_what_has_a_place_of_its_own_gives_up_its_chunks_and_no_others(tmp_path: Path) -> None:
    disk = ChunkFiles(tmp_path / "c", lambda: 1 << 40)
    disk.look()
    for key in ("laid-out", "other"):
        for at in (0, 100):
            disk.write((key, at), bytes(100))
    taken = disk.taken_bytes
    disk.drop("laid-out")
    assert not (tmp_path / "c" / "laid-out").exists()
    assert disk.read(("other", 100)) == bytes(100)
    assert disk.taken_bytes == taken // 2


async def test_what_was_used_last_stays_when_there_is_no_room(
    objects: Counted, tmp_path: Path
) -> None:
    room = 2 * CHUNK_BYTES + 100
    caps = [(await objects.put(once(DATA[n:CHUNK_BYTES]))).cap for n in range(3)]
    async with contents_of(objects, tmp_path, room=room) as contents:
        for cap in (caps[0], caps[1], caps[0], caps[2]):
            assert [piece async for piece in contents.get(cap)]
            await trio.testing.wait_all_tasks_blocked()  # it is on disk
    kept = sorted(os.listdir(tmp_path))
    assert kept == sorted([key_of(caps[0]), key_of(caps[2])])
    assert bytes_in(tmp_path) <= room


async def test_a_reader_waits_for_a_pool_that_is_away_and_goes_on_when_it_is_back(
    pool: Pool, objects: Counted, autojump_clock: trio.testing.MockClock
) -> None:
    cap = (await objects.put(once(DATA))).cap
    said: list[str] = []
    async with contents_of(objects, None) as contents:
        content = await contents.content(cap)
        pool.is_down = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(expect, content.read(0, 4096, said.append), DATA[:4096]))
            await trio.sleep(DATA_WAIT_S / 2)
            pool.is_down = False
        assert len(said) == 1
        assert "waits for its source" in said[0]


async def expect(reading, data: bytes) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    assert b"".join(await reading) == data


async def test_a_pool_that_stays_away_is_an_error_with_its_reason_in_the_end(
    pool: Pool, objects: Counted, autojump_clock: trio.testing.MockClock
) -> None:
    cap = (await objects.put(once(DATA))).cap
    said: list[str] = []
    async with contents_of(objects, None) as contents:
        content = await contents.content(cap)
        pool.is_down = True
        with pytest.raises(ContentFailedError):
            await content.read(0, 4096, said.append)
    assert trio.current_time() <= DATA_WAIT_S + 1
    assert "wait for machines to come back" in said[-1]


async def test_wrong_bytes_are_never_given(objects: Counted) -> None:
    cap = (await objects.put(once(DATA))).cap
    said: list[str] = []
    async with contents_of(objects, None) as contents:
        content = await contents.content(cap)
        objects.lies = True
        with pytest.raises(ContentFailedError):
            await content.read(0, 4096, said.append)
    assert said == ["cannot be read: the bytes are not the ones asked for"]


async def test_a_folder_of_a_newer_version_is_said_to_be_one_and_no_file(
    objects: Counted,
) -> None:
    cap = (await objects.put(once(b"swarm folder 2\n" + bytes(5000)))).cap
    said: list[str] = []
    async with contents_of(objects, None) as contents:
        with pytest.raises(ContentFailedError):
            await contents.laid(cap, said.append)
    assert said == [
        "cannot be read: it is a folder in format 2, which a newer version of swarm wrote: "
        "this machine reads format 1; upgrade it"
    ]


async def test_a_folder_is_laid_out_with_its_names_and_every_byte_in_its_place(
    objects: Counted, tmp_path: Path
) -> None:
    folder = tmp_path / "f"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / os.fsdecode(b"x\xfe y")).write_bytes(DATA[:1000])
    (folder / "b").write_bytes(DATA[1000 : 3 * 1024 * 1024])
    os.link(folder / "b", folder / "c")
    (folder / "l").symlink_to("a")
    seen = scan(str(folder))
    pieces = packed(str(folder), seen.found, entries_of(seen.found, ()))
    cap = (await objects.put(once(b"".join(pieces)))).cap
    async with contents_of(objects, None) as contents:
        dataset = await contents.laid(cap, silent)
        laid = dataset.laid
        names = laid.inodes.names(ROOT)
        assert list(names) == [b"a", b"b", b"c", b"l"]
        assert names[b"b"] == names[b"c"]
        for number, data in (
            (laid.inodes.names(names[b"a"])[b"x\xfe y"], DATA[:1000]),
            (names[b"b"], DATA[1000 : 3 * 1024 * 1024]),
        ):
            node = laid.inodes.get(number)
            assert node is not None
            got = await dataset.read(node.place, node.size, silent)
            assert b"".join(got) == data
