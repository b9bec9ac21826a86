"""What relaying is done with: this host's peers, their addresses and its connections."""

from collections.abc import Callable, Sequence

from p2p.host.addresses import Address
from p2p.host.libp2p.connections import Connections
from p2p.host.peers.address_book import AddressBook
from p2p.host.peers.copies import ClonedKeys
from p2p.host.peers.outboxes import Boxes
from p2p.host.peers.peer import PeerConn
from p2p.host.relay.relayed_stream import RelayedStream
from p2p.ids import PeerId


class HostWays:
    """Satisfies p2p.host.relay.service.Ways."""

    def __init__(
        self, boxes: Boxes, book: AddressBook, conns: Connections, copies: ClonedKeys
    ) -> None:
        self._boxes, self._book, self._conns, self._copies = boxes, book, conns, copies

    def live_conn(self, peer: PeerId) -> PeerConn | None:
        """A peer's first connection, when it is in use and not closing."""
        return self._boxes.live_conn(peer)

    def connected(self) -> Sequence[PeerId]:
        """Peers that are up, sorted."""
        return self._boxes.connected()

    def addresses_of(self, peer: PeerId) -> Sequence[Address]:
        """Where a peer may be dialled."""
        return self._book.of(peer)

    async def dial_directly(self, peer: PeerId, addresses: Sequence[Address]) -> None:
        """Dial until the peer is up by a direct connection; DialError."""
        await self.settle(await self._conns.dial(peer, addresses))

    async def connect_over(self, stream: RelayedStream, peer: PeerId, *, is_bulk: bool) -> PeerConn:
        """Shake hands over a circuit and be admitted, as the dialler; DialError."""
        return await self._conns.connect_over(stream, peer, is_bulk=is_bulk)

    async def settle(self, conn: PeerConn) -> None:
        """Return once the peer is up; DialError when this connection is not used."""
        if conn.is_duplicate:
            await self._copies.settled(self._boxes.of(conn.peer), conn.address)
        elif not conn.joined.is_set():
            raise conn.dial_error()

    async def welcome_over(
        self, stream: RelayedStream, peer: PeerId, decided: Callable[[], None]
    ) -> None:
        """The same as the one who is dialled, until the connection ends."""
        await self._conns.welcome_over(stream, peer, decided)
