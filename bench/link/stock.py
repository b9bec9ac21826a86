"""The link bench's ends on stock py-libp2p: its own Noise session, Yamux and stream calls."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import multiaddr
import trio
from libp2p import generate_new_ed25519_identity, new_host
from libp2p.abc import IHost, INetStream
from libp2p.crypto.x25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.network.stream.exceptions import StreamError
from libp2p.peer.peerinfo import PeerInfo, info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux

from bench.link.worker import CHUNK_BYTES, ECHO, MESSAGE, SINK, Client, read_exactly

_LISTEN: Final = "/ip4/127.0.0.1/tcp/0"


def _new_host() -> IHost:
    keys = generate_new_ed25519_identity()
    return new_host(
        key_pair=keys,
        sec_opt={NOISE: Transport(keys, noise_privkey=create_new_key_pair().private_key)},
        muxer_opt={TProtocol(YAMUX): Yamux},
        listen_addrs=[multiaddr.Multiaddr(_LISTEN)],
    )


async def server() -> None:
    """Print the address, then echo and swallow until terminated."""
    host = _new_host()
    host.set_stream_handler(TProtocol(SINK), _sink)
    host.set_stream_handler(TProtocol(ECHO), _echo)
    async with host.run(listen_addrs=[multiaddr.Multiaddr(_LISTEN)]):
        print(host.get_addrs()[0], flush=True)
        await trio.sleep_forever()


async def _sink(stream: INetStream) -> None:
    wanted = int.from_bytes(await read_exactly(stream, 8))
    received = 0
    with suppress(StreamError):  # a client that had no fixed size has closed its side
        while received < wanted and (data := await stream.read(CHUNK_BYTES)):
            received += len(data)
    await stream.write(received.to_bytes(8))
    await stream.close()


async def _echo(stream: INetStream) -> None:
    try:
        while True:
            await stream.write(await read_exactly(stream, len(MESSAGE)))
    except (StreamError, EOFError):
        await stream.close()


class StockClient:
    """Streams as `host.new_stream` makes them."""

    def __init__(self, host: IHost, peer: PeerInfo) -> None:
        self._host, self._peer = host, peer

    async def open(self, protocol: str, first: bytes) -> INetStream:
        """Negotiate, then write: stock libp2p knows no other way."""
        stream = await self._host.new_stream(self._peer.peer_id, [TProtocol(protocol)])
        if first:
            await stream.write(first)
        return stream

    async def reconnect(self) -> float:
        """Disconnect, let both ends notice, and time `connect`."""
        await self._host.disconnect(self._peer.peer_id)
        await trio.sleep(0.1)  # the other end drops it in the background
        began_s = trio.current_time()
        await self._host.connect(self._peer)
        return trio.current_time() - began_s

    async def rpc(self) -> None:
        """Stock libp2p's call is a stream of its own."""
        stream = await self.open(ECHO, MESSAGE)
        await read_exactly(stream, len(MESSAGE))
        await stream.close()


async def client(address: str, then: Callable[[Client], Awaitable[None]]) -> None:
    """Connect to a server and hand the connection on."""
    host = _new_host()
    peer = info_from_p2p_addr(multiaddr.Multiaddr(address))
    async with host.run(listen_addrs=[multiaddr.Multiaddr(_LISTEN)]):
        await host.connect(peer)
        await then(StockClient(host, peer))


if __name__ == "__main__":
    trio.run(server)
