"""One put: a byte stream into segments on many machines, then the manifest that makes it exist.

    source -> segment -> seal -> code -> push (two segments at a time) -> manifest -> keyring

Until the manifest is committed nothing is visible and every shard is only held: when the put ends
in any other way its holds are given up, or end by themselves.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field

import msgspec
import trio

from p2p.ids import PeerId
from storage.coding.chunking import segments
from storage.coding.cipher import KEY_BYTES, seal
from storage.coding.erasure import Code
from storage.coding.merkle import root_of
from storage.errors import StorageError, StoreFullError, TooFewPeersError
from storage.facade import Durability, PutReceipt, ReadCap, Trust
from storage.ids import LeaseId, ObjectKey, ShardRoot
from storage.limits import CANDIDATES_MAX, LEASE_ID_BYTES, PAGE_SEGMENTS, RUN_SEGMENTS
from storage.manifests.manifest import VERSION, Manifest, SegmentRef, Written, write_manifest
from storage.messages import LeaseTerms
from storage.objects.parts import ObjectParts
from storage.objects.words import are_anothers, are_one_site, follows_words, survives_words
from storage.placement.rendezvous import Candidate, Plan, plan_for, quorum_of, rendezvous, shortlist
from storage.records.holding import Holding, Rows
from storage.transfer.push import PushOrder, PushOutcomes

FIRST_SEQUENCE = 1
TOLD_AGAIN_S = (1.0, 10.0, 60.0, 600.0)
"""Waits before a manifest is offered again; later the renewal of leases does the rest."""

REMEDY = "wait for more machines, or put with durability `local`"


@dataclass(frozen=True, slots=True)
class Stored:
    """A committed object."""

    receipt: PutReceipt
    lease: LeaseId
    until_ms: int
    """When its leases end unless they are renewed (wall clock)."""


@dataclass(slots=True)
class _Flight:
    """The segments under way: their number, the first failure, a bell for changes."""

    scopes: list[trio.CancelScope] = field(default_factory=list)
    """One for each, to stop it."""
    count: int = 0
    failure: StorageError | None = None
    changed: trio.Event = field(default_factory=trio.Event)
    """Set with the next change; another one after that."""

    async def until_below(self, count: int) -> None:
        """Wait until fewer are under way. Raises the first failure."""
        while self.failure is None and self.count >= count:
            await self.changed.wait()
        if self.failure is not None:
            raise self.failure

    def cancel(self) -> None:
        """Stop all that is under way."""
        for scope in list(self.scopes):
            scope.cancel()

    def ring(self) -> None:
        """Something changed."""
        self.changed.set()
        self.changed = trio.Event()


class ObjectWriter:
    """State of one put."""

    def __init__(
        self,
        parts: ObjectParts,
        nursery: trio.Nursery,
        durability: Durability,
        storage_class: int,
        coding: trio.Lock,
        trust: Trust | None = None,
        *,
        is_guests: bool = False,
    ) -> None:
        """`nursery` outlives the put: segments run there, so that no error is wrapped on its way.

        `coding` is shared by all puts: one segment is sealed and coded at a time. With `trust`
        the object is another owner's; `is_guests`: of another person of this machine.
        """
        self._is_guests = is_guests
        self._parts = parts
        self._nursery = nursery
        self._durability = durability
        self._class = storage_class
        self._coding = coding
        self._owner = parts.owner if trust is None else trust.owner
        self._lab = parts.lab if trust is None else trust.lab
        self._right = None if trust is None else trust.right
        """What lets us put for another owner; None for what is our own."""
        self._key = ObjectKey(parts.entropy(KEY_BYTES))  # a part of the capability
        self.lease = LeaseId(parts.entropy(LEASE_ID_BYTES))
        """Under which every holder keeps what it gets of this put."""
        self._begun_s = trio.current_time()
        self._size = 0  # bytes of plaintext taken in so far
        self._plan = Plan(1, 1, 1, 1)  # chosen when the first segment is there
        self._candidates: list[Candidate] = []
        """Machines for shards, in the order of the lease; chosen with the plan."""
        self._log = PushOutcomes()  # what the next segments should know of machines
        self._flight = _Flight()
        self._refs: dict[int, SegmentRef] = {}
        """By number: segments of which enough shards are kept."""
        self._rows: dict[int, tuple[PeerId | None, ...]] = {}
        """Their holders by shard, under the same numbers."""

    @property
    def size(self) -> int:
        """Plaintext taken in so far."""
        return self._size

    @property
    def asked(self) -> tuple[PeerId, ...]:
        """Machines that may hold something of this put."""
        return tuple(self._log.asked)

    async def store(self, source: AsyncIterable[bytes]) -> Stored:
        """Put everything.

        Raises PoolUnknownError, TooFewPeersError, StoreFullError and what the source raises.
        """
        async with AsyncExitStack() as stack:
            if isinstance(source, AsyncGenerator):  # nobody else will close it when we stop early
                await stack.enter_async_context(aclosing(source))
            if self._durability is not Durability.LOCAL:
                await self._parts.arrival.settled()
            cut = segments(source, self._parts.config.segment_bytes)
            await stack.enter_async_context(aclosing(cut))
            stack.callback(self._flight.cancel)
            await self._send_all(cut)
        return await self._commit()

    # -- segments

    async def _send_all(self, cut: AsyncIterator[bytes]) -> None:
        config, index = self._parts.config, 0
        async for plain in cut:
            if index == 0:
                is_whole = len(plain) < config.segment_bytes
                self._decide(is_small=is_whole and len(plain) <= config.small_object_bytes)
            self._size += len(plain)
            await self._flight.until_below(config.segments_in_flight)
            self._flight.count += 1
            scope = trio.CancelScope()
            self._flight.scopes.append(scope)
            self._nursery.start_soon(self._send, index, [plain], scope)
            del plain  # only the segment's own task holds it from here on
            index += 1
        await self._flight.until_below(1)

    def _decide(self, *, is_small: bool) -> None:
        """Choose the code and the machines. Raises TooFewPeersError for an empty pool."""
        pool = self._parts.pool
        usable = list(pool.usable())
        if self._durability is Durability.LOCAL:
            me = pool.candidate(pool.me)
            free_bytes = next((c.free_bytes for c in usable if c.peer == pool.me), 1 << 62)
            lab, site = (self._parts.lab, "") if me is None else (me.lab, me.site)
            self._candidates = [Candidate(pool.me, lab, site, 1, free_bytes)]
            return
        if not usable:
            raise TooFewPeersError(0, 1, f"no machine lends storage: {REMEDY}")
        self._plan = plan_for(len(usable), small=is_small)
        self._candidates = shortlist(rendezvous(self.lease, usable), CANDIDATES_MAX)

    async def _send(self, index: int, box: list[bytes], scope: trio.CancelScope) -> None:
        try:
            with scope:
                await self._send_segment(index, box)
        except StorageError as failure:
            self._flight.failure = self._flight.failure or failure
        finally:
            self._flight.scopes.remove(scope)
            self._flight.count -= 1
            self._flight.ring()

    async def _send_segment(self, index: int, box: list[bytes]) -> None:
        """Seal, code and push one segment; `box` holds its plaintext, which leaves it at once."""
        code = Code(self._plan.k, self._plan.n)
        cipher, key = self._parts.cipher, self._key
        async with self._coding:
            length, shards = await self._parts.workers.run(
                lambda: _sealed_and_coded(cipher, key, index, box.pop(), code)
            )
        order = PushOrder(
            shards,
            rendezvous(self.lease + (index // RUN_SEGMENTS).to_bytes(8), self._candidates),
            self._terms(is_hold=True),
            self._ack(),
            per_person=max(1, code.n - code.k),
        )
        holders = await self._parts.pusher.push(order, self._log)
        self._check(sum(holder is not None for holder in holders), len(shards[0][1]))
        roots = [root for root, _ in shards]
        self._refs[index] = SegmentRef(length, b"".join(roots[:1] if code.k == 1 else roots))
        self._rows[index] = holders

    def _ack(self) -> int:
        if self._durability is Durability.QUORUM:
            return quorum_of(self._plan)
        return self._plan.ack

    def _check(self, stored: int, shard_bytes: int) -> None:
        """Raise unless enough receipts came.

        Copies may become fewer as machines are found dead, as they would had we known before; but
        one copy alone is never what was asked for where there was a second machine.
        """
        need = self._ack()
        gone = sum(code != "full" for code in self._log.failed.values())
        left = len(self._candidates) - gone
        if self._plan.k == 1 and left > 0:
            need = max(min(2, need), min(need, plan_for(left).ack))
        if stored >= need:
            return
        full = [
            c.peer
            for c in self._candidates
            if c.free_bytes < shard_bytes or self._log.failed.get(c.peer) == "full"
        ]
        if stored + len(full) >= need:
            raise StoreFullError(
                f"{len(full)} of {len(self._candidates)} machines have no room for this object: "
                "free space there, raise their quota, or add machines"
            )
        raise TooFewPeersError(stored, need, REMEDY)

    # -- the end

    def _terms(self, *, is_hold: bool) -> LeaseTerms:
        parts, now_ms = self._parts, self._parts.wall_ms()
        hold_ms = now_ms + int(parts.config.hold_s * 1000)
        until_ms = hold_ms if is_hold else parts.config.lease_ms(self._class, now_ms)
        return LeaseTerms(
            self.lease, self._owner, self._lab, self._class, until_ms, is_hold, self._right
        )

    async def _commit(self) -> Stored:
        parts = self._parts
        count = len(self._refs)
        bare = Manifest(
            VERSION, self._size, parts.config.segment_bytes, self._plan.k, self._plan.n,
            parts.cipher, self.lease, self._owner, self._lab, self._class, 0,
            is_guests=self._is_guests,
        )  # fmt: skip
        written = write_manifest(bare, tuple(self._refs[index] for index in range(count)))
        holdings = self._holdings(written, tuple(self._rows[index] for index in range(count)))
        terms = self._terms(is_hold=False)
        if self._right is not None:  # ours to give up, until its owner renews it
            terms = msgspec.structs.replace(terms, is_hold=True)
        only = (parts.pool.me,) if self._durability is Durability.LOCAL else None
        self._log.asked.update(dict.fromkeys(parts.catalog.homes(written.address)))
        told, late = await parts.catalog.publish(
            written, terms, holdings, only=only, without=self._log.failed
        )
        need = (len(told) + len(late)) // 2 + 1
        if len(told) < need:
            raise TooFewPeersError(len(told), need, f"the manifest was not kept: {REMEDY}")
        if late:
            self._nursery.start_soon(self._tell_again, written, terms, holdings, late)
        return Stored(self._receipt(written), self.lease, terms.until_ms)

    async def _tell_again(
        self, written: Written, terms: LeaseTerms, holdings: list[Holding], late: list[PeerId]
    ) -> None:
        """Those who had no time for the manifest get another chance in the background."""
        for wait_s in TOLD_AGAIN_S:
            await trio.sleep(wait_s)
            _, late = await self._parts.catalog.publish(written, terms, holdings, only=late)
            if not late:
                return

    def _holdings(self, written: Written, rows: Rows) -> list[Holding]:
        return [
            self._parts.holders.seal(
                written.address,
                page,
                rows[page * PAGE_SEGMENTS : (page + 1) * PAGE_SEGMENTS],
                FIRST_SEQUENCE,
            )
            for page in range(written.manifest.page_count)
        ]

    def _receipt(self, written: Written) -> PutReceipt:
        pool, plan = self._parts.pool, self._plan
        live = [[peer for peer in row if peer is not None] for row in self._rows.values()]
        worst = min(live, key=len)
        holders = tuple(dict.fromkeys(peer for row in live for peer in row))
        return PutReceipt(
            cap=ReadCap(written.address, self._key),
            size=self._size,
            k=plan.k,
            n=plan.n,
            holders=holders,
            survives=survives_words(plan.k, worst, pool.me) + follows_words(plan, len(worst)),
            one_site=are_one_site(holders, pool),
            one_person=are_anothers(holders, pool, self._owner),
            seconds=trio.current_time() - self._begun_s,
        )


def _sealed_and_coded(
    cipher: int, key: ObjectKey, index: int, plain: bytes, code: Code
) -> tuple[int, list[tuple[ShardRoot, bytes]]]:
    """Length of the ciphertext, and root and bytes of each shard."""
    sealed = seal(cipher, key, index, plain)
    del plain
    shards = code.encode(sealed)
    if code.k == 1:
        return len(sealed), [(root_of(shards[0]), shards[0])] * code.n
    return len(sealed), [(root_of(shard), shard) for shard in shards]
