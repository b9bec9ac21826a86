"""The face of storage for whole objects: satisfies storage.facade.Objects."""

import logging
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Final

import trio

from p2p.ids import PeerId
from p2p.wire.envelope import Signed, Signer
from storage.config import StorageClass
from storage.engine.port import Tables, WriteView
from storage.errors import HolderFailedError, ObjectUnknownError, StoreFullError
from storage.facade import (
    PLAIN,
    Durability,
    Forgotten,
    Gone,
    Mark,
    ObjectEntry,
    ObjectHealth,
    ObjectKind,
    ObjectStat,
    PackHold,
    PutReceipt,
    ReadCap,
    StandsFor,
    Trust,
    Unfinished,
)
from storage.holder.tombstones import Tombstone
from storage.ids import Address, LeaseId
from storage.limits import ASKED_MAX
from storage.manifests.capability import text_of_address
from storage.objects.dropping import NO_ADDRESS, Dropping
from storage.objects.judging import NoPatience, SegmentJudge
from storage.objects.keeper import LeaseRenewer
from storage.objects.keyring import Keyring, KeyRow, keyrings_in
from storage.objects.needs import Needs, stat_with, together
from storage.objects.put_list import PutList
from storage.objects.reader import ObjectReader, SegmentReads
from storage.objects.removed import RemovedBook
from storage.objects.standing import ObjectTrouble, OwnObjects, stat_of
from storage.objects.writer import HashedSource, ObjectWriter, Stored
from storage.transfer.parts import StorageParts

_UNREMEMBERED: Final = (ObjectKind.KEYRING, ObjectKind.CHECKPOINT, ObjectKind.PACK)
"""Nobody asks for one of these by its address."""

log = logging.getLogger("swarm.storage")


