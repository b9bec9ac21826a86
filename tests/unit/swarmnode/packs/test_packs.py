"""A folder is put so that nothing is sent twice, and comes back as the tree it was."""

import os
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
import trio
from blake3 import blake3
from msgspec.structs import replace

from p2p.ids import PeerId
from storage.facade import Mark, ObjectEntry, ObjectKind, PutReceipt, ReadCap
from storage.ids import Address
from swarmnode.errors import (
    FolderNewerError,
    FolderStaleError,
    PersonLockedError,
    TreeChangedError,
    TreeRefusedError,
)
from swarmnode.packs.arriving import Arriving, head_of
from swarmnode.packs.reading import index_in, read
from swarmnode.packs.writing import FOLDER_INLINE_BYTES_MAX, FolderPut, FolderWriter
from swarmnode.tree.folder import FOLDER_MAGIC, FolderIndex, PackPlace, write_folder, write_names
from swarmnode.tree.format import MAGIC, EntryKind, write_index
from swarmnode.tree.pack import contents_of, hashes_of
from swarmnode.tree.scan import Found, entries_of, scan
from testnet.sim.memory_objects import MemoryObjects, Pool
from tests.tree_lab import listing, pack, unpack

KIB = 1024


class Desk:
    """A machine that puts folders, and counts what is sent."""

    def __init__(self, open_cap: Callable[[str, ReadCap], ReadCap] = lambda _p, cap: cap) -> None:
        self.pool = Pool()
        self.now_ms = 1
        self.taken_over_ms = 0
        self.objects = MemoryObjects(self.pool, PeerId("me"), lambda: self.now_ms)
        self.writer = FolderWriter(self.objects, open_cap, lambda: self.taken_over_ms)
        self.sent = 0

    async def put(self, folder: Path, person: str = "", name: str = "code") -> PutReceipt:
        self.now_ms += 1
        names, full = described(folder)
        missing = await self.writer.missing(names, name, person)
        contents = b"".join(contents_of(str(folder), [full[number] for number in missing]))
        self.sent = len(contents)
        return await self.send(names, list(missing), contents, person, name)

    async def send(
        self,
        names: bytes,
        numbers: list[int],
        contents: bytes,
        person: str = "",
        name: str = "code",
    ) -> PutReceipt:
        wanted = FolderPut(name, Mark(ObjectKind.INPUT, person=person))
        async with aclosing(cut(head_of(names, numbers) + contents)) as stream:
            return await self.writer.put(Arriving(stream), wanted)

    async def bytes_of(self, cap: ReadCap, start: int = 0, length: int | None = None) -> bytes:
        parts = read(self.objects, cap, start=start, length=length)
        return b"".join([part async for part in parts])

    def packs(self) -> list[ObjectEntry]:
        return [one for one in self.objects.entries() if one.mark.kind == ObjectKind.PACK]


async def cut(data: bytes) -> AsyncGenerator[bytes, None]:
    dice = random.Random(3)
    while data:
        size = dice.choice((1, 7, 1000, 100_000))
        await trio.lowlevel.checkpoint()
        yield data[:size]
        data = data[size:]


