"""An honest peer beside a victim under attack: what calls take, what the victim holds."""

import gc
import signal
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from p2p.errors import P2PError
from p2p.host.rpc.service import Rpc
from p2p.ids import TrafficClass
from testnet.attack.victim import Health, Vitals
from testnet.lone_peer import Ask, Told, lone_host
from testnet.lone_process import LonePeer, lone_peers

MB: Final = 1_000_000
EVERY_S: Final = 0.01
"""A call begins so often, whether or not the last one has ended."""
_CALL_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Some seconds of a victim's life, as an honest peer saw them."""

    calls: int
    failed: int
    p50_ms: float
    p99_ms: float
    memory_mb: float
    """The most that was resident, file-backed pages included."""


class Attacker:
    """The process that attacks; `onto` switches to an attack, `off` ends it."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process

    async def onto(self, attack: str) -> None:
        """Return once it has its full effect."""
        await self._say(attack, "on", within_s=60.0)

    async def off(self) -> None:
        """Return once nothing is left of it."""
        await self._say("", "off", within_s=20.0)

    def freeze(self) -> None:
        """Stop the process, as a machine that hangs does: its sockets stay."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    async def _say(self, line: str, until: str, within_s: float) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        await self._process.stdin.send_all(line.encode() + b"\n")
        heard = b""
        with trio.fail_after(within_s):
            while not heard.endswith(until.encode() + b"\n"):
                part = await self._process.stdout.receive_some(4096)
                assert part, "the attacker ended"
                heard += part


class Siege:
    """One victim, one attacker, one honest peer."""

    def __init__(self, victim: LonePeer, attacker: Attacker, rpc: Rpc) -> None:
        self.victim = victim
        self.attacker = attacker
        self.rpc = rpc

    async def health(self) -> Health:
        """What the victim counts."""
        health, _ = await self.rpc.call(
            self.victim.peer,
            Vitals(),
            Health,
            traffic_class=TrafficClass.CONTROL,
            timeout_s=_CALL_TIMEOUT_S,
        )
        return health

    async def sample(self, seconds: float) -> Sample:
        """Call in class 0 at an even pace, however long the answers take."""
        took_ms: list[float] = []
        failed = 0
        memory_mb = 0.0

        async def call() -> None:
            nonlocal failed
            began_s = trio.current_time()
            try:
                await self.rpc.call(
                    self.victim.peer,
                    Ask("?"),
                    Told,
                    traffic_class=TrafficClass.CONTROL,
                    timeout_s=_CALL_TIMEOUT_S,
                )
            except P2PError:
                failed += 1
            took_ms.append((trio.current_time() - began_s) * 1000)

        async with trio.open_nursery() as nursery:
            for _ in range(round(seconds / EVERY_S)):
                nursery.start_soon(call)
                memory_mb = max(memory_mb, self.memory_mb())
                await trio.sleep(EVERY_S)
        took_ms.sort()
        p99_ms = took_ms[min(len(took_ms) - 1, round(len(took_ms) * 0.99))]
        return Sample(len(took_ms), failed, statistics.median(took_ms), p99_ms, memory_mb)

    async def newcomers(self, count: int) -> int:
        """How many of so many fresh peers get in, one after the other."""
        came = 0
        for number in range(count):
            host = lone_host(f"newcomer {number}")
            Rpc(host)
            async with trio.open_nursery() as nursery:
                await nursery.start(host.run)
                try:
                    await host.dial(self.victim.address)
                except P2PError:
                    pass
                else:
                    came += 1
                nursery.cancel_scope.cancel()
        return came

    async def is_calm_again(self, before: Health, within_s: float) -> Health:
        """The victim has no more tasks and files than before, or the time is up; what it has."""
        now = await self.health()
        with trio.move_on_after(within_s):
            while now.tasks > before.tasks or now.fds > before.fds:
                await trio.sleep(0.1)
                now = await self.health()
        return now

    def memory_mb(self) -> float:
        """Resident memory of the victim."""
        text = Path(f"/proc/{self.victim.process.pid}/status").read_text()
        kib = next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS"))
        return int(kib) * 1024 / MB


@asynccontextmanager
async def watching(*options: str) -> AsyncIterator[Siege]:
    """A victim with an attacker ready and an honest peer connected."""
    gc.freeze()  # what a collection takes here is not the victim's delay
    async with lone_peers() as start, trio.open_nursery() as nursery:
        victim = await start("victim", *options, module="testnet.attack.victim")
        attacker = await start(victim.address, module="testnet.attack.attacker")
        host = lone_host("honest")
        rpc = Rpc(host)
        await nursery.start(rpc.run)
        await nursery.start(host.run)
        await host.dial(victim.address)
        yield Siege(victim, Attacker(attacker.process), rpc)
        nursery.cancel_scope.cancel()