class ObjectService:
    """Puts, gets and keeps objects. Calls are served while `run` runs."""

    def __init__(self, parts: StorageParts, tables: Tables, cache: SegmentReads) -> None:
        self._parts = parts
        self._keyring, self._entrusted = keyrings_in(tables)
        self._reader = ObjectReader(parts, cache)
        self._keeper = LeaseRenewer(parts, self._keyring)
        self.dropping = Dropping(parts, tables)
        self._removed = RemovedBook(tables)
        self._put_list = PutList(parts, tables, self.dropping)
        self._needs = Needs(self._keyring, self._forget)
        self.judge = SegmentJudge(parts.pool, parts.arrival, NoPatience())
        """By whom it is said how objects stand."""
        self.own = OwnObjects(parts, self._keyring, self._is_given_up, self.judge)
        self._coding = trio.Lock()
        """Held while a segment is sealed and coded: one at a time, whichever put it is of."""
        self._puts: dict[ObjectWriter, tuple[str, Mark]] = {}
        """Under way: what each will be called, and what it is for."""
        self._nursery: trio.Nursery | None = None
        """Of `run`, while it runs."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._keeper.run)
            nursery.start_soon(self.dropping.run)
            nursery.start_soon(self.own.run)
            nursery.start_soon(self._put_list.give_up, self._put_list.left())
            self._free_later(self._keyring.packs())
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None  # a put that ends with us starts nothing here any more

    async def put(
        self,
        source: AsyncIterable[bytes],
        *,
        name: str = "",
        durability: Durability = Durability.DURABLE,
        storage_class: StorageClass = StorageClass.NORMAL,
        mark: Mark = PLAIN,
        trust: Trust | None = None,
        stands_for: StandsFor | None = None,
    ) -> PutReceipt:
        """See storage.facade.Objects.put."""
        await trio.lowlevel.checkpoint_if_cancelled()  # who ends together with us, ends as that
        nursery = self._running()
        writer = self._writer(durability, storage_class, mark, trust)
        book = self._keyring if trust is None else self._entrusted
        hashed = HashedSource(source)
        is_kept = False
        self._puts[writer] = (name, mark)
        holding = trio.CancelScope()
        nursery.start_soon(self._put_list.begin, writer.lease)
        nursery.start_soon(self._hold, writer, holding)
        try:
            stored = await writer.store(hashed.read())
            meant = stands_for or StandsFor(hashed.digest())
            row = self._row_of(stored, name, storage_class, mark, meant, writer.asked)
            await book.add(stored.receipt.cap.address, row)
            is_kept = True
        finally:
            del self._puts[writer]
            holding.cancel()
            if not is_kept and self._nursery is not None:  # else the next start gives it up
                nursery.start_soon(self._give_up, writer)
        return stored.receipt

    def _writer(
        self, durability: Durability, storage_class: StorageClass, mark: Mark, trust: Trust | None
    ) -> ObjectWriter:
        return ObjectWriter(
            self._parts,
            self._running(),
            durability,
            storage_class,
            self._coding,
            trust,
            is_guests=bool(mark.person),
            is_given_up=self.dropping.is_given_up,
        )

    async def _hold(self, writer: ObjectWriter, scope: trio.CancelScope) -> None:
        with scope:
            await self._put_list.hold(writer)

    async def _give_up(self, writer: ObjectWriter) -> None:
        await self._keeper.drop(writer.lease, list(writer.asked))
        await self._put_list.end(writer.lease)

    def _row_of(
        self,
        stored: Stored,
        name: str,
        storage_class: int,
        mark: Mark,
        stands_for: StandsFor,
        holders: tuple[PeerId, ...],
    ) -> KeyRow:
        receipt = stored.receipt
        return KeyRow(
            receipt.cap.key, stored.lease, name, receipt.size, storage_class,
            self._parts.wall_ms(), stored.until_ms, mark.kind, mark.task, mark.person,
            stands_for.digest, _stored_bytes(receipt.size, receipt.k, receipt.n), holders,
            needs=stands_for.needs, whole_size=stands_for.size,
        )  # fmt: skip

    def holding(self) -> AbstractContextManager[PackHold]:
        """See storage.facade.Objects.holding."""
        return self._needs.hold(self._free_later)

    def _free_later(self, packs: Sequence[Address]) -> None:
        if self._nursery is not None:  # else the next start does it
            self._nursery.start_soon(self._needs.free, packs)

    def get(
        self, cap: ReadCap, *, start: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """See storage.facade.Objects.get."""
        self._refuse_removed(cap.address)
        return self._reader.read(self._running(), cap, start, length)

    async def size(self, address: Address) -> int:
        """See storage.facade.Objects.size."""
        return (await self._parts.catalog.manifest(address)).size

    async def stat(self, address: Address, *, ask: bool = True) -> ObjectStat:
        """See storage.facade.Objects.stat."""
        self._refuse_removed(address)
        row = self._keyring.get(address)
        own = await stat_of(self._parts, self.judge, address, row, ask=ask)
        if row is None or not row.needs:
            return own
        return await stat_with(own, row.whole_size, row.needs, partial(self.stat, ask=ask))

    def wants(self, lease: LeaseId) -> bool:
        """Whether an object of ours is kept under that lease."""
        address = self._keyring.holder_of(lease)
        row = None if address is None else self._keyring.get(address)
        return row is not None and not row.removed_ms

    def entries(self) -> Sequence[ObjectEntry]:
        """Objects put from this machine, the oldest first."""
        return self._keyring.entries()

    def entrusted(self) -> Sequence[ObjectEntry]:
        """What was put here for others and not handed over yet, the oldest first."""
        return self._entrusted.entries()

    def same(self, digest: bytes) -> Sequence[ObjectEntry]:
        """See storage.facade.Objects.same."""
        return self._keyring.same(digest)

    def removed(self, address: Address) -> Gone | None:
        """See storage.facade.Objects.removed."""
        return self._removed.get(address)

    def unfinished(self) -> Sequence[Unfinished]:
        """Puts under way, and those that a restart cut off and some holders keep still."""
        cut = [row.size for _, row in self.dropping.rows() if row.address == NO_ADDRESS]
        return [
            *(Unfinished(name, put.size, mark) for put, (name, mark) in self._puts.items()),
            *(Unfinished("cut off by a restart", size, PLAIN) for size in cut),
        ]

    async def adopt(self, cap: ReadCap, name: str, mark: Mark) -> bool:
        """See storage.facade.Objects.adopt."""
        parts, address = self._parts, cap.address
        if self._keyring.get(address) is not None:
            return True
        manifest = await parts.catalog.manifest(address)
        if (manifest.owner, manifest.lab) != (parts.owner, parts.lab):
            return False
        if self._keyring.holder_of(manifest.lease) is not None:
            return False  # whoever made it wants another object of ours dropped with it
        row = KeyRow(
            cap.key, manifest.lease, name, manifest.size, manifest.storage_class, parts.wall_ms(),
            parts.config.lease_ms(manifest.storage_class, parts.wall_ms()),
            mark.kind, mark.task, mark.person, b"",
            _stored_bytes(manifest.size, manifest.k, manifest.n),
        )  # fmt: skip
        await self._keyring.add(address, row)
        self._running().start_soon(self._keeper.renew_one, address, row)
        return True

    async def hand_over(self, address: Address) -> None:
        """See storage.facade.Objects.hand_over."""
        await self._entrusted.remove(address)

    async def leave(self, address: Address) -> None:
        """See storage.facade.Objects.leave. Packs that only this one needed are left, too."""
        row = self._keyring.get(address)
        if await self._keyring.remove(address):
            await self._needs.leave(() if row is None else row.needs)
            self._keyring.tell_changed()

    async def forget(self, address: Address) -> Forgotten | None:
        """See storage.facade.Objects.forget. What is both ours and entrusted goes from both."""
        row = self._keyring.get(address)
        gone = await self._forget(address)
        if gone is None or row is None or not row.needs:
            return gone
        return together([gone, *await self._needs.free(row.needs)])

    async def _forget(self, address: Address) -> Forgotten | None:
        """It alone."""
        ours = self._keyring.get(address)
        row = ours or self._entrusted.get(address)
        if row is None:
            return None
        holders = await self._keeper.everybody(address, row)
        books = (self._keyring, self._entrusted)
        gone = Gone(row.name, self._parts.wall_ms(), row.person)

        def note(view: WriteView) -> None:
            if ours is not None and row.kind not in _UNREMEMBERED:
                self._removed.write(view, address, gone)

        if not await self.dropping.begin(address, row, holders, books, note):
            return None
        await self._removed.prune()
        self._parts.catalog.forget(address)
        if row.kind != ObjectKind.KEYRING:
            self._keyring.tell_changed()
        return await self.dropping.try_now(row.lease)

    async def remove(
        self, address: Address, *, lab_key: Signer | None = None, reason: str = ""
    ) -> Forgotten | None:
        """See storage.facade.Objects.remove."""
        parts = self._parts
        await parts.catalog.refuse_removed(address)  # what is remembered may be of before
        manifest = await parts.catalog.manifest(address)
        lease, order = manifest.lease, None
        if lab_key is not None and lab_key.peer_id == str(manifest.lab):
            word = Tombstone(lease, address, b"", parts.wall_ms(), reason)
            stone = parts.tombstones.seal_with(lab_key, word)
            order = parts.tombstones.order(lab_key, lease, self.dropping.gone_by_ms())
        elif lab_key is None and manifest.is_guests:
            return None  # as on the machine where it was put
        elif lab_key is None and (manifest.owner, manifest.lab) == (parts.owner, parts.lab):
            stone = parts.tombstones.seal(lease, address)
        else:
            return None
        named = [*await self._keeper.named(address), *parts.pool.machines_of(manifest.owner)]
        holders = list(dict.fromkeys([parts.pool.me, *named]))
        await self.dropping.begin_anothers(address, lease, holders, stone, order)
        parts.catalog.forget(address)
        return await self.dropping.try_now(lease)

    async def heard(self, lease: LeaseId, sealed: Signed) -> None:
        """A tombstone came, perhaps of an object of ours.

        What another machine of our owner gave up is ours no more; what the lab's key removed is
        shown as that until its owner takes it off.
        """
        parts, address = self._parts, self._keyring.holder_of(lease)
        row = None if address is None else self._keyring.get(address)
        if address is None or row is None:
            return
        stone = parts.tombstones.given_up(sealed, lease, parts.owner, parts.lab)
        if stone is None or stone.address != address:
            return
        with suppress(StoreFullError):  # it is found out again when it cannot be read
            if sealed.sender != str(parts.lab):
                await self._keyring.remove(address)
                log.info(
                    "%s: another machine of its owner removed it, %s",
                    _shown(row, address),
                    sealed.sender,
                )
                await self._removed.add(address, Gone(row.name, parts.wall_ms(), row.person))
            elif not await self._keyring.mark_removed(
                address, min(stone.at_ms, parts.wall_ms()), stone.why
            ):
                return
            else:
                trouble = ObjectTrouble(
                    address, row.name, row.person, ObjectHealth.REMOVED, stone.why
                )
                self.own.troubles.pop(address, None)
                self.own.tell(trouble)
            self._free_later(row.needs)
            self._keyring.tell_changed()
        parts.catalog.forget(address)

    def _refuse_removed(self, address: Address) -> None:
        row = self._keyring.get(address)
        if row is not None and row.removed_ms:
            raise ObjectUnknownError(f"the key of its lab removed it: {row.removed_why}")

    async def _is_given_up(self, address: Address, row: KeyRow) -> bool:
        """Ask who may have had an object of ours that cannot be read whether it was removed."""
        parts = self._parts
        peers = dict.fromkeys([*row.holders, *parts.catalog.homes(address)])
        for peer in [peer for peer in peers if parts.pool.is_alive(peer)][:ASKED_MAX]:
            with suppress(HolderFailedError):
                for sealed in await parts.transfer.ask_dropped(peer, [row.lease]):
                    await self.heard(row.lease, sealed)
            now = self._keyring.get(address)
            if now is None or now.removed_ms:
                return True
        return False

    @property
    def keyring(self) -> Keyring:
        """What is ours, for who keeps a copy of it."""
        return self._keyring

    async def renew(self) -> int:
        """Renew the leases of all our objects now; how many were."""
        return await self._keeper.renew()

    def _running(self) -> trio.Nursery:
        if self._nursery is None:
            raise RuntimeError("storage must run before objects are put or got")
        return self._nursery


def _shown(row: KeyRow, address: Address) -> str:
    """An object as its owner finds it in lists: those are by address, and by task."""
    what = f"{row.kind or 'object'} {text_of_address(address)}"
    return f"{what} of task {row.task}" if row.task else what


def _stored_bytes(size: int, k: int, n: int) -> int:
    return size * n // k
