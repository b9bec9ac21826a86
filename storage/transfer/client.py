"""One question to one holder: shards, manifests, records and leases, each answer verified.

Whatever goes wrong with a holder is a HolderFailedError naming it, so that callers have one thing
to catch and always know whom to try next. A question to ourselves does not leave the machine.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import msgspec
import trio

from p2p.errors import (
    CallTimeoutError,
    PeerUnreachableError,
    RefusalError,
    RemoteRefusalError,
    WireError,
)
from p2p.host.rpc.service import Rpc
from p2p.ids import NetworkId, PeerId, TrafficClass
from p2p.membership.view import GONE, MemberChanged
from p2p.wire.codec import Message
from p2p.wire.envelope import Signed, Signer, open_signed
from p2p.workers import Workers
from storage import messages as m
from storage.coding.merkle import HASH_BYTES, root_of, verify_leaf
from storage.config import StorageConfig
from storage.errors import HolderFailedError
from storage.holder.server import ShardServer
from storage.holder.tombstones import may_be_cut
from storage.ids import Address, LeaseId, ShardRoot
from storage.limits import (
    LEAF_BYTES,
    LEASES_PER_QUESTION_MAX,
    LEASES_PER_RENEWAL_MAX,
    ROOTS_PER_QUESTION_MAX,
)
from storage.messages import LeaseTerms
from storage.records.holders import HolderBook
from storage.records.holding import Holding

ReplyT = TypeVar("ReplyT", bound=Message)


class ShardReceipt(msgspec.Struct, frozen=True):
    """A verified receipt: the holder has the shard on its disk and said so in writing."""

    holder: PeerId
    root: ShardRoot
    sealed: Signed


class Transfer:
    """All questions a machine may ask a holder. Every method raises HolderFailedError."""

    def __init__(
        self,
        config: StorageConfig,
        rpc: Rpc,
        server: ShardServer,
        holders: HolderBook,
        signer: Signer,
        network: NetworkId,
        workers: Workers,
    ) -> None:
        self._config = config
        self._rpc = rpc
        self._server = server
        self._holders = holders
        self._signer = signer
        self._network = network
        self._workers = workers
        self._waiting: dict[PeerId, list[trio.CancelScope]] = {}
        """What waits for an answer, by holder: it ends when the holder is found to be gone."""
        self.lies = 0
        """Answers of holders that failed their hash or signature, since the start."""

    async def put_shard(
        self,
        holder: PeerId,
        root: ShardRoot,
        data: bytes,
        terms: LeaseTerms,
        *,
        traffic_class: TrafficClass = TrafficClass.NORMAL,
    ) -> ShardReceipt:
        """Have a shard kept; returns once it is durable there and its receipt is verified."""
        request = m.PutShard(root, len(data), terms)
        reply, _ = await self._ask(holder, request, m.ShardStored, data, len(data), traffic_class)
        try:
            receipt = open_signed(
                self._signer, self._network, m.RECEIPT_DOMAIN, m.ShardReceiptTerms, reply.receipt
            )
        except WireError as error:
            raise self.lied(holder, str(error)) from error
        said = (reply.receipt.sender, receipt.root, receipt.length, receipt.lease)
        if said != (holder, root, len(data), terms.lease):
            raise self.lied(holder, "its receipt is for something else")
        return ShardReceipt(holder, root, reply.receipt)

    async def get_shard(
        self,
        holder: PeerId,
        root: ShardRoot,
        length: int,
        *,
        traffic_class: TrafficClass = TrafficClass.NORMAL,
    ) -> bytes:
        """The whole shard of that many bytes, verified against its root."""
        request = m.GetShard(root)
        _, body = await self._ask(holder, request, m.ShardBytes, b"", length, traffic_class)
        if len(body) != length or await self._workers.run(lambda: root_of(body)) != root:
            raise self.lied(holder, "the shard it sent fails its hash")
        return body

    async def get_leaves(
        self, holder: PeerId, root: ShardRoot, length: int, first: int, count: int
    ) -> bytes:
        """`count` leaves of 16 KiB from leaf `first` on, each verified with its Merkle path."""
        wanted = min(count * LEAF_BYTES, length - first * LEAF_BYTES)
        request = m.GetShard(root, first, count)
        reply, body = await self._ask(
            holder, request, m.ShardBytes, b"", wanted, TrafficClass.INTERACTIVE
        )
        if len(body) != wanted or len(reply.paths) != count:
            raise self.lied(holder, f"{len(body)} bytes of leaves for {wanted}")
        for at, path in enumerate(reply.paths):
            leaf = memoryview(body)[at * LEAF_BYTES : (at + 1) * LEAF_BYTES]
            hashes = [path[i : i + HASH_BYTES] for i in range(0, len(path), HASH_BYTES)]
            if not verify_leaf(root, length, first + at, leaf, hashes):
                raise self.lied(holder, f"leaf {first + at} fails its hash")
        return body

    def came_bytes(self, holder: PeerId) -> int:
        """Of shards and the like, from it to us: it grows while some come."""
        return self._rpc.came_bytes(holder)

    async def pulse(self, holder: PeerId) -> bool:
        """Whether its node answers at all, soon: a frozen one still has its connections."""
        if holder == self._rpc.peer_id:
            return True
        try:
            await self._rpc.call(
                holder, m.HaveShards(b""), m.ShardsHeld,
                traffic_class=TrafficClass.INTERACTIVE, timeout_s=self._config.pulse_timeout_s,
            )  # fmt: skip
        except (PeerUnreachableError, CallTimeoutError):
            return False
        except RemoteRefusalError:
            return True  # too busy to say more than that
        return True

    async def have(self, holder: PeerId, roots: Sequence[ShardRoot]) -> list[bool]:
        """Which of these shards the holder says are on its disk."""
        held = b""
        for at in range(0, len(roots), ROOTS_PER_QUESTION_MAX):
            part = roots[at : at + ROOTS_PER_QUESTION_MAX]
            reply, _ = await self._ask(holder, m.HaveShards(b"".join(part)), m.ShardsHeld)
            if len(reply.held) != len(part):
                raise self.lied(holder, "it answered for other shards")
            held += reply.held
        return [byte == 1 for byte in held]

    async def put_manifest(
        self,
        holder: PeerId,
        address: Address,
        part: Address,
        data: bytes,
        terms: LeaseTerms,
        holders: Sequence[Holding] = (),
    ) -> None:
        """Have a manifest (part = address) or one of its pages kept, with holder records."""
        records = tuple(holding.sealed for holding in holders)
        request = m.PutManifest(address, part, terms, records)
        await self._ask(holder, request, m.ManifestStored, data, len(data))

    async def get_manifest(self, holder: PeerId, part: Address) -> tuple[bytes, list[Holding]]:
        """The unverified bytes of a manifest or page, and holder records of page 0 that verify."""
        reply, body = await self._ask(holder, m.GetManifest(part), m.ManifestBytes)
        return body, [self._opened(holder, record) for record in reply.holders]

    async def put_holders(self, holder: PeerId, holding: Holding) -> Holding:
        """Publish a holder record there; returns the one that is newest there now."""
        reply, _ = await self._ask(holder, m.PutHolders(holding.sealed), m.HoldersStored)
        return self._opened(holder, reply.record)

    async def get_holders(self, holder: PeerId, address: Address, page: int) -> Holding | None:
        """The newest holder record known there, verified."""
        reply, _ = await self._ask(holder, m.GetHolders(address, page), m.HoldersFound)
        opened = [self._opened(holder, record) for record in reply.records]
        return next((h for h in opened if (h.address, h.page) == (address, page)), None)

    async def drop_lease(
        self,
        holder: PeerId,
        lease: LeaseId,
        tombstone: Signed | None = None,
        order: Signed | None = None,
    ) -> int:
        """Give a lease up there, by an order if it is not ours; leave a tombstone. Bytes freed."""
        request = m.DropLease(lease, order, tombstone)
        reply, _ = await self._ask(holder, request, m.LeaseDropped)
        return reply.freed_bytes

    async def hold(self, holder: PeerId, lease: LeaseId) -> None:
        """Keep the hold of a put that goes on."""
        await self._ask(holder, m.HoldLeases(lease), m.LeasesRenewed)

    async def ask_dropped(self, holder: PeerId, leases: Sequence[LeaseId]) -> list[Signed]:
        """Tombstones it has of these leases: unverified."""
        stones: list[Signed] = []
        for at in range(0, len(leases), LEASES_PER_QUESTION_MAX):
            part = leases[at : at + LEASES_PER_QUESTION_MAX]
            reply, _ = await self._ask(holder, m.AskDropped(b"".join(part)), m.LeasesDropped)
            stones += reply.tombstones
            for lease in part if may_be_cut(reply.tombstones) else ():
                more, _ = await self._ask(holder, m.AskDropped(lease), m.LeasesDropped)
                stones += more.tombstones  # the others had no room in one answer
        return stones

    async def renew(self, holder: PeerId, leases: Sequence[LeaseId], until_ms: int) -> list[bool]:
        """Keep leases there until then; which of them it knows."""
        known = b""
        for at in range(0, len(leases), LEASES_PER_RENEWAL_MAX):
            part = leases[at : at + LEASES_PER_RENEWAL_MAX]
            request = m.RenewLeases(b"".join(part), until_ms)
            reply, _ = await self._ask(holder, request, m.LeasesRenewed)
            if len(reply.known) != len(part):
                raise self.lied(holder, "it answered for other leases")
            known += reply.known
        return [byte == 1 for byte in known]

    def on_member(self, changed: MemberChanged) -> None:
        """Waste no more time on answers of a machine that is known to be gone."""
        if changed.member.liveness in GONE:
            for scope in self._waiting.pop(changed.member.peer, []):
                scope.cancel()

    def lied(self, holder: PeerId, detail: str) -> HolderFailedError:
        """What a holder sent proves nothing of what it should: counted, and the error to raise."""
        self.lies += 1
        return HolderFailedError(holder, "lied", detail)

    # -- inside

    async def _ask(
        self,
        holder: PeerId,
        request: Message,
        kind: type[ReplyT],
        body: bytes = b"",
        moved_bytes: int = 0,
        traffic_class: TrafficClass = TrafficClass.INTERACTIVE,
    ) -> tuple[ReplyT, bytes]:
        if holder == self._rpc.peer_id:
            return await self._ask_ourselves(request, kind, body)
        timeout_s = self._config.call_timeout_s + moved_bytes / self._config.rate_min_bytes_per_s
        try:
            with self._unless_gone(holder):
                return await self._rpc.call(
                    holder, request, kind,
                    traffic_class=traffic_class, timeout_s=timeout_s, body=body,
                )  # fmt: skip
        except PeerUnreachableError as error:
            raise HolderFailedError(holder, "unreachable", error.why) from error
        except CallTimeoutError as error:
            raise HolderFailedError(holder, "timeout", str(error)) from error
        except RemoteRefusalError as error:
            raise HolderFailedError(holder, error.code, error.detail) from error
        raise HolderFailedError(holder, "unreachable", "it fell silent meanwhile")

    @contextmanager
    def _unless_gone(self, holder: PeerId) -> Iterator[None]:
        """Stop waiting as soon as membership holds the machine for dead."""
        waiting = self._waiting.setdefault(holder, [])
        with trio.CancelScope() as scope:
            waiting.append(scope)
            try:
                yield
            finally:
                waiting.remove(scope)

    async def _ask_ourselves(
        self, request: Message, kind: type[ReplyT], body: bytes
    ) -> tuple[ReplyT, bytes]:
        me = self._rpc.me
        try:
            reply, reply_body = await self._server.answer(me, request, body)
        except RefusalError as error:
            raise HolderFailedError(me.peer, error.code, error.detail) from error
        assert isinstance(reply, kind)
        return reply, reply_body

    def _opened(self, holder: PeerId, sealed: Signed) -> Holding:
        try:
            return self._holders.open(sealed)
        except WireError as error:
            raise self.lied(holder, str(error)) from error
