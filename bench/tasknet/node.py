"""A node as far as the bench needs one: a host that answers calls, and a task with a network.

python -m bench.tasknet.node FOLDER CONTROL_PORT SERVER_PORT
"""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import trio

from bench.link.ours import new_host
from bench.tasknet import agent
from p2p.host.rpc.echo import Echo
from p2p.workers import ThreadWorkers
from swarmnode.executor.network.resolver import TableResolver
from swarmnode.executor.port import JobId, JobSpec
from swarmnode.executor.process import ProcessExecutor
from swarmnode.executor.sandbox.capability import ExecutorConfig

JOB: Final = JobId("bench.1")
HOST: Final = "server.example"
MIB: Final = 1024 * 1024


async def main(folder: Path, control_port: str, server_port: str) -> None:
    """Print our address, then serve; or say why no task can have a network here."""
    host, rpc = new_host("/ip4/127.0.0.1/tcp/0")
    Echo(rpc)
    executor = ProcessExecutor(
        folder,
        ExecutorConfig(net_private=(HOST,)),
        {},
        ThreadWorkers(),
        resolver=TableResolver({HOST: ["127.0.0.1"]}),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.run)
        await nursery.start(host.run)
        await nursery.start(executor.run)
        if why := executor.trouble() or executor.net_trouble():
            raise SystemExit(why)
        await executor.prepare(JOB)
        await executor.put_file(JOB, "agent.py", _source())
        await executor.start(_task(control_port, server_port))
        print(host.addresses()[0], flush=True)


def _task(control_port: str, server_port: str) -> JobSpec:
    return JobSpec(
        job=JOB,
        argv=("/usr/bin/python3", "agent.py", HOST, control_port, HOST, server_port),
        env={},
        cpu_millis=1000,
        memory_bytes=512 * MIB,
        pids_max=32,
        disk_bytes=16 * MIB,
        wall_s=3600.0,
        net=("internet",),
    )


async def _source() -> AsyncIterator[bytes]:
    yield await trio.Path(agent.__file__).read_bytes()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2], sys.argv[3])
