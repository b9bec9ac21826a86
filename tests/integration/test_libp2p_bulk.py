"""A second connection for bulk: it comes when there is much to send, and goes with the first."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from p2p.host.libp2p.host import HostConfig, Libp2pHost
from p2p.host.peers.bulk import BulkConfig
from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass
from testnet.lone_peer import lone_host

NORMAL, INTERACTIVE = TrafficClass.NORMAL, TrafficClass.INTERACTIVE
FRAME = bytes(64 * 1024)


@dataclass
class Ear:
    """What one host heard."""

    host: Libp2pHost
    frames: dict[TrafficClass, list[bytes]] = field(default_factory=dict)
    ups: int = 0
    downs: list[str] = field(default_factory=list)
    happened: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    def on_frame(self, peer: PeerId, traffic_class: TrafficClass, frame: bytes) -> None:
        self.frames.setdefault(traffic_class, []).append(frame)
        self.happened.unpark_all()

    def on_up(self, caller: Caller) -> None:
        self.ups += 1

    def on_down(self, peer: PeerId, reason: str) -> None:
        self.downs.append(reason)
        self.happened.unpark_all()

    async def heard(self, traffic_class: TrafficClass, count: int) -> list[bytes]:
        while len(self.frames.get(traffic_class, [])) < count:
            await self.happened.park()
        return self.frames[traffic_class]


@dataclass
class Pair:
    """Alice dialled Bob."""

    alice: Ear
    bob: Ear

    async def send(self, count: int, traffic_class: TrafficClass = NORMAL) -> None:
        for number in range(count):
            frame = number.to_bytes(4) + FRAME
            await self.alice.host.send(self.bob.host.peer_id, traffic_class, frame)

    async def have(self, connections: int) -> None:
        """Wait until both have so many connections to each other."""
        for one, other in ((self.alice, self.bob), (self.bob, self.alice)):
            while one.host.connections(other.host.peer_id) != connections:
                await trio.lowlevel.checkpoint()


@asynccontextmanager
async def connected(bulk: BulkConfig | None = None) -> AsyncIterator[Pair]:
    config = HostConfig(bulk=bulk or BulkConfig())
    ears = [Ear(lone_host(name, config=config)) for name in ("alice", "bob")]
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for ear in ears:
                ear.host.attach(ear)
                await nursery.start(ear.host.run)
            await ears[0].host.dial(ears[1].host.addresses()[0])
            pair = Pair(*ears)
            await pair.have(connections=1)
            yield pair
            nursery.cancel_scope.cancel()


async def test_who_sends_much_gets_a_second_connection_and_frames_stay_in_order() -> None:
    async with connected() as pair:
        await pair.send(100)
        await pair.have(connections=2)
        await pair.send(100)
        numbers = [int.from_bytes(frame[:4]) for frame in await pair.bob.heard(NORMAL, 200)]
        assert numbers == [*range(100), *range(100)]
        assert pair.bob.host.peers() == (pair.alice.host.peer_id,)
        assert (pair.alice.ups, pair.bob.ups, pair.bob.downs) == (1, 1, [])


async def test_it_is_the_dialler_who_opens_it_also_when_the_other_side_sends() -> None:
    async with connected() as pair:
        for number in range(100):
            frame = number.to_bytes(4) + FRAME
            await pair.bob.host.send(pair.alice.host.peer_id, NORMAL, frame)
        await pair.have(connections=2)
        numbers = [int.from_bytes(frame[:4]) for frame in await pair.alice.heard(NORMAL, 100)]
        assert numbers == list(range(100))


async def test_who_sends_little_keeps_one_connection() -> None:
    async with connected() as pair:
        await pair.send(2)
        await pair.send(100, INTERACTIVE)
        await pair.bob.heard(INTERACTIVE, 100)
        assert pair.alice.host.connections(pair.bob.host.peer_id) == 1


async def test_both_connections_end_together_and_the_peer_goes_down_once() -> None:
    async with connected() as pair:
        await pair.send(20)
        await pair.have(connections=2)
        await pair.alice.host.disconnect(pair.bob.host.peer_id, "enough")
        await pair.have(connections=0)
        assert (len(pair.alice.downs), len(pair.bob.downs)) == (1, 1)


async def test_a_peer_whose_bulk_connection_breaks_goes_down_and_can_be_met_again() -> None:
    """Frames were on it: whoever waits for answers to them must hear that they are lost."""
    async with connected() as pair:
        await pair.send(20)
        await pair.have(connections=2)
        box = pair.bob.host._boxes[pair.alice.host.peer_id]
        assert box.bulk is not None
        box.bulk.link.close("cut")
        await pair.have(connections=0)
        assert len(pair.alice.downs) == 1
        await pair.alice.host.dial(pair.bob.host.addresses()[0])
        before = len(pair.bob.frames[NORMAL])
        await pair.send(20)
        await pair.bob.heard(NORMAL, before + 20)
        await pair.have(connections=2)


async def test_a_second_bulk_connection_is_refused() -> None:
    async with connected(BulkConfig(retry_s=0.01)) as pair:
        await pair.send(20)
        await pair.have(connections=2)
        box = pair.alice.host._boxes[pair.bob.host.peer_id]
        assert box.conn is not None
        await pair.alice.host._in_use.bulk._open(box, box.conn)
        await pair.send(20)
        await pair.bob.heard(NORMAL, 40)
        assert pair.bob.downs == []


async def test_a_peer_that_cannot_be_dialled_again_keeps_its_one_connection() -> None:
    async with connected() as pair:
        pair.bob.host._in_use.bulk.is_wanted = lambda conn: False  # type: ignore[method-assign]
        await pair.send(100)
        await pair.bob.heard(NORMAL, 100)
        assert pair.alice.host.connections(pair.bob.host.peer_id) == 1
        assert pair.bob.downs == []


async def test_a_second_connection_is_closed_when_there_was_no_bulk_for_long() -> None:
    """And opened again when there is: no frame is lost or overtaken by it."""
    async with connected(BulkConfig(quiet_for_s=0.3, rest_s=0.05)) as pair:
        alice, bob = pair.alice.host, pair.bob.host
        for round_ in range(3):
            await pair.send(20)
            for number in range(5):
                await bob.send(alice.peer_id, NORMAL, number.to_bytes(4) + FRAME)
            await pair.have(connections=2)
            await pair.have(connections=1)
            assert len(await pair.bob.heard(NORMAL, 20 * (round_ + 1))) == 20 * (round_ + 1)
            assert len(await pair.alice.heard(NORMAL, 5 * (round_ + 1))) == 5 * (round_ + 1)
        numbers = [int.from_bytes(frame[:4]) for frame in pair.bob.frames[NORMAL]]
        assert numbers == [*range(20)] * 3
        assert (pair.alice.ups, pair.alice.downs, pair.bob.ups, pair.bob.downs) == (1, [], 1, [])


async def test_frames_sent_while_bulk_moves_back_all_arrive_in_order() -> None:
    """The side that did not decide it goes on sending on the connection that is given up."""
    async with connected(BulkConfig(quiet_for_s=0.3, rest_s=0.05)) as pair:
        alice, bob = pair.alice.host, pair.bob.host
        await pair.send(20)
        await pair.have(connections=2)
        box = alice._boxes[bob.peer_id]
        for number in range(200):
            await bob.send(alice.peer_id, NORMAL, number.to_bytes(4) + FRAME)
            if number == 50:
                assert box.bulk is not None
                alice._in_use.bulk._retire(box)
        heard = await pair.alice.heard(NORMAL, 200)
        assert [int.from_bytes(frame[:4]) for frame in heard] == [*range(200)]
        await pair.bob.heard(NORMAL, 20)
        assert (pair.alice.downs, pair.bob.downs) == ([], [])


async def test_a_given_up_connection_that_breaks_before_it_was_read_takes_the_first_along() -> None:
    async with connected() as pair:
        alice, bob = pair.alice.host, pair.bob.host
        await pair.send(20)
        await pair.have(connections=2)
        box = alice._boxes[bob.peer_id]
        bob._lanes._told_of_ends.clear()  # bob never moves back
        alice._in_use.bulk._retire(box)
        assert box.retired is not None
        box.retired.link.close("cut")
        await pair.have(connections=0)
        assert (len(pair.alice.downs), len(pair.bob.downs)) == (1, 1)


async def test_nothing_is_kept_of_second_connections_that_have_ended() -> None:
    """Neither when bulk ended, nor when the peer went away meanwhile."""
    async with connected(BulkConfig(quiet_for_s=0.3, rest_s=0.05)) as pair:
        for ends_by_itself in (True, False):
            await pair.send(20)
            await pair.have(connections=2)
            if not ends_by_itself:
                await pair.alice.host.disconnect(pair.bob.host.peer_id, "enough")
            await pair.have(connections=1 if ends_by_itself else 0)
        for ear in (pair.alice, pair.bob):
            while ear.host._in_use.bulk._seen:
                await trio.lowlevel.checkpoint()
