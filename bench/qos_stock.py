"""The rival of `bench qos`: `python -m bench.qos_stock server IP | client ADDRESS one|two`.

Stock py-libp2p, one connection (TCP, Noise, Yamux) of a program with the load that ours has: calls
of 1 kB that are echoed, and bodies of 64 KiB that 32 tasks send:

    one  all on one stream, behind a lock, so that no message is cut in two by another
    two  bodies on a stream of their own; of those, its window lets 256 KiB be on their way

The client reads how many calls to make from each line of its stdin and answers by their times
in ms.
"""

import json
import os
import random
import struct
import sys
from typing import Final

import trio
from libp2p import new_host
from libp2p.abc import INetStream
from libp2p.crypto.ed25519 import create_new_key_pair as ed25519_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as x25519_key_pair
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
from libp2p.security.noise.transport import Transport
from multiaddr import Multiaddr

from bench.qos_peer import BODIES_AT_ONCE, BODY_BYTES, CALL_BYTES, CALLS_PER_S

PROTOCOL: Final = TProtocol("/bench/qos/1")
CALL_WITHIN_S: Final = 60.0
HEADER: Final = struct.Struct(">I")
"""Before each message: its length. Only calls are echoed, and bulk is longer."""


def _host(listen: str | None) -> object:
    keys = ed25519_key_pair(os.urandom(32))
    noise = Transport(keys, noise_privkey=x25519_key_pair().private_key)
    return new_host(
        key_pair=keys,
        sec_opt={NOISE_ID: noise},
        listen_addrs=[Multiaddr(listen)] if listen else None,
    )


async def _read(stream: INetStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.read(size - len(data))
    return data


async def _serve(stream: INetStream) -> None:
    while True:
        (size,) = HEADER.unpack(await _read(stream, HEADER.size))
        data = await _read(stream, size)
        if size == CALL_BYTES:
            await stream.write(data)


async def serve(ip: str) -> None:
    """Print our address, then serve until stdin ends."""
    listen = f"/ip4/{ip}/tcp/4001"
    host = _host(listen)
    async with host.run([Multiaddr(listen)]):  # type: ignore[attr-defined]
        host.set_stream_handler(PROTOCOL, _serve)  # type: ignore[attr-defined]
        print(f"{listen}/p2p/{host.get_id()}", flush=True)  # type: ignore[attr-defined]
        async for _ in trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())):
            pass


class StockClient:
    """Calls in order on one stream: the n-th answer belongs to the n-th call."""

    def __init__(self, stream: INetStream, lock: trio.Lock) -> None:
        self._stream = stream
        self._lock = lock
        self._sent_s: list[float] = []
        self._answered = trio.lowlevel.ParkingLot()
        self.times_ms: list[float] = []

    async def read_answers(self) -> None:
        """Note when answers come, for ever."""
        while True:
            await _read(self._stream, CALL_BYTES)
            began_s = self._sent_s[len(self.times_ms)]
            self.times_ms.append((trio.current_time() - began_s) * 1000)
            self._answered.unpark_all()

    async def calls(self, calls: int) -> list[float]:
        """Poisson calls, and their times."""
        first = len(self.times_ms)
        rng = random.Random(7)  # noqa: S311 - when calls are made
        next_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(calls):
                next_s += rng.expovariate(CALLS_PER_S)
                await trio.sleep_until(next_s)
                self._sent_s.append(trio.current_time())
                nursery.start_soon(_send, self._stream, self._lock, bytes(CALL_BYTES))
        with trio.fail_after(CALL_WITHIN_S):
            while len(self.times_ms) < len(self._sent_s):
                await self._answered.park()
        return self.times_ms[first:]


async def ask(address: str, streams: str) -> None:
    """Fill the line and make calls when told, until stdin ends."""
    host = _host(None)
    async with host.run([]), trio.open_nursery() as nursery:  # type: ignore[attr-defined]
        info = info_from_p2p_addr(Multiaddr(address))
        await host.connect(info)  # type: ignore[attr-defined]
        peer: ID = info.peer_id
        lock = trio.Lock()
        calls = await host.new_stream(peer, [PROTOCOL])  # type: ignore[attr-defined]
        client = StockClient(calls, lock)
        nursery.start_soon(client.read_answers)
        bulk, bulk_lock = calls, lock
        if streams == "two":
            bulk = await host.new_stream(peer, [PROTOCOL])  # type: ignore[attr-defined]
            bulk_lock = trio.Lock()
        for _ in range(BODIES_AT_ONCE):
            nursery.start_soon(_fill, bulk, bulk_lock)
        print("ready", flush=True)
        async for data in trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())):
            print(json.dumps(await client.calls(int(data))), flush=True)
        nursery.cancel_scope.cancel()


async def _fill(stream: INetStream, lock: trio.Lock) -> None:
    data = bytes(BODY_BYTES)
    while True:
        await _send(stream, lock, data)


async def _send(stream: INetStream, lock: trio.Lock, data: bytes) -> None:
    async with lock:
        await stream.write(HEADER.pack(len(data)) + data)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        trio.run(serve, sys.argv[2])
    else:
        trio.run(ask, sys.argv[2], sys.argv[3])