def described(folder: Path) -> tuple[bytes, list[Found]]:
    found = scan(str(folder)).found
    entries = entries_of(found, ())
    pairs = zip(found, entries, strict=True)
    full = [one for one, entry in pairs if entry.kind is EntryKind.FILE and entry.size]
    return write_names(write_index(entries), list(hashes_of(str(folder), full))), full


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Half a megabyte in fifty files, with all that a folder can have."""
    place, dice = tmp_path / "code", random.Random(1)
    (place / "deep" / "empty").mkdir(parents=True)
    for number in range(50):
        (place / "deep" / f"{number}").write_bytes(dice.randbytes(10 * KIB))
    (place / "twin").write_bytes((place / "deep" / "7").read_bytes())
    (place / "none").write_bytes(b"")
    (place / "run").write_bytes(b"#!/bin/sh\n")
    (place / "run").chmod(0o755)
    (place / "link").symlink_to("deep/3")
    os.link(place / "run", place / "run2")
    return place


async def test_a_folder_comes_back_as_it_was(folder: Path, tmp_path: Path) -> None:
    desk = Desk()
    receipt = await desk.put(folder)
    data = await desk.bytes_of(receipt.cap)
    assert data == pack(folder)
    unpack(data, tmp_path / "back")
    assert listing(tmp_path / "back") == listing(folder)
    assert desk.sent == 500 * KIB + 10, "what lies in it twice is sent once"
    assert receipt.size == 510 * KIB + 10


async def test_of_an_unchanged_folder_nothing_is_sent(folder: Path) -> None:
    desk = Desk()
    first = await desk.put(folder)
    second = await desk.put(folder)
    assert desk.sent == 0
    assert first.cap != second.cap
    assert await desk.bytes_of(second.cap) == pack(folder)
    assert len(desk.packs()) == 1


async def test_of_a_changed_folder_only_what_is_new_is_sent(folder: Path) -> None:
    desk = Desk()
    await desk.put(folder)
    (folder / "deep" / "20").write_bytes(b"new")
    (folder / "deep" / "21").rename(folder / "moved")
    (folder / "deep" / "22").unlink()
    receipt = await desk.put(folder)
    assert desk.sent == 3
    assert [one.size for one in desk.packs()] == [500 * KIB + 10, 3]
    assert await desk.bytes_of(receipt.cap) == pack(folder)
    (entry,) = [one for one in desk.objects.entries() if one.cap == receipt.cap]
    assert set(entry.needs) == {one.cap.address for one in desk.packs()}


async def test_of_a_folder_that_was_moved_nothing_is_sent(folder: Path) -> None:
    desk = Desk()
    await desk.put(folder)
    (folder / "deep").rename(folder / "elsewhere")
    receipt = await desk.put(folder)
    assert desk.sent == 0
    assert await desk.bytes_of(receipt.cap) == pack(folder)


async def test_a_file_in_the_place_of_a_folder_and_a_folder_in_that_of_a_file(
    folder: Path, tmp_path: Path
) -> None:
    desk = Desk()
    await desk.put(folder)
    (folder / "deep" / "empty").rmdir()
    (folder / "deep" / "empty").write_bytes(b"a file now")
    (folder / "deep" / "9").unlink()
    (folder / "deep" / "9").mkdir()
    unpack(await desk.bytes_of((await desk.put(folder)).cap), tmp_path / "back")
    assert listing(tmp_path / "back") == listing(folder)


async def test_one_large_program_is_a_folder_of_one_file(tmp_path: Path) -> None:
    desk, program = Desk(), tmp_path / "program"
    program.write_bytes(random.Random(5).randbytes(300 * KIB))
    program.chmod(0o755)
    found = scan(str(tmp_path), (b"program",)).found
    entries = entries_of(found, (b"program",))
    names = write_names(write_index(entries), list(hashes_of(str(tmp_path), found)))
    assert await desk.writer.missing(names, "code", "") == (0,)
    cap = (await desk.send(names, [0], program.read_bytes(), name="code")).cap
    assert await desk.bytes_of(cap) == pack(program)
    assert await desk.writer.missing(names, "code", "") == ()


async def test_a_range_of_a_folder_is_a_range_of_its_tree(folder: Path) -> None:
    desk = Desk()
    cap = (await desk.put(folder)).cap
    whole = pack(folder)
    for start, length in ((0, 13), (5, 0), (100, 7000), (len(whole) - 3, 100), (len(whole), 5)):
        assert await desk.bytes_of(cap, start, length) == whole[start : start + length]
    assert await desk.bytes_of(cap, 4000) == whole[4000:]


async def test_a_small_folder_is_one_object_and_a_tree(tmp_path: Path) -> None:
    desk, small = Desk(), tmp_path / "small"
    small.mkdir()
    (small / "a").write_bytes(bytes(FOLDER_INLINE_BYTES_MAX))
    cap = (await desk.put(small)).cap
    assert desk.pool.objects[cap.address] == pack(small)
    assert not desk.packs()
    (small / "b").write_bytes(b"x")
    cap = (await desk.put(small)).cap
    assert desk.pool.objects[cap.address].startswith(FOLDER_MAGIC)
    assert await desk.bytes_of(cap) == pack(small)


async def test_what_is_no_folder_is_read_as_it_is(folder: Path) -> None:
    desk = Desk()
    for data in (b"", b"swarm", FOLDER_MAGIC[:-1], pack(folder), bytes(100_000)):
        cap = (await desk.objects.put(cut(data))).cap
        assert await desk.bytes_of(cap) == data
        assert await desk.bytes_of(cap, 3, 10) == data[3:13]


async def test_many_small_changes_later_it_is_still_the_folder(folder: Path) -> None:
    desk, dice = Desk(), random.Random(2)
    for change in range(60):
        (folder / "deep" / f"{dice.randrange(50)}").write_bytes(dice.randbytes(9 * KIB))
        receipt = await desk.put(folder)
        assert desk.sent <= 500 * KIB * (change == 0) + 200 * KIB
    assert await desk.bytes_of(receipt.cap) == pack(folder)


async def test_another_person_of_this_machine_is_not_told_what_somebody_has(folder: Path) -> None:
    desk = Desk()
    await desk.put(folder, person="ada")
    await desk.put(folder, person="bob")
    assert desk.sent == 500 * KIB + 10
    assert {one.mark.person for one in desk.packs()} == {"ada", "bob"}


async def test_what_rests_sealed_is_no_base_and_no_fault(folder: Path) -> None:
    def locked(person: str, cap: ReadCap) -> ReadCap:
        raise PersonLockedError("locked")

    desk = Desk(locked)
    await desk.put(folder)
    await desk.put(folder)
    assert desk.sent == 500 * KIB + 10


async def test_nothing_refers_to_what_another_machine_may_have_taken_over(folder: Path) -> None:
    desk = Desk()
    await desk.put(folder)
    desk.taken_over_ms = desk.now_ms
    await desk.put(folder)
    assert desk.sent == 500 * KIB + 10
    await desk.put(folder)
    assert desk.sent == 0


async def test_a_pack_that_went_meanwhile_is_asked_for_again(folder: Path) -> None:
    desk = Desk()
    await desk.put(folder)
    names, _ = described(folder)
    assert await desk.writer.missing(names, "code", "") == ()
    for entry in desk.packs():
        await desk.objects.forget(entry.cap.address)
    with pytest.raises(FolderStaleError):
        await desk.send(names, [], b"")
    await desk.put(folder)
    assert desk.sent == 500 * KIB + 10


async def test_a_file_that_is_not_what_its_hash_says_is_not_stored(folder: Path) -> None:
    desk = Desk()
    names, full = described(folder)
    numbers = list(await desk.writer.missing(names, "code", ""))
    contents = b"".join(contents_of(str(folder), [full[number] for number in numbers]))
    with pytest.raises(TreeChangedError, match="deep/0"):
        await desk.send(names, numbers, b"\0" + contents[1:])
    assert not desk.objects.entries()


@pytest.mark.parametrize("what", ["cut", "longer", "unordered", "twice", "beyond", "names cut"])
async def test_what_comes_otherwise_than_it_should_is_refused(folder: Path, what: str) -> None:
    desk = Desk()
    names, full = described(folder)
    numbers = list(await desk.writer.missing(names, "code", ""))
    contents = b"".join(contents_of(str(folder), [full[number] for number in numbers]))
    sent = {
        "cut": (names, numbers, contents[:-1]),
        "longer": (names, numbers, contents + b"x"),
        "unordered": (names, numbers[::-1], contents),
        "twice": (names, numbers[:1] * 2, contents),
        "beyond": (names, [*numbers[:-1], 1000], contents),
        "names cut": (names[:-1], numbers, contents),
    }
    with pytest.raises(TreeRefusedError):
        await desk.send(*sent[what])
    assert not [one for one in desk.objects.entries() if one.mark.kind == ObjectKind.INPUT]


async def lying(desk: Desk, change: Callable[[FolderIndex], FolderIndex]) -> ReadCap:
    """A folder's index as somebody else has it, who has changed it."""
    (entry,) = [one for one in desk.objects.entries() if one.mark.kind == ObjectKind.INPUT]
    data = write_folder(change(await index_in(desk.objects, entry.cap)))
    return (await desk.objects.put(cut(data))).cap


