"""The Index port over libp2p's Kademlia, spoken among ourselves only.

libp2p's DHT has its protocol id in module constants, the same as IPFS's: left alone, our routing
tables would fill with IPFS nodes and theirs with ours. Importing this module replaces the id, for
the whole process; which network a peer belongs to has been settled by its admission.
"""

import hashlib

import msgspec
import trio
from libp2p.custom_types import TProtocol
from libp2p.kad_dht import common, kad_dht, peer_routing, provider_store, value_store
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from p2p.host.libp2p.host import Libp2pHost
from p2p.ids import PeerId
from p2p.limits import INDEX_KEYS_MAX

PROTOCOL = TProtocol("/swarm/kad/1.0.0")
KAD_MODULES = (common, kad_dht, peer_routing, provider_store, value_store)
for _module in KAD_MODULES:
    _module.PROTOCOL_ID = PROTOCOL  # type: ignore[attr-defined]

_SHA2_256 = b"\x12\x20"
"""Multihash prefix: sha2-256, 32 bytes."""


class IndexConfig(msgspec.Struct, frozen=True):
    """How long a look-up may take: it is a hint, and its user has other ways."""

    announce_within_s: float = 10.0
    find_within_s: float = 5.0
    # A stock look-up waits ten seconds for each peer that has died.
    peer_within_s: float = 1.0
    prune_every_s: float = 60.0
    keys_max: int = INDEX_KEYS_MAX


class Libp2pIndex:
    """A `p2p.host.port.Index`: provider records among connected and near peers."""

    def __init__(self, host: Libp2pHost, config: IndexConfig | None = None) -> None:
        self._host = host
        self._config = config or IndexConfig()
        self._dht = KadDHT(host.libp2p, DHTMode.SERVER, enable_values=False)
        self._send_up, self._receive_up = trio.open_memory_channel[PeerId](256)
        self._entered = trio.Event()
        host.conns.up_listeners.append(self._on_up)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the routing table until cancelled; start it after the host."""
        async with background_trio_service(self._dht), trio.open_nursery() as nursery:
            nursery.start_soon(self._prune_forever)
            task_status.started()
            async for peer in self._receive_up:
                await self._enter(peer)

    async def announce(self, key: bytes) -> None:
        """Say that this machine has something under `key`; repeated by the caller."""
        with trio.move_on_after(self._config.announce_within_s):
            await self._dht.provider_store.provide(_multihash(key))

    async def find(self, key: bytes, limit: int) -> list[tuple[PeerId, tuple[str, ...]]]:
        """Peers that announced `key`, sorted, with addresses; possibly stale, possibly empty."""
        wanted = _multihash(key)
        providers = {info.peer_id: info for info in self._dht.provider_store.get_providers(wanted)}
        with trio.move_on_after(self._config.find_within_s):
            near = await self._dht.peer_routing.find_closest_peers_network(wanted)
            async with trio.open_nursery() as nursery:
                for peer_id in near:
                    nursery.start_soon(self._ask, peer_id, wanted, providers)
        peers = {PeerId(str(peer_id)): info.addrs for peer_id, info in providers.items()}
        return [
            (peer, tuple(_with_peer(addr, peer) for addr in addrs))
            for peer, addrs in sorted(peers.items())[:limit]
        ]

    async def knows_somebody(self) -> None:
        """Return once the routing table holds a peer."""
        await self._entered.wait()

    async def _ask(self, peer_id: ID, key: bytes, providers: dict[ID, PeerInfo]) -> None:
        """What one peer knows of a key; one that does not answer knows nothing."""
        store = self._dht.provider_store
        with trio.move_on_after(self._config.peer_within_s):
            infos, _ = await store._get_providers_from_peer_with_closers(peer_id, key)
            providers.update({info.peer_id: info for info in infos})

    async def _prune_forever(self) -> None:
        """Forget the oldest keys above the limit; libp2p keeps them all for two days."""
        providers = self._dht.provider_store.providers
        while True:
            await trio.sleep(self._config.prune_every_s)
            for key in list(providers)[: -self._config.keys_max]:
                del providers[key]

    def _on_up(self, peer: PeerId) -> None:
        try:
            self._send_up.send_nowait(peer)
        except trio.WouldBlock:
            return  # a burst of new peers: the table fills from the others and from look-ups

    async def _enter(self, peer: PeerId) -> None:
        addresses = [Multiaddr(text) for text in self._host.known_addresses(peer)]
        info = PeerInfo(ID.from_string(peer), addresses)
        await self._dht.routing_table.add_peer(info, skip_server_mode_check=True)
        self._entered.set()


def _multihash(key: bytes) -> bytes:
    return _SHA2_256 + hashlib.sha256(key).digest()


def _with_peer(address: Multiaddr, peer: PeerId) -> str:
    return f"{str(address).partition('/p2p/')[0]}/p2p/{peer}"
