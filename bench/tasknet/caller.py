"""Calls of class 0 to a node, one after another: how long the slow ones take.

    python -m bench.tasknet.caller ADDRESS

Prints `ready`; each line `calls COUNT` on standard input is answered with their 99th percentile.
"""

import json
import sys
from typing import Final

import trio

from bench.link.ours import new_host
from p2p.host.rpc.echo import EchoReply, EchoRequest
from p2p.host.rpc.service import Rpc
from p2p.ids import PeerId, TrafficClass

PAYLOAD: Final = bytes(100)
EVERY_S: Final = 0.005


async def main(address: str) -> None:
    """Connect, then obey."""
    host, rpc = new_host()
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.run)
        await nursery.start(host.run)
        peer = await host.dial(address)
        print("ready", flush=True)
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            figure, count = line.split()
            print(json.dumps({figure: await _p99_ms(rpc, peer, int(count))}), flush=True)
        nursery.cancel_scope.cancel()


async def _p99_ms(rpc: Rpc, peer: PeerId, count: int) -> float:
    took = []
    for _ in range(count):
        await trio.sleep(EVERY_S)
        began_s = trio.current_time()
        await rpc.call(
            peer,
            EchoRequest(PAYLOAD),
            EchoReply,
            traffic_class=TrafficClass.CONTROL,
            timeout_s=10.0,
        )
        took.append((trio.current_time() - began_s) * 1000)
    return sorted(took)[int(len(took) * 0.99)]


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
