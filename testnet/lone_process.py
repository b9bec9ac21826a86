"""Starts `testnet.lone_peer` processes and ends them again."""

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from p2p.ids import PeerId


@dataclass(frozen=True, slots=True)
class LonePeer:
    """A running process and where it can be reached."""

    process: trio.Process
    address: str

    @property
    def peer(self) -> PeerId:
        """Its id."""
        return PeerId(self.address.rpartition("/p2p/")[2])

    @property
    def listens_on(self) -> str:
        """Its listen address, for another that is to take its place."""
        return self.address.partition("/p2p/")[0]


StartPeer = Callable[..., Awaitable[LonePeer]]


@asynccontextmanager
async def lone_peers() -> AsyncIterator[StartPeer]:
    """`await start("bob")` returns once Bob can be reached; all end with the block."""
    processes: list[trio.Process] = []

    async def start(name: str, *options: str, module: str = "testnet.lone_peer") -> LonePeer:
        command = [sys.executable, "-m", module, name, *options]
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        processes.append(process)
        assert process.stdout is not None
        line = b""
        with trio.fail_after(20):
            while not line.endswith(b"\n"):
                part = await process.stdout.receive_some(1)
                assert part, "the peer ended before it could be reached"
                line += part
        return LonePeer(process, line.decode().strip())

    try:
        yield start
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    await trio.aclose_forcefully(pipe)
