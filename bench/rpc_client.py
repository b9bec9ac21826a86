"""Measures calls to bench.rpc_server over one connection."""

import os
import statistics
from dataclasses import dataclass

import trio

from bench.rpc_server import NETWORK
from p2p.host.admission.port import OpenAdmission
from p2p.host.libp2p.host import Libp2pHost
from p2p.host.rpc.echo import EchoReply, EchoRequest
from p2p.host.rpc.service import Rpc
from p2p.ids import PeerId, TrafficClass

ONE_BY_ONE = 500
AT_ONCE = 64
CALLS = 6400
PAYLOAD = bytes(100)


@dataclass(frozen=True, slots=True)
class RpcSample:
    """One round: the median round trip, and the rate with AT_ONCE calls open."""

    p50_ms: float
    calls_per_s: float


async def measure(address: str, rounds: int) -> list[RpcSample]:
    """One sample per round, after a warm-up."""
    host = Libp2pHost(os.urandom(32), NETWORK, [], OpenAdmission())
    rpc = Rpc(host)
    samples: list[RpcSample] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.run)
        await nursery.start(host.run)
        peer = await host.dial(address)
        await _many(rpc, peer, AT_ONCE)
        while len(samples) < rounds:
            samples.append(RpcSample(await _p50_ms(rpc, peer), await _many(rpc, peer, CALLS)))
        nursery.cancel_scope.cancel()
    return samples


async def _call(rpc: Rpc, peer: PeerId) -> None:
    await rpc.call(
        peer,
        EchoRequest(PAYLOAD),
        EchoReply,
        traffic_class=TrafficClass.INTERACTIVE,
        timeout_s=10.0,
    )


async def _p50_ms(rpc: Rpc, peer: PeerId) -> float:
    times = []
    for _ in range(ONE_BY_ONE):
        began_s = trio.current_time()
        await _call(rpc, peer)
        times.append((trio.current_time() - began_s) * 1000)
    return statistics.median(times)


async def _many(rpc: Rpc, peer: PeerId, calls: int) -> float:
    began_s = trio.current_time()

    async def some() -> None:
        for _ in range(calls // AT_ONCE):
            await _call(rpc, peer)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(some)
    return calls / (trio.current_time() - began_s)