async def test_a_content_is_checked_against_its_hash_before_the_folder_is_whole(
    folder: Path,
) -> None:
    desk = Desk()
    await desk.put(folder)

    def other_hash(index: FolderIndex) -> FolderIndex:
        hashes = (blake3(b"").digest(), *index.names.hashes[1:])
        return replace(index, names=replace(index.names, hashes=hashes))

    cap = await lying(desk, other_hash)
    with pytest.raises(TreeRefusedError, match="deep/0"):
        await desk.bytes_of(cap)


async def test_a_pack_that_is_shorter_than_its_index_says_ends_the_reading(folder: Path) -> None:
    desk = Desk()
    await desk.put(folder)

    def longer(index: FolderIndex) -> FolderIndex:
        (one,) = index.packs
        size = one.size + 4 * KIB
        places = (PackPlace(0, one.size - 6 * KIB, bytes(16)), *index.places[1:])
        names = replace(index.names, hashes=index.names.hashes[:1])
        entries = index.names.entries
        kept = tuple(e for e in entries if e.parts in ((), (b"deep",), (b"deep", b"0")))
        names = replace(names, entries=kept)
        return FolderIndex(names, (replace(one, size=size),), places[:1])

    cap = await lying(desk, longer)
    with pytest.raises(TreeRefusedError, match="deep/0"):
        await desk.bytes_of(cap)


