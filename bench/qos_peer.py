"""The ends of `bench qos`: `python -m bench.qos_peer server IP | client ADDRESS...`.

A server echoes calls and counts the bytes of bodies per class. The client reads one order per
line (JSON) from its stdin and answers each by a line:

    {"do": "calls", "calls": 500}       Poisson calls of 1 kB, 50 a second: their times in ms
    {"do": "bulk", "classes": [2]}      keep these classes full from now on, to all; [] ends that
    {"do": "wait", "s": 5}              let time pass
    {"do": "count", "server": 0}        bytes a server has received, per class, and when

Calls go to the first server.
"""

import json
import os
import random
import sys
from typing import Any, Final

import trio

from bench.rpc_server import NETWORK
from p2p.host.admission.port import OpenAdmission
from p2p.host.libp2p.host import Libp2pHost
from p2p.host.rpc.echo import Echo, EchoReply, EchoRequest
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass
from p2p.wire.codec import Message

CALL_BYTES: Final = 1024
CALLS_PER_S: Final = 50.0
BODY_BYTES: Final = 64 * 1024
BODIES_AT_ONCE: Final = 32
CALL_WITHIN_S: Final = 60.0


class SinkRequest(Message, frozen=True, tag=12):
    """Take this body and forget it."""

    traffic_class: int


class CountRequest(Message, frozen=True, tag=13):
    """How much has come?"""


class CountReply(Message, frozen=True, tag=14):
    """Bytes of bodies per class so far, and the machine's monotonic clock."""

    received: tuple[int, ...]
    at_s: float


class Sink:
    """Counts bodies."""

    def __init__(self, rpc: Rpc) -> None:
        self._received = [0] * len(TrafficClass)
        rpc.serve(SinkRequest, self._take)
        rpc.serve(CountRequest, self._count)

    async def _take(
        self, _caller: Caller, request: SinkRequest, body: bytes
    ) -> tuple[CountReply, bytes]:
        self._received[request.traffic_class] += len(body)
        return CountReply((), 0.0), b""

    async def _count(
        self, _caller: Caller, _request: CountRequest, _body: bytes
    ) -> tuple[CountReply, bytes]:
        return CountReply(tuple(self._received), trio.current_time()), b""


class Client:
    """Carries out orders against its servers."""

    def __init__(self, rpc: Rpc, servers: list[PeerId], nursery: trio.Nursery) -> None:
        self._rpc = rpc
        self._servers = servers
        self._nursery = nursery
        self._rng = random.Random(7)  # noqa: S311 - when calls are made
        self._bulk = trio.CancelScope()
        self._began_s = trio.current_time()

    async def obey(self, order: dict[str, Any]) -> object:
        """One order; returns what to answer."""
        match order["do"]:
            case "calls":
                return await self._calls(order["calls"])
            case "bulk":
                self._bulk.cancel()
                self._bulk = trio.CancelScope()
                self._nursery.start_soon(self._fill, self._bulk, order["classes"])
            case "wait":
                await trio.sleep(order["s"])
            case "count":
                return await self._count(self._servers[order["server"]])
        return None

    async def _count(self, server: PeerId) -> object:
        reply, _ = await self._rpc.call(
            server,
            CountRequest(),
            CountReply,
            traffic_class=TrafficClass.CONTROL,
            timeout_s=CALL_WITHIN_S,
        )
        return {"received": list(reply.received), "at_s": reply.at_s - self._began_s}

    async def _calls(self, calls: int) -> list[float]:
        times: list[float] = []
        next_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(calls):
                next_s += self._rng.expovariate(CALLS_PER_S)
                await trio.sleep_until(next_s)
                nursery.start_soon(self._call, times)
        return times

    async def _call(self, times: list[float]) -> None:
        began_s = trio.current_time()
        await self._rpc.call(
            self._servers[0],
            EchoRequest(bytes(CALL_BYTES)),
            EchoReply,
            traffic_class=TrafficClass.INTERACTIVE,
            timeout_s=CALL_WITHIN_S,
        )
        times.append((trio.current_time() - began_s) * 1000)

    async def _fill(self, scope: trio.CancelScope, classes: list[int]) -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                for server in self._servers:
                    for one in classes:
                        for _ in range(BODIES_AT_ONCE):
                            nursery.start_soon(self._send_bodies, server, TrafficClass(one))

    async def _send_bodies(self, server: PeerId, traffic_class: TrafficClass) -> None:
        body = bytes(BODY_BYTES)
        while True:
            await self._rpc.call(
                server,
                SinkRequest(traffic_class),
                CountReply,
                traffic_class=traffic_class,
                timeout_s=CALL_WITHIN_S,
                body=body,
            )


async def serve(ip: str) -> None:
    """Print our address, then serve until stdin ends."""
    host = Libp2pHost(os.urandom(32), NETWORK, [f"/ip4/{ip}/tcp/0"], OpenAdmission())
    rpc = Rpc(host)
    Echo(rpc)
    Sink(rpc)
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.run)
        await nursery.start(host.run)
        print(host.addresses()[0], flush=True)
        async for _ in trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())):
            pass
        nursery.cancel_scope.cancel()


async def ask(*addresses: str) -> None:
    """Carry out orders from stdin until it ends."""
    host = Libp2pHost(os.urandom(32), NETWORK, [], OpenAdmission())
    rpc = Rpc(host)
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.run)
        await nursery.start(host.run)
        client = Client(rpc, [await host.dial(address) for address in addresses], nursery)
        print("ready", flush=True)
        lines = b""
        async for data in trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())):
            lines += data
            while b"\n" in lines:
                line, _, lines = lines.partition(b"\n")
                print(json.dumps(await client.obey(json.loads(line))), flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    if sys.argv[1] == "server":
        trio.run(serve, sys.argv[2])
    else:
        trio.run(ask, *sys.argv[2:])
