"""Leases that were given up while a holder was away: signed words that stay until it has heard.

    tombstones   lease -> TombRow

A machine that comes back, or is about to mend an object, asks the others for them. What one says of
another's object counts only if whoever signed it had put the object, or is a machine of its owner.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from p2p.errors import WireError
from p2p.identity.caller import Caller
from p2p.ids import NetworkId, PeerId
from p2p.wire.codec import Record, encode
from p2p.wire.envelope import Signed, Signer, open_signed, seal
from storage.engine.port import ReadView, Tables, WriteView
from storage.engine.stored import stored
from storage.ids import Address, LeaseId
from storage.limits import LEASE_ROWS_PER_SCAN, TOMBSTONES_MAX
from storage.rights import Proofs
from storage.transfer.lease_row import LeaseRow

TABLE: Final = "tombstones"
DOMAIN: Final = "swarm/tombstone"


class Tombstone(Record, frozen=True):
    """The signer gives an object up: nobody shall keep it, or make more of it, under that lease."""

    lease: LeaseId
    address: Address
    token: bytes = b""
    """Certificates of the signer, where the network has such: whose machine it is."""


class TombRow(Record, frozen=True):
    """A tombstone kept here."""

    sealed: Signed
    until_ms: int
    """By then every lease of that id has ended anyway (wall clock)."""


class Callers(Protocol):
    """Who a connected peer is by its certificates; `p2p.host.rpc.Rpc` knows."""

    def caller(self, peer: PeerId) -> Caller | None: ...


class Tombstones:
    """Those kept on this machine."""

    def __init__(
        self,
        tables: Tables,
        signer: Signer,
        network: NetworkId,
        callers: Callers,
        proofs: Proofs,
    ) -> None:
        self._tables, self._signer, self._network = tables, signer, network
        self._callers, self._proofs = callers, proofs
        self._count = 0

    def seal(self, lease: LeaseId, address: Address) -> Signed:
        """Our own word that we gave an object up."""
        stone = Tombstone(lease, address, self._proofs.certificates())
        return seal(self._signer, self._network, DOMAIN, stone, sequence=0, expires_ms=0)

    def open(self, sealed: Signed) -> Tombstone:
        """Verify the signature. Raises WireError."""
        return open_signed(self._signer, self._network, DOMAIN, Tombstone, sealed)

    def binds(self, sealed: Signed, lease: LeaseId, row: LeaseRow) -> bool:
        """Whether it is of that lease, and by somebody who may give it up."""
        try:
            stone = self.open(sealed)
        except WireError:
            return False
        if stone.lease != lease:
            return False
        known = self._callers.caller(sealed.sender)
        if known is not None and known.member == row.owner:
            return True
        if row.is_proved and sealed.sender == row.putter:
            return True
        proved = self._proofs.owner_of(sealed.sender, stone.token) if stone.token else None
        return proved == (row.owner, row.lab)

    def of(self, leases: Sequence[LeaseId]) -> list[Signed]:
        """What is kept of these."""
        found = (self._tables.get(TABLE, lease) for lease in leases)
        return [stored(TombRow, data, "store.lmdb").sealed for data in found if data is not None]

    def has(self, view: ReadView, lease: LeaseId) -> bool:
        """Whether nothing shall be kept under that lease any more."""
        return view.get(TABLE, lease) is not None

    def write(self, view: WriteView, lease: LeaseId, sealed: Signed, until_ms: int) -> None:
        """Keep one if there is room, inside somebody's transaction; the first of a lease stays."""
        if self._count < TOMBSTONES_MAX and not self.has(view, lease):
            view.put(TABLE, lease, encode(TombRow(sealed, until_ms)))
            self._count += 1

    async def sweep(self, now_ms: int) -> None:
        """Forget those whose leases have ended, and count the rest. Raises StoreFullError."""
        after: bytes | None = None
        count = 0
        while rows := self._tables.scan(TABLE, after=after, limit=LEASE_ROWS_PER_SCAN):
            after = rows[-1][0]
            over = [
                key
                for key, value in rows
                if stored(TombRow, value, "store.lmdb").until_ms <= now_ms
            ]
            count += len(rows) - len(over)
            if over:
                await self._tables.free(_forget(over))
        self._count = count


def _forget(keys: Sequence[bytes]) -> Callable[[WriteView], None]:
    def apply(view: WriteView) -> None:
        for key in keys:
            view.delete(TABLE, key)

    return apply
