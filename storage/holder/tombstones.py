"""Leases that were given up while a holder was away: signed words that stay until it has heard.

    tombstones           lease, or lease + tag of its owner -> TombRow
    tombstones_named     address + that key -> ""; those of a version before stand in none

A machine that comes back, or is about to mend an object, asks the others for them. What one says of
another's object counts only if whoever signed it had put the object, or is a machine of its owner,
or is the key of the owner's lab.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

import trio

from p2p.errors import WireError
from p2p.identity.caller import Caller
from p2p.identity.proofs import Proofs, owner_of
from p2p.ids import LabId, NetworkId, PeerId, PersonId
from p2p.limits import WALL_MS_MAX
from p2p.wire.codec import Record, decode_as, encode
from p2p.wire.envelope import Signed, Signer, open_signed, seal
from storage.engine.port import ReadView, Tables, WriteView
from storage.engine.stored import stored
from storage.holder.leases.keys import bound_to, key_of, lease_of
from storage.holder.leases.row import LeaseRow
from storage.ids import Address, LeaseId, LeaseKey
from storage.limits import (
    LEASE_ROWS_PER_SCAN,
    REMOVAL_REASON_CHARS_MAX,
    TOMBSTONE_BYTES_MAX,
    TOMBSTONES_ANSWER_BYTES_MAX,
    TOMBSTONES_CLEARED_PART,
    TOMBSTONES_MAX,
    TOMBSTONES_PER_ANSWER_MAX,
    TOMBSTONES_PER_PERSON_MAX,
)
from storage.manifests.capability import text_of_address
from storage.messages import DROP_DOMAIN, DropOrder

log = logging.getLogger("swarm.storage")

TABLE: Final = "tombstones"
NAMED: Final = "tombstones_named"
DOMAIN: Final = "swarm/tombstone"


class Tombstone(Record, frozen=True):
    """The signer gives an object up: nobody shall keep it, or make more of it, under that lease."""

    lease: LeaseId
    address: Address
    token: bytes = b""
    """Certificates of the signer, where the network has such: whose machine it is."""
    at_ms: int = 0
    """When the lab's key signed it, by the clock of who did (wall clock)."""
    reason: str = ""
    """Why, in that case: for the owner of the object."""

    @property
    def why(self) -> str:
        """The reason as one line that a log may hold."""
        told = self.reason[:REMOVAL_REASON_CHARS_MAX]
        return "".join(c if c.isprintable() else "?" for c in told) or "no reason given"


class TombRow(Record, frozen=True):
    """A tombstone kept here."""

    sealed: Signed
    until_ms: int
    """By then every lease of that id has ended anyway (wall clock)."""
    owner: PersonId = PersonId("")
    """Whose it was; empty of such as were kept before owners were noted."""


class Callers(Protocol):
    """Who a connected peer is by its certificates; `p2p.host.rpc.service.Rpc` knows."""

    def caller(self, peer: PeerId) -> Caller | None: ...


