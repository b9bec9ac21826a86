"""The link bench's ends on our own stack: a whole host, measured on bare streams of its link."""

import os
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from bench.link.worker import ECHO, MESSAGE, SINK, Client
from p2p.errors import LinkClosedError, StreamResetError
from p2p.host.admission.port import OpenAdmission
from p2p.host.libp2p.bridge import MuxedLink
from p2p.host.libp2p.host import Libp2pHost
from p2p.host.peers.framing import check_answer
from p2p.host.peers.peer import PeerConn
from p2p.host.rpc.echo import Echo, EchoReply, EchoRequest
from p2p.host.rpc.service import Rpc
from p2p.ids import NetworkId, PeerId, TrafficClass
from p2p.link.agreement import opening
from p2p.link.connection import Connection
from p2p.link.stream import LinkStream

NETWORK: Final = NetworkId("bench")


def new_host(*listen: str) -> tuple[Libp2pHost, Rpc]:
    """A host with a fresh key that admits everybody."""
    host = Libp2pHost(os.urandom(32), NETWORK, listen, OpenAdmission())
    return host, Rpc(host)


async def server() -> None:
    """Print the address, then echo and swallow until terminated."""
    host, rpc = new_host("/ip4/127.0.0.1/tcp/0")
    Echo(rpc)
    async with trio.open_nursery() as nursery:

        def taking(handle: Callable[[LinkStream], Awaitable[None]]) -> object:
            async def run(stream: LinkStream) -> None:
                try:
                    await handle(stream)
                except (StreamResetError, LinkClosedError):
                    return

            def take(_conn: PeerConn, stream: LinkStream) -> None:
                nursery.start_soon(run, stream)

            host.conns.gate.take(SINK if handle is _sink else ECHO, take)
            return take

        taking(_sink)
        taking(_echo)
        await nursery.start(rpc.run)
        await nursery.start(host.run)
        print(host.addresses()[0], flush=True)


async def _sink(stream: LinkStream) -> None:
    head = b""
    while len(head) < 8:
        head += await stream.read(8 - len(head))
    wanted = int.from_bytes(head)
    received = 0
    while received < wanted and (data := await stream.read()):
        received += len(data)
    await stream.write(received.to_bytes(8))
    stream.finish()


async def _echo(stream: LinkStream) -> None:
    while data := await stream.read():
        await stream.write(data)
    stream.finish()


class _Pipe:
    """A stream whose protocol was asked for without waiting for the answer."""

    def __init__(self, stream: LinkStream, protocol: str) -> None:
        self._stream = stream
        self._unchecked: str | None = protocol

    async def write(self, data: bytes) -> None:
        """Queue all bytes."""
        await self._stream.write(data)

    async def read(self, size_max: int) -> bytes:
        """The next bytes, behind the answer to our opening."""
        if self._unchecked is not None:
            await check_answer(self._stream, self._unchecked)
            self._unchecked = None
        return await self._stream.read(size_max)

    async def close(self) -> None:
        """Send no more."""
        self._stream.finish()
        await trio.lowlevel.checkpoint()


class OurClient:
    """Streams of the connection a host has in use."""

    def __init__(self, host: Libp2pHost, rpc: Rpc, address: str) -> None:
        self._host, self._rpc, self._address = host, rpc, address
        self._peer = PeerId(address.rpartition("/")[2])

    def _link(self) -> Connection:
        (connections,) = self._host.libp2p.get_network().connections.values()
        muxed = connections[0].muxed_conn
        assert isinstance(muxed, MuxedLink)
        return muxed.link

    async def open(self, protocol: str, first: bytes) -> _Pipe:
        """Opening and first bytes leave together."""
        stream = self._link().open_stream()
        await stream.write(opening(protocol) + first)
        return _Pipe(stream, protocol)

    async def reconnect(self) -> float:
        """Disconnect; then from dialling to being admitted and in use."""
        await self._host.disconnect(self._peer, "to connect again")
        await trio.sleep(0.1)  # the other end notices in the background
        began_s = trio.current_time()
        await self._host.dial(self._address)
        return trio.current_time() - began_s

    async def rpc(self) -> None:
        """A call over the class's long-lived stream."""
        await self._rpc.call(
            self._peer,
            EchoRequest(MESSAGE),
            EchoReply,
            traffic_class=TrafficClass.INTERACTIVE,
            timeout_s=10.0,
        )


async def client(address: str, then: Callable[[Client], Awaitable[None]]) -> None:
    """Connect to a server and hand the connection on."""
    host, rpc = new_host()
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.run)
        await nursery.start(host.run)
        await host.dial(address)
        await then(OurClient(host, rpc, address))
        nursery.cancel_scope.cancel()


async def crowd(address: str, count: int) -> None:
    """So many hosts, each with one connection to the address and nothing to say."""
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            host, rpc = new_host()
            await nursery.start(rpc.run)
            await nursery.start(host.run)
            await host.dial(address)
        print("ready", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        trio.run(crowd, sys.argv[1], int(sys.argv[2]))
    else:
        trio.run(server)
