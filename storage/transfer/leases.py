"""The leases on this machine: what is kept here, for whom, until when, and what may be freed.

A lease id covers everything one put left here. A shard is freed when its last lease goes.

    leases           lease            -> LeaseRow
    lease_shards     lease + root     -> ""
    shard_leases     root + lease     -> ""
    lease_manifests  lease + part     -> address of the object
    manifests        part             -> bytes of a manifest or page
    orphans          root             -> "": lost its last lease; its bytes may not be freed yet
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import msgspec
import trio

from p2p.errors import RefusalError
from p2p.identity.caller import Caller
from p2p.ids import LabId, MemberId, PeerId
from p2p.wire.codec import encode
from p2p.wire.envelope import Signed
from storage.config import StorageClass, StorageConfig
from storage.engine.port import ReadView, Tables, WriteView
from storage.engine.stored import stored
from storage.ids import Address, LeaseId, ShardRoot
from storage.limits import DROPPED_LEASES_KEPT, LEASE_ID_BYTES, LEASE_ROWS_PER_SCAN
from storage.messages import LeaseTerms
from storage.records.holders import HolderBook, Holding
from storage.shards.port import ShardStore
from storage.shards.uninterrupted import uninterrupted
from storage.transfer.lease_row import LEASES, LeaseRow, held_on, renewed, row_of
from storage.transfer.shares import Charged, Payer, Shares
from storage.transfer.tombstones import Tombstones

LEASE_SHARDS: Final = "lease_shards"
SHARD_LEASES: Final = "shard_leases"
LEASE_MANIFESTS: Final = "lease_manifests"
MANIFESTS: Final = "manifests"
ORPHANS: Final = "orphans"


EVERYBODY: Final = MemberId("")
"""Whose late puts are refused under a lease that was given up here."""


def nothing(_lease: LeaseId, _row: LeaseRow) -> bool:
    """Spare nothing."""
    return False


class LeaseBook:
    """All leases of this machine. What ends here is freed here."""

    def __init__(
        self,
        config: StorageConfig,
        tables: Tables,
        shards: ShardStore,
        holders: HolderBook,
        tombstones: Tombstones,
        wall_ms: Callable[[], int],
    ) -> None:
        self._config = config
        self._tombstones = tombstones
        self._tables = tables
        self._shards = shards
        self._holders = holders
        self._wall_ms = wall_ms
        self._putting: dict[ShardRoot, int] = {}
        self._dropping: set[ShardRoot] = set()
        self._locks: dict[LeaseId, trio.Lock] = {}
        self._dropped: dict[tuple[LeaseId, MemberId], LeaseRow | None] = {}
        """What was given up lately, and whose it is: what is late of it is refused."""
        self.shares = Shares()

    # -- reading

    def row(self, lease: LeaseId) -> LeaseRow | None:
        """The lease, if anything is kept under it here."""
        return row_of(self._tables, lease)

    def manifest(self, part: Address) -> bytes | None:
        """The bytes of a manifest or page kept here."""
        return self._tables.get(MANIFESTS, part)

    def is_of(self, lease: LeaseId, address: Address) -> bool:
        """Whether the lease is the one under which that object's manifest is kept here."""
        return self._tables.get(LEASE_MANIFESTS, lease + address) is not None

    def all(self) -> Iterator[tuple[LeaseId, LeaseRow]]:
        """Every lease here, read in steps; what comes meanwhile may be missed."""
        after: bytes | None = None
        while rows := self._tables.scan(LEASES, after=after, limit=LEASE_ROWS_PER_SCAN):
            after = rows[-1][0]
            yield from (
                (LeaseId(key), stored(LeaseRow, value, "store.lmdb")) for key, value in rows
            )

    def has_ended(self, lease: LeaseId) -> bool:
        """Whether nothing more is owed under a lease: it is over, or not here at all."""
        row = self.row(lease)
        return row is None or self._is_over(row, self._wall_ms())

    def dropped_row(self, lease: LeaseId) -> LeaseRow | None:
        """The row of a lease that was given up here lately."""
        return self._dropped.get((lease, EVERYBODY))

    def roots(self, lease: LeaseId) -> list[ShardRoot]:
        """The shards kept here under a lease."""
        return [ShardRoot(key[LEASE_ID_BYTES:]) for key in _keys(self._tables, LEASE_SHARDS, lease)]

    # -- writing

    def count(self) -> None:
        """Learn whose leases are kept here; once, before the first is taken."""
        self.shares, after = Shares(), None
        while rows := self._tables.scan(LEASES, after=after, limit=LEASE_ROWS_PER_SCAN):
            after = rows[-1][0]
            for _, value in rows:
                self.shares.add(stored(LeaseRow, value, "store.lmdb").payer)

    async def put_shard(
        self, root: ShardRoot, data: bytes, terms: LeaseTerms, putter: Caller
    ) -> None:
        """Store a shard with its lease in one transaction; durable on return.

        What a machine of another lab brings (a repair) is held until its manifest comes.
        Raises ShardCorruptError, StoreFullError; RefusalError for another's lease, for more than
        the putter's share, and while the same shard is being freed.
        """
        if not putter.is_me and putter.lab != terms.lab:
            until_ms = self._wall_ms() + int(self._config.hold_s * 1000)
            until_ms = min(until_ms, terms.until_ms)
            terms = msgspec.structs.replace(terms, is_hold=True, until_ms=until_ms)
        charged = Charged(self.shares)

        def also(view: WriteView) -> None:
            charged.now(self._write_terms(view, terms, putter))
            view.put(LEASE_SHARDS, terms.lease + root, b"")
            view.put(SHARD_LEASES, root + terms.lease, b"")

        async with self._putting_one(root):
            await self._shards.put(root, data, also)
        charged.keep()

    async def put_manifest(
        self,
        address: Address,
        part: Address,
        data: bytes,
        terms: LeaseTerms,
        holdings: Sequence[Holding],
        putter: Caller,
    ) -> None:
        """Store a manifest or page, its holder records and its lease in one transaction.

        A lease is bound to the first object that comes under it, so that nobody can have what is
        kept under it given up by naming it in a manifest of his own. Then RefusalError.
        """

        charged = Charged(self.shares)

        def apply(view: WriteView) -> None:
            bound = view.scan(LEASE_MANIFESTS, terms.lease, limit=1)
            if bound and bound[0][1] != address:
                raise RefusalError("not-yours", "that lease is another object's")
            charged.now(self._write_terms(view, terms, putter))
            view.put(MANIFESTS, part, data)
            view.put(LEASE_MANIFESTS, terms.lease + part, address)
            for holding in holdings:
                self._holders.write(view, holding)

        await self._tables.transact(apply)
        charged.keep()

    async def renew(
        self, leases: Sequence[LeaseId], until_ms: int, lab: LabId | None
    ) -> list[bool]:
        """Keep leases of that lab until then (never shorter); which of them are known here."""

        def apply(view: WriteView) -> list[bool]:
            least_ms = partial(self._config.lease_ms, now_ms=self._wall_ms())
            return [renewed(view, lease, until_ms, least_ms, lab) for lease in leases]

        return await self._tables.transact(apply)

    async def hold(self, leases: Sequence[LeaseId], putter: PeerId) -> list[bool]:
        """Keep holds of that machine a while longer; which of them are known here."""
        until_ms = self._wall_ms() + int(self._config.hold_s * 1000)

        def apply(view: WriteView) -> list[bool]:
            return [held_on(view, lease, until_ms, putter) for lease in leases]

        return await self._tables.transact(apply)

    async def drop(
        self,
        lease: LeaseId,
        whose: MemberId = EVERYBODY,
        *,
        tombstone: Signed | None = None,
        is_final: bool = True,
    ) -> int:
        """Give a lease up; the bytes freed. What other leases keep stays. Raises StoreFullError.

        What comes late under it is refused, if it is named as this person's, unless this is not
        final: others keep it and may give it back to us. With a tombstone nothing is taken under
        it again, whoever brings it.
        """
        lock = self._locks.setdefault(lease, trio.Lock())
        try:
            async with lock:  # who asks twice, having given up once, waits for the first
                return await self._drop(lease, whose, tombstone, is_final=is_final)
        finally:
            if lock.statistics().tasks_waiting == 0 and not lock.locked():
                self._locks.pop(lease, None)

    async def _drop(
        self, lease: LeaseId, whose: MemberId, tombstone: Signed | None, *, is_final: bool
    ) -> int:
        roots = self.roots(lease)
        busy = {root for root in roots if root in self._putting or root in self._dropping}
        mine = [root for root in roots if root not in busy]
        self._dropping.update(mine)
        row = self.row(lease)
        if is_final:
            self._dropped[lease, whose] = row or self._dropped.get((lease, whose))
        if len(self._dropped) > DROPPED_LEASES_KEPT:
            del self._dropped[next(iter(self._dropped))]
        try:
            async with uninterrupted():  # whoever asked may give up; half of this frees nothing
                orphans = await self._tables.free(lambda view: self._unlink(view, lease, tombstone))
                if row is not None:
                    self.shares.add(row.payer, -1)
                return await self._shards.delete([root for root in mine if root in orphans])
        finally:
            self._dropping.difference_update(mine)

    async def discard(self, root: ShardRoot) -> None:
        """Free a shard whose bytes have rotted: it is missing here from now on, as it should be.

        Its leases stay; a shard that is just being written or freed is left to whoever does that.
        Raises StoreFullError.
        """
        if root in self._putting or root in self._dropping:
            return
        self._dropping.add(root)
        try:
            await self._shards.delete([root])
        finally:
            self._dropping.discard(root)

    async def sweep(self, spared: Callable[[LeaseId, LeaseRow], bool] = nothing) -> int:
        """Free everything whose lease ended, committed objects after their time in the trash.

        `spared` is left alone whatever the clock says. Raises StoreFullError: then the rest is
        for the next time.
        """
        await self._tombstones.sweep(self._wall_ms())
        await self.sweep_orphans()
        now_ms, after, freed = self._wall_ms(), None, 0
        while rows := self._tables.scan(LEASES, after=after, limit=LEASE_ROWS_PER_SCAN):
            after = rows[-1][0]
            for key, value in rows:
                lease, row = LeaseId(key), stored(LeaseRow, value, "store.lmdb")
                if self._is_over(row, now_ms) and not spared(lease, row):
                    freed += await self.drop(lease)
        return freed

    async def sweep_orphans(self) -> int:
        """Free what lost its last lease when this machine went down, or while it was written."""
        freed = 0
        while roots := [ShardRoot(key) for key, _ in self._tables.scan(ORPHANS)]:
            if any(root in self._putting or root in self._dropping for root in roots):
                break  # next time
            kept = [root for root in roots if self._tables.scan(SHARD_LEASES, root, limit=1)]
            self._dropping.update(roots)
            try:
                async with uninterrupted():
                    freed += await self._shards.delete([r for r in roots if r not in kept])
                    await self._tables.free(partial(_forget_orphans, roots))
            finally:
                self._dropping.difference_update(roots)
        return freed

    # -- inside

    @asynccontextmanager
    async def _putting_one(self, root: ShardRoot) -> AsyncIterator[None]:
        if root in self._dropping:
            raise RefusalError("busy", "the same shard is being freed here just now")
        self._putting[root] = self._putting.get(root, 0) + 1
        try:
            yield
        finally:
            self._putting[root] -= 1
            if not self._putting[root]:
                del self._putting[root]

    def _gone_by_ms(self) -> int:
        """When every lease taken or renewed until now is over everywhere."""
        kept_s = self._config.lease_s + self._config.trash_s
        return self._wall_ms() + int(kept_s * 1000)

    def _is_over(self, row: LeaseRow, now_ms: int) -> bool:
        is_soft = not row.is_hold and row.storage_class != StorageClass.SCRATCH
        kept_ms = int(self._config.trash_s * 1000) if is_soft else 0
        return now_ms >= row.until_ms + kept_ms

    def _write_terms(self, view: WriteView, terms: LeaseTerms, putter: Caller) -> Payer | None:
        """Keep the terms of a put; to whom a lease that is new here is charged."""
        was_dropped = any((terms.lease, one) in self._dropped for one in (EVERYBODY, terms.owner))
        if was_dropped or self._tombstones.has(view, terms.lease):
            raise RefusalError("not-yours", "that lease was given up while this was on its way")
        terms = self._by_our_clock(terms)
        old = row_of(view, terms.lease)
        payer = _payer_of(putter, terms) if old is None else old.payer
        if old is None:
            self.shares.check(payer)
        elif (old.owner, old.lab) != (terms.owner, terms.lab):
            raise RefusalError("not-yours", "that lease is somebody else's")
        peer, is_proved = putter.peer, putter.member == terms.owner or terms.right is not None
        if old is not None and not old.is_hold:
            if terms.is_hold or terms.until_ms <= old.until_ms:
                return None  # a late shard of a committed object, or a repair
            peer, is_proved = old.putter, old.is_proved
        elif old is not None and old.is_proved and not is_proved:
            peer, is_proved = old.putter, True  # nobody takes over another's put
        elif old is None and not terms.is_hold and terms.putter:
            peer = terms.putter  # who mends names the machine that put it
        row = LeaseRow(
            terms.owner, terms.lab, peer, terms.storage_class, terms.until_ms, terms.is_hold,
            payer, is_proved,
        )  # fmt: skip
        view.put(LEASES, terms.lease, encode(row))
        return payer if old is None else None

    def _by_our_clock(self, terms: LeaseTerms) -> LeaseTerms:
        """The same terms, ending by the clock that will end them: the putter's may be wrong.

        A hold ends a while after the last word of its put, and what is put is kept as long as its
        class says; who mends gives the end that others keep it until.
        """
        now_ms = self._wall_ms()
        until_ms = min(terms.until_ms, now_ms + 2 * int(self._config.lease_s * 1000))
        if terms.is_hold:
            until_ms = now_ms + int(self._config.hold_s * 1000)
        elif not terms.putter:
            until_ms = max(until_ms, self._config.lease_ms(terms.storage_class, now_ms))
        return msgspec.structs.replace(terms, until_ms=until_ms)

    def _unlink(self, view: WriteView, lease: LeaseId, tombstone: Signed | None) -> set[ShardRoot]:
        """Remove all of a lease; the shards that nothing keeps any more."""
        orphans = set()
        if tombstone is not None:
            self._tombstones.write(view, lease, tombstone, self._gone_by_ms())
        for key in _keys(view, LEASE_SHARDS, lease):
            root = ShardRoot(key[LEASE_ID_BYTES:])
            view.delete(LEASE_SHARDS, key)
            view.delete(SHARD_LEASES, root + lease)
            if not view.scan(SHARD_LEASES, root, limit=1):
                orphans.add(root)
                view.put(ORPHANS, root, b"")
        for key, address in _pairs(view, LEASE_MANIFESTS, lease):
            view.delete(LEASE_MANIFESTS, key)
            view.delete(MANIFESTS, key[LEASE_ID_BYTES:])
            self._holders.remove(view, Address(address))
        view.delete(LEASES, lease)
        return orphans


def _forget_orphans(roots: Sequence[ShardRoot], view: WriteView) -> None:
    for root in roots:
        view.delete(ORPHANS, root)


def _payer_of(putter: Caller, terms: LeaseTerms) -> Payer:
    """Whoever proved to put for somebody else puts on their account."""
    if terms.right is not None:
        return Payer(terms.owner, terms.lab)
    return Payer(putter.member, putter.lab)


def _pairs(view: ReadView, table: str, prefix: bytes) -> list[tuple[bytes, bytes]]:
    pairs: list[tuple[bytes, bytes]] = []
    while more := view.scan(table, prefix, after=pairs[-1][0] if pairs else None):
        pairs += more
    return pairs


def _keys(view: ReadView, table: str, prefix: bytes) -> list[bytes]:
    return [key for key, _ in _pairs(view, table, prefix)]
