"""The ends of the relay bench: `python -m bench.relay_peer NAME RATE [RELAY] [PEER]`.

It prints its address and then answers each line of its standard input with one of JSON: what is
measured, at whom (`relay` or `peer`), and how much. Without RELAY it is one, which carries at most
RATE bytes a second (0: no bound). PEER is called by the relay when only its id is given, else at
that address.
"""

import json
import statistics
import sys
from collections.abc import Iterator
from functools import partial

import trio

from p2p.host.libp2p.host import HostConfig
from p2p.host.peers.config import RelayConfig
from p2p.host.rpc.echo import Echo, EchoReply, EchoRequest
from p2p.host.rpc.service import Rpc
from p2p.ids import PeerId, TrafficClass
from testnet.lone_peer import Ask, Told, answer, lone_host, reply_bytes

BODY = bytes(8 * 1024 * 1024)
AT_ONCE = 3
EVERY_S = 0.01


class Caller:
    """What is measured at another peer."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    async def bulk(self, peer: PeerId, bodies: int) -> float:
        """MB/s of that many bodies of 8 MiB, three at a time."""
        left: Iterator[int] = iter(range(bodies))
        began_s = trio.current_time()

        async def some() -> None:
            for _ in left:
                await self._rpc.call(
                    peer, Ask(""), Told, traffic_class=TrafficClass.NORMAL, timeout_s=60, body=BODY
                )

        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(some)
        return bodies * len(BODY) / 1e6 / (trio.current_time() - began_s)

    async def calls(self, peer: PeerId, count: int) -> list[float]:
        """p50 and p99 in ms of echoes in class 0, one of which begins every 10 ms."""
        return _figures(await self._times(peer, count))

    async def _times(self, peer: PeerId, count: int) -> list[float]:
        times: list[float] = []

        async def one() -> None:
            began_s = trio.current_time()
            await self._rpc.call(
                peer, EchoRequest(b"x" * 100), EchoReply,
                traffic_class=TrafficClass.CONTROL, timeout_s=30,
            )  # fmt: skip
            times.append((trio.current_time() - began_s) * 1000)

        begins_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(count):
                await trio.sleep_until(begins_s + number * EVERY_S)
                nursery.start_soon(one)
        return times

    async def both(self, peer: PeerId, relay: PeerId, bodies: int) -> list[float]:
        """p99 in ms of echoes at the relay while bulk goes to the peer, and the MB/s of that."""
        rates: list[float] = []
        times: list[float] = []

        async def bulk() -> None:
            rates.append(await self.bulk(peer, bodies))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(bulk)
            while not rates:
                times += await self._times(relay, 50)
        return [_figures(times)[1], *rates]


def _figures(times: list[float]) -> list[float]:
    return [statistics.median(times), statistics.quantiles(times, n=100)[98]]


async def measure(caller: Caller, relay: PeerId, peer: PeerId) -> None:
    """Answer lines until standard input ends."""
    async for line in trio.wrap_file(sys.stdin):
        what, whom, size = line.split()
        target = relay if whom == "relay" else peer
        match what:
            case "bulk":
                found: object = await caller.bulk(target, int(size))
            case "calls":
                found = await caller.calls(target, int(size))
            case _:
                found = await caller.both(peer, relay, int(size))
        print(json.dumps(found), flush=True)


async def main(name: str, rate: str, relay: str = "", peer: str = "") -> None:
    """Be one end, or the relay."""
    host = lone_host(name, config=HostConfig(relay=RelayConfig(bytes_per_s=float(rate))))
    rpc = Rpc(host)
    Echo(rpc)
    rpc.serve(Ask, answer, reply_bytes)
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.run)
        await nursery.start(host.run)
        relay_id = peer_id = PeerId("")
        if relay:
            relay_id = await host.dial(relay)
            host.note_relay(relay_id, carries=True)
        if peer.startswith("/"):
            peer_id = await host.dial(peer)
        elif peer:
            peer_id = PeerId(peer)
        print(host.addresses()[0], flush=True)
        await measure(Caller(rpc), relay_id, peer_id)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:]))
