"""Peers remembered across restarts, in the state tables."""

from collections.abc import Mapping
from contextlib import suppress

from p2p.discovery.service import CACHED_PEERS_MAX
from p2p.errors import WireError
from p2p.ids import PeerId
from p2p.wire.codec import Record, decode_as, encode
from storage.engine.port import Tables, WriteView
from storage.errors import StoreFullError

TABLE = "peers"


class KnownPeer(Record, frozen=True):
    """Where a peer was last reachable."""

    addresses: tuple[str, ...]


class TablePeerCache:
    """`p2p.discovery.service.PeerCache` over Tables; at most CACHED_PEERS_MAX of them."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def load(self) -> Mapping[PeerId, tuple[str, ...]]:
        """Every remembered peer; a record that cannot be read is skipped."""
        known: dict[PeerId, tuple[str, ...]] = {}
        for key, value in self._tables.scan(TABLE, limit=CACHED_PEERS_MAX):
            try:
                known[PeerId(key.decode())] = decode_as(KnownPeer, value).addresses
            except (WireError, UnicodeDecodeError):
                continue
        return known

    async def save(self, peer: PeerId, addresses: tuple[str, ...]) -> None:
        """Remember one peer if there is room, forgetting another when there are too many."""

        def write(view: WriteView) -> None:
            key = peer.encode()
            kept = [k for k, _ in view.scan(TABLE, limit=CACHED_PEERS_MAX + 1) if k != key]
            for extra in kept[CACHED_PEERS_MAX - 1 :]:
                view.delete(TABLE, extra)
            view.put(TABLE, key, encode(KnownPeer(addresses)))

        with suppress(StoreFullError):  # a convenience: a full disk is not its business
            await self._tables.transact(write)
