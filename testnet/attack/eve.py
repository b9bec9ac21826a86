"""Somebody with a key of their own, on one connection, who writes whatever bytes they like."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from p2p.errors import LinkClosedError
from p2p.host.addresses import parse_address
from p2p.host.libp2p.dialer import Dialer
from p2p.host.libp2p.swarm import build
from p2p.ids import PeerId, TrafficClass
from p2p.link.agreement import opening
from p2p.link.config import LinkConfig
from p2p.link.connection import Connection
from p2p.link.stream import LinkStream
from p2p.wire.frames import frame
from testnet.lone_peer import NETWORK

ADMIT, FRAMES = f"/swarm/{NETWORK}/admit/1", f"/swarm/{NETWORK}/frames/1"
PING = "/ipfs/ping/1.0.0"
_USE = frame(b"\x01")


class Eve:
    """One connection of an attacker's, running."""

    def __init__(self, link: Connection, me: PeerId, victim: PeerId) -> None:
        self.link = link
        self.victim = victim
        self._decides = me > victim
        self.streams_max = link.config.yamux.streams_outbound_max - 1
        """Besides the one for admission."""

    async def stream(self, first: bytes) -> LinkStream:
        """A stream that begins with these bytes."""
        stream = self.link.open_stream()
        await stream.write(first)
        return stream

    async def join(self) -> None:
        """Be admitted, as an honest peer would."""
        stream = await self.stream(opening(ADMIT))
        wanted = opening(ADMIT)
        if self._decides:
            await stream.write(_USE)
        else:
            wanted += _USE
        heard = b""
        while len(heard) < len(wanted):
            data = await stream.read()
            if not data:
                raise LinkClosedError("the victim ended the admission")
            heard += data
        assert heard == wanted

    async def lane(self, traffic_class: TrafficClass, first: bytes = b"") -> LinkStream:
        """A stream of frames of a class."""
        return await self.stream(opening(FRAMES) + bytes([traffic_class, 0]) + first)

    async def raw(self, *headers: tuple[int, int, int, int, int], then: bytes = b"") -> None:
        """Yamux frames of the attacker's own making: version, type, flags, stream, length."""
        for header in headers:
            self.link.core.output.put(struct.pack("!BBHII", *header))
        if then:
            self.link.core.output.put(then)
        self.link.out.wake()
        await trio.lowlevel.checkpoint()

    async def is_cut_off(self, within_s: float = 8.0) -> None:
        """The connection is ended by the other side; TooSlowError when it is not."""
        with trio.fail_after(within_s):
            await self.link.closed.wait()


@asynccontextmanager
async def connected(
    address: str, name: str = "eve", config: LinkConfig | None = None
) -> AsyncIterator[Eve]:
    """Connected, not admitted; the key is made of the name."""
    config = config or LinkConfig()
    host, swarm = build(name.encode().ljust(32, b".")[:32], config, list)
    where = parse_address(address)
    assert where.peer is not None
    muxed, _ = await Dialer(swarm.upgrader).connect(where.peer, [where])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(muxed.start)
        yield Eve(muxed.link, PeerId(str(host.get_id())), where.peer)
        nursery.cancel_scope.cancel()
