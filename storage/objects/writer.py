"""One put: a byte stream into segments on many machines, then the manifest that makes it exist.

    source -> segment -> seal -> code -> push (two segments at a time) -> manifest -> keyring

Until the manifest is committed nothing is visible and every shard is only held: when the put ends
in any other way its holds are given up, or end by themselves.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing

import msgspec
import trio
from blake3 import blake3

from p2p.ids import PeerId
from storage.coding.chunking import segments
from storage.coding.cipher import seal
from storage.coding.erasure import Code
from storage.coding.merkle import root_of
from storage.errors import StorageError, TooFewPeersError
from storage.facade import Durability, PutReceipt, ReadCap, Trust
from storage.ids import KEY_BYTES, Address, LeaseId, ObjectKey, ShardRoot
from storage.limits import LEASE_ID_BYTES, PAGE_SEGMENTS
from storage.manifests.manifest import VERSION, Manifest, SegmentRef, Written, write_manifest
from storage.messages import LeaseTerms
from storage.objects.spread import TOO_FEW_REMEDY, PutSpread
from storage.objects.terms import PutTerms
from storage.objects.words import are_anothers, are_one_site, follows_words, survives_words
from storage.records.holding import Holding
from storage.transfer.parts import StorageParts
from storage.transfer.push import PushOrder

FIRST_SEQUENCE = 1
TOLD_AGAIN_S = (1.0, 10.0, 60.0, 600.0)
"""Waits before a manifest is offered again; later the renewal of leases does the rest."""


class Stored(msgspec.Struct, frozen=True):
    """A committed object."""

    receipt: PutReceipt
    lease: LeaseId
    until_ms: int
    """When its leases end unless they are renewed (wall clock)."""


class _Flight(msgspec.Struct):
    """The segments under way: their number, the first failure, a bell for changes."""

    scopes: list[trio.CancelScope] = msgspec.field(default_factory=list)
    """One for each, to stop it."""
    count: int = 0
    failure: StorageError | None = None
    changed: trio.Event = msgspec.field(default_factory=trio.Event)
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
        parts: StorageParts,
        nursery: trio.Nursery,
        durability: Durability,
        storage_class: int,
        coding: trio.Lock,
        trust: Trust | None = None,
        *,
        is_guests: bool = False,
        is_given_up: Callable[[Address], bool] = lambda _address: False,
    ) -> None:
        """`nursery` outlives the put: segments run there, so that no error is wrapped on its way.

        `coding` is shared by all puts: one segment is sealed and coded at a time. With `trust`
        the object is another owner's; `is_guests`: of another person of this machine.
        What `is_given_up` is not told of to anybody who has not heard of it yet.
        """
        self._parts = parts
        self._nursery = nursery
        self._is_given_up = is_given_up  # asked by address, after the put
        self._coding = coding
        self._key = ObjectKey(parts.entropy(KEY_BYTES))
        """A part of the capability."""
        lease = LeaseId(parts.entropy(LEASE_ID_BYTES))
        right = None if trust is None else trust.right
        owner, lab = (parts.owner, parts.lab) if trust is None else (trust.owner, trust.lab)
        self._terms = PutTerms(lease, owner, lab, right, storage_class, is_guests)
        self._spread = PutSpread(parts.pool, parts.lab, lease, durability)
        self._begun_s = trio.current_time()
        self._size = 0
        """Bytes of plaintext taken in so far."""
        self._flight = _Flight()
        self._refs: dict[int, SegmentRef] = {}
        """By number: segments of which enough shards are kept."""
        self._rows: dict[int, tuple[PeerId | None, ...]] = {}
        """Their holders by shard, under the same numbers."""

    @property
    def lease(self) -> LeaseId:
        """Under which every holder keeps what it gets of this put."""
        return self._terms.lease

    @property
    def size(self) -> int:
        """Plaintext taken in so far."""
        return self._size

    @property
    def asked(self) -> tuple[PeerId, ...]:
        """Machines that may hold something of this put."""
        return tuple(self._spread.log.asked)

    async def store(self, source: AsyncIterable[bytes]) -> Stored:
        """Put everything.

        Raises PoolUnknownError, TooFewPeersError, StoreFullError and what the source raises.
        """
        async with AsyncExitStack() as stack:
            if isinstance(source, AsyncGenerator):  # nobody else will close it when we stop early
                await stack.enter_async_context(aclosing(source))
            if not self._spread.is_local:
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
                self._spread.choose(is_small=is_whole and len(plain) <= config.small_object_bytes)
            self._size += len(plain)
            await self._flight.until_below(config.segments_in_flight)
            self._flight.count += 1
            scope = trio.CancelScope()
            self._flight.scopes.append(scope)
            self._nursery.start_soon(self._send, index, [plain], scope)
            del plain  # only the segment's own task holds it from here on
            index += 1
        await self._flight.until_below(1)

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
        parts, spread = self._parts, self._spread
        code = Code(spread.plan.k, spread.plan.n)
        cipher, key = parts.cipher, self._key
        async with self._coding:
            length, shards = await parts.workers.run(
                lambda: _sealed_and_coded(cipher, key, index, box.pop(), code)
            )
        order = PushOrder(
            shards,
            spread.ranked(index),
            self._terms.held(parts.config, parts.wall_ms()),
            spread.ack,
            per_person=max(1, code.n - code.k),
        )
        holders = await parts.pusher.push(order, spread.log)
        spread.check(sum(holder is not None for holder in holders), len(shards[0][1]))
        roots = [root for root, _ in shards]
        self._refs[index] = SegmentRef(length, b"".join(roots[:1] if code.k == 1 else roots))
        self._rows[index] = holders

    # -- the end

    async def _commit(self) -> Stored:
        parts, log = self._parts, self._spread.log
        written = self._written()
        holdings = self._holdings(written)
        terms = self._terms.lasting(parts.config, parts.wall_ms())
        log.asked.update(dict.fromkeys(parts.catalog.homes(written.address)))
        told, late = await parts.catalog.publish(
            written, terms, holdings, only=self._spread.only, without=log.failed
        )
        need = (len(told) + len(late)) // 2 + 1
        if len(told) < need:
            raise TooFewPeersError(len(told), need, f"the manifest was not kept: {TOO_FEW_REMEDY}")
        if late:
            self._nursery.start_soon(self._tell_again, written, terms, holdings, late)
        return Stored(self._receipt(written), terms.lease, terms.until_ms)

    def _written(self) -> Written:
        """The manifest and its pages."""
        parts, terms, plan = self._parts, self._terms, self._spread.plan
        bare = Manifest(
            VERSION, self._size, parts.config.segment_bytes, plan.k, plan.n, parts.cipher,
            terms.lease, terms.owner, terms.lab, terms.storage_class, 0,
            is_guests=terms.is_guests,
        )  # fmt: skip
        return write_manifest(bare, tuple(self._refs[index] for index in range(len(self._refs))))

    async def _tell_again(
        self, written: Written, terms: LeaseTerms, holdings: list[Holding], late: list[PeerId]
    ) -> None:
        """Those who had no time for the manifest get another chance in the background."""
        for wait_s in TOLD_AGAIN_S:
            await trio.sleep(wait_s)
            if self._is_given_up(written.address):
                return  # who has heard of that, and started anew since, would keep it
            _, late = await self._parts.catalog.publish(written, terms, holdings, only=late)
            if not late:
                return

    def _holdings(self, written: Written) -> list[Holding]:
        rows = tuple(self._rows[index] for index in range(len(self._rows)))
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
        pool, plan = self._parts.pool, self._spread.plan
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
            one_person=are_anothers(holders, pool, self._terms.owner),
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


class HashedSource:
    """A byte stream on its way, and the hash of what went by."""

    def __init__(self, source: AsyncIterable[bytes]) -> None:
        self._source = source
        self._hash = blake3()

    async def read(self) -> AsyncGenerator[bytes, None]:
        """The same bytes."""
        try:
            async for piece in self._source:
                self._hash.update(piece)
                yield piece
        finally:
            if isinstance(self._source, AsyncGenerator):  # nobody else will, when we stop early
                await self._source.aclose()

    def digest(self) -> bytes:
        """Of all that was read."""
        return self._hash.digest()
