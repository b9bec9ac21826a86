"""A stock py-libp2p peer that takes the same orders as node.mjs. Runs as a script."""

import hashlib
import json
import os
import sys
from typing import Any

import multiaddr
import trio
from libp2p import generate_new_ed25519_identity, new_host
from libp2p.crypto.x25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.ping import ID as PING
from libp2p.host.ping import PingService, handle_ping
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.identify import parse_identify_response
from libp2p.kad_dht import common, kad_dht, peer_routing, provider_store, value_store
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo, info_from_p2p_addr
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V12, GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.tools.anyio_service import background_trio_service

PIECE = 64 * 1024


class Peer:
    """What the orders act on."""

    def __init__(self, topic: str, echo: str) -> None:
        keys = generate_new_ed25519_identity()
        self.host = new_host(
            key_pair=keys,
            sec_opt={NOISE: Transport(keys, noise_privkey=create_new_key_pair().private_key)},
            muxer_opt={TProtocol(YAMUX): Yamux},
        )
        self.host.set_stream_handler(PING, handle_ping)
        self.topic, self.echo_protocol = topic, TProtocol(echo)
        self.router = GossipSub(
            [PROTOCOL_ID_V12], degree=6, degree_low=4, degree_high=12, heartbeat_interval=1
        )
        self.pubsub = Pubsub(self.host, self.router)
        self.dht = KadDHT(self.host, DHTMode.SERVER, enable_values=False)
        self.messages: Any = None
        self.node: Any = None

    async def addresses(self) -> dict[str, Any]:
        """Where we listen, with our id."""
        return {"addresses": [str(one) for one in self.host.get_addrs()]}

    async def connect(self, address: str) -> dict[str, Any]:
        """Connect, and ask who is there."""
        info = info_from_p2p_addr(multiaddr.Multiaddr(address))
        self.node = info.peer_id
        await self.host.connect(info)
        stream = await self.host.new_stream(self.node, [IDENTIFY])
        about = parse_identify_response(await stream.read())
        return {"agent": about.agent_version, "protocols": list(about.protocols)}

    async def ping(self, address: str) -> dict[str, Any]:
        """Round trips."""
        return {"ms": (await PingService(self.host).ping(self.node, 1))[0] / 1000}

    async def opens(self, protocol: str) -> dict[str, Any]:
        """Whether the node lets us speak a protocol."""
        try:
            with trio.fail_after(8):
                stream = await self.host.new_stream(self.node, [TProtocol(protocol)])
        except Exception as exc:
            return {"opened": False, "why": repr(exc)}
        await stream.reset()
        return {"opened": True}

    async def echo(self, size: int, idle_ms: int = 0) -> dict[str, Any]:
        """Everything sent while everything that comes back is hashed."""
        stream = await self.host.new_stream(self.node, [self.echo_protocol])
        sent, back, count = hashlib.sha256(), hashlib.sha256(), 0

        async def send() -> None:
            left = size
            while left > 0:
                data = os.urandom(min(left, PIECE))
                left -= len(data)
                sent.update(data)
                await stream.write(data)
            assert isinstance(stream, NetStream)
            await stream.close_write()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.sleep(idle_ms / 1000)
            try:
                while data := await stream.read(PIECE):
                    back.update(data)
                    count += len(data)
            except StreamEOF:
                pass
        return {"bytes": count, "equal": sent.digest() == back.digest()}

    async def listeners(self, least: int) -> dict[str, Any]:
        """Wait until the node listens to the topic."""
        assert least == 1
        await self.pubsub.wait_for_subscription(self.node, self.topic, 10)
        return {}

    async def say(self, text: str) -> dict[str, Any]:
        """Publish."""
        await self.pubsub.publish(self.topic, text.encode())
        return {}

    async def hear(self) -> dict[str, Any]:
        """The next message."""
        message = await self.messages.get()
        return {"from": str(ID(message.from_id)), "text": message.data.decode()}

    async def knows(self, least: int) -> dict[str, Any]:
        """Enter the node into the routing table."""
        addresses = self.host.get_peerstore().addrs(self.node)
        await self.dht.routing_table.add_peer(
            PeerInfo(self.node, addresses), skip_server_mode_check=True
        )
        return {"peers": self.dht.get_routing_table_size()}

    async def provide(self, key: str) -> dict[str, Any]:
        """Announce a key in the index."""
        await self.dht.provider_store.provide(_multihash(key))
        return {"errors": []}

    async def find(self, key: str) -> dict[str, Any]:
        """Who announced a key."""
        found = await self.dht.provider_store.find_providers(_multihash(key), 8)
        return {"providers": {str(one.peer_id): [str(a) for a in one.addrs] for one in found}}


def _multihash(key: str) -> bytes:
    return b"\x12\x20" + hashlib.sha256(key.encode()).digest()


async def main(names: list[str]) -> None:
    """Take orders until standard input ends."""
    kad, topic, echo = names
    for module in (common, kad_dht, peer_routing, provider_store, value_store):
        module.PROTOCOL_ID = TProtocol(kad)  # type: ignore[attr-defined]
    peer = Peer(topic, echo)
    async with (
        peer.host.run(listen_addrs=[multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")]),
        background_trio_service(peer.router),
        background_trio_service(peer.pubsub),
        background_trio_service(peer.dht),
    ):
        await peer.pubsub.wait_until_ready()
        peer.messages = await peer.pubsub.subscribe(topic)
        print(json.dumps({"peer": str(peer.host.get_id())}), flush=True)
        async for line in trio.wrap_file(sys.stdin):
            what = json.loads(line)
            try:
                answer = {"ok": True, **await getattr(peer, what.pop("order"))(**what)}
            except Exception as exc:
                answer = {"ok": False, "error": repr(exc)}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1:4])
