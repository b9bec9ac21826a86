"""What every Host does: in memory on virtual time, and on libp2p over loopback sockets."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import pytest
import trio

from p2p.errors import AdmissionError, DialError, PeerUnreachableError, WireError
from p2p.host.admit_port import AdmitStream
from p2p.host.libp2p.host import Libp2pHost
from p2p.host.memory_host import MemoryHost, memory_address
from p2p.host.memory_network import MemoryNetwork
from p2p.host.port import Host
from p2p.identity.caller import Caller
from p2p.identity.keys import KeySigner
from p2p.ids import LabId, MemberId, NetworkId, PeerId, TrafficClass
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

    def nobody(self) -> tuple[PeerId, str]:
        return PeerId("nobody"), memory_address(PeerId("nobody"))


def stranger_refused(caller: PeerId, callee: PeerId) -> None:
    if caller in STRANGERS:
        raise AdmissionError(STRANGERS[caller], "not one of us")


@asynccontextmanager
async def memory_world() -> AsyncIterator[World]:
    network = MemoryNetwork(random.Random(0), admit=stranger_refused)

    def memory_host(name: str) -> MemoryHost:
        return MemoryHost(network, PeerId(name), known_as(name, PeerId(name)))

    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        yield MemoryWorld(nursery, memory_host)
        nursery.cancel_scope.cancel()


def known_as(name: str, peer: PeerId) -> Caller:
    """Whom the certificates of a machine of that name prove it to be."""
    return machine_of(peer, LabId(f"lab of {name}"), MemberId(f"owner of {name}"))


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


async def say(one: Machine, other: Machine, text: bytes) -> None:
    """A frame from one to the other, and its arrival."""
    before = len(other.frames.get((one.peer, NORMAL), []))
    await one.host.send(other.peer, NORMAL, text)
    assert (await other.heard(one, before + 1))[-1] == text


@contract
async def test_a_dial_connects_both_and_each_is_told_once(world: World) -> None:
    alice, bob = await pair(world)
    assert await alice.host.dial(bob.address) == bob.peer
    await say(alice, bob, b"hello")
    await say(bob, alice, b"hi")
    assert (alice.ups, bob.ups) == ([bob.peer], [alice.peer])
    assert (alice.host.peers(), bob.host.peers()) == ((bob.peer,), (alice.peer,))
    assert (alice.downs, bob.downs) == ([], [])


@contract
async def test_each_is_told_who_the_other_proved_to_be(world: World) -> None:
    alice, bob = await pair(world)
    await alice.has(lambda: bool(alice.callers))
    assert alice.callers == [known_as("bob", bob.peer)]
    assert bob.callers == [known_as("alice", alice.peer)]
    assert alice.host.me == replace(known_as("alice", alice.peer), is_me=True)
    await alice.host.disconnect(bob.peer, "test")
    await bob.has(lambda: bool(bob.downs))
    await alice.host.dial(bob.address)
    await bob.has(lambda: len(bob.callers) == 2)
    assert bob.callers == [known_as("alice", alice.peer)] * 2


@contract
async def test_frames_of_one_class_keep_their_order(world: World) -> None:
    alice, bob = await pair(world)
    sizes = [3, 70_000, 1, 4096, 500_000] * 12
    frames = [i.to_bytes(2) * size for i, size in enumerate(sizes)]

    async def send_all(traffic_class: TrafficClass) -> None:
        for frame in frames:
            await alice.host.send(bob.peer, traffic_class, frame)

    async with trio.open_nursery() as nursery:
        for traffic_class in TrafficClass:
            nursery.start_soon(send_all, traffic_class)
    for traffic_class in TrafficClass:
        assert await bob.heard(alice, len(frames), traffic_class) == frames


@contract
async def test_a_cast_dials_by_itself(world: World) -> None:
    alice, bob = await world.start("alice"), await world.start("bob")
    alice.host.learn(bob.peer, [bob.address])
    casts = [bytes([i]) for i in range(20)]
    for frame in casts:
        alice.host.cast(bob.peer, CONTROL, frame)
    assert await bob.heard(alice, 20, CONTROL) == casts
    assert alice.ups == [bob.peer]


@contract
async def test_a_send_dials_by_itself(world: World) -> None:
    alice, bob = await world.start("alice"), await world.start("bob")
    alice.host.learn(bob.peer, [bob.address])
    await say(alice, bob, b"hello")


@contract
async def test_the_round_trip_is_measured_while_connected(world: World) -> None:
    alice, bob = await world.start("alice"), await world.start("bob")
    assert alice.host.rtt_s(bob.peer) is None
    await alice.host.dial(bob.address)
    await say(alice, bob, b"ping")
    await say(bob, alice, b"pong")
    rtt_s = alice.host.rtt_s(bob.peer)
    assert rtt_s is not None
    assert 0 < rtt_s < 1
    await alice.host.disconnect(bob.peer, "done")
    assert alice.host.rtt_s(bob.peer) is None


@contract
async def test_after_disconnect_both_are_told_once_and_may_meet_again(world: World) -> None:
    alice, bob = await pair(world)
    await alice.host.disconnect(bob.peer, "enough for today")
    assert alice.downs == [(bob.peer, "enough for today")]
    await bob.has(lambda: [peer for peer, _ in bob.downs] == [alice.peer])
    assert (alice.host.peers(), bob.host.peers()) == ((), ())
    await alice.host.disconnect(bob.peer, "again")
    await say(alice, bob, b"me again")
    assert len(alice.downs) == len(bob.downs) == 1
    assert alice.ups == [bob.peer] * 2


@contract
async def test_where_nobody_listens_a_dial_blames_the_port(world: World) -> None:
    alice = await world.start("alice")
    _, address = world.nobody()
    with trio.fail_after(10), pytest.raises(DialError) as caught:
        await alice.host.dial(address)
    assert caught.value.cause == "port"
    assert alice.ups == []


@contract
async def test_our_own_address_and_no_address_blame_the_peer(world: World) -> None:
    alice = await world.start("alice")
    for address in (alice.address, "/nonsense"):
        with trio.fail_after(10), pytest.raises(DialError) as caught:
            await alice.host.dial(address)
        assert caught.value.cause == "peer"


@contract
async def test_who_is_refused_learns_why_and_nobody_else_notices(world: World) -> None:
    bob = await world.start("bob")
    for name, cause in STRANGERS.items():
        stranger = await world.start(name)
        with trio.fail_after(10), pytest.raises(DialError, match="not one of us") as caught:
            await stranger.host.dial(bob.address)
        assert caught.value.cause == cause
        assert (stranger.ups, stranger.downs) == ([], [])
    assert (bob.ups, bob.downs, bob.host.peers()) == ([], [], ())


@contract
async def test_a_peer_that_cannot_be_reached_is_said_to_be_so(world: World) -> None:
    alice = await world.start("alice")
    peer, address = world.nobody()
    with pytest.raises(PeerUnreachableError, match="no address"):
        await alice.host.send(peer, NORMAL, b"x")
    alice.host.learn(peer, [address])
    for _ in range(2):
        with trio.fail_after(10), pytest.raises(PeerUnreachableError):
            await alice.host.send(peer, NORMAL, b"x")
    alice.host.cast(peer, CONTROL, b"x")


@contract
async def test_a_peer_that_stops_is_noticed(world: World) -> None:
    alice, bob = await pair(world)
    await bob.stop()
    await alice.has(lambda: [peer for peer, _ in alice.downs] == [bob.peer])
    with pytest.raises(PeerUnreachableError):
        await alice.host.send(bob.peer, NORMAL, b"x")


@contract
async def test_bytes_nobody_can_read_end_that_connection_only(world: World) -> None:
    alice, bob = await pair(world)
    carol = await world.start("carol")
    await carol.host.dial(bob.address)
    await say(carol, bob, b"one")
    await alice.host.send(bob.peer, NORMAL, BAD_FRAME)
    await alice.has(lambda: [peer for peer, _ in alice.downs] == [bob.peer])
    await bob.has(lambda: [peer for peer, _ in bob.downs] == [alice.peer])
    assert "bytes nobody can read" in bob.downs[0][1]
    await say(carol, bob, b"two")
    assert carol.downs == []


@contract
async def test_two_that_dial_each_other_at_once_are_connected_once(world: World) -> None:
    alice, bob = await world.start("alice"), await world.start("bob")
    for round_ in range(1, 6):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alice.host.dial, bob.address)
            nursery.start_soon(bob.host.dial, alice.address)
        await say(alice, bob, b"from alice")
        await say(bob, alice, b"from bob")
        assert (alice.ups, bob.ups) == ([bob.peer] * round_, [alice.peer] * round_)
        assert len(alice.downs) == len(bob.downs) == round_ - 1
        await alice.host.disconnect(bob.peer, "once more")
        await bob.has(lambda: len(bob.downs) == len(bob.ups))


@contract
async def test_frames_cast_by_both_at_once_all_arrive(world: World) -> None:
    alice, bob = await world.start("alice"), await world.start("bob")
    alice.host.learn(bob.peer, [bob.address])
    bob.host.learn(alice.peer, [alice.address])
    casts = [bytes([i]) for i in range(50)]
    for frame in casts:
        alice.host.cast(bob.peer, NORMAL, frame)
        bob.host.cast(alice.peer, NORMAL, frame)
    assert await bob.heard(alice, 50) == casts
    assert await alice.heard(bob, 50) == casts


@contract
async def test_many_who_wait_for_one_peer_share_a_dial(world: World) -> None:
    alice, bob = await world.start("alice"), await world.start("bob")
    alice.host.learn(bob.peer, [bob.address])
    async with trio.open_nursery() as nursery:
        for i in range(50):
            nursery.start_soon(alice.host.send, bob.peer, NORMAL, bytes([i]))
            nursery.start_soon(alice.host.dial, bob.address)
    assert sorted(await bob.heard(alice, 50)) == [bytes([i]) for i in range(50)]
    assert bob.ups == [alice.peer]


@contract
async def test_who_gives_up_waiting_for_a_dial_leaves_it_to_the_others(world: World) -> None:
    alice, bob = await world.start("alice"), await world.start("bob")

    async def impatient() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await alice.host.dial(bob.address)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(alice.host.dial, bob.address)
        nursery.start_soon(impatient)
    await say(alice, bob, b"hello")


@contract
async def test_a_frame_whose_time_has_passed_is_not_sent(world: World) -> None:
    alice, bob = await pair(world)
    late_s = trio.current_time() - 0.001
    await alice.host.send(bob.peer, NORMAL, b"too late", late_s)
    await say(alice, bob, b"in time")
    assert bob.frames[alice.peer, NORMAL] == [b"in time"]
    assert alice.host.stats()[NORMAL].expired == 1


@contract
async def test_what_was_sent_is_counted_per_class_and_outlives_the_peer(world: World) -> None:
    alice, bob = await pair(world)
    await say(alice, bob, b"x" * 1000)
    await say(alice, bob, b"y" * 1000)
    before = alice.host.stats()
    assert before[NORMAL].sent_frames == 2
    assert 2000 <= before[NORMAL].sent_bytes <= 2020
    assert before[CONTROL].sent_frames == 0
    await alice.host.disconnect(bob.peer, "done")
    assert alice.host.stats() == before


@contract
async def test_a_host_has_one_listener(world: World) -> None:
    alice = await world.start("alice")
    with pytest.raises(ValueError, match="listener"):
        alice.host.attach(alice)
