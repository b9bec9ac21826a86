"""Every connection of a host from its socket to its end: dialled or let in, shaken hands, joined.

    Dialer or Door (guard) -> upgrade -> Joining (admission, verdict) -> in use -> closed

libp2p is told of those that its own protocols may use; which streams they serve is the gate's.
"""

from collections.abc import Callable, Sequence
from functools import partial

import trio
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.peer.id import ID

from p2p.errors import CAUSE_RELAY, DialError
from p2p.host.addresses import Address
from p2p.host.libp2p.bridge import MuxedLink
from p2p.host.libp2p.dialer import Dialer
from p2p.host.libp2p.gate import Gate
from p2p.host.libp2p.swarm import QuietHost, QuietSwarm
from p2p.host.libp2p.upgrade import UpgradeError, upgrade
from p2p.host.peers.address_book import AddressBook
from p2p.host.peers.config import HostConfig
from p2p.host.peers.joining import Joining
from p2p.host.peers.listener import Door, Pending
from p2p.host.peers.peer import Carrier, PeerConn
from p2p.host.relay.relayed_stream import RelayedStream
from p2p.host.relay.rules import circuit_text
from p2p.ids import PeerId
from p2p.limits import STRANGER_UNREAD_BYTES_MAX
from p2p.link.guard import AcceptGuard


def _nothing() -> None:
    """Nobody waits to hear that a connection is decided on."""


class Connections:
    """Those of one host, in use or not."""

    def __init__(
        self,
        here: dict[Carrier, PeerConn],
        libp2p: QuietHost,
        swarm: QuietSwarm,
        book: AddressBook,
        joining: Joining,
        on_down: Callable[[PeerConn], None],
        config: HostConfig,
    ) -> None:
        """`here` is empty, for others to read from the start on; `on_down` is called at the end of
        each connection, maybe twice, whether or not it was in use."""
        self._swarm, self._book, self._joining = swarm, book, joining
        self._on_down = on_down
        self.here = here
        """From handshake to end."""
        self._swarm_conns: dict[PeerConn, SwarmConn] = {}
        """The same, as libp2p knows them."""
        self.gate = Gate(libp2p, lambda muxed: self.here.get(muxed))
        self._dialer = Dialer(swarm.upgrader, config.dial)
        self.door = Door(AcceptGuard(config.guard), self._welcome, book.is_known_host)
        self._upgrade_within_s = config.guard.upgrade_deadline_s
        self.nursery: trio.Nursery | None = None
        """The host's, while it runs."""
        self.up_listeners: list[Callable[[PeerId], None]] = []
        """For the Kademlia index: called for each peer once it is in use."""

    def for_libp2p(self, conn: PeerConn) -> SwarmConn:
        """One of them as libp2p knows it."""
        return self._swarm_conns[conn]

    async def dial(
        self, peer: PeerId, addresses: Sequence[Address], *, is_bulk: bool = False
    ) -> PeerConn:
        """A connection that is decided on; DialError when there is none."""
        muxed, address = await self._dialer.connect(peer, addresses)
        return await self._decide(self._adopt(muxed, str(address)), is_bulk=is_bulk)

    async def connect_over(self, stream: RelayedStream, peer: PeerId, *, is_bulk: bool) -> PeerConn:
        """The same over a circuit to the peer."""
        where, why = circuit_text(stream.relay, peer), "the other end said nothing"
        muxed: MuxedLink | None = None
        try:
            with trio.move_on_after(self._upgrade_within_s):
                muxed = await upgrade(self._swarm.upgrader, stream, ID.from_string(peer))
        except UpgradeError as exc:
            why = f"the handshake by this relay failed ({exc})"
        if muxed is None:
            raise DialError(where, CAUSE_RELAY, why)
        return await self._decide(self._adopt(muxed, where, stream.relay), is_bulk=is_bulk)

    async def _decide(self, conn: PeerConn, *, is_bulk: bool) -> PeerConn:
        assert self.nursery is not None
        conn.is_bulk = is_bulk
        self.nursery.start_soon(self._carry, conn)
        await conn.decided.wait()
        return conn

    async def welcome_over(
        self, stream: RelayedStream, peer: PeerId, decided: Callable[[], None]
    ) -> None:
        """A circuit that a relay offered, for its whole life: it must be that peer's."""
        muxed: MuxedLink | None = None
        try:
            with trio.move_on_after(self._upgrade_within_s):
                muxed = await upgrade(self._swarm.upgrader, stream, None)
        except UpgradeError:
            return
        if muxed is None:
            return
        conn = self._adopt(muxed, "an inbound connection by relay", stream.relay)
        if conn.peer != peer:
            conn.link.close("the relay offered a circuit from another machine")
        await self._carry(conn, decided)

    async def _welcome(self, socket: trio.SocketStream, pending: Pending) -> None:
        """An inbound socket, for its whole life."""
        muxed = await self._shake_hands(socket, pending)
        if muxed is None:
            return
        conn = self._adopt(muxed, "an inbound connection")
        self.door.proved(pending, is_known=bool(self._book.of(conn.peer)))
        pending.drop = lambda: conn.link.close("others wait to be admitted")
        await self._carry(conn, partial(self.door.passed, pending))

    async def _shake_hands(self, socket: trio.SocketStream, pending: Pending) -> MuxedLink | None:
        """None when it fails, takes too long, or has to make room for others."""
        spoke = partial(self.door.spoke, pending)
        with trio.CancelScope() as scope:
            pending.drop = scope.cancel
            scope.deadline = trio.current_time() + self._upgrade_within_s
            try:
                # Both sides may speak first, all known diallers do: silence costs us nothing more.
                await trio.lowlevel.wait_readable(socket.socket)
                return await upgrade(self._swarm.upgrader, socket, None, spoke)
            except UpgradeError:
                return None
        return None

    def _adopt(self, muxed: MuxedLink, address: str, relay: PeerId | None = None) -> PeerConn:
        peer = PeerId(str(muxed.peer_id))
        conn = PeerConn(muxed, peer, address, relay)
        self._swarm_conns[conn] = self._swarm.adopt(muxed)
        conn.link.core.windows.unread_bytes_max = STRANGER_UNREAD_BYTES_MAX
        muxed.take_ours = partial(self.gate.take_ours, conn)
        self.here[muxed] = conn
        return conn

    async def _carry(self, conn: PeerConn, decided: Callable[[], None] = _nothing) -> None:
        """Run a connection from handshake to end; `decided` is called when it is in use or not."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(conn.carrier.start)
                nursery.start_soon(self._swarm_conns[conn].start)
                nursery.start_soon(self._joining.join, conn)
                nursery.start_soon(conn.give_up_when_closed)
                await conn.decided.wait()
                decided()
                await self._show_to_libp2p(conn)
                await conn.link.closed.wait()
                self._on_down(conn)
        finally:
            self._end(conn)

    def _end(self, conn: PeerConn) -> None:
        """It is over, however: whoever waits for it is told."""
        del self.here[conn.carrier], self._swarm_conns[conn]
        self.gate.guests.left(conn)
        conn.decided.set()
        self._on_down(conn)

    async def _show_to_libp2p(self, conn: PeerConn) -> None:
        """Foreign protocols may use a peer's first connection, and those of guests."""
        is_first = conn.is_live and not conn.is_bulk
        if is_first or conn.knock.is_guest:
            await self._swarm.register(self._swarm_conns[conn])
        if is_first:
            for listener in self.up_listeners:
                listener(conn.peer)
