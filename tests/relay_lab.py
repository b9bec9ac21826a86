"""Hosts that can reach a relay and not each other: nobody but the relay is told any address."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from msgspec.structs import replace

from p2p.host.admission.port import Admission
from p2p.host.libp2p.host import HostConfig, Libp2pHost
from p2p.host.peers.config import RelayConfig
from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass
from testnet.lone_peer import lone_host

CONTROL, NORMAL = TrafficClass.CONTROL, TrafficClass.NORMAL


@dataclass
class Station:
    """One host and what it heard."""

    host: Libp2pHost
    frames: dict[tuple[PeerId, TrafficClass], list[bytes]] = field(default_factory=dict)
    ups: list[Caller] = field(default_factory=list)
    downs: list[tuple[PeerId, str]] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    stopped: trio.Event = field(default_factory=trio.Event)
    happened: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    @property
    def peer(self) -> PeerId:
        return self.host.peer_id

    @property
    def address(self) -> str:
        return self.host.addresses()[0]

    def on_frame(self, peer: PeerId, traffic_class: TrafficClass, frame: bytes) -> None:
        self.frames.setdefault((peer, traffic_class), []).append(frame)
        self.happened.unpark_all()

    def on_up(self, caller: Caller) -> None:
        self.ups.append(caller)
        self.happened.unpark_all()

    def on_down(self, peer: PeerId, reason: str) -> None:
        self.downs.append((peer, reason))
        self.happened.unpark_all()

    async def has(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self.happened.park()

    async def heard(
        self, other: "Station", count: int, which: TrafficClass = NORMAL
    ) -> list[bytes]:
        key = (other.peer, which)
        await self.has(lambda: len(self.frames.get(key, [])) >= count)
        return self.frames[key]

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self.scope:
            await self.host.run(task_status=task_status)
        self.stopped.set()

    async def stop(self) -> None:
        self.scope.cancel()
        await self.stopped.wait()


@dataclass
class Relayed:
    """Ends and relays, the ends connected to every relay and not to each other."""

    nursery: trio.Nursery

    async def start(
        self,
        name: str,
        relay: RelayConfig | None = None,
        admission: Admission | None = None,
        config: HostConfig | None = None,
    ) -> Station:
        config = replace(config or HostConfig(), relay=relay or RelayConfig())
        station = Station(lone_host(name, config=config, admission=admission))
        station.host.attach(station)
        await self.nursery.start(station.run)
        return station

    async def meet(self, end: Station, relay: Station) -> None:
        """Connected, directly, and the end knows that the relay carries."""
        await end.host.dial(relay.address)
        await relay.has(lambda: any(up.peer == end.peer for up in relay.ups))
        end.host.note_relay(relay.peer, carries=True)


@asynccontextmanager
async def relayed() -> AsyncIterator[Relayed]:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            yield Relayed(nursery)
            nursery.cancel_scope.cancel()


async def say(one: Station, other: Station, text: bytes) -> None:
    """A frame from one to the other, and its arrival."""
    before = len(other.frames.get((one.peer, NORMAL), []))
    await one.host.send(other.peer, NORMAL, text)
    assert (await other.heard(one, before + 1))[-1] == text


async def triangle(
    lab: Relayed,
    relay: RelayConfig | None = None,
    ends: RelayConfig | None = None,
    config: HostConfig | None = None,
) -> tuple[Station, Station, Station]:
    """Alice, Bob, and Rita between them."""
    alice = await lab.start("alice", ends, config=config)
    bob = await lab.start("bob", ends, config=config)
    rita = await lab.start("rita", relay)
    for end in (alice, bob):
        await lab.meet(end, rita)
    return alice, bob, rita
