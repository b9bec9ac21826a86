"""What guests find on an open network with `network.interop`: index, gossipsub and an echo.

    /swarm/kad/1.0.0           provider records, the ones our own index keeps
    /meshsub/1.x.0             gossipsub, with one topic: /swarm/<network>/lobby/1
    /swarm/<network>/echo/1    what is sent comes back, up to 8 MiB

Nothing the node needs is in here, and nothing of gossipsub is imported unless this module is. The
lobby carries what guests tell one another, from node to node; gossip of the node's own is another
thing (p2p.gossip). Should gossipsub fail, it is taken down and begun anew; the node goes on.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import trio

from p2p.host.libp2p.guests import Offer
from p2p.host.libp2p.host import Libp2pHost
from p2p.host.libp2p.index import PROTOCOL as KAD_PROTOCOL
from p2p.host.libp2p.lean_imports import lean
from p2p.host.libp2p.swarm import QuietSwarm
from p2p.ids import NetworkId, PeerId
from p2p.limits import GUEST_ECHO_BYTES_MAX, GUEST_MESSAGE_BYTES_MAX

with lean():
    from libp2p.pubsub.gossipsub import (
        PROTOCOL_ID,
        PROTOCOL_ID_V11,
        PROTOCOL_ID_V12,
        GossipSub,
    )
    from libp2p.pubsub.pb import rpc_pb2
    from libp2p.pubsub.pubsub import Pubsub

from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from libp2p.tools.anyio_service import background_trio_service

GOSSIP_PROTOCOLS: Final = (PROTOCOL_ID_V12, PROTOCOL_ID_V11, PROTOCOL_ID)
_GOSSIP: Final = Offer(each_max=2, work_per_kib=16)  # about three checked signatures a KiB
# Twelve streams of the index are served at once, members' included: guests never have them all.
_KAD: Final = Offer(each_max=3, all_max=6, within_s=30.0, work_per_kib=4)
_ECHO: Final = Offer(each_max=1, all_max=4, within_s=60.0, work_per_kib=1 / 16)
_RPC_BYTES_MAX: Final = 64 * 1024
_TOPICS_EACH_MAX: Final = 8
_HEARD_MAX: Final = 64
_ECHO_PIECE_BYTES: Final = 64 * 1024


class Interop:
    """Serves guests of one host; make it before the host runs."""

    def __init__(
        self, host: Libp2pHost, network: NetworkId, *, restart_after_s: float = 10.0
    ) -> None:
        self._host = host.libp2p
        self.topic = f"/swarm/{network}/lobby/1"
        self.echo_protocol = TProtocol(f"/swarm/{network}/echo/1")
        self.faults = 0
        self._restart_after_s = restart_after_s
        self._lobby: _Lobby | None = None
        self._heard, self.heard = trio.open_memory_channel[tuple[PeerId, bytes]](_HEARD_MAX)
        """What others said in the lobby, and who; what nobody takes out is dropped."""
        self._guests = host.conns.gate.guests
        self._offer_all()
        self._host.spares = self._spares
        self._host.set_stream_handler(self.echo_protocol, _echo)
        host.parts.append(self.run)

    def _offer_all(self) -> None:
        offers = dict.fromkeys(GOSSIP_PROTOCOLS, _GOSSIP)
        for protocol, offer in {**offers, KAD_PROTOCOL: _KAD, self.echo_protocol: _ECHO}.items():
            self._guests.offer(str(protocol), offer)

    async def listens(self, peer: PeerId, within_s: float) -> None:
        """Return once a peer listens in the lobby and can be told; TooSlowError if it does not."""
        if self._lobby is None:
            raise trio.TooSlowError
        await self._lobby.wait_for_peer(ID.from_string(peer), within_s)
        await self._lobby.wait_for_subscription(ID.from_string(peer), self.topic, within_s)

    async def say(self, data: bytes) -> None:
        """Tell the lobby; lost when nobody is there."""
        if len(data) > GUEST_MESSAGE_BYTES_MAX:
            raise ValueError(f"message of {len(data)} bytes, limit {GUEST_MESSAGE_BYTES_MAX}")
        if self._lobby is not None:
            await self._lobby.publish(self.topic, data)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep gossipsub going until cancelled."""
        started = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._gossip_forever, started)
            await started.wait()
            task_status.started()

    def _spares(self, peer_id: ID, protocols: Sequence[TProtocol]) -> bool:
        """Our index asks members only: a guest may never answer, and each wait is ten seconds."""
        return KAD_PROTOCOL in protocols and self._guests.has(PeerId(str(peer_id)))

    async def _gossip_forever(self, started: trio.Event) -> None:
        while True:
            try:
                await self._gossip(started)
            except Exception:
                # The fence: libp2p's services raise whatever one of their tasks raised, and
                # nothing a guest sent may end the node.
                self.faults += 1
            await trio.sleep(self._restart_after_s)

    async def _gossip(self, started: trio.Event) -> None:
        router = _Router(
            GOSSIP_PROTOCOLS,
            degree=6,
            degree_low=4,
            degree_high=12,
            heartbeat_interval=1,  # the stock 120 s leave a mesh broken for two minutes
        )
        network = self._host.get_network()
        assert isinstance(network, QuietSwarm)
        before = list(network.notifees)
        lobby = self._new_lobby(router)
        try:
            async with background_trio_service(router), background_trio_service(lobby):
                await lobby.wait_until_ready()
                await self._hear_forever(lobby, network, started)
        finally:
            self._lobby = None
            network.notifees[:] = [notifee for notifee in network.notifees if notifee in before]
            for protocol in GOSSIP_PROTOCOLS:
                self._host.remove_stream_handler(protocol)
            lobby.seen_messages.stop()

    def _new_lobby(self, router: "_Router") -> "_Lobby":
        lobby = _Lobby(
            self._host,
            router,
            max_inbound_rpc_size=_RPC_BYTES_MAX,
            max_subscriptions_per_peer=_TOPICS_EACH_MAX,
            allowed_topics={self.topic},
        )
        lobby.set_topic_validator(self.topic, _is_short, False)
        return lobby

    async def _hear_forever(
        self, lobby: "_Lobby", network: QuietSwarm, started: trio.Event
    ) -> None:
        """Hear what is said until cancelled."""
        messages = await lobby.subscribe(self.topic)
        self._lobby = lobby
        started.set()
        async with trio.open_nursery() as nursery:
            for peer_id in tuple(network.connections):  # some, when this is a new start
                nursery.start_soon(lobby.ensure_peer_stream, peer_id)
            while True:
                self._hear(await messages.get())

    def _hear(self, message: rpc_pb2.Message) -> None:
        origin = ID(message.from_id)
        if origin == self._host.get_id():
            return
        try:
            self._heard.send_nowait((PeerId(str(origin)), message.data))
        except trio.WouldBlock:
            return  # nobody listens here: the lobby is for guests


