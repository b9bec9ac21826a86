"""What only the network in memory does: faults that a test can ask for."""

import random

import trio

from p2p.host.memory.host import MemoryHost, memory_address
from p2p.host.memory.network import LinkModel, MemoryNetwork
from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass
from testnet.sim.seeded import simulated

ALICE, BOB = PeerId("alice"), PeerId("bob")


class Sink:
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def on_frame(self, peer: PeerId, traffic_class: TrafficClass, frame: bytes) -> None:
        self.frames.append(frame)

    def on_up(self, caller: Caller) -> None:
        """Nothing to do."""

    def on_down(self, peer: PeerId, reason: str) -> None:
        """Nothing to do."""


@simulated
async def test_a_cast_may_come_twice_and_late_and_a_sent_frame_never_does() -> None:
    network = MemoryNetwork(random.Random(1), LinkModel(cast_twice=0.5))
    alice, bob, sink = MemoryHost(network, ALICE), MemoryHost(network, BOB), Sink()
    alice.attach(Sink())
    bob.attach(sink)
    alice.learn(BOB, [memory_address(BOB)])
    async with trio.open_nursery() as nursery:
        for part in (network.run, alice.run, bob.run):
            await nursery.start(part)
        await alice.dial(memory_address(BOB))
        for number in range(100):
            alice.cast(BOB, TrafficClass.CONTROL, b"cast %03d" % number)
            await alice.send(BOB, TrafficClass.CONTROL, b"sent %03d" % number)
            await trio.sleep(0.01)
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    casts = [frame for frame in sink.frames if frame.startswith(b"cast")]
    sent = [frame for frame in sink.frames if frame.startswith(b"sent")]
    assert sent == [b"sent %03d" % number for number in range(100)]
    assert 120 < len(casts) < 180
    assert len(set(casts)) == 100
    assert casts != sorted(casts)
