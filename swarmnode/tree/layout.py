"""Which contents of a folder are in the pool already, and what is put of the others. Decides only.

A folder refers to packs of earlier ones as long as that is worth it: packs of which it needs too
little, and too many small ones, are left, and what it needs of them is sent again. So what packs
hold for nobody stays bounded, without anything being fetched to be packed anew.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from storage.ids import Address
from storage.limits import SEGMENT_BYTES
from swarmnode.tree.folder import FolderIndex, FolderNames, Pack, PackPlace
from swarmnode.tree.limits import FOLDER_PACKS_MAX, FOLDER_REPEATED_BYTES_MAX

PACK_BYTES: Final = 32 * 1024**2
"""A pack is closed when it has come to this: four segments, which are put at full speed, and little
enough to be sent again when most of it is of no use any more."""

PACKS_SMALL_MAX: Final = 32
"""Packs of less than a segment that a folder refers to: one comes with each change, and each costs
a question to its holders. The smaller half of more is sent again, as one."""

PACKS_DEAD_SHARE: Final = 0.5
"""Of the packs that a folder refers to, so much may be contents that it has not: then those of
which it has least are left, and what it needs of them is sent again."""

Known: TypeAlias = tuple[tuple[Pack, ...], Mapping[bytes, PackPlace]]
"""Packs of an earlier folder, and where each content lies in them."""


Lying: TypeAlias = tuple[Pack, int, bytes]
"""Where a content lies: its pack, the offset in that, and its key."""


class Layout(msgspec.Struct, frozen=True):
    """Of one folder."""

    kept: Mapping[bytes, Lying]
    """Contents that are there already."""
    missing: tuple[int, ...]
    """Files whose contents have to be sent, by their number among those that have bytes."""


def laid_out(names: FolderNames, known: Iterable[Known], is_had: Callable[[Pack], bool]) -> Layout:
    """What has to be sent; `is_had`: whether a pack is there and may be counted on."""
    sizes = [entry.size for entry in names.full()]
    kept: dict[bytes, Lying] = {}
    asked: dict[Address, bool] = {}
    wanted = dict(zip(names.hashes, sizes, strict=True))
    for packs, places in known:
        for content in wanted:
            place = places.get(content)
            if place is None or content in kept:
                continue
            pack = packs[place.pack]
            if pack.cap.address not in asked:
                asked[pack.cap.address] = is_had(pack)
            if asked[pack.cap.address]:
                kept[content] = pack, place.offset, place.key
    left = _left(kept, wanted)
    kept = {content: at for content, at in kept.items() if at[0].cap.address not in left}
    return Layout(kept, _missing(names.hashes, sizes, kept))


def _missing(
    hashes: Sequence[bytes], sizes: Sequence[int], kept: Mapping[bytes, object]
) -> tuple[int, ...]:
    """Each content once, as long as not too much of the folder comes from too little."""
    missing: list[int] = []
    seen, repeated = set[bytes](), 0
    for number, (content, size) in enumerate(zip(hashes, sizes, strict=True)):
        is_known = content in kept
        if content in seen and repeated + size <= FOLDER_REPEATED_BYTES_MAX:
            repeated += size
        elif content in seen or not is_known:
            missing.append(number)
        seen.add(content)
    return tuple(missing)


def _left(kept: Mapping[bytes, Lying], sizes: Mapping[bytes, int]) -> set[Address]:
    """Packs that are not worth being referred to any more."""
    packs = {pack.cap.address: pack for pack, _, _ in kept.values()}
    live = dict.fromkeys(packs, 0)
    for content, (pack, _, _) in kept.items():
        live[pack.cap.address] += sizes[content]
    left = _too_dead(packs, live)
    if len(packs) - len(left) > FOLDER_PACKS_MAX // 2:  # what is sent comes to a quarter of it
        by_live = sorted((size, address) for address, size in live.items())
        left.update(address for _, address in by_live[: len(by_live) // 2])
    small = sorted(
        (pack.size, address)
        for address, pack in packs.items()
        if address not in left and pack.size < SEGMENT_BYTES
    )
    if len(small) > PACKS_SMALL_MAX:
        left.update(address for _, address in small[: len(small) // 2])
    return left


def _too_dead(packs: Mapping[Address, Pack], live: Mapping[Address, int]) -> set[Address]:
    """Those of which least is needed, until of all others enough is."""
    held, used = sum(pack.size for pack in packs.values()), sum(live.values())
    left = set[Address]()
    for address in sorted(
        packs, key=lambda address: (live[address] / packs[address].size, address)
    ):
        if held - used <= PACKS_DEAD_SHARE * held or len(packs) - len(left) == 0:
            break
        left.add(address)
        held, used = held - packs[address].size, used - live[address]
    return left


def cut(sizes: Sequence[int]) -> list[range]:
    """Which of the contents that are sent, in their order, make a pack together."""
    pack_bytes = max(PACK_BYTES, sum(sizes) // (FOLDER_PACKS_MAX // 4))
    cuts: list[range] = []
    begin, held = 0, 0
    for number, size in enumerate(sizes, 1):
        held += size
        if held >= pack_bytes or number == len(sizes):
            cuts.append(range(begin, number))
            begin, held = number, 0
    return cuts


def index_of(names: FolderNames, layout: Layout, sent: Mapping[int, Lying]) -> FolderIndex:
    """The folder's index; `sent`: where each file lies that was sent."""
    at: dict[bytes, Lying] = dict(layout.kept)
    numbers: dict[Address, int] = {}
    packs: list[Pack] = []
    places: list[PackPlace] = []
    for number, content in enumerate(names.hashes):
        pack, offset, key = at[content] = sent.get(number) or at[content]
        if pack.cap.address not in numbers:
            numbers[pack.cap.address] = len(packs)
            packs.append(pack)
        places.append(PackPlace(numbers[pack.cap.address], offset, key))
    return FolderIndex(names, tuple(packs), tuple(places))
