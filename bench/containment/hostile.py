"""Calls of the most urgent class to a node while it runs a hostile task, and while it runs none."""

import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Final

import trio
from msgspec.structs import replace

from bench.containment.start import small_job
from bench.processes import spawned
from bench.rpc_server import NETWORK
from p2p.host.admission.port import OpenAdmission
from p2p.host.libp2p.host import Libp2pHost
from p2p.host.rpc.echo import Echo, EchoReply, EchoRequest
from p2p.host.rpc.service import Rpc
from p2p.ids import PeerId, TrafficClass
from p2p.workers import ThreadWorkers
from swarmnode.executor.network.resolver import TableResolver
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox.capability import ExecutorConfig

CALLS: Final = 300
EVERY_S: Final = 0.005
NOWHERE: Final = "nowhere.example"
"""A host that a task may reach, where nobody listens."""
_CONNECTS: Final = f"""
import socket
at = socket.gethostbyname("{NOWHERE}")
while True:
    some = [socket.socket() for _ in range(200)]
    for one in some:
        one.setblocking(False)
        one.connect_ex((at, 9))
    for one in some:
        one.close()
"""
_NAMES: Final = r"""
import socket, struct
server = [line.split()[1] for line in open("/etc/resolv.conf") if line.startswith("nameserver")][0]
one, number = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0
while True:
    number += 1
    name = b"n%d" % number
    ask = struct.pack(">6H", number % 65536, 256, 1, 0, 0, 0)
    one.sendto(ask + bytes([len(name)]) + name + b"\7example\0\0\1\0\1", (server, 53))
"""
TASKS: Final = {
    "fork_bomb": ("sh", "-c", "f() { f | f & f; }; while :; do f; done 2> /dev/null"),
    "memory_hog": ("sh", "-c", "while :; do head -c 900000000 /dev/zero | tail; done"),
    "disk_filler": ("sh", "-c", "while :; do head -c 60000000 /dev/zero > f; sync f; rm f; done"),
    "connect_storm": ("python3", "-c", _CONNECTS),
    "name_flood": ("python3", "-c", _NAMES),
}


def measure(rounds: int) -> dict[str, object]:
    """Interleaved, medians of rounds."""
    folder = Path(tempfile.mkdtemp(prefix="swarm-bench-"))
    folder.chmod(0o711)
    try:
        idle_ms, busy_ms = trio.run(_rounds, folder / "x", rounds)
    finally:
        shutil.rmtree(folder)
    idle = statistics.median(idle_ms)
    figures: dict[str, object] = {"rpc_idle_p99_ms": round(idle, 2)}
    for name, values in busy_ms.items():
        figures[f"rpc_{name}_p99_ms"] = round(statistics.median(values), 2)
        figures[f"rpc_{name}_bound_ms"] = round(max(2 * idle, idle + 50), 2)
    return figures


async def _rounds(folder: Path, rounds: int) -> tuple[list[float], dict[str, list[float]]]:
    idle_ms: list[float] = []
    busy_ms: dict[str, list[float]] = {name: [] for name in TASKS}
    host = Libp2pHost(os.urandom(32), NETWORK, [], OpenAdmission())
    rpc = Rpc(host)
    with spawned("bench.containment.hostile", str(folder)) as node:
        address = await trio.to_thread.run_sync(node.line)
        async with trio.open_nursery() as nursery:
            await nursery.start(rpc.run)
            await nursery.start(host.run)
            peer = await host.dial(address)
            for _ in range(rounds):
                idle_ms.append(await _p99_ms(rpc, peer))
                for name in TASKS:
                    node.tell(name)
                    await trio.to_thread.run_sync(node.line)
                    busy_ms[name].append(await _p99_ms(rpc, peer))
                    node.tell("stop")
                    await trio.to_thread.run_sync(node.line)
            nursery.cancel_scope.cancel()
    return idle_ms, busy_ms


async def _p99_ms(rpc: Rpc, peer: PeerId) -> float:
    times = []
    for _ in range(CALLS):
        began_s = trio.current_time()
        await rpc.call(
            peer,
            EchoRequest(bytes(100)),
            EchoReply,
            traffic_class=TrafficClass.CONTROL,
            timeout_s=30.0,
        )
        times.append((trio.current_time() - began_s) * 1000)
        await trio.sleep(EVERY_S)
    return statistics.quantiles(times, n=100)[98]


async def _main(folder: Path) -> None:
    """Body of the node's process: echoes, and runs what it is told by lines."""
    host = Libp2pHost(os.urandom(32), NETWORK, ["/ip4/127.0.0.1/tcp/0"], OpenAdmission())
    rpc = Rpc(host)
    Echo(rpc)
    executor = ProcessExecutor(
        folder,
        ExecutorConfig(net_private=(NOWHERE,)),
        {},
        ThreadWorkers(),
        resolver=TableResolver({NOWHERE: ["127.0.0.1"]}),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.run)
        await nursery.start(host.run)
        await nursery.start(executor.run)
        print(host.addresses()[0], flush=True)
        hostile = trio.CancelScope()
        async with trio.lowlevel.FdStream(os.dup(0)) as lines:
            async for line in lines:
                hostile.cancel()
                if line == b"stop\n":
                    await executor.sweep(frozenset())
                else:
                    hostile = trio.CancelScope()
                    await nursery.start(_again, executor, TASKS[line.decode().strip()], hostile)
                print(json.dumps("done"), flush=True)
        nursery.cancel_scope.cancel()


async def _again(
    executor: ProcessExecutor,
    argv: tuple[str, ...],
    scope: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Until cancelled: one that its limits have ended begins anew, or the node would be idle."""
    with scope:
        for number in itertools.count():
            job = replace(small_job(f"bad{number}x{id(scope)}.1", *argv), net=("internet",))
            await executor.prepare(job.job)
            await executor.start(job)
            if not number:
                task_status.started()
            await executor.wait(job.job)


if __name__ == "__main__":
    trio.run(_main, Path(sys.argv[1]))
