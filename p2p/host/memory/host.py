"""A Host without sockets: one machine's place in a MemoryNetwork. Addresses are `/memory/<id>`."""

import math
from collections.abc import Mapping, Sequence

import trio
from msgspec.structs import replace

from p2p.errors import DialError, PeerUnreachableError
from p2p.host.memory.links import MemoryDial, MemoryLink, Port
from p2p.host.memory.network import MemoryNetwork
from p2p.host.port import CarriedTotals, FrameSink
from p2p.host.relay.rules import in_order
from p2p.identity.caller import Caller, uncertified
from p2p.ids import PeerId, TrafficClass
from p2p.limits import OUTBOX_FRAMES_MAX
from p2p.qos.scheduler import ClassStats

_PREFIX = "/memory/"


def memory_address(peer: PeerId) -> str:
    """Where a MemoryHost is dialled."""
    return _PREFIX + peer


class MemoryHost:
    """Satisfies p2p.host.port.Host. A restarted machine is a new MemoryHost of the same peer."""

    def __init__(
        self,
        network: MemoryNetwork,
        peer_id: PeerId,
        who: Caller | None = None,
        *,
        carries: bool = False,
    ) -> None:
        """`who` is what others take as proved of it; else a person and a lab of its own.

        `carries`: others may talk by it who cannot reach each other.
        """
        self._network = network
        self._port = Port(uncertified(peer_id) if who is None else who, carries=carries)
        self._relays: dict[PeerId, None] = {}
        """Members that say they carry for others."""
        self._me = replace(self._port.who, is_me=True)
        self._known: dict[PeerId, tuple[str, ...]] = {}
        self._stats = [ClassStats()] * len(TrafficClass)

    @property
    def peer_id(self) -> PeerId:
        """Who we are."""
        return self._port.peer

    @property
    def me(self) -> Caller:
        """Who we are."""
        return self._me

    def attach(self, sink: FrameSink) -> None:
        """Set the listener; once, before run."""
        if self._port.sink is not None:
            raise ValueError("this host has a listener already")
        self._port.sink = sink

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be reachable until cancelled."""
        self._network.open(self._port)
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            self._network.close(self._port)

    def addresses(self) -> tuple[str, ...]:
        """The one address we have."""
        return (memory_address(self.peer_id),)

    def learn(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """Remember where a peer may be dialled; the newest list replaces the older one."""
        self._known[peer] = tuple(addresses)

    def note_relay(self, peer: PeerId, *, carries: bool) -> None:
        """A member says whether it carries circuits."""
        self._relays.pop(peer, None)
        if carries:
            self._relays[peer] = None

    def relay_of(self, peer: PeerId) -> PeerId | None:
        """By which relay a peer is connected."""
        link = self._network.link(self._port, peer)
        return None if link is None or link.relay is None else link.relay.peer

    def carried(self) -> CarriedTotals:
        """What this machine carries for others."""
        port = self._port
        return CarriedTotals(port.circuits, port.circuits_total, port.carried_bytes)

    async def dial(self, address: str, *others: str) -> PeerId:
        """Connect and be admitted. Raises DialError."""
        peer = _peer_of(address)
        if peer is None or peer == self.peer_id:
            raise DialError(address, "peer", "not the address of another host in memory")
        if self._network.link(self._port, peer) is None:
            dial = self._network.dial(self._port, peer, address, self._ways_to(peer))
            await dial.done.wait()
            if dial.failure is not None:
                raise dial.failure
        else:
            await trio.lowlevel.checkpoint()
        self._known.setdefault(peer, (address,))
        return peer

    async def send(
        self, peer: PeerId, traffic_class: TrafficClass, frame: bytes, expires_s: float = math.inf
    ) -> None:
        """Queue one frame, waiting while the link is behind; dials when needed."""
        link = self._network.link(self._port, peer)
        if link is None:
            await self._send_by_dial(peer, traffic_class, frame)
            return
        await self._wait_for_room(link)
        if not link.is_open:
            raise PeerUnreachableError(peer, "the connection ended")
        if expires_s <= trio.current_time():
            self._stats[traffic_class] += ClassStats(expired=1)
            return
        self._count(traffic_class, frame)
        self._network.transmit(self._port, link, traffic_class, frame, is_cast=False)

    async def _send_by_dial(self, peer: PeerId, traffic_class: TrafficClass, frame: bytes) -> None:
        """With the connection that is made for it, or is just being made."""
        dial = self._dial_known(peer)
        if dial is None:
            raise PeerUnreachableError(peer, "no address is known")
        self._count(traffic_class, frame)
        dial.frames.append((traffic_class, frame))
        await dial.done.wait()
        if dial.failure is not None:
            raise PeerUnreachableError(peer, dial.failure.detail)

    def cast(self, peer: PeerId, traffic_class: TrafficClass, frame: bytes) -> None:
        """Queue one frame without waiting; dials in the background; may be dropped."""
        link = self._network.link(self._port, peer)
        if link is not None:
            if self._network.backlog_s(self._port, link) <= 10 * self._network.model.backlog_s:
                self._count(traffic_class, frame)
                self._network.transmit(self._port, link, traffic_class, frame, is_cast=True)
            else:
                self._stats[traffic_class] += ClassStats(dropped=1)
            return
        dial = self._dial_known(peer)
        if dial is not None and len(dial.frames) < OUTBOX_FRAMES_MAX:
            self._count(traffic_class, frame)
            dial.frames.append((traffic_class, frame))

    def peers(self) -> tuple[PeerId, ...]:
        """Peers connected now, oldest connection first."""
        return tuple(self._network.links_of(self._port))

    def stats(self) -> tuple[ClassStats, ...]:
        """Per class: what was sent and dropped since the start; what waits is the network's."""
        return tuple(self._stats)

    def copies(self) -> Mapping[PeerId, tuple[str, ...]]:
        """Two hosts of one key cannot be in one network here."""
        return {}

    def rtt_s(self, peer: PeerId) -> float | None:
        """Round-trip time of a connected peer."""
        if self._network.link(self._port, peer) is None:
            return None
        return self._network.rtt_s(self._port, peer)

    async def disconnect(self, peer: PeerId, reason: str) -> None:
        """Close the connection to a peer."""
        self._network.disconnect(self._port, peer, reason)
        await trio.lowlevel.checkpoint()

    def _count(self, traffic_class: TrafficClass, frame: bytes) -> None:
        self._stats[traffic_class] += ClassStats(sent_frames=1, sent_bytes=len(frame))

    def _dial_known(self, peer: PeerId) -> MemoryDial | None:
        relays = self._ways_to(peer)
        for address in self._known.get(peer, ()):
            if self._port.is_open and _peer_of(address) == peer:
                return self._network.dial(self._port, peer, address, relays)
        if self._port.is_open and self._network.has_relay(self._port, peer, relays):
            return self._network.dial(self._port, peer, "", relays)
        return None

    def _ways_to(self, peer: PeerId) -> tuple[PeerId, ...]:
        """Relays to a peer that we have a direct connection to, first to ask first."""
        connected = [relay for relay in self.peers() if relay != peer and relay in self._relays]
        near = [relay for relay in connected if self.relay_of(relay) is None]
        return tuple(in_order(self.peer_id, peer, near)) if near else ()

    async def _wait_for_room(self, link: MemoryLink) -> None:
        network = self._network
        await trio.lowlevel.checkpoint()
        over_s = network.backlog_s(self._port, link) - network.model.backlog_s
        if over_s > 0:
            await trio.sleep(over_s)


def _peer_of(address: str) -> PeerId | None:
    """The peer in `/memory/<id>` or `/memory/<id>/p2p/<id>`."""
    if not address.startswith(_PREFIX):
        return None
    return PeerId(address.removeprefix(_PREFIX).split("/", 1)[0])