class _Router(GossipSub):
    """Sends what we say to all who listen, as gossipsub 1.1 has it ("flood publishing").

    The stock one sends it to its mesh alone: lost, when the mesh has not grown yet.
    """

    def _get_peers_to_send(
        self, topic_ids: Iterable[str], msg_forwarder: ID, origin: ID, msg_id: bytes | None = None
    ) -> Iterable[ID]:
        topics = list(topic_ids)
        peers = set(super()._get_peers_to_send(topics, msg_forwarder, origin, msg_id))
        if self.pubsub is not None and origin == self.pubsub.my_id:
            for topic in topics:
                peers.update(self.pubsub.peer_topics.get(topic, ()))
        return peers


class _Lobby(Pubsub):
    """A Pubsub that one bad message does not end: each is handled in a task of the service."""

    async def stream_handler(self, stream: INetStream) -> None:
        """Read a peer's stream; it ends when we stop reading, so that the peer opens another."""
        try:
            await super().stream_handler(stream)
        finally:
            await stream.reset()

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Check a message and pass it on; whatever is wrong with it ends with it."""
        try:
            await super().push_msg(msg_forwarder, msg)
        except Exception:
            # Keys, ids and signatures of strangers make libp2p raise anything.
            if msg_forwarder == self.my_id:
                raise


def _is_short(_forwarder: ID, message: rpc_pb2.Message) -> bool:
    return len(message.data) <= GUEST_MESSAGE_BYTES_MAX


async def _echo(stream: INetStream) -> None:
    """Send back what comes, piece by piece: the window of who does not read closes both ways."""
    total = 0
    try:
        while total <= GUEST_ECHO_BYTES_MAX:
            data = await stream.read(_ECHO_PIECE_BYTES)
            total += len(data)
            await stream.write(data)
    except StreamEOF:
        await stream.close()
    else:
        await stream.reset()