class Tombstones:
    """Those kept on this machine."""

    def __init__(
        self,
        tables: Tables,
        signer: Signer,
        network: NetworkId,
        callers: Callers,
        proofs: Proofs | None,
    ) -> None:
        self._tables, self._signer, self._network = tables, signer, network
        self._callers, self._proofs = callers, proofs
        self._count = 0
        """How many are kept: noted as they are written, and counted anew by each sweep."""
        self._by_owner: Counter[PersonId] = Counter()
        """The same by the owner of what was given up."""

    def seal(self, lease: LeaseId, address: Address) -> Signed:
        """Our own word that we gave an object up."""
        token = b"" if self._proofs is None else self._proofs.token()
        stone = Tombstone(lease, address, token)
        return seal(self._signer, self._network, DOMAIN, stone, sequence=0, expires_ms=0)

    def seal_with(self, key: Signer, stone: Tombstone) -> Signed:
        """The word of a lab's key, which lies here."""
        return seal(key, self._network, DOMAIN, stone, sequence=0, expires_ms=0)

    def order(self, key: Signer, lease: LeaseId, until_ms: int) -> Signed:
        """What lets anybody who brings it have a lease given up, until then."""
        drop = DropOrder(lease)
        return seal(key, self._network, DROP_DOMAIN, drop, sequence=0, expires_ms=until_ms)

    def note(self, sealed: Signed | None, row: LeaseRow, bringer: PeerId) -> None:
        """Log what the lab's key has freed here, by a tombstone or a bare order."""
        if sealed is None or sealed.sender != str(row.lab):
            return
        what, why = "an object", ""
        if sealed.domain == DOMAIN:
            stone = self.open(sealed)
            what, why = f"object {text_of_address(stone.address)}", f" ({stone.why})"
        log.warning(
            "the key of lab %s gave up %s%s of %s; %s brought the order",
            row.lab, what, why, row.owner, bringer,
        )  # fmt: skip

    def names(self, sealed: Signed | None, key: LeaseKey) -> bool:
        """Whether a tombstone may be of the object that is kept under a key; without one any is."""
        if sealed is None:
            return True
        try:
            address = self.open(sealed).address
        except WireError:
            return False
        return bound_to(self._tables, key) in (None, address)

    def open(self, sealed: Signed) -> Tombstone:
        """Verify the signature. Raises WireError."""
        return open_signed(self._signer, self._network, DOMAIN, Tombstone, sealed)

    def binds(self, sealed: Signed, lease: LeaseId, row: LeaseRow) -> bool:
        """Whether it is of that lease, and by somebody who may give it up; and fits an answer."""
        if not _fits(sealed):
            return False
        try:
            stone = self.open(sealed)
        except WireError:
            return False
        if stone.lease != lease:
            return False
        if sealed.sender == str(row.lab):
            return True
        known = self._callers.caller(sealed.sender)
        if known is not None and known.person == row.owner:
            return True
        if row.is_proved and sealed.sender == row.putter:
            return True
        return owner_of(self._proofs, sealed.sender, stone.token) == (row.owner, row.lab)

    def given_up(
        self, sealed: Signed, lease: LeaseId, owner: PersonId, lab: LabId
    ) -> Tombstone | None:
        """What it says, if whoever signed it may give up what that owner keeps under the lease."""
        return self.open(sealed) if self.binds(sealed, lease, whose(owner, lab)) else None

    def of(self, leases: Sequence[LeaseId]) -> list[Signed]:
        """What is kept of these."""
        rows = (self._tables.scan(TABLE, lease, limit=1000) for lease in leases)
        stones = [_read(data).sealed for pairs in rows for _, data in pairs]
        return [stone for stone in stones if _fits(stone)]  # longer ones are of a version before

    def has(self, view: ReadView, lease: LeaseId, owner: PersonId, lab: LabId) -> bool:
        """Whether nothing of that owner's shall be kept under that lease any more."""
        keys = (LeaseKey(lease), key_of(lease, owner, lab))
        return any(view.get(TABLE, key) is not None for key in keys)

    def write(
        self, view: WriteView, lease: LeaseId, row: LeaseRow, sealed: Signed, until_ms: int
    ) -> None:
        """Keep one, inside somebody's transaction; the first of a lease stays.

        Where there is no room those that end first give way: what was removed long ago is known to
        more machines, and its leases are sooner over.
        """
        if self.has(view, lease, row.owner, row.lab):
            return
        if self._by_owner[row.owner] >= TOMBSTONES_PER_PERSON_MAX:
            self._clear(view, row.owner)
        elif self._count >= TOMBSTONES_MAX:
            self._clear(view, self._by_owner.most_common(1)[0][0])
        view.put(
            TABLE, key_of(lease, row.owner, row.lab), encode(TombRow(sealed, until_ms, row.owner))
        )
        view.put(NAMED, _named(key_of(lease, row.owner, row.lab), sealed), b"")
        self._count += 1
        self._by_owner[row.owner] += 1

    def told(self, address: Address) -> str:
        """That an object was removed, when and by whom, as far as one kept here says; or empty."""
        for named, _ in self._tables.scan(NAMED, address, limit=1):
            key = named[len(address) :]
            data = self._tables.get(TABLE, key)
            if data is not None:
                row = _read(data)
                by_lab = key == key_of(lease_of(key), row.owner, LabId(row.sealed.sender))
                return _words(row.sealed.sender, decode_as(Tombstone, row.sealed.payload), by_lab)
        return ""

    def _clear(self, view: WriteView, owner: PersonId) -> None:
        theirs = sorted((row.until_ms, key) for key, row in _all(view) if row.owner == owner)
        # Many at a time, as all have to be looked at for it.
        for _, key in theirs[: max(1, TOMBSTONES_PER_PERSON_MAX // TOMBSTONES_CLEARED_PART)]:
            _delete(view, key)
            self._count -= 1
            self._by_owner[owner] -= 1

    def count(self) -> None:
        """Learn how many are kept; before the first is taken."""
        self._count, self._by_owner = 0, Counter()
        for _, row in _all(self._tables):
            self._count += 1
            self._by_owner[row.owner] += 1

    async def sweep(self, now_ms: int) -> None:
        """Forget those whose leases have ended, and count the others. Raises StoreFullError.

        In steps: of what comes meanwhile some may be counted by the next sweep only.
        """
        count, by_owner, after = 0, Counter[PersonId](), None
        while rows := self._tables.scan(TABLE, after=after, limit=LEASE_ROWS_PER_SCAN):
            after, over = rows[-1][0], []
            for key, value in rows:
                row = _read(value)
                if row.until_ms <= now_ms:
                    over.append(key)
                else:
                    count += 1
                    by_owner[row.owner] += 1
            if over:
                await self._tables.free(_forget(over))
            await trio.lowlevel.checkpoint()
        self._count, self._by_owner = count, by_owner


def whose(owner: PersonId, lab: LabId) -> LeaseRow:
    """A lease of theirs of which nothing is kept here."""
    return LeaseRow(owner, lab, PeerId(""), 0, 0, is_hold=False)


def _all(view: ReadView) -> Iterator[tuple[bytes, TombRow]]:
    after: bytes | None = None
    while rows := view.scan(TABLE, after=after, limit=LEASE_ROWS_PER_SCAN):
        after = rows[-1][0]
        yield from ((key, _read(value)) for key, value in rows)


def _fits(sealed: Signed) -> bool:
    return len(encode(sealed)) <= TOMBSTONE_BYTES_MAX


def answer_of(stones: Sequence[Signed]) -> tuple[Signed, ...]:
    """As many as one message takes, the shortest first."""
    sized = sorted((len(encode(stone)), at) for at, stone in enumerate(stones))
    left, taken = TOMBSTONES_ANSWER_BYTES_MAX, list[Signed]()
    for size, at in sized[:TOMBSTONES_PER_ANSWER_MAX]:
        left -= size
        if left < 0:
            break
        taken.append(stones[at])
    return tuple(taken)


def may_be_cut(stones: Sequence[Signed]) -> bool:
    """Whether an answer may have had no room for more."""
    size = sum(len(encode(stone)) for stone in stones)
    is_long = size > TOMBSTONES_ANSWER_BYTES_MAX - TOMBSTONE_BYTES_MAX
    return is_long or len(stones) == TOMBSTONES_PER_ANSWER_MAX


def _read(data: bytes) -> TombRow:
    return stored(TombRow, data, "store.lmdb")


def _delete(view: WriteView, key: bytes) -> None:
    data = view.get(TABLE, key)
    if data is not None:
        view.delete(NAMED, _named(key, _read(data).sealed))
        view.delete(TABLE, key)


def _named(key: bytes, sealed: Signed) -> bytes:
    return decode_as(Tombstone, sealed.payload).address + key


def _words(sender: str, stone: Tombstone, by_lab: bool) -> str:
    if not by_lab:
        return f"its owner removed it, by machine {sender}"
    when = ""
    if 0 < stone.at_ms <= WALL_MS_MAX:
        removed_at = datetime.fromtimestamp(stone.at_ms / 1000, UTC)
        when = f" on {removed_at.strftime('%Y-%m-%d %H:%M UTC')}"
    return f"the key of its lab removed it{when}: {stone.why}"


def _forget(keys: Sequence[bytes]) -> Callable[[WriteView], None]:
    def apply(view: WriteView) -> None:
        for key in keys:
            _delete(view, key)

    return apply
