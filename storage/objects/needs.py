"""Objects that others need: packs, which hold the contents of folders and live as long as those.

What needs a pack stands in the row of the keyring that needs it, so that a crash leaves either both
or neither. A pack that nothing needs is given up with the last object that did, or at the next
start. While a folder is put its packs are held in memory: nothing needs them yet.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import msgspec
import trio

from p2p.ids import PeerId
from storage.errors import ManifestError, ObjectUnknownError, StoreFullError
from storage.facade import Forgotten, ObjectHealth, ObjectStat, PackHold
from storage.ids import Address
from storage.limits import DROPS_AT_ONCE
from storage.objects.keyring import Keyring

UNFOUND = "unreadable now: a part of it cannot be found"


class Needs:
    """Knows which packs nothing needs, and has them forgotten."""

    def __init__(
        self, keyring: Keyring, forget: Callable[[Address], Awaitable[Forgotten | None]]
    ) -> None:
        self._keyring, self._forget = keyring, forget
        self._held: Counter[Address] = Counter()
        """How many puts under way count on each."""
        self._going: set[Address] = set()
        """Being given up: nobody may count on them any more."""

    @contextmanager
    def hold(self, free_later: Callable[[Sequence[Address]], None]) -> Iterator[PackHold]:
        """See storage.facade.Objects.holding."""
        held = _Held(self)
        try:
            yield held
        finally:
            self._held.subtract(list(held.taken))
            self._held += Counter()  # without those that nobody holds any more
            free_later(tuple(held.taken))

    def take(self, address: Address, after_ms: int) -> bool:
        """Whether the pack is ours and stays; it does until it is given back."""
        row = self._keyring.get(address)
        if row is None or row.removed_ms or not row.digest or row.put_ms <= after_ms:
            return False
        if address in self._going:
            return False
        self._held[address] += 1
        return True

    def unneeded(self, among: Iterable[Address]) -> list[Address]:
        """Those of them that may go now."""
        return [
            address
            for address in among
            if not (
                address in self._held or address in self._going or self._keyring.is_needed(address)
            )
        ]

    async def free(self, among: Iterable[Address]) -> list[Forgotten]:
        """Give up those that nothing needs; on a full disk the next start does it."""
        gone, limiter = list[Forgotten](), trio.CapacityLimiter(DROPS_AT_ONCE)

        async def forget(address: Address) -> None:
            async with limiter:
                with suppress(StoreFullError):
                    if (forgotten := await self._forget(address)) is not None:
                        gone.append(forgotten)

        with self._those_that_go(among) as unneeded:
            async with trio.open_nursery() as nursery:
                for address in unneeded:
                    nursery.start_soon(forget, address)
        return gone

    async def leave(self, among: Iterable[Address]) -> None:
        """Off the keyring with those that nothing here needs: their leases stay. StoreFullError."""
        with self._those_that_go(among) as unneeded:
            for address in unneeded:
                await self._keyring.remove(address)

    @contextmanager
    def _those_that_go(self, among: Iterable[Address]) -> Iterator[list[Address]]:
        """Meanwhile nobody may count on them any more."""
        unneeded = self.unneeded(dict.fromkeys(among))
        self._going.update(unneeded)
        try:
            yield unneeded
        finally:
            self._going.difference_update(unneeded)


class _Held:
    """The packs that one put counts on."""

    def __init__(self, needs: Needs) -> None:
        self._needs = needs
        self.taken: dict[Address, None] = {}

    def take(self, address: Address, *, after_ms: int = -1) -> bool:
        """See storage.facade.PackHold."""
        if address in self.taken:
            return True
        if not self._needs.take(address, after_ms):
            return False
        self.taken[address] = None
        return True


def together(all_gone: Sequence[Forgotten]) -> Forgotten:
    """What giving up several has come to."""
    holders = dict.fromkeys(peer for gone in all_gone for peer in gone.holders)
    waiting = dict.fromkeys(peer for gone in all_gone for peer in gone.waiting)
    return Forgotten(tuple(holders), tuple(waiting))


async def stat_with(
    own: ObjectStat,
    size: int,
    needs: Sequence[Address],
    stat: Callable[[Address], Awaitable[ObjectStat]],
) -> ObjectStat:
    """How an object stands with all that it needs: as badly as the weakest of them."""
    stats, limiter = dict[Address, ObjectStat | None](), trio.CapacityLimiter(DROPS_AT_ONCE)

    async def look(address: Address) -> None:
        async with limiter:
            stats[address] = None
            with suppress(ObjectUnknownError, ManifestError):
                stats[address] = await stat(address)

    async with trio.open_nursery() as nursery:
        for address in needs:
            nursery.start_soon(look, address)
    return _folded(own, size, [stats[address] for address in needs])


def _folded(own: ObjectStat, size: int, parts: Sequence[ObjectStat | None]) -> ObjectStat:
    known = [own, *(part for part in parts if part is not None)]
    worst = max(known, key=lambda stat: (_RANKS.index(stat.health), stat.k - stat.shards_live))
    segments, holders = 0, list[tuple[int, int, PeerId, bool]]()
    for stat in known:
        holders += [(at + segments, shard, peer, has) for at, shard, peer, has in stat.holders]
        segments += stat.segments
    whole = msgspec.structs.replace(
        own, size=size, k=worst.k, n=worst.n, segments=segments, shards_live=worst.shards_live,
        survives=worst.survives, holders=tuple(holders), health=worst.health,
    )  # fmt: skip
    if len(known) <= len(parts):
        return msgspec.structs.replace(
            whole, shards_live=0, survives=UNFOUND, health=ObjectHealth.UNREADABLE
        )
    return whole


_RANKS = tuple(ObjectHealth)
