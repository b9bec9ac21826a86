"""A stock py-libp2p node that dials us and says what it could do, as JSON. Runs as a script."""

import json
import sys

import multiaddr
import trio
from libp2p import generate_new_ed25519_identity, new_host
from libp2p.crypto.x25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.ping import PingService
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.identify import parse_identify_response
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux


async def main(address: str, protocols: list[str]) -> None:
    """Connect, identify, ping, and try to open each of the protocols."""
    keys = generate_new_ed25519_identity()
    host = new_host(
        key_pair=keys,
        sec_opt={NOISE: Transport(keys, noise_privkey=create_new_key_pair().private_key)},
        muxer_opt={TProtocol(YAMUX): Yamux},
    )
    peer = info_from_p2p_addr(multiaddr.Multiaddr(address))
    said: dict[str, object] = {}
    async with host.run(listen_addrs=[]):
        await host.connect(peer)
        stream = await host.new_stream(peer.peer_id, [IDENTIFY])
        about = parse_identify_response(await stream.read())
        said["protocols"] = sorted(about.protocols)
        said["addresses"] = len(about.listen_addrs)
        said["pings"] = len(await PingService(host).ping(peer.peer_id, 3))
        said["opened"] = [p for p in protocols if await opens(host, peer.peer_id, p)]
    print(json.dumps(said))


async def opens(host, peer_id, protocol: str) -> bool:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Whether the peer lets us speak the protocol."""
    with trio.move_on_after(8):
        try:
            await host.new_stream(peer_id, [TProtocol(protocol)])
        except Exception:
            return False
        return True
    return False


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2:])
