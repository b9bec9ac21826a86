"""Everything of relaying that one host does: it asks, takes and carries, and tries to do without.

It owns no connections: the host makes them over circuits as over sockets, and says which it has.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import trio

from p2p.errors import DialError
from p2p.host.addresses import Address
from p2p.host.peers.config import RelayConfig
from p2p.host.peers.peer import PeerConn
from p2p.host.port import CarriedTotals
from p2p.host.relay.asking import Asking
from p2p.host.relay.carrying import Carrying
from p2p.host.relay.dialling import TwoWays
from p2p.host.relay.relayed_stream import RelayedStream
from p2p.host.relay.taking import Taking
from p2p.ids import NetworkId, PeerId
from p2p.link.stream import LinkStream

_SAYS_WHY_S: Final = 0.25
"""So much sooner than the host would give it up a dial ends, as it knows what it has tried."""


class Ways(Protocol):
    """What the host does with addresses and circuits."""

    def live_conn(self, peer: PeerId) -> PeerConn | None:
        """A peer's first connection, when it is in use and not closing."""

    def connected(self) -> Sequence[PeerId]:
        """Peers that are up."""
        ...

    def addresses_of(self, peer: PeerId) -> Sequence[Address]:
        """Where a peer may be dialled."""
        ...

    async def dial_directly(self, peer: PeerId, addresses: Sequence[Address]) -> None:
        """Dial until the peer is up by a direct connection; DialError."""

    async def connect_over(self, stream: RelayedStream, peer: PeerId, *, is_bulk: bool) -> PeerConn:
        """Shake hands over a circuit and be admitted, as the dialler; DialError."""
        ...

    async def settle(self, conn: PeerConn) -> None:
        """Return once the peer is up; DialError when this connection is not used."""

    async def welcome_over(
        self, stream: RelayedStream, peer: PeerId, decided: Callable[[], None]
    ) -> None:
        """The same as the one who is dialled, until the connection ends."""


class Relays:
    """Relaying, of one host."""

    def __init__(
        self, me: PeerId, network: NetworkId, config: RelayConfig, ways: Ways, dial_within_s: float
    ) -> None:
        self._config, self._ways = config, ways
        self.wanted_protocol = f"/swarm/{network}/relay/1"
        self.offered_protocol = f"/swarm/{network}/relayed/1"
        self.asking = Asking(me, self.wanted_protocol, config, ways.live_conn, ways.connected)
        self._carrying = Carrying(me, self.offered_protocol, config, ways.live_conn)
        self._taking = Taking(me, ways.welcome_over)
        self.two_ways = TwoWays(
            self.asking, config, ways.dial_directly, self._dial_by, dial_within_s - _SAYS_WHY_S
        )
        self.nursery: trio.Nursery | None = None
        """The host's, while it runs."""

    def carried(self) -> CarriedTotals:
        """What this machine carries for others."""
        return self._carrying.carried()

    def take_wish(self, conn: PeerConn, stream: LinkStream) -> None:
        """A peer asks us for a circuit."""
        self._start(self._carrying.serve, conn, stream)

    def take_offer(self, conn: PeerConn, stream: LinkStream) -> None:
        """A relay offers us one."""
        self._start(self._taking.serve, conn, stream)

    def _start(
        self,
        serve: Callable[[PeerConn, LinkStream], Awaitable[None]],
        conn: PeerConn,
        stream: LinkStream,
    ) -> None:
        if self.nursery is not None:
            self.nursery.start_soon(serve, conn, stream)

    async def connect_bulk(self, relay: PeerId, peer: PeerId) -> PeerConn:
        """A second connection to a peer, by the relay of the first; DialError."""
        return await self._connect(relay, peer, is_bulk=True)

    async def _dial_by(self, relay: PeerId, peer: PeerId) -> None:
        await self._ways.settle(await self._connect(relay, peer, is_bulk=False))

    async def _connect(self, relay: PeerId, peer: PeerId, *, is_bulk: bool) -> PeerConn:
        assert self.nursery is not None
        circuit = await self.asking.open(relay, peer, is_bulk=is_bulk)
        stream = RelayedStream(circuit, relay, is_bulk=is_bulk)
        self.nursery.start_soon(stream.see_out)
        return await self._ways.connect_over(stream, peer, is_bulk=is_bulk)

    def in_use(self, conn: PeerConn) -> None:
        """A peer is reached: when by relay, its addresses are tried again now and then."""
        if conn.relay is None:
            self.two_ways.direct_works(conn.peer)
        elif self.nursery is not None:
            self.nursery.start_soon(self._try_directly, conn)

    async def _try_directly(self, conn: PeerConn) -> None:
        """Both ends do so: a firewall may let one of them through."""
        first_s, most_s = self._config.direct_first_s, self._config.direct_most_s
        pause_s, tried = first_s, tuple(self._ways.addresses_of(conn.peer))
        due_s = trio.current_time() + pause_s
        while True:
            with trio.move_on_after(first_s):
                await conn.link.closed.wait()
            if not conn.is_live or self._ways.live_conn(conn.peer) is not conn:
                return
            addresses = tuple(self._ways.addresses_of(conn.peer))
            if addresses == tried and trio.current_time() < due_s:
                continue
            pause_s = first_s if addresses != tried else min(2 * pause_s, most_s)
            tried = addresses
            try:
                if addresses:
                    await self._ways.dial_directly(conn.peer, addresses)
            except DialError:
                self.two_ways.direct_failed(conn.peer)
            due_s = trio.current_time() + pause_s
