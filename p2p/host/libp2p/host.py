"""The Host port over real sockets: libp2p's identity and handshake, our link, admission and qos.

    cast/send -> PeerBox (scheduler) -> Pump -> SendLane x4 -> Connection -> socket
    socket -> Door (guard) -> upgrade -> Joining (admission, verdict) -> lanes in -> FrameSink

Each peer has one connection in use, a busy one a second for bulk (`bulk`), and one stream per
class and direction; a frame is bound to the link only when the link has room for it.
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import trio
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.peer.id import ID

from p2p.errors import DialError, PeerUnreachableError
from p2p.host.addresses import Address
from p2p.host.admission.port import Admission
from p2p.host.libp2p.bridge import MuxedLink
from p2p.host.libp2p.dialer import Dialer
from p2p.host.libp2p.gate import Gate
from p2p.host.libp2p.swarm import build
from p2p.host.libp2p.upgrade import UpgradeError, upgrade
from p2p.host.peers.address_book import AddressBook
from p2p.host.peers.bulk import BulkLinks
from p2p.host.peers.config import HostConfig
from p2p.host.peers.copies import settled
from p2p.host.peers.joining import Joining
from p2p.host.peers.lanes import Lanes, framed
from p2p.host.peers.listener import Door, Pending
from p2p.host.peers.open_dials import Dials
from p2p.host.peers.outboxes import Boxes
from p2p.host.peers.own_addresses import Entrance
from p2p.host.peers.peer import Carrier, PeerBox, PeerConn
from p2p.host.peers.whereabouts import Whereabouts, together
from p2p.host.port import FrameSink
from p2p.identity.caller import Caller
from p2p.ids import NetworkId, PeerId, TrafficClass
from p2p.limits import STRANGER_UNREAD_BYTES_MAX
from p2p.link.guard import AcceptGuard
from p2p.qos.pump import Pump
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
        self._conns: dict[Carrier, PeerConn] = {}  # from handshake to end
        self._swarm_conns: dict[PeerConn, SwarmConn] = {}  # the same, as libp2p knows them
        self._where = Whereabouts(Entrance(listen, announce), lambda: self._conns.values())
        self.libp2p, self._swarm = build(key_bytes, self._config.link, self._where.bare)
        self._peer_id = self._where.me = PeerId(str(self.libp2p.get_id()))
        self._lanes = Lanes(f"/swarm/{network}/frames/1")
        self._swarm.dial = self._dial_for_libp2p
        self.gate = self._make_gate(network)
        self._dialer = Dialer(self._swarm.upgrader, self._config.dial)
        self._book = AddressBook(self._config.back_off)
        self._door = Door(AcceptGuard(self._config.guard), self._welcome, self._book.is_known_host)
        self._boxes = Boxes(self._config.scheduler)
        self._bulk = BulkLinks(self._boxes, self._lanes, self._connect_bulk, self._config.bulk)
        self._joining = self._make_joining(network, admission)
        self._dials = Dials(
            self._book,
            self._config.dial_within_s,
            self._connect,
            lambda peer: self._boxes.live_conn(peer) is not None,
            self._boxes.close_if_down,
        )
        self._sink: FrameSink | None = None  # set once, before `run`
        self._nursery: trio.Nursery | None = None  # while `run` runs
        self.parts: list[Callable[..., Awaitable[object]]] = [self._where.run]
        """What runs as long as the host and is started before it listens (`interop`)."""
        self.up_listeners: list[Callable[[PeerId], None]] = []
        """For the Kademlia index: called for each peer once it is in use."""

    def _make_gate(self, network: NetworkId) -> Gate:
        gate = Gate(self.libp2p, lambda muxed: self._conns.get(muxed))
        gate.take(f"/swarm/{network}/admit/1", PeerConn.offer_admission, from_strangers=True)
        bulk = f"/swarm/{network}/admit/1/bulk"
        gate.take(bulk, PeerConn.offer_bulk, from_strangers=True)
        gate.take(f"/swarm/{network}/frames/1", self._lanes.take)
        self._swarm.common_stream_handler = gate.serve
        return gate

    def _make_joining(self, network: NetworkId, admission: Admission) -> Joining:
        return Joining(
            self._peer_id,
            f"/swarm/{network}/admit/1",
            admission,
            self._config.admit_within_s,
            self._boxes.live_conn,
            self._has_place,
            self._use,
            self._bulk.is_wanted,
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
        if self._sink is not None:
            raise ValueError("this host has a listener already")
        self._sink = self._lanes.sink = sink

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and serve until cancelled. Raises ListenError before it has started."""
        assert self._sink is not None, "attach a listener first"
        listeners = await self._where.entrance.open()
        async with trio.open_nursery() as nursery:
            self._set_nursery(nursery)
            try:
                nursery.start_soon(self._bulk.run)
                for part in self.parts:
                    await nursery.start(part)
                if listeners:
                    await nursery.start(self._door.serve, listeners)
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._set_nursery(None)

    def _set_nursery(self, nursery: trio.Nursery | None) -> None:
        self._nursery = self._dials.nursery = self._lanes.nursery = self._bulk.nursery = nursery

    def addresses(self) -> tuple[str, ...]:
        """Multiaddrs with our peer id; empty before run when the port is chosen by the system."""
        return self._where.addresses()

    def learn(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """Remember where a peer may be dialled; ours and unusable ones are passed over."""
        if peer != self._peer_id:
            self._book.learn(peer, self._where.usable(addresses))

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
        conn = box.conn
        while not box.scheduler.has_room(traffic_class, len(data)):
            await box.changed.park()
            if box.conn is not conn:
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
        """Keys with which two machines call us, and their hosts."""
        return self._joining.copies.now()

    async def disconnect(self, peer: PeerId, reason: str) -> None:
        """Close the connection to a peer and wait until it is down."""
        conn = self._boxes.live_conn(peer)
        if conn is not None:
            conn.link.close(reason)
            await conn.link.closed.wait()
            self._down(conn)
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

    async def _connect(self, peer: PeerId, addresses: Sequence[Address]) -> None:
        """One dial, until the peer is up; DialError."""
        conn = await self._dial_once(peer, addresses, is_bulk=False)
        if conn.is_duplicate:
            await settled(self._boxes.of(peer), addresses[0])
        elif not conn.joined.is_set():
            raise conn.dial_error()

    async def _connect_bulk(self, peer: PeerId, address: Address) -> PeerConn:
        """A second connection, until it is in use; DialError."""
        conn = await self._dial_once(peer, (address,), is_bulk=True)
        if not conn.joined.is_set():
            raise conn.dial_error()
        return conn

    async def _dial_once(
        self, peer: PeerId, addresses: Sequence[Address], *, is_bulk: bool
    ) -> PeerConn:
        """A connection that is decided on; DialError when there is none."""
        muxed, address = await self._dialer.connect(peer, addresses)
        assert self._nursery is not None
        conn = self._adopt(muxed, str(address))
        conn.is_bulk = is_bulk
        self._nursery.start_soon(self._carry, conn)
        await conn.decided.wait()
        return conn

    async def _dial_for_libp2p(self, peer_id: ID) -> SwarmConn:
        peer = PeerId(str(peer_id))
        if peer not in self._boxes and not self._book.of(peer):
            self.learn(peer, [str(addr) for addr in self.libp2p.get_peerstore().addrs(peer_id)])
        box = await self._connected_box(peer)
        assert box.conn is not None
        return self._swarm_conns[box.conn]

    async def _welcome(self, socket: trio.SocketStream, pending: Pending) -> None:
        """An inbound socket, for its whole life."""
        muxed = None
        with trio.CancelScope() as scope:
            pending.drop = scope.cancel
            scope.deadline = trio.current_time() + self._config.guard.upgrade_deadline_s
            try:
                # Both sides may speak first, all known diallers do: silence costs us nothing more.
                await trio.lowlevel.wait_readable(socket.socket)
                muxed = await upgrade(
                    self._swarm.upgrader, socket, None, lambda: self._door.spoke(pending)
                )
            except UpgradeError:
                return
        if muxed is None:
            return
        conn = self._adopt(muxed, "an inbound connection")
        self._door.proved(pending, is_known=bool(self._book.of(conn.peer)))
        pending.drop = lambda: conn.link.close("others wait to be admitted")
        await self._carry(conn, pending)

    def _adopt(self, muxed: MuxedLink, address: str) -> PeerConn:
        peer = PeerId(str(muxed.peer_id))
        conn = PeerConn(muxed, peer, address)
        self._swarm_conns[conn] = self._swarm.adopt(muxed)
        conn.link.core.windows.unread_bytes_max = STRANGER_UNREAD_BYTES_MAX
        muxed.take_ours = partial(self.gate.take_ours, conn)
        self._conns[muxed] = conn
        return conn

    async def _carry(self, conn: PeerConn, pending: Pending | None = None) -> None:
        """Run a connection from handshake to end."""
        swarm_conn = self._swarm_conns[conn]
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(conn.carrier.start)
                nursery.start_soon(swarm_conn.start)
                nursery.start_soon(self._joining.join, conn)
                nursery.start_soon(conn.give_up_when_closed)
                await conn.decided.wait()
                if pending is not None:
                    self._door.passed(pending)
                is_first = conn.is_live and not conn.is_bulk
                if is_first or conn.is_guest:
                    await self._swarm.register(swarm_conn)
                if is_first:
                    for listener in self.up_listeners:
                        listener(conn.peer)
                await conn.link.closed.wait()
                self._down(conn)
        finally:
            del self._conns[conn.carrier], self._swarm_conns[conn]
            self.gate.guests.left(conn)
            conn.decided.set()
            self._down(conn)

    def _use(self, conn: PeerConn) -> None:
        """The connection is admitted and counts: tell everybody, and let frames flow."""
        if conn.is_bulk:
            self._bulk.use(conn)
            return
        former = self._boxes.get(conn.peer)
        if former is not None and former.conn is not None:
            former.conn.link.close("a newer connection to this peer replaces it")
            self._down(former.conn)
        box = self._boxes.of(conn.peer)
        box.conn = conn
        lanes = self._lanes.out(conn, box.pump_now)
        box.pump = Pump(box.scheduler, lanes, box.wake_all)
        conn.link.out.on_room = box.pump_now
        conn.link.core.windows.unread_bytes_max = self._config.link.yamux.unread_bytes_max
        self._book.reached(conn.peer)
        assert self._sink is not None
        self._sink.on_up(conn.who)
        conn.joined.set()
        conn.joined_s = trio.current_time()
        self._bulk.watch(box, conn)
        box.wake_all()
        box.pump_now()

    def _down(self, conn: PeerConn) -> None:
        if conn.is_bulk:
            self._bulk.down(conn)
            return
        box = self._boxes.get(conn.peer)
        if box is None or box.conn is not conn:
            return
        conn.link.out.on_room = None
        for beside in (box.bulk, box.retired):
            if beside is not None:
                beside.link.close(f"the connection beside it ended: {conn.link.reason}")
        self._boxes.close(conn.peer)
        assert self._sink is not None
        self._sink.on_down(conn.peer, conn.link.reason)

    # Small facts

    def _has_place(self, peer: PeerId) -> bool:
        return len(self._boxes.connected()) < self._config.peers_max
