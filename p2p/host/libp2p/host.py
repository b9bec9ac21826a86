"""The Host port over real sockets: libp2p's identity and handshake, our link, admission and qos.

    cast/send -> PeerBox (scheduler) -> Pump -> SendLane x4 -> Connection -> socket
    socket -> Connections (dial or let in, until in use) -> lanes in -> FrameSink

Each peer has one connection in use, a busy one a second for bulk (`bulk`), and one stream per
class and direction; a frame is bound to the link only when the link has room for it.
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.peer.id import ID

from p2p.errors import DialError, PeerUnreachableError
from p2p.host.addresses import Address, address_of
from p2p.host.admission.port import Admission
from p2p.host.libp2p.connections import Connections
from p2p.host.libp2p.swarm import QuietSwarm, build
from p2p.host.libp2p.ways import HostWays
from p2p.host.peers.address_book import AddressBook
from p2p.host.peers.config import HostConfig
from p2p.host.peers.in_use import InUse
from p2p.host.peers.joining import Joining
from p2p.host.peers.lanes import Lanes, framed
from p2p.host.peers.open_dials import Dials
from p2p.host.peers.outboxes import Boxes
from p2p.host.peers.own_addresses import Entrance
from p2p.host.peers.peer import Carrier, PeerBox, PeerConn
from p2p.host.peers.whereabouts import Whereabouts, together
from p2p.host.port import CarriedTotals, FrameSink
from p2p.host.relay.service import Relays
from p2p.identity.caller import Caller
from p2p.ids import NetworkId, PeerId, TrafficClass
from p2p.qos.scheduler import ClassStats

__all__ = ["HostConfig", "Libp2pHost"]


class Libp2pHost:
    """A `p2p.host.port.Host` on the real network."""

    def __init__(
        self,
        key_bytes: bytes,
        network: NetworkId,
        listen: Sequence[str],
        admission: Admission,
        config: HostConfig | None = None,
        announce: Sequence[str] = (),
    ) -> None:
        """`key_bytes` is a raw Ed25519 private key (32 bytes); `announce` replaces the addresses
        that others are told. ListenError for a listen address that cannot be one."""
        self._config = config or HostConfig()
        here: dict[Carrier, PeerConn] = {}
        self._where = Whereabouts(Entrance(listen, announce), here.values)
        self.libp2p, swarm = build(key_bytes, self._config.link, self._where.bare)
        self._peer_id = self._where.me = PeerId(str(self.libp2p.get_id()))
        self._lanes = Lanes(f"/swarm/{network}/frames/1")
        self._book = AddressBook(self._config.back_off)
        self._boxes = Boxes(self._config.scheduler, self._config.peers_max)
        self._in_use = self._make_in_use()
        self._joining = self._make_joining(network, admission)
        self.conns = self._make_conns(here, swarm)
        ways = HostWays(self._boxes, self._book, self.conns, self._joining.copies)
        within_s = self._config.dial_within_s
        self._relays = Relays(self._peer_id, network, self._config.relay, ways, within_s)
        self._serve_ours(network, swarm)
        self._dials = self._make_dials()
        self.parts: list[Callable[..., Awaitable[object]]] = [self._where.run]
        """What runs as long as the host and is started before it listens (`interop`)."""

    def _make_conns(self, here: dict[Carrier, PeerConn], swarm: QuietSwarm) -> Connections:
        return Connections(
            here, self.libp2p, swarm, self._book, self._joining, self._in_use.down, self._config
        )

    def _serve_ours(self, network: NetworkId, swarm: QuietSwarm) -> None:
        """What peers may open streams for."""
        gate, admit = self.conns.gate, f"/swarm/{network}/admit/1"
        gate.take(admit, PeerConn.offer_admission, from_strangers=True)
        gate.take(f"{admit}/bulk", PeerConn.offer_bulk, from_strangers=True)
        gate.take(f"/swarm/{network}/frames/1", self._lanes.take)
        gate.take(self._relays.wanted_protocol, self._relays.take_wish)
        gate.take(self._relays.offered_protocol, self._relays.take_offer)
        swarm.common_stream_handler = gate.serve
        swarm.dial = self._dial_for_libp2p

    def _make_dials(self) -> Dials:
        return Dials(
            self._book,
            self._config.dial_within_s,
            self._relays.two_ways.reach,
            lambda peer: self._boxes.live_conn(peer) is not None,
            self._boxes.has_place,
            self._boxes.close_if_down,
            lambda peer: bool(self._relays.asking.relays_to(peer)),
        )

    def _make_joining(self, network: NetworkId, admission: Admission) -> Joining:
        protocol, within_s = f"/swarm/{network}/admit/1", self._config.admit_within_s
        return Joining(self._peer_id, protocol, admission, within_s, self._boxes, self._in_use)

    def _make_in_use(self) -> InUse:
        return InUse(
            self._boxes,
            self._lanes,
            self._book,
            self._connect_bulk,
            lambda conn: self._relays.in_use(conn),
            self._config,
        )

    # The port

    @property
    def peer_id(self) -> PeerId:
        """Our own id, made from the key."""
        return self._peer_id

    @property
    def me(self) -> Caller:
        """Who we are, as our own certificates say."""
        return self._joining.me

    def attach(self, sink: FrameSink) -> None:
        """Set the listener; once, before run."""
        if self._lanes.sink is not None:
            raise ValueError("this host has a listener already")
        self._lanes.sink = sink

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and serve until cancelled. Raises ListenError before it has started."""
        assert self._lanes.sink is not None, "attach a listener first"
        listeners = await self._where.entrance.open()
        async with trio.open_nursery() as nursery:
            self._set_nursery(nursery)
            try:
                nursery.start_soon(self._in_use.bulk.run)
                for part in self.parts:
                    await nursery.start(part)
                if listeners:
                    await nursery.start(self.conns.door.serve, listeners)
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._set_nursery(None)

    def _set_nursery(self, nursery: trio.Nursery | None) -> None:
        self.conns.nursery = self._dials.nursery = self._relays.nursery = nursery
        self._lanes.nursery = self._in_use.bulk.nursery = nursery

    def addresses(self) -> tuple[str, ...]:
        """Multiaddrs with our peer id; empty before run when the port is chosen by the system."""
        return self._where.addresses()

    def learn(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """Remember where a peer may be dialled; ours and unusable ones are passed over."""
        if peer != self._peer_id:
            self._book.learn(peer, self._where.usable(addresses))

    def note_relay(self, peer: PeerId, *, carries: bool) -> None:
        """A member says whether it carries circuits for others."""
        self._relays.asking.note(peer, carries=carries)

    def relay_of(self, peer: PeerId) -> PeerId | None:
        """By which relay a peer is connected; None when directly, or not at all."""
        conn = self._boxes.live_conn(peer)
        return None if conn is None else conn.relay

    def carried(self) -> CarriedTotals:
        """What this machine carries for others."""
        return self._relays.carried()

    def known_addresses(self, peer: PeerId) -> tuple[str, ...]:
        """What was learned of a peer, without its id."""
        return tuple(str(Address(a.kind, a.host, a.port)) for a in self._book.of(peer))

    async def dial(self, address: str, *others: str) -> PeerId:
        """Connect to a peer at the first of its full multiaddrs that answers and be admitted.

        DialError tells within 10 s what happened at each.
        """
        peer, where, unfit = self._where.to_dial(address, *others)
        if self._boxes.live_conn(peer) is None:
            try:
                await self._dials.reach(peer, where)
            except DialError as exc:
                raise together(exc, (exc, *unfit)) from exc
        if not self._book.of(peer):
            self._book.learn(peer, (address, *others))
        await trio.lowlevel.checkpoint()
        return peer

    async def send(
        self,
        peer: PeerId,
        traffic_class: TrafficClass,
        frame_bytes: bytes,
        expires_s: float = math.inf,
    ) -> None:
        """Queue one frame, waiting while that class's outbox is full; dials when needed."""
        data = framed(frame_bytes)
        await trio.lowlevel.checkpoint_if_cancelled()  # full queues make us yield, see below
        box = self._boxes.get(peer)
        if box is None or box.conn is None:
            box = await self._connected_box(peer)
        pump = box.pump
        while not box.scheduler.has_room(traffic_class, len(data)):
            await box.changed.park()
            if box.pump is not pump:
                raise PeerUnreachableError(peer, "the connection was lost while waiting to send")
        box.scheduler.put(traffic_class, data, expires_s)
        box.pump_now()

    def cast(self, peer: PeerId, traffic_class: TrafficClass, frame_bytes: bytes) -> None:
        """Queue one frame without waiting; dials in the background; may be dropped."""
        box = self._boxes.get(peer)
        is_waiting = box is not None and (box.conn is not None or peer in self._dials)
        if box is None or not is_waiting:
            if peer == self._peer_id or self._dials.why_not(peer) is not None:
                return
            box = self._boxes.of(peer)
        expires_s = math.inf
        if traffic_class <= TrafficClass.INTERACTIVE:
            expires_s = trio.current_time() + self._config.urgent_cast_expires_s
        box.scheduler.cast(traffic_class, framed(frame_bytes), expires_s)
        if box.conn is not None:
            box.pump_now()
        elif peer not in self._dials:
            self._dials.start(peer, self._book.of(peer))

    def peers(self) -> tuple[PeerId, ...]:
        """Peers connected now, sorted."""
        return self._boxes.connected()

    def connections(self, peer: PeerId) -> int:
        """0 when the peer is down, 2 while it has one for bulk."""
        box = self._boxes.get(peer)
        conns = () if box is None else (box.conn, box.bulk, box.retired)
        return len(conns) - conns.count(None)

    def rtt_s(self, peer: PeerId) -> float | None:
        """Smoothed round-trip time, or None before the first measurement."""
        box = self._boxes.get(peer)
        return None if box is None or box.conn is None else box.conn.link.pulse.rtt_s

    def stats(self) -> tuple[ClassStats, ...]:
        """Per class: what waits now, and what happened since the start."""
        return self._boxes.stats()

    def copies(self) -> Mapping[PeerId, tuple[str, ...]]:
        """Keys that two machines have, ours among them, and their hosts where known."""
        return self._joining.copies.now()

    async def disconnect(self, peer: PeerId, reason: str) -> None:
        """Close the connection to a peer and wait until it is down."""
        conn = self._boxes.live_conn(peer)
        if conn is not None:
            conn.link.close(reason)
            await conn.link.closed.wait()
            self._in_use.down(conn)
        await trio.lowlevel.checkpoint()

    # Connections

    async def _connected_box(self, peer: PeerId) -> PeerBox:
        """The box of a peer that is up, dialled if need be; PeerUnreachableError."""
        if self._boxes.live_conn(peer) is None:
            why = None if peer in self._dials else self._dials.why_not(peer)
            if why is not None:
                raise PeerUnreachableError(peer, why)
            try:
                await self._dials.reach(peer, self._book.of(peer))
            except DialError as exc:
                raise PeerUnreachableError(peer, exc.detail) from exc
        box = self._boxes.get(peer)
        if box is None or box.conn is None:
            raise PeerUnreachableError(peer, "the connection ended as soon as it was made")
        return box

    async def _connect_bulk(self, main: PeerConn) -> PeerConn:
        """A second connection, until it is in use; DialError."""
        where = main.carrier.get_remote_address()
        if main.relay is not None:
            conn = await self._relays.connect_bulk(main.relay, main.peer)
        elif where is None:
            raise DialError(main.address, "peer", "its connection has ended")
        else:
            address = address_of(where[0], where[1], main.peer)
            conn = await self.conns.dial(main.peer, (address,), is_bulk=True)
        if not conn.joined.is_set():
            raise conn.dial_error()
        return conn

    async def _dial_for_libp2p(self, peer_id: ID) -> SwarmConn:
        peer = PeerId(str(peer_id))
        if peer not in self._boxes and not self._book.of(peer):
            self.learn(peer, [str(addr) for addr in self.libp2p.get_peerstore().addrs(peer_id)])
        box = await self._connected_box(peer)
        assert box.conn is not None
        return self.conns.for_libp2p(box.conn)
