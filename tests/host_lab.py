"""Machines of every kind of host for one contract: in memory, and over sockets."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import pytest
import trio
from msgspec.structs import replace

from p2p.errors import AdmissionError, WireError
from p2p.host.admission.port import AdmitStream
from p2p.host.libp2p.host import Libp2pHost
from p2p.host.memory.host import MemoryHost, memory_address
from p2p.host.memory.network import MemoryNetwork
from p2p.host.port import Host
from p2p.identity.caller import Caller
from p2p.identity.keys import KeySigner
from p2p.ids import LabId, NetworkId, PeerId, PersonId, TrafficClass
from testnet.sim.callers import machine_of
from testnet.sim.seeded import run_seeded

CONTROL, NORMAL = TrafficClass.CONTROL, TrafficClass.NORMAL
STRANGERS: Final = {"mallory": "token", "late": "clock"}
"""Machines that are refused, and the cause their dials fail with."""
BAD_FRAME: Final = b"bad"


@dataclass
class Machine:
    """A host and what it told its listener."""

    host: Host
    frames: dict[tuple[PeerId, TrafficClass], list[bytes]] = field(default_factory=dict)
    ups: list[PeerId] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)
    downs: list[tuple[PeerId, str]] = field(default_factory=list)
    happened: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)
    running: trio.CancelScope = field(default_factory=trio.CancelScope)
    stopped: trio.Event = field(default_factory=trio.Event)

    @property
    def peer(self) -> PeerId:
        return self.host.peer_id

    @property
    def address(self) -> str:
        return self.host.addresses()[0]

    def on_frame(self, peer: PeerId, traffic_class: TrafficClass, frame: bytes) -> None:
        if frame == BAD_FRAME:
            raise WireError("bytes nobody can read")
        self.frames.setdefault((peer, traffic_class), []).append(frame)
        self.happened.unpark_all()

    def on_up(self, caller: Caller) -> None:
        self.ups.append(caller.peer)
        self.callers.append(caller)
        self.happened.unpark_all()

    def on_down(self, peer: PeerId, reason: str) -> None:
        self.downs.append((peer, reason))
        self.happened.unpark_all()

    async def has(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self.happened.park()

    async def heard(
        self, other: "Machine", count: int, which: TrafficClass = NORMAL
    ) -> list[bytes]:
        key = (other.peer, which)
        await self.has(lambda: len(self.frames.get(key, [])) >= count)
        return self.frames[key]

    async def stop(self) -> None:
        self.running.cancel()
        await self.stopped.wait()


class World(Protocol):
    """Where the machines of one test live."""

    async def start(self, name: str) -> Machine: ...
    def nobody(self) -> tuple[PeerId, str]: ...
    def part(self, one: Machine, other: Machine) -> None: ...


class Population:
    """Runs the machines of a world."""

    def __init__(self, nursery: trio.Nursery, make: Callable[[str], Host]) -> None:
        self._nursery = nursery
        self._make = make

    async def start(self, name: str) -> Machine:
        machine = Machine(self._make(name))
        machine.host.attach(machine)
        await self._nursery.start(self._run, machine)
        return machine

    async def _run(self, machine: Machine, *, task_status: trio.TaskStatus[None]) -> None:
        with machine.running:
            await machine.host.run(task_status=task_status)
        machine.stopped.set()


class MemoryWorld(Population):
    """Machines named by themselves."""

    def __init__(
        self, nursery: trio.Nursery, make: Callable[[str], Host], network: MemoryNetwork
    ) -> None:
        super().__init__(nursery, make)
        self._apart: set[frozenset[PeerId]] = set()
        network.reaches = lambda one, other: frozenset((one, other)) not in self._apart

    def part(self, one: Machine, other: Machine) -> None:
        """Neither is dialled by the other any more."""
        self._apart.add(frozenset((one.peer, other.peer)))

    def nobody(self) -> tuple[PeerId, str]:
        return PeerId("nobody"), memory_address(PeerId("nobody"))


def stranger_refused(caller: PeerId, callee: PeerId) -> None:
    if caller in STRANGERS:
        raise AdmissionError(STRANGERS[caller], "not one of us")


@asynccontextmanager
async def memory_world() -> AsyncIterator[World]:
    network = MemoryNetwork(random.Random(0), admit=stranger_refused)

    def memory_host(name: str) -> MemoryHost:
        who = known_as(name, PeerId(name))
        return MemoryHost(network, PeerId(name), who, carries=True)

    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        yield MemoryWorld(nursery, memory_host, network)
        nursery.cancel_scope.cancel()


def known_as(name: str, peer: PeerId) -> Caller:
    """Whom the certificates of a machine of that name prove it to be."""
    return machine_of(peer, LabId(f"lab of {name}"), PersonId(f"owner of {name}"))


class Bouncer:
    """Admits all but STRANGERS, and says so; takes names on trust."""

    def __init__(self, name: str) -> None:
        self._name = name

    def our_caller(self, own: PeerId) -> Caller:
        return replace(known_as(self._name, own), is_me=True)

    async def admit(self, peer: PeerId, stream: AdmitStream, initiator: bool) -> Caller:
        if not initiator:
            name = (await stream.receive()).decode()
            code = STRANGERS.get(name, "")
            await stream.send(f"{code} {self._name}".encode())
        else:
            await stream.send(self._name.encode())
            code, _, name = (await stream.receive()).decode().partition(" ")
        if code:
            raise AdmissionError(code, "not one of us")
        return known_as(name, peer)


def key(name: str) -> KeySigner:
    return KeySigner.from_seed(name.encode().ljust(32, b"."))


class SocketWorld(Population):
    """Machines with keys made of their names."""

    def nobody(self) -> tuple[PeerId, str]:
        peer = key("nobody").peer_id
        return peer, f"/ip4/127.0.0.1/tcp/1/p2p/{peer}"

    def part(self, one: Machine, other: Machine) -> None:
        """Their ports, which the system chose, are told to neither."""


def socket_host(name: str) -> Host:
    network, listen = NetworkId("contract"), ["/ip4/127.0.0.1/tcp/0"]
    return Libp2pHost(key(name).seed(), network, listen, Bouncer(name))


@asynccontextmanager
async def socket_world() -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        yield SocketWorld(nursery, socket_host)
        nursery.cancel_scope.cancel()


def contract(test: Callable[[World], Awaitable[None]]) -> Callable[[str], None]:
    """Run a test in both worlds."""

    def in_world(body: str) -> None:
        worlds: dict[str, Callable[[], AbstractAsyncContextManager[World]]]
        worlds = {"memory": memory_world, "libp2p": socket_world}

        async def main() -> None:
            with trio.fail_after(30):
                async with worlds[body]() as world:
                    await test(world)

        if body == "memory":
            run_seeded(0, main)
        else:
            trio.run(main)

    in_world.__name__ = test.__name__
    return pytest.mark.parametrize("body", ["memory", "libp2p"])(in_world)


async def pair(world: World) -> tuple[Machine, Machine]:
    """Alice and Bob, connected by Alice."""
    alice, bob = await world.start("alice"), await world.start("bob")
    assert await alice.host.dial(bob.address) == bob.peer
    await bob.has(lambda: bob.ups == [alice.peer])
    return alice, bob


async def triangle(world: World) -> tuple[Machine, Machine, Machine]:
    """Alice and Bob, who cannot dial each other, and Rita, to whom both are connected."""
    alice, bob, rita = [await world.start(name) for name in ("alice", "bob", "rita")]
    world.part(alice, bob)
    for end in (alice, bob):
        assert await end.host.dial(rita.address) == rita.peer
        end.host.note_relay(rita.peer, carries=True)
    await rita.has(lambda: len(rita.ups) == 2)
    return alice, bob, rita


async def say(one: Machine, other: Machine, text: bytes) -> None:
    """A frame from one to the other, and its arrival."""
    before = len(other.frames.get((one.peer, NORMAL), []))
    await one.host.send(other.peer, NORMAL, text)
    assert (await other.heard(one, before + 1))[-1] == text
