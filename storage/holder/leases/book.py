"""The leases on this machine: what is kept here, for whom, until when, and what may be freed.

A lease covers everything one put left here. A shard is freed when its last lease goes. Which of
the leases of one id somebody's words reach is decided by `storage.holder.leases.keys`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import trio

from p2p.errors import RefusalError
from p2p.identity.caller import Caller
from p2p.ids import PeerId
from p2p.wire.codec import encode
from p2p.wire.envelope import Signed
from storage.config import StorageConfig
from storage.engine.port import Tables, WriteView
from storage.holder.leases.given_up import GivenUp
from storage.holder.leases.keys import (
    bound_to,
    check_rows,
    key_for,
    keys_of,
    lease_of,
    payer_of,
    rows_of,
)
from storage.holder.leases.row import (
    LEASES,
    LeaseRow,
    as_hold,
    by_our_clock,
    held_on,
    is_over,
    read_row,
    renewed,
    row_of,
)
from storage.holder.leases.shares import Charged, LeasePayer, LeaseShares
from storage.holder.leases.tables import (
    MANIFESTS,
    ORPHANS,
    SHARD_LEASES,
    forget_orphans,
    link_part,
    link_shard,
    shards_of,
    unlink,
    unlink_shards,
)
from storage.holder.leases.underway import Judgement, Underway
from storage.holder.tombstones import Tombstones
from storage.ids import Address, LeaseId, LeaseKey, ShardRoot
from storage.limits import LEASE_ROWS_PER_SCAN
from storage.locks import KeyedLocks
from storage.messages import LeaseTerms
from storage.records.holders import HolderBook
from storage.records.holding import Holding
from storage.volumes.port import ShardStore
from storage.volumes.uninterrupted import uninterrupted


def nothing(_lease: LeaseKey, _row: LeaseRow) -> bool:
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
        self._config, self._wall_ms = config, wall_ms
        self._tables, self._shards = tables, shards
        self._holders, self._tombstones = holders, tombstones
        self._underway = Underway()  # who puts or frees which shards now
        self._locks = KeyedLocks[LeaseKey]()  # by lease that is being given up
        self.given_up = GivenUp()
        self.shares = LeaseShares()

    # -- reading

    def row(self, lease: LeaseId, address: Address | None = None) -> LeaseRow | None:
        """What is kept under an id, if anything; of that object if one is named."""
        keys = None if address is None else keys_of(self._tables, lease, address)
        rows = self.rows(lease)
        return next((row for key, row in rows if keys is None or key in keys), None)

    def rows(self, lease: LeaseId) -> list[tuple[LeaseKey, LeaseRow]]:
        """All that is kept under an id."""
        return rows_of(self._tables, lease)

    def manifest(self, part: Address) -> bytes | None:
        """The bytes of a manifest or page kept here."""
        return self._tables.get(MANIFESTS, part)

    def is_of(self, lease: LeaseId, address: Address) -> bool:
        """Whether that object's manifest is kept here under the lease."""
        return any(bound_to(self._tables, key) == address for key, _ in self.rows(lease))

    def all(self) -> Iterator[tuple[LeaseKey, LeaseRow]]:
        """Every lease here, read in steps; what comes meanwhile may be missed."""
        after: bytes | None = None
        while rows := self._tables.scan(LEASES, after=after, limit=LEASE_ROWS_PER_SCAN):
            after = rows[-1][0]
            yield from ((LeaseKey(key), read_row(value)) for key, value in rows)

    def has_ended(self, lease: LeaseId, address: Address) -> bool:
        """Whether nothing more is owed to an object: its lease is over, or not here at all."""
        rows = [row_of(self._tables, key) for key in keys_of(self._tables, lease, address)]
        return all(row is None or is_over(row, self._config, self._wall_ms()) for row in rows)

    def roots(self, lease: LeaseId, address: Address) -> list[ShardRoot]:
        """The shards of an object kept here under a lease."""
        keys = keys_of(self._tables, lease, address)
        return [root for key in keys for root in shards_of(self._tables, key)]

    @contextmanager
    def judging(self, lease: LeaseId, address: Address) -> Iterator[Judgement]:
        """While somebody decides, by what is kept here of an object, whether to give it up."""
        with self._underway.judging(self.roots(lease, address)) as judgement:
            yield judgement

    # -- writing

    def count(self) -> None:
        """Learn whose leases are kept here; once, before the first is taken."""
        self.shares = LeaseShares()
        for _, row in self.all():
            self.shares.add(row.payer)
        self._tombstones.count()

    async def put_shard(
        self, root: ShardRoot, data: bytes, terms: LeaseTerms, putter: Caller
    ) -> None:
        """Store a shard with its lease in one transaction; durable on return.

        What a machine of another lab brings (a repair) is held until its manifest comes.
        Raises ShardCorruptError, StoreFullError; RefusalError for another's lease, for more than
        the putter's share, and while the same shard is being freed.
        """
        if not putter.is_me and putter.lab != terms.lab:
            terms = as_hold(terms, self._config, self._wall_ms())
        charged = Charged(self.shares)

        def also(view: WriteView) -> None:
            key, payer = self._write_terms(view, terms, putter, terms.address or None)
            charged.now(payer)
            link_shard(view, key, root)

        coming = self.shares.coming(payer_of(putter, terms), terms.lease)
        with self._underway.putting(root), coming:
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

        A lease is bound to the first object that comes under it: of another one of the same owner
        nothing is taken. Then RefusalError.
        """
        charged = Charged(self.shares)

        def apply(view: WriteView) -> None:
            key, payer = self._write_terms(view, terms, putter, address)
            if bound_to(view, key) not in (None, address):
                raise RefusalError("not-yours", "that lease is another object's")
            charged.now(payer)
            link_part(view, key, part, address, data)
            for holding in holdings:
                self._holders.write(view, holding)

        with self.shares.coming(payer_of(putter, terms), terms.lease):
            await self._tables.transact(apply)
            charged.keep()

    async def renew(self, leases: Sequence[LeaseId], until_ms: int, asker: Caller) -> list[bool]:
        """Keep leases that the asker may renew until then (never shorter); which are known here."""

        def apply(view: WriteView) -> list[bool]:
            least_ms = partial(self._config.lease_ms, now_ms=self._wall_ms())
            rows_of_each = (rows_of(view, lease) for lease in leases)
            return [renewed(view, rows, until_ms, least_ms, asker) for rows in rows_of_each]

        return await self._tables.transact(apply)

    async def hold(self, leases: Sequence[LeaseId], putter: PeerId) -> list[bool]:
        """Keep holds of that machine a while longer; which of them are known here."""
        until_ms = self._wall_ms() + int(self._config.hold_s * 1000)

        def apply(view: WriteView) -> list[bool]:
            rows_of_each = (rows_of(view, lease) for lease in leases)
            return [held_on(view, rows, until_ms, putter) for rows in rows_of_each]

        return await self._tables.transact(apply)

    async def drop(self, lease: LeaseId, address: Address, judged: Judgement) -> int:
        """Give one object up that others keep, who may give it back, unless any of its shards
        has come since it was judged; the bytes freed. Raises StoreFullError."""
        freed = 0
        for key in keys_of(self._tables, lease, address):
            async with self._locks.of(key):
                freed += await self._drop(key, None, None, judged)
        return freed

    async def drop_one(
        self, key: LeaseKey, *, given: PeerId | None = None, tombstone: Signed | None = None
    ) -> int:
        """Give one lease up; the bytes freed. What others keep stays. Raises StoreFullError.

        What that machine (or EVERYBODY) brings late under it is refused. With a tombstone nothing
        of its owner's is taken under its id again, whoever brings it.
        """
        async with self._locks.of(key):  # who asks twice, having given up once, waits for the first
            return await self._drop(key, given, tombstone, None)

    async def drop_shards(self, lease: LeaseId, address: Address, judged: Judgement) -> int:
        """Free the shards of an object, but those that came since it was judged; its manifest and
        records stay. The bytes freed. Raises StoreFullError."""
        freed = 0
        for key in keys_of(self._tables, lease, address):
            async with self._locks.of(key):
                held = [root for root in shards_of(self._tables, key) if judged.has(root)]
                freed += await self._free_shards(held, partial(unlink_shards, key=key))
        return freed

    async def bury(self, lease: LeaseId, row: LeaseRow, tombstone: Signed) -> None:
        """Keep a tombstone of what has been given up already. Raises StoreFullError."""
        until_ms = self._gone_by_ms()
        await self._tables.free(
            lambda view: self._tombstones.write(view, lease, row, tombstone, until_ms)
        )

    async def _drop(
        self, key: LeaseKey, given: PeerId | None, stone: Signed | None, judged: Judgement | None
    ) -> int:
        row = row_of(self._tables, key)
        if row is None:
            return 0
        if given is not None:
            self.given_up.refuse(lease_of(key), row, given)

        roots = shards_of(self._tables, key)
        if judged is not None and not judged.spans(roots):
            return 0  # a mending has brought one meanwhile, with our receipt

        def apply(view: WriteView, mine: Sequence[ShardRoot]) -> set[ShardRoot] | None:
            if judged is not None and not set(mine).issuperset(shards_of(view, key)):
                return None  # it brings one now
            if stone is not None:
                self._tombstones.write(view, lease_of(key), row, stone, self._gone_by_ms())
            return unlink(view, key, self._holders)

        gone = partial(self.shares.add, row.payer, -1)
        return await self._free_shards(roots, apply, gone)

    async def _free_shards(
        self,
        roots: Sequence[ShardRoot],
        apply: Callable[[WriteView, Sequence[ShardRoot]], set[ShardRoot] | None],
        applied: Callable[[], None] = lambda: None,
    ) -> int:
        """Free what nothing keeps once that was done to those not being written; the bytes.

        `apply` may say None: nothing was done.
        """
        with self._underway.freeing(roots) as mine:
            async with uninterrupted():  # whoever asked may give up; half of this frees nothing
                orphans = await self._tables.free(lambda view: apply(view, mine))
                if orphans is None:
                    return 0
                applied()
                return await self._shards.delete([root for root in mine if root in orphans])

    async def discard(self, root: ShardRoot) -> None:
        """Free a shard whose bytes have rotted: it is missing here from now on, as it should be.

        Its leases stay; a shard that is just being written or freed is left to whoever does that.
        Raises StoreFullError.
        """
        with self._underway.freeing([root]) as mine:
            if mine:
                await self._shards.delete(mine)

    async def sweep(self, spared: Callable[[LeaseKey, LeaseRow], bool] = nothing) -> int:
        """Free everything whose lease ended, committed objects after their time in the trash.

        `spared` is left alone whatever the clock says. Raises StoreFullError: then the rest is
        for the next time.
        """
        await self._tombstones.sweep(self._wall_ms())
        await self.sweep_orphans()
        now_ms, after, freed = self._wall_ms(), None, 0
        while rows := self._tables.scan(LEASES, after=after, limit=LEASE_ROWS_PER_SCAN):
            after = rows[-1][0]
            await trio.lowlevel.checkpoint()
            freed += await self._free_over(rows, now_ms, spared)
        return freed

    async def _free_over(
        self,
        rows: Sequence[tuple[bytes, bytes]],
        now_ms: int,
        spared: Callable[[LeaseKey, LeaseRow], bool],
    ) -> int:
        """Free those of some rows whose lease has ended; the bytes freed. Raises StoreFullError."""
        freed = 0
        for key, value in rows:
            lease, row = LeaseKey(key), read_row(value)
            if is_over(row, self._config, now_ms) and not spared(lease, row):
                given = row.putter if row.is_proved else None
                freed += await self.drop_one(lease, given=given)
        return freed

    async def sweep_orphans(self) -> int:
        """Free what lost its last lease when this machine went down, or while it was written."""
        freed = 0
        while roots := [ShardRoot(key) for key, _ in self._tables.scan(ORPHANS)]:
            if any(self._underway.has(root) for root in roots):
                break  # next time
            kept = [root for root in roots if self._tables.scan(SHARD_LEASES, root, limit=1)]
            with self._underway.freeing(roots):
                async with uninterrupted():
                    freed += await self._shards.delete([r for r in roots if r not in kept])
                    await self._tables.free(partial(forget_orphans, roots=roots))
        return freed

    # -- inside

    def _gone_by_ms(self) -> int:
        """When every lease taken or renewed until now is over everywhere."""
        return self._wall_ms() + int((self._config.lease_s + self._config.trash_s) * 1000)

    def _write_terms(
        self, view: WriteView, terms: LeaseTerms, putter: Caller, address: Address | None
    ) -> tuple[LeaseKey, LeasePayer | None]:
        """Keep the terms of a put: under which key, and to whom a new lease is charged."""
        whose = (terms.lease, terms.owner, terms.lab)
        if self.given_up.has(*whose, putter.peer) or self._tombstones.has(view, *whose):
            raise RefusalError("not-yours", "that lease was given up while this was on its way")
        terms = by_our_clock(terms, self._config, self._wall_ms())
        is_owners = putter.person == terms.owner
        is_proved = is_owners or terms.right is not None
        key = key_for(view, terms, address, is_proved=is_proved)
        old = row_of(view, key)
        payer = payer_of(putter, terms) if old is None else old.payer
        peer = putter.peer
        if old is None:
            self.shares.check(payer)
            check_rows(view, terms.lease, payer)
            if not terms.is_hold and terms.putter:
                peer = terms.putter  # who mends names the machine that put it
        elif not old.is_hold:
            if terms.is_hold or terms.until_ms <= old.until_ms:
                return key, None  # a late shard of a committed object, or a repair
            peer, is_proved = old.putter, old.is_proved
        elif old.is_proved and not is_owners:
            peer, is_proved = old.putter, True  # nobody takes over another's put
        row = LeaseRow(
            terms.owner, terms.lab, peer, terms.storage_class, terms.until_ms, terms.is_hold,
            payer, is_proved,
        )  # fmt: skip
        view.put(LEASES, key, encode(row))
        return key, payer if old is None else None