async def test_who_is_given_a_folder_cannot_read_what_was_taken_out_of_it_before(
    folder: Path,
) -> None:
    desk, secret = Desk(), b"password=1234" * 100
    (folder / "deep" / "secret").write_bytes(secret)
    before = await desk.put(folder)
    (folder / "deep" / "secret").unlink()
    after = await desk.put(folder)
    assert desk.sent == 0
    one, other = [await index_in(desk.objects, cap) for cap in (before.cap, after.cap)]
    assert one.packs == other.packs, "it is the same pack, whose capability both have"
    assert secret[:16] not in desk.pool.objects[other.packs[0].cap.address]
    keys = {file.place.key for file in other.files()}
    (hidden,) = [file for file in one.files() if file.size == len(secret)]
    assert hidden.place.key not in keys
    assert len(keys) == len({file.place.offset for file in other.files()}), "one for each"


async def test_bytes_behind_an_index_are_refused_and_so_is_one_that_is_cut(folder: Path) -> None:
    desk = Desk()
    address: Address = (await desk.put(folder)).cap.address
    data = desk.pool.objects[address]
    for other in (data + b"x", data[:-1], data[:200], data[:16]):
        cap = (await desk.objects.put(cut(other))).cap
        with pytest.raises(TreeRefusedError):
            await desk.bytes_of(cap)


async def test_a_folder_of_a_newer_version_is_not_taken_for_a_file() -> None:
    desk = Desk()
    newer = (await desk.objects.put(cut(b"swarm folder 12\n" + bytes(1000)))).cap
    with pytest.raises(FolderNewerError, match="format 12, which a newer version"):
        await desk.bytes_of(newer)
    for text in (b"swarm folder 1 of 2", b"swarm folder \n", b"swarm folder "):
        cap = (await desk.objects.put(cut(text))).cap
        assert await desk.bytes_of(cap) == text


async def test_a_tree_begins_as_before_whoever_reads_it(folder: Path) -> None:
    desk = Desk()
    cap = (await desk.put(folder)).cap
    assert (await desk.bytes_of(cap, 0, len(MAGIC))) == MAGIC
