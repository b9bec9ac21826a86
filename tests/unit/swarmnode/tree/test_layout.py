"""What of a folder is sent: what is new, and what is not worth being referred to any more."""

from blake3 import blake3

from storage.facade import ReadCap
from storage.ids import Address, ObjectKey
from storage.limits import SEGMENT_BYTES
from swarmnode.tree.folder import FolderNames, Pack, PackPlace, check_places
from swarmnode.tree.format import EntryKind, TreeEntry
from swarmnode.tree.layout import PACK_BYTES, PACKS_SMALL_MAX, Known, Lying, cut, index_of, laid_out
from swarmnode.tree.limits import FOLDER_PACKS_MAX

MIB = 1024 * 1024
KEY = bytes(16)


def pack(number: int, size: int) -> Pack:
    return Pack(ReadCap(Address(number.to_bytes(32)), ObjectKey(bytes(32))), size)


def folder(**sizes: int) -> FolderNames:
    """Each file has what its name says: `a`, `a2` and `a3` are the same."""
    names = sorted(sizes)
    files = (TreeEntry(name.encode(), EntryKind.FILE, 0o644, sizes[name]) for name in names)
    entries = (TreeEntry(b"", EntryKind.FOLDER, 0o755), *files)
    return FolderNames(entries, tuple(content(name.rstrip("23")) for name in names))


def content(name: str) -> bytes:
    return blake3(name.encode()).digest()


def known(one: Pack, **offsets: int) -> Known:
    return (one,), {content(name): PackPlace(0, offset, KEY) for name, offset in offsets.items()}


def missing(names: FolderNames, *bases: Known, gone: tuple[Pack, ...] = ()) -> list[str]:
    layout = laid_out(names, bases, lambda one: one not in gone)
    return [names.full()[number].path.decode() for number in layout.missing]


def test_of_a_first_folder_everything_is_sent_once() -> None:
    assert missing(folder(a=1, a2=1, b=2)) == ["a", "b"]


def test_of_a_later_one_only_what_is_new() -> None:
    base = known(pack(1, 10), a=0, b=5)
    assert missing(folder(a=5, b=5, c=7), base) == ["c"]
    assert missing(folder(a=5, b=5), base) == []


def test_a_pack_that_is_gone_or_cannot_be_read_counts_for_nothing() -> None:
    first, second = pack(1, 10), pack(2, 5)
    bases = (known(first, a=0, b=5), known(second, a=0))
    assert missing(folder(a=5, b=5), *bases, gone=(first,)) == ["b"]


def test_packs_of_which_little_is_needed_are_left() -> None:
    big, good = pack(1, 100 * MIB), pack(2, 50 * MIB)
    bases = (known(big, a=0), known(good, b=0))
    assert missing(folder(a=MIB, b=50 * MIB), *bases) == ["a"]
    assert missing(folder(a=60 * MIB, b=50 * MIB), *bases) == []


def test_a_folder_refers_to_so_many_small_packs_and_no_more() -> None:
    names = [f"f{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(PACKS_SMALL_MAX + 1)]
    bases = [known(pack(n + 1, 10 + n), **{name: 0}) for n, name in enumerate(names)]
    sizes = {name: 10 + n for n, name in enumerate(names)}
    assert missing(folder(**sizes), *bases) == names[: len(names) // 2]
    assert missing(folder(**dict(list(sizes.items())[1:])), *bases[1:]) == []


def test_of_too_many_packs_those_are_left_of_which_least_is_needed() -> None:
    count = FOLDER_PACKS_MAX // 2 + 1
    packs = tuple(pack(number + 1, 9 * MIB) for number in range(count))
    entries = [TreeEntry(b"%05d" % n, EntryKind.FILE, 0o644, 8 * MIB + n) for n in range(count)]
    hashes = tuple(content(str(number)) for number in range(count))
    names = FolderNames((TreeEntry(b"", EntryKind.FOLDER, 0o755), *entries), hashes)
    places = {one: PackPlace(number, 0, KEY) for number, one in enumerate(hashes)}
    layout = laid_out(names, [(packs, places)], lambda _pack: True)
    assert layout.missing == tuple(range(count // 2))


def test_packs_are_cut_when_they_have_come_to_some_tens_of_mebibytes() -> None:
    assert cut([]) == []
    assert cut([10, 10]) == [range(2)]
    assert cut([PACK_BYTES - 1, 5, 7]) == [range(2), range(2, 3)]
    assert cut([PACK_BYTES * 3, 5]) == [range(1), range(1, 2)]
    many = cut([PACK_BYTES] * FOLDER_PACKS_MAX * 2)
    assert len(many) <= FOLDER_PACKS_MAX // 2
    assert sum(map(len, many)) == FOLDER_PACKS_MAX * 2


def test_the_index_names_each_pack_once_and_is_one_we_read() -> None:
    names = folder(a=5, a2=5, b=5, c=7)
    old, new = pack(1, 10), pack(2, 7)
    layout = laid_out(names, [known(old, a=0, b=5)], lambda _pack: True)
    index = index_of(names, layout, {3: (new, 0, KEY)})
    assert index.packs == (old, new)
    assert [(place.pack, place.offset) for place in index.places] == [
        (0, 0),
        (0, 0),
        (0, 5),
        (1, 0),
    ]
    check_places(index)


def test_after_a_hundred_changes_packs_are_few_and_little_of_them_is_dead() -> None:
    sizes = {f"f{chr(97 + n // 26)}{chr(97 + n % 26)}": MIB for n in range(100)}
    versions = dict.fromkeys(sizes, 0)
    at: dict[bytes, Lying] = {}
    sent = 0
    for change in range(200):
        victim = list(sizes)[(change * 37) % len(sizes)]
        versions[victim] += 1
        hashes = tuple(content(f"{name}/{versions[name]}") for name in sizes)
        names = FolderNames(folder(**sizes).entries, hashes)
        packs = list({one[0]: None for one in at.values()})
        places = {
            key: PackPlace(packs.index(one), offset, KEY) for key, (one, offset, _) in at.items()
        }
        layout = laid_out(names, [(tuple(packs), places)], lambda _pack: True)
        put: dict[int, Lying] = {}
        for number, numbers in enumerate(cut([MIB] * len(layout.missing))):
            new = pack(1000 * change + number + 1, len(numbers) * MIB)
            put |= {layout.missing[n]: (new, (n - numbers[0]) * MIB, KEY) for n in numbers}
        index = index_of(names, layout, put)
        check_places(index)
        at = {
            key: (index.packs[place.pack], place.offset, KEY)
            for key, place in zip(hashes, index.places, strict=True)
        }
        sent += len(layout.missing) if change else 0
        held = sum(one.size for one in index.packs)
        assert held <= 2.2 * len(sizes) * MIB
        assert sum(one.size < SEGMENT_BYTES for one in index.packs) <= PACKS_SMALL_MAX + 1
    assert sent < 200 * 6, "of a change of one file in a hundred, six are sent on average at most"
