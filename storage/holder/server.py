"""What this machine does for others: keeps shards and manifests and gives them back.

Every method is the answer to one message; nothing is answered before it is durable. Refusals are
short codes that tell the asker to try somebody else.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from p2p.errors import RefusalError, WireError
from p2p.host.rpc.service import Rpc, no_body
from p2p.identity.caller import Caller
from p2p.ids import PeerId
from p2p.mesh import Mesh
from p2p.wire.codec import Message
from p2p.wire.envelope import Signed, open_signed, seal
from storage import messages as m
from storage.coding.merkle import HASH_BYTES
from storage.config import StorageConfig
from storage.errors import ManifestError, ShardCorruptError, ShardMissingError, StoreFullError
from storage.holder.leases.book import LeaseBook
from storage.holder.leases.given_up import EVERYBODY
from storage.holder.leases.row import LeaseRow
from storage.holder.tombstones import Tombstones, answer_of
from storage.ids import LeaseId, ShardRoot
from storage.limits import (
    LEAF_BYTES,
    LEASE_ID_BYTES,
    LEASES_PER_QUESTION_MAX,
    LEAVES_PER_RANGE_MAX,
    MANIFEST_BYTES_MAX,
    SHARD_BYTES_MAX,
)
from storage.manifests.manifest import address_of, read_manifest
from storage.records.holders import HolderBook
from storage.records.holding import Holding
from storage.rights import Rights
from storage.volumes.port import ShardStore

Answer = Callable[[Caller, Any, bytes], Awaitable[tuple[Message, bytes]]]
ReplyBytes = Callable[[Any, int], int]
OnStone = Callable[[LeaseId, Signed], Awaitable[None]]


class ShardServer:
    """Serves the messages of storage.messages."""

    def __init__(
        self,
        config: StorageConfig,
        shards: ShardStore,
        leases: LeaseBook,
        holders: HolderBook,
        tombstones: Tombstones,
        mesh: Mesh,
        rights: Rights,
        is_clock_wrong: Callable[[], bool],
    ) -> None:
        """`is_clock_wrong` is asked before anything new is taken: it would end too soon."""
        self._config = config
        self._shards = shards
        self._leases = leases
        self._holders = holders
        self._tombstones = tombstones
        self._signer, self._network, self._wall_ms = mesh.signer, mesh.network, mesh.wall_ms
        self._rights, self._is_clock_wrong = rights, is_clock_wrong
        self._on_stone: OnStone = _nothing
        """Nobody, until `serve_on` says who is told."""
        self._answers: Final[dict[type[Message], Answer]] = {
            m.PutShard: self._put_shard,
            m.GetShard: self._get_shard,
            m.PutManifest: self._put_manifest,
            m.GetManifest: self._get_manifest,
            m.PutHolders: self._put_holders,
            m.GetHolders: self._get_holders,
            m.HaveShards: self._have_shards,
            m.DropLease: self._drop_lease,
            m.RenewLeases: self._renew_leases,
            m.AskDropped: self._ask_dropped,
            m.AskClock: self._ask_clock,
            m.HoldLeases: self._hold_leases,
        }

    def serve_on(self, rpc: Rpc, on_stone: OnStone) -> None:
        """Register for calls from others; once, before the rpc runs.

        `on_stone` is told of tombstones that come, unchecked: of an object of ours, perhaps.
        """
        self._on_stone = on_stone
        reply_bytes: dict[type[Message], ReplyBytes] = {
            m.GetShard: self._shard_bytes,
            m.GetManifest: _manifest_bytes,
        }
        for kind, answer in self._answers.items():
            rpc.serve(kind, answer, reply_bytes.get(kind, no_body))

    async def answer(self, caller: Caller, request: Message, body: bytes) -> tuple[Message, bytes]:
        """Answer a question of our own without the network. Raises RefusalError."""
        return await self._answers[type(request)](caller, request, body)

    # -- shards

    async def _put_shard(
        self, caller: Caller, request: m.PutShard, body: bytes
    ) -> tuple[Message, bytes]:
        self._check_may_put(caller, request.terms)
        _check_hash(request.root)
        if len(body) != request.length:
            raise RefusalError("corrupt", f"{len(body)} bytes came, {request.length} announced")
        if self._shards.free_bytes() < len(body):
            raise RefusalError("full", "what this machine lends is used up")
        try:
            await self._leases.put_shard(request.root, body, request.terms, caller)
        except StoreFullError as error:
            raise RefusalError("full", str(error)) from error
        except ShardCorruptError as error:
            raise RefusalError("corrupt", str(error)) from error
        terms = request.terms
        receipt = m.ShardReceiptTerms(request.root, len(body), terms.lease, terms.until_ms)
        sealed = seal(
            self._signer, self._network, m.RECEIPT_DOMAIN, receipt,
            sequence=0, expires_ms=terms.until_ms,
        )  # fmt: skip
        return m.ShardStored(sealed), b""

    async def _get_shard(
        self, caller: Caller, request: m.GetShard, body: bytes
    ) -> tuple[Message, bytes]:
        root = request.root
        _check_hash(root)
        length = self._shards.length(root)
        if length is None:
            raise RefusalError("missing", "that shard is not here")
        try:
            if request.leaves == 0:
                return m.ShardBytes(length), await self._shards.get(root)
            if not 0 < request.leaves <= LEAVES_PER_RANGE_MAX or request.first_leaf < 0:
                raise RefusalError("range", f"at most {LEAVES_PER_RANGE_MAX} leaves at a time")
            start = request.first_leaf * LEAF_BYTES
            if start >= max(1, length):
                raise RefusalError("range", f"the shard ends at {length}")
            wanted = min(request.leaves * LEAF_BYTES, length - start)
            data, paths = await self._read(root, start, wanted)
        except ShardMissingError as error:
            raise RefusalError("missing", str(error)) from error
        except ShardCorruptError as error:
            with suppress(StoreFullError):  # then the next who reads it finds out
                await self._leases.discard(root)  # an audit finds it missing: it is rebuilt
            raise RefusalError("missing", str(error)) from error
        return m.ShardBytes(length, paths), data

    def _shard_bytes(self, request: m.GetShard, _body_len: int) -> int:
        """The most that the answer to a question for a shard has."""
        if request.leaves:
            return min(request.leaves, LEAVES_PER_RANGE_MAX) * LEAF_BYTES
        is_hash = len(request.root) == HASH_BYTES
        length = self._shards.length(request.root) if is_hash else 0
        return SHARD_BYTES_MAX if length is None else length  # it may come before it is looked for

    async def _read(
        self, root: ShardRoot, start: int, wanted: int
    ) -> tuple[bytes, tuple[bytes, ...]]:
        data, paths = await self._shards.read(root, start, wanted)
        return data, tuple(paths)

    async def _have_shards(
        self, caller: Caller, request: m.HaveShards, body: bytes
    ) -> tuple[Message, bytes]:
        roots = request.roots
        _check_whole(roots, HASH_BYTES)
        parts = [roots[at : at + HASH_BYTES] for at in range(0, len(roots), HASH_BYTES)]
        held = bytes(self._shards.length(ShardRoot(part)) is not None for part in parts)
        return m.ShardsHeld(held), b""

    # -- manifests and holder records

    async def _put_manifest(
        self, caller: Caller, request: m.PutManifest, body: bytes
    ) -> tuple[Message, bytes]:
        self._check_may_put(caller, request.terms)
        _check_hash(request.address)
        if address_of(body) != request.part:
            raise RefusalError("corrupt", "the manifest does not hash to its address")
        holdings = [self._opened(record) for record in request.holders]
        if any(holding.address != request.address for holding in holdings):
            raise RefusalError("corrupt", "a holder record of another object")
        if request.part == request.address:
            _check_manifest(request, body)
        if self._shards.free_bytes() < len(body):
            raise RefusalError("full", "what this machine lends is used up")
        try:
            await self._leases.put_manifest(
                request.address, request.part, body, request.terms, holdings, caller
            )
        except StoreFullError as error:
            raise RefusalError("full", str(error)) from error
        return m.ManifestStored(), b""

    async def _get_manifest(
        self, caller: Caller, request: m.GetManifest, body: bytes
    ) -> tuple[Message, bytes]:
        _check_hash(request.part)
        data = self._leases.manifest(request.part)
        if data is None and (told := self._tombstones.told(request.part)):
            raise RefusalError(m.REMOVED, told)
        if data is None:
            raise RefusalError("missing", "that manifest is not here")
        known = self._holders.get(request.part)
        return m.ManifestBytes((known.sealed,) if known is not None else ()), data

    async def _put_holders(
        self, caller: Caller, request: m.PutHolders, body: bytes
    ) -> tuple[Message, bytes]:
        holding = self._opened(request.record)
        if self._leases.manifest(holding.address) is None:
            raise RefusalError("missing", "the manifest of that object is not here")
        try:
            kept = await self._holders.accept(holding)
        except StoreFullError as error:
            raise RefusalError("full", str(error)) from error
        return m.HoldersStored(kept.sealed), b""

    async def _get_holders(
        self, caller: Caller, request: m.GetHolders, body: bytes
    ) -> tuple[Message, bytes]:
        _check_hash(request.address)
        if not 0 <= request.page < 2**32:
            raise RefusalError("range", f"no page {request.page}")
        known = self._holders.get(request.address, request.page)
        return m.HoldersFound((known.sealed,) if known is not None else ()), b""

    # -- leases

    async def _drop_lease(
        self, caller: Caller, request: m.DropLease, body: bytes
    ) -> tuple[Message, bytes]:
        """Of all that is kept under that id, what the caller may give up.

        With a tombstone only of the object that it names: who gives up what another machine put has
        its lease from a manifest that anybody made.
        """
        lease = request.lease
        _check_lease(lease)
        rows, freed, done = self._leases.rows(lease), 0, False
        try:
            for key, row in rows:
                given = self._given(caller, row, request)
                if given is not None and self._tombstones.names(request.tombstone, key):
                    stone = request.tombstone if self._binds(caller, row, request) else None
                    freed += await self._leases.drop_one(key, given=given, tombstone=stone)
                    order = request.order if self._is_ordered(row, request) else None
                    self._tombstones.note(stone or order, row, caller.peer)
                    done = True
            if not any(row.owner == caller.person for _, row in rows):
                self._leases.given_up.refuse(lease, caller)  # their own, if it comes late
            for row in () if done else self._leases.given_up.rows(lease):
                if request.tombstone is not None and self._binds(caller, row, request):
                    await self._leases.bury(lease, row, request.tombstone)
                    done = True
        except StoreFullError as error:
            raise RefusalError("full", str(error)) from error
        if request.tombstone is not None:
            await self._on_stone(lease, request.tombstone)
        if rows and not done:
            raise RefusalError("not-yours", "only its owner, or the key of the lab, may give it up")
        return m.LeaseDropped(freed), b""

    def _given(self, caller: Caller, row: LeaseRow, request: m.DropLease) -> PeerId | None:
        """Of whom nothing more is taken, when they may give that up; else None."""
        if caller.is_me or caller.person == row.owner or self._is_ordered(row, request):
            return EVERYBODY
        # Of a put, or repair, that failed.
        return caller.peer if row.is_hold and caller.peer == row.putter else None

    def _is_ordered(self, row: LeaseRow, request: m.DropLease) -> bool:
        sealed = request.order
        if sealed is None or sealed.sender not in (str(row.owner), str(row.lab)):
            return False
        try:
            order = open_signed(self._signer, self._network, m.DROP_DOMAIN, m.DropOrder, sealed)
        except WireError:
            return False
        return order.lease == request.lease and sealed.expires_ms >= self._wall_ms()

    def _binds(self, caller: Caller, row: LeaseRow, request: m.DropLease) -> bool:
        """Whether the tombstone that came along is the caller's own, or the lab's, to set."""
        sealed = request.tombstone
        if sealed is None or sealed.sender not in (caller.peer, str(row.lab)):
            return False
        return self._tombstones.binds(sealed, request.lease, row)

    async def _ask_dropped(
        self, caller: Caller, request: m.AskDropped, body: bytes
    ) -> tuple[Message, bytes]:
        leases = _leases_in(request.leases)
        stones = self._tombstones.of(leases[:LEASES_PER_QUESTION_MAX])
        return m.LeasesDropped(answer_of(stones)), b""

    async def _ask_clock(
        self, caller: Caller, request: m.AskClock, body: bytes
    ) -> tuple[Message, bytes]:
        return m.ClockIs(self._wall_ms()), b""

    async def _renew_leases(
        self, caller: Caller, request: m.RenewLeases, body: bytes
    ) -> tuple[Message, bytes]:
        leases = _leases_in(request.leases)
        until_ms = min(request.until_ms, self._longest_ms())
        try:
            known = await self._leases.renew(leases, until_ms, caller)
        except StoreFullError as error:
            raise RefusalError("full", str(error)) from error
        return m.LeasesRenewed(bytes(known)), b""

    async def _hold_leases(
        self, caller: Caller, request: m.HoldLeases, body: bytes
    ) -> tuple[Message, bytes]:
        try:
            known = await self._leases.hold(_leases_in(request.leases), caller.peer)
        except StoreFullError as error:
            raise RefusalError("full", str(error)) from error
        return m.LeasesRenewed(bytes(known)), b""

    # -- inside

    def _longest_ms(self) -> int:
        """No lease is renewed further: whoever renews is there again long before that."""
        return self._wall_ms() + 2 * int(self._config.lease_s * 1000)

    def _check_may_put(self, caller: Caller, terms: m.LeaseTerms) -> None:
        """Whether something new is taken, under these terms and from them. Raises RefusalError."""
        self._check_lending(caller)
        _check_terms(terms)
        self._check_right(caller, terms)

    def _check_lending(self, caller: Caller) -> None:
        if not self._config.lends and not caller.is_me:
            raise RefusalError("not-lending", "this machine lends no storage")
        if self._is_clock_wrong() and not caller.is_me:
            raise RefusalError("not-lending", "the clock of this machine is wrong")

    def _check_right(self, caller: Caller, terms: m.LeaseTerms) -> None:
        """What is put for another owner carries the proof that its putter may."""
        if terms.right is not None:
            self._rights.check(caller.peer, terms.right, terms.owner, terms.lab)

    def _opened(self, sealed: Signed) -> Holding:
        try:
            return self._holders.open(sealed)
        except WireError as error:
            raise RefusalError("corrupt", str(error)) from error


async def _nothing(_lease: LeaseId, _sealed: Signed) -> None:
    pass


def _manifest_bytes(_request: Message, _body_len: int) -> int:
    return MANIFEST_BYTES_MAX


def _check_manifest(request: m.PutManifest, body: bytes) -> None:
    try:
        manifest = read_manifest(request.address, body)
    except ManifestError as error:
        raise RefusalError("corrupt", str(error)) from error
    terms = request.terms
    if manifest.lease != terms.lease:
        raise RefusalError("corrupt", "the manifest is of another lease")
    if (manifest.owner, manifest.lab) != (terms.owner, terms.lab):
        raise RefusalError("not-yours", "the manifest is another owner's")


def _check_terms(terms: m.LeaseTerms) -> None:
    _check_lease(terms.lease)
    if terms.until_ms < 0:
        raise RefusalError("corrupt", "a lease that ends before 1970")


def _check_lease(lease: bytes) -> None:
    if len(lease) != LEASE_ID_BYTES:
        raise RefusalError("corrupt", f"a lease id has {LEASE_ID_BYTES} bytes, not {len(lease)}")


def _leases_in(joined: bytes) -> list[LeaseId]:
    _check_whole(joined, LEASE_ID_BYTES)
    cuts = range(0, len(joined), LEASE_ID_BYTES)
    return [LeaseId(joined[at : at + LEASE_ID_BYTES]) for at in cuts]


def _check_hash(name: bytes) -> None:
    if len(name) != HASH_BYTES:
        raise RefusalError("corrupt", f"a hash has {HASH_BYTES} bytes, not {len(name)}")


def _check_whole(joined: bytes, size: int) -> None:
    if len(joined) % size:
        raise RefusalError("corrupt", f"{len(joined)} bytes are not a whole number of ids")
