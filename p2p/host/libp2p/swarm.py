"""libp2p's host and swarm, reduced to what serves foreign protocols.

Sockets, dialling, admission and the life of connections are ours (`connections`). libp2p keeps the
peer identity, the handshake, multistream and the handlers of identify, ping and Kademlia, which see
the connections we register here. Every override below replaces a method whose
stock body harms a node; tests/integration/test_libp2p_internals.py fails when one of them moves.
"""

from collections.abc import Awaitable, Callable, Sequence

from libp2p.abc import INetStream
from libp2p.crypto.ed25519 import create_new_key_pair as ed25519_key_pair
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as x25519_key_pair
from libp2p.custom_types import StreamHandlerFn, TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.network.config import ConnectionConfig
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_ID
from libp2p.transport.upgrader import TransportUpgrader
from multiaddr import Multiaddr

from p2p.host.libp2p.bridge import MuxedLink, Muxer, Noise, Security
from p2p.limits import PEERS_MAX
from p2p.link.config import LinkConfig

Dial = Callable[[ID], Awaitable[SwarmConn]]


class QuietSwarm(Swarm):
    """A Swarm that is told about connections and never makes, prunes or re-dials any itself."""

    dial: Dial
    serve: StreamHandlerFn

    def set_stream_handler(self, stream_handler: StreamHandlerFn) -> None:
        """Kept from BasicHost: one exception out of the stock handler would end the host."""

    async def dial_peer(self, peer_id: ID) -> list[SwarmConn]:  # type: ignore[override]
        """Ours: the stock one waits 250 ms for nothing and shuns a failed peer for a minute."""
        return [await self.dial(peer_id)]

    def adopt(self, muxed: MuxedLink) -> SwarmConn:
        """Wrap a connection; libp2p's protocols see it once it is `register`ed."""
        conn = SwarmConn(muxed, self, "outbound" if muxed.is_initiator else "inbound")
        conn.set_transport_info(muxed.get_transport_addresses(), muxed.get_connection_type())
        return conn

    async def register(self, conn: SwarmConn) -> None:
        """Make a connection known, without the stock limits that leak a slot per failure."""
        self.connections.setdefault(conn.muxed_conn.peer_id, []).append(conn)
        await self.notify_connected(conn)

    def _schedule_auto_connect(self) -> None:
        """Whom to dial is not libp2p's business."""


class QuietHost(BasicHost):
    """A BasicHost that answers identify but does not ask: nothing of ours needs the answer."""

    spares: Callable[[ID, Sequence[TProtocol]], bool] | None = None
    """Says which peers are not to be asked for what (`interop`)."""

    async def new_stream(self, peer_id: ID, protocol_ids: Sequence[TProtocol]) -> INetStream:
        """Open a stream; SwarmException at once when the peer is to be spared."""
        if self.spares is not None and self.spares(peer_id, protocol_ids):
            raise SwarmException(f"{peer_id} is not asked for {protocol_ids}")
        return await super().new_stream(peer_id, protocol_ids)

    def _schedule_identify(self, peer_id: ID, *, reason: str) -> None:
        """Nothing: the stock one runs in a system task, where one bug ends the process."""


def build(
    key_bytes: bytes, link: LinkConfig, addresses: Callable[[], Sequence[str]]
) -> tuple[QuietHost, QuietSwarm]:
    """A libp2p host with Noise and Yamux (ours) only, for a raw 32-byte Ed25519 private key."""
    keys = ed25519_key_pair(key_bytes)
    peer_id = ID.from_pubkey(keys.public_key)
    store = PeerStore()
    store.add_key_pair(peer_id, keys)
    limits = ConnectionConfig(
        min_connections=0, low_watermark=0, high_watermark=PEERS_MAX, max_connections=PEERS_MAX
    )
    swarm = QuietSwarm(peer_id, store, _upgrader(keys, link), [], connection_config=limits)
    host = QuietHost(
        swarm,
        addrs_factory=lambda _: [Multiaddr(text) for text in addresses()],
        disable_identify_address_discovery=True,
    )
    # Tags for pruning, which we never do, and identify, which we do not ask for: a task each per
    # connection and stream.
    swarm.notifees.clear()
    return host, swarm


def _upgrader(keys: KeyPair, link: LinkConfig) -> TransportUpgrader:
    """The handshake with a Noise key of its own, and our Yamux."""
    noise = Noise(keys, noise_privkey=x25519_key_pair().private_key)
    upgrader = TransportUpgrader({NOISE_ID: noise}, {TProtocol(YAMUX_ID): MuxedLink})
    upgrader.security_multistream = Security({NOISE_ID: noise})
    upgrader.muxer_multistream = Muxer(link)
    return upgrader
