"""How objects stand: one by asking its holders, all of ours by what is known of the machines."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
import trio

from p2p.ids import PeerId
from storage.errors import HolderFailedError, ManifestError, ObjectUnknownError
from storage.facade import ObjectHealth, ObjectStat
from storage.ids import Address
from storage.limits import ASKED_AT_ONCE, OWN_ASKED_MAX, OWN_LOOKED_AT_MAX
from storage.manifests.manifest import Manifest
from storage.objects.judging import SegmentJudge
from storage.objects.keyring import Keyring, KeyRow
from storage.objects.words import survives_words
from storage.records.wider import Placed
from storage.transfer.parts import StorageParts

STAT_S: Final = 3.0
"""A holder that does not say within this what it has counts as one that has it not."""

STANDING_LOOK_S: Final = 10.0
"""How often we look how our objects stand."""


async def stat_of(
    parts: StorageParts, judge: SegmentJudge, address: Address, row: KeyRow | None, *, ask: bool
) -> ObjectStat:
    """How an object stands now, as its holders say themselves, or as who lives lets us think.

    Raises ObjectUnknownError.
    """
    manifest = await parts.catalog.manifest(address)
    places = await _places(parts, address, manifest, is_fresh=ask)
    held = await _held(parts, places) if ask else _thought(parts, places)
    live = [
        [peer for number, peer in enumerate(place.row) if peer is not None and (at, number) in held]
        for at, place in enumerate(places)
    ]
    worst = min(live, key=lambda peers: len(set(peers)))
    if ask and len(set(worst)) < manifest.k:
        await parts.catalog.refuse_removed(address)
    healths = [
        judge.health_of(manifest.k, place.row, peers)
        for place, peers in zip(places, live, strict=True)
    ]
    return ObjectStat(
        address=address,
        name="" if row is None else row.name,
        size=manifest.size,
        k=manifest.k,
        n=max(len(place.row) for place in places),
        segments=manifest.segment_count,
        shards_live=len(worst),
        survives=survives_words(manifest.k, worst, parts.pool.me),
        holders=tuple(
            (segment, number, peer, (segment, number) in held)
            for segment, place in enumerate(places)
            for number, peer in enumerate(place.row)
            if peer is not None
        ),
        expires_ms=0 if row is None else row.until_ms,
        health=max(healths, key=_rank),
    )


async def _places(
    parts: StorageParts, address: Address, manifest: Manifest, *, is_fresh: bool
) -> list[Placed]:
    """All segments, by the newest records that are known or can be had."""
    places: list[Placed] = []
    for page in range(manifest.page_count):
        holding = await parts.catalog.holding(address, manifest, page, is_fresh=is_fresh)
        places += await parts.catalog.placed(address, manifest, page, holding)
    return places


async def _held(parts: StorageParts, places: Sequence[Placed]) -> set[tuple[int, int]]:
    """(segment, shard) of all that their holders say they have."""
    wanted: dict[PeerId, list[tuple[int, int]]] = {}
    for at, place in enumerate(places):
        for number, peer in enumerate(place.row):
            if peer is not None and parts.pool.is_alive(peer):
                wanted.setdefault(peer, []).append((at, number))
    held: set[tuple[int, int]] = set()
    limiter = trio.CapacityLimiter(ASKED_AT_ONCE)

    async def ask(peer: PeerId, pairs: list[tuple[int, int]]) -> None:
        roots = [places[at].roots[number] for at, number in pairs]
        async with limiter:
            with trio.move_on_after(STAT_S):
                try:
                    has = await parts.transfer.have(peer, roots)
                except HolderFailedError:
                    return  # what it does not say it has cannot be counted on
                held.update(pair for pair, is_here in zip(pairs, has, strict=True) if is_here)

    async with trio.open_nursery() as nursery:
        for peer, pairs in wanted.items():
            nursery.start_soon(ask, peer, pairs)
    return held


def _thought(parts: StorageParts, places: Sequence[Placed]) -> set[tuple[int, int]]:
    """(segment, shard) of all whose holders live."""
    return {
        (at, number)
        for at, place in enumerate(places)
        for number, peer in enumerate(place.row)
        if peer is not None and parts.pool.is_alive(peer)
    }


class ObjectTrouble(msgspec.Struct, frozen=True):
    """One of our objects is not whole, or is whole again."""

    address: Address
    name: str
    person: str
    """Whose it is, of several people of one machine."""
    health: ObjectHealth
    why: str = ""
    """That it was removed, if it was, and by whom."""
    kind: str = ""
    """An ObjectKind: some are not on lists of objects."""
    since_ms: int = 0
    """When it was first seen to be not whole (wall clock)."""
    away: tuple[PeerId, ...] = ()
    """Machines that hold some of it and are silent."""
    until_ms: int = 0
    """Until then the last of these is waited for; what it holds is made anew afterwards."""
    removed: tuple[PeerId, ...] = ()
    """Machines that held some of it, and were removed from the network."""


class _Standing(msgspec.Struct):
    """What one look at an object found."""

    health: ObjectHealth = ObjectHealth.WHOLE
    away: dict[PeerId, None] = msgspec.field(default_factory=dict)
    until_s: float = 0.0
    """When the last of the silent holders counts as lost, on our clock."""
    removed: dict[PeerId, None] = msgspec.field(default_factory=dict)
    """Holders that nobody waits for."""


class OwnObjects(msgspec.Struct):
    """Looks after ours: which of them cannot be read now, and which lack copies."""

    parts: StorageParts
    keyring: Keyring
    is_given_up: Callable[[Address, KeyRow], Awaitable[bool]]
    """Whether somebody who may has given up an object of ours that cannot be read."""
    judge: SegmentJudge
    troubles: dict[Address, ObjectTrouble] = msgspec.field(default_factory=dict)
    """Those that are not whole."""
    _told: list[Callable[[ObjectTrouble], None]] = msgspec.field(default_factory=list)
    _after: int = 0

    def on_change(self, listener: Callable[[ObjectTrouble], None]) -> None:
        """Be told of each whose health has changed."""
        self._told.append(listener)

    def tell(self, trouble: ObjectTrouble) -> None:
        """The health of one has changed."""
        for tell in self._told:
            tell(trouble)

    async def run(self) -> None:
        """Look now and then until cancelled; so many at a time, each in its turn."""
        while True:
            await trio.sleep(STANDING_LOOK_S)
            if not self.parts.arrival.is_settled():
                continue  # nobody has answered yet; that says nothing of our objects
            known = await self.keyring.rows_in_steps()
            rows = [pair for pair in known if not pair[1].removed_ms]
            ours = {address for address, _ in rows}
            for address in [address for address in self.troubles if address not in ours]:
                del self.troubles[address]
            start = self._after if self._after < len(rows) else 0
            self._after, asked = start, 0
            for address, row in rows[start : start + OWN_LOOKED_AT_MAX]:
                asked += self.parts.holders.get(address) is None
                if asked > OWN_ASKED_MAX:
                    break  # the others are for the next time
                self._after += 1
                look = await self._look(address)
                if look.health is ObjectHealth.UNREADABLE and await self._is_gone(address, row):
                    continue
                self._note(self._trouble_of(address, row, look))
                await trio.lowlevel.checkpoint()

    def _trouble_of(self, address: Address, row: KeyRow, look: _Standing) -> ObjectTrouble:
        now_ms, left_s = self.parts.wall_ms(), look.until_s - trio.current_time()
        before = self.troubles.get(address)
        since_ms = now_ms if before is None else before.since_ms
        until_ms = now_ms + int(left_s * 1000) if look.until_s else 0
        return ObjectTrouble(
            address, row.name, row.person, look.health, "", row.kind, since_ms, tuple(look.away),
            until_ms, tuple(look.removed),
        )  # fmt: skip

    async def _is_gone(self, address: Address, row: KeyRow) -> bool:
        with trio.move_on_after(STAT_S):
            return await self.is_given_up(address, row)
        return False

    def count(self, health: ObjectHealth) -> int:
        """How many stand so."""
        return sum(trouble.health is health for trouble in self.troubles.values())

    def _note(self, now: ObjectTrouble) -> None:
        before = self.troubles.pop(now.address, None)
        if now.health is not ObjectHealth.WHOLE:
            self.troubles[now.address] = now
        was = ObjectHealth.WHOLE if before is None else before.health
        if was is not now.health:
            self.tell(now)

    async def _look(self, address: Address) -> _Standing:
        """By who lives and the records known here; newer ones are asked for where these look bad.

        Nobody is waited for long.
        """
        try:
            with trio.fail_after(STAT_S):
                manifest = await self.parts.catalog.manifest(address)
                standing = await self._judged(address, manifest, is_fresh=False)
                if standing.health is not ObjectHealth.WHOLE:  # others may have mended it long ago
                    standing = await self._judged(address, manifest, is_fresh=True)
                return standing
        except (ManifestError, ObjectUnknownError, trio.TooSlowError):
            return _Standing(ObjectHealth.UNREADABLE)

    async def _judged(self, address: Address, manifest: Manifest, *, is_fresh: bool) -> _Standing:
        look = _Standing()
        for page in range(manifest.page_count):
            holding = await self.parts.catalog.holding(address, manifest, page, is_fresh=is_fresh)
            for row in () if holding is None else holding.rows:
                self._judge(look, row, manifest.k)
        return look

    def _judge(self, look: _Standing, row: Sequence[PeerId | None], k: int) -> None:
        """Add how one segment stands."""
        pool = self.parts.pool
        holders = [peer for peer in row if peer is not None]
        held = {peer for peer in holders if pool.is_alive(peer)}
        look.health = max(look.health, self.judge.health_of(k, row, held), key=_rank)
        for peer in holders if len(held) < len(row) else ():
            if peer in pool.removed:
                look.removed[peer] = None
            elif peer not in held:
                look.away[peer] = None
                lost_s = self.judge.lost_s(peer, k, len(row), len(held))
                look.until_s = max(look.until_s, lost_s)


def _rank(health: ObjectHealth) -> int:
    return tuple(ObjectHealth).index(health)
