"""Two members that cannot reach each other talk by a third: sealed, in order, and with an end."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio

from p2p.errors import DialError, PeerUnreachableError
from p2p.host.peers.config import DialConfig, HostConfig, RelayConfig
from p2p.host.peers.framing import check_answer
from p2p.host.relay import carrying, splice
from p2p.host.relay.asking import Asking
from p2p.host.relay.limits import CIRCUIT_REQUESTS_BURST, CIRCUITS_ARRIVING_MAX
from p2p.host.relay.messages import CircuitOffered, CircuitOpened, CircuitRefused, CircuitWanted
from p2p.host.relay.relayed_stream import RelayedStream
from p2p.host.relay.rules import Circuit
from p2p.host.relay.talk import hear
from p2p.host.relay.talk import say as say_on
from p2p.ids import PeerId, TrafficClass
from p2p.link.agreement import opening
from p2p.link.stream import LinkStream
from testnet.lone_peer import lone_host
from tests.relay_lab import NORMAL, Station, relayed, say, triangle

FRAME = bytes(64 * 1024)


@asynccontextmanager
async def silent_listener() -> AsyncIterator[str]:
    """An address that accepts connections and never says a word, as a firewall that drops."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    async with listener:
        yield f"/ip4/127.0.0.1/tcp/{listener.socket.getsockname()[1]}"


class Flipped:
    """The end of a circuit at a hostile relay, which changes the last byte of what it hands on."""

    def __init__(self, stream: LinkStream) -> None:
        self.read, self.finish, self.reset = stream.read, stream.finish, stream.reset
        self._write = stream.write_behind
        self.is_hostile = False

    async def write_behind(self, data: bytes, backlog_bytes_max: int) -> None:
        changed = data[:-1] + bytes([data[-1] ^ 1]) if self.is_hostile else data
        await self._write(changed, backlog_bytes_max)


@contextmanager
def hostile_relay() -> Iterator[list[Flipped]]:
    """The relays of this process; they are honest until `is_hostile`."""
    ends: list[Flipped] = []
    honest = splice.splice

    async def hostile(
        circuit: Circuit, one: LinkStream, other: LinkStream, cap: splice.RateCap
    ) -> None:
        ends.extend((Flipped(one), Flipped(other)))
        await honest(circuit, ends[-2], ends[-1], cap)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(carrying, "splice", hostile)
        yield ends


async def offered(relay: Station, end: Station, source: PeerId) -> LinkStream:
    """A stream that the end has taken for a circuit from that source."""
    conn = relay.host._boxes[end.peer].conn
    assert conn is not None
    stream = conn.link.open_stream()
    await say_on(stream, CircuitOffered(source), opening("/swarm/lonepeers/relayed/1"))
    await check_answer(stream, "/swarm/lonepeers/relayed/1")
    answer = await hear(stream)
    assert isinstance(answer, CircuitOpened), answer
    return stream


def asking(station: Station) -> Asking:
    return station.host._relays.asking


async def test_two_without_an_address_of_each_other_talk_by_a_member_both_know() -> None:
    async with relayed() as lab:
        alice, bob, rita = await triangle(lab)
        await say(alice, bob, b"hello")
        await say(bob, alice, b"hi")
        assert alice.host.relay_of(bob.peer) == bob.host.relay_of(alice.peer) == rita.peer
        assert alice.host.relay_of(rita.peer) is None
        carried = rita.host.carried()
        assert (carried.circuits, carried.circuits_total) == (1, 1)
        assert carried.bytes_total > 1000
        await alice.host.disconnect(bob.peer, "enough")
        await bob.has(lambda: bool(bob.downs))
        while rita.host.carried().circuits:
            await trio.lowlevel.checkpoint()


async def test_what_is_carried_has_no_end_in_bytes_and_stays_in_order() -> None:
    """libp2p's circuits end after 128 KiB or two minutes."""
    async with relayed() as lab:
        alice, bob, rita = await triangle(lab)
        frames = [number.to_bytes(4) + FRAME for number in range(300)]
        for frame in frames:
            await alice.host.send(bob.peer, NORMAL, frame)
        assert await bob.heard(alice, 300) == frames
        assert alice.host.connections(bob.peer) == 2, "bulk has a circuit of its own"
        assert rita.host.carried().circuits == 2
        assert rita.host.carried().bytes_total > 300 * len(FRAME)
        assert len(bob.ups) == 2, "the relay, and alice once"


async def test_two_that_dial_each_other_by_relay_at_once_are_connected_once() -> None:
    async with relayed() as lab:
        alice, bob, _ = await triangle(lab)
        for number in range(1, 6):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(alice.host.send, bob.peer, NORMAL, bytes([number]))
                nursery.start_soon(bob.host.send, alice.peer, NORMAL, bytes([number]))
            await bob.heard(alice, number)
            await alice.heard(bob, number)
            assert [up.peer for up in alice.ups].count(bob.peer) == number
            await alice.host.disconnect(bob.peer, "once more")
            await bob.has(lambda n=number: len(bob.downs) == n)  # type: ignore[misc]


async def test_when_the_relay_dies_another_carries_on() -> None:
    async with relayed() as lab:
        alice, bob, rita = await triangle(lab)
        rob = await lab.start("rob")
        for end in (alice, bob):
            await lab.meet(end, rob)
        await say(alice, bob, b"one")
        relays = {rita.peer: rita, rob.peer: rob}
        first = alice.host.relay_of(bob.peer)
        assert first is not None
        await relays.pop(first).stop()
        await alice.has(lambda: any(peer == bob.peer for peer, _ in alice.downs))
        await bob.has(lambda: any(peer == alice.peer for peer, _ in bob.downs))
        await say(alice, bob, b"two")
        await say(bob, alice, b"three")
        assert alice.host.relay_of(bob.peer) == next(iter(relays))
        reasons = [why for peer, why in alice.downs if peer == bob.peer]
        assert f"the way by relay {first} ended" in reasons[0]


async def test_a_relay_without_a_connection_to_the_peer_is_passed_over() -> None:
    async with relayed() as lab:
        alice, bob, rita = await triangle(lab)
        others = [await lab.start(name) for name in ("rob", "ron")]
        for other in others:
            await lab.meet(alice, other)
        await say(alice, bob, b"hello")
        assert alice.host.relay_of(bob.peer) == rita.peer


async def test_an_address_where_nothing_answers_is_no_reason_to_wait_for_it() -> None:
    async with relayed() as lab, silent_listener() as silent:
        patient = HostConfig(dial=DialConfig(upgrade_within_s=60, within_s=60))
        alice, bob, rita = await triangle(lab, config=patient)
        alice.host.learn(bob.peer, [f"{silent}/p2p/{bob.peer}"])
        began_s = trio.current_time()
        await say(alice, bob, b"hello")
        assert trio.current_time() - began_s > 0.9, "the direct way has its time"
        assert alice.host.relay_of(bob.peer) == rita.peer


async def test_who_can_be_dialled_directly_is_not_carried() -> None:
    async with relayed() as lab:
        alice, bob, rita = await triangle(lab)
        alice.host.learn(bob.peer, [bob.address])
        await say(alice, bob, b"hello")
        assert alice.host.relay_of(bob.peer) is None
        assert rita.host.carried().circuits_total == 0


async def test_a_failed_dial_says_what_happened_on_each_way() -> None:
    async with relayed() as lab:
        alice, bob, rita = await triangle(lab, relay=RelayConfig(carries=False))
        dead = f"/ip4/127.0.0.1/tcp/1/p2p/{bob.peer}"
        with pytest.raises(DialError) as caught:
            await alice.host.dial(dead)
        assert [(where, cause) for where, cause, _ in caught.value.tried] == [
            (dead, "port"),
            (f"/p2p/{rita.peer}/p2p-circuit/p2p/{bob.peer}", "relay"),
        ]
        assert "[network] relay" in caught.value.tried[1][2]


async def test_without_address_and_relay_a_peer_cannot_be_reached_and_that_is_said() -> None:
    async with relayed() as lab:
        alice, bob = await lab.start("alice"), await lab.start("bob")
        with pytest.raises(PeerUnreachableError, match="no address of it is known"):
            await alice.host.send(bob.peer, NORMAL, b"x")


async def test_circuits_are_refused_where_they_would_be_loops_or_lead_nowhere() -> None:
    async with relayed() as lab:
        alice, bob, rita = await triangle(lab)
        await say(alice, bob, b"by rita")
        stranger = lone_host("nobody").peer_id
        for relay, target, why in (
            (rita, rita.peer, "neither is the relay"),
            (rita, alice.peer, "neither is the relay"),
            (rita, stranger, "no direct connection"),
        ):
            with pytest.raises(DialError, match=why):
                await asking(alice).open(relay.peer, target, is_bulk=False)
        with pytest.raises(DialError, match="no direct connection to that relay"):
            await asking(alice).open(bob.peer, rita.peer, is_bulk=False)
        conn = alice.host._boxes[bob.peer].conn
        assert conn is not None
        stream = conn.link.open_stream()
        await say_on(stream, CircuitWanted(rita.peer), opening("/swarm/lonepeers/relay/1"))
        await check_answer(stream, "/swarm/lonepeers/relay/1")
        answer = await hear(stream)
        assert isinstance(answer, CircuitRefused)
        assert answer.code == "relayed"


async def test_a_relay_of_a_version_without_circuits_is_said_to_be_one() -> None:
    async with relayed() as lab:
        alice, bob, rita = await triangle(lab)
        rita.host.conns.gate._ours.pop("/swarm/lonepeers/relay/1")
        with pytest.raises(DialError, match="a version without circuits"):
            await asking(alice).open(rita.peer, bob.peer, is_bulk=False)
        await say(alice, rita, b"still here")


async def test_a_relay_that_says_nothing_is_given_up_and_the_next_one_asked() -> None:
    """Others wait for ever on a relay that accepts and never answers."""
    async with relayed() as lab:
        impatient = RelayConfig(answer_within_s=0.2)
        alice, bob, rita = await triangle(lab, ends=impatient)
        rita.host.conns.gate.take("/swarm/lonepeers/relay/1", lambda conn, stream: None)
        rob = await lab.start("rob")
        for end in (alice, bob):
            await lab.meet(end, rob)
        await say(alice, bob, b"hello")
        assert alice.host.relay_of(bob.peer) == rob.peer


async def test_circuits_of_a_member_end_when_the_relay_parts_from_it() -> None:
    """As it does from whoever is removed."""
    async with relayed() as lab:
        alice, bob, rita = await triangle(lab)
        await say(alice, bob, b"hello")
        await rita.host.disconnect(alice.peer, "removed")
        await bob.has(lambda: [peer for peer, _ in bob.downs] == [alice.peer])
        while rita.host.carried().circuits:
            await trio.lowlevel.checkpoint()


async def test_a_relay_cannot_pass_itself_off_as_the_machine_it_names() -> None:
    async with relayed() as lab:
        alice, bob, rita = await triangle(lab)
        circuit = RelayedStream(await offered(rita, bob, alice.peer), bob.peer, is_bulk=False)
        await rita.host.conns.connect_over(circuit, bob.peer, is_bulk=False)
        assert bob.host.relay_of(rita.peer) is None
        assert alice.peer not in bob.host.peers()
        await say(rita, bob, b"we are still connected")


async def test_a_relay_that_offers_without_end_is_held_to_a_few() -> None:
    async with relayed() as lab:
        alice, bob, rita = await triangle(lab)
        for _ in range(CIRCUITS_ARRIVING_MAX):
            await offered(rita, bob, alice.peer)
        with pytest.raises(AssertionError, match="busy"):
            await offered(rita, bob, alice.peer)
        await say(rita, bob, b"we are still connected")


async def test_a_flood_of_wishes_costs_who_asks_and_nobody_else() -> None:
    async with relayed() as lab:
        alice, bob, rita = await triangle(lab)
        stranger = lone_host("nobody").peer_id
        asked, why = 0, ""
        while "asked too often" not in why:
            with pytest.raises(DialError) as caught:
                await asking(alice).open(rita.peer, stranger, is_bulk=False)
            asked, why = asked + 1, caught.value.detail
        assert asked > CIRCUIT_REQUESTS_BURST
        assert rita.host.carried().circuits == 0
        await say(bob, alice, b"bob asks, and is served")
        await say(alice, rita, b"alice is still connected")


async def test_bytes_that_are_no_wish_end_that_connection_only() -> None:
    async with relayed() as lab:
        alice, bob, rita = await triangle(lab)
        for protocol in ("relay", "relayed"):
            conn = alice.host._boxes[rita.peer].conn
            assert conn is not None
            stream = conn.link.open_stream()
            await stream.write(opening(f"/swarm/lonepeers/{protocol}/1") + b"\xff" * 64)
            await rita.has(lambda: rita.downs != [])
            assert rita.downs.pop()[0] == alice.peer
            await say(bob, rita, b"and I?")
            await lab.meet(alice, rita)
        assert bob.downs == []


async def test_a_relay_that_changes_bytes_ends_that_connection_and_nothing_else() -> None:
    with hostile_relay() as ends:
        async with relayed() as lab:
            alice, bob, rita = await triangle(lab)
            await say(alice, bob, b"hello")
            for end in ends:
                end.is_hostile = True
            alice.host.cast(bob.peer, NORMAL, b"this does not arrive")
            await alice.has(lambda: alice.downs != [])
            await bob.has(lambda: bob.downs != [])
            assert [peer for peer, _ in alice.downs] == [bob.peer]
            assert (len(bob.frames[alice.peer, NORMAL]), rita.downs) == (1, [])
            await say(alice, bob, b"and again")


async def test_a_peer_that_was_reached_by_relay_is_taken_over_directly_without_losing_a_frame() -> (
    None
):
    async with relayed() as lab:
        soon = RelayConfig(direct_first_s=0.05)
        alice, bob, rita = await triangle(lab, ends=soon)
        await say(alice, bob, b"begin")
        frames = [number.to_bytes(4) + FRAME for number in range(400)]

        async def send(one: Station, other: Station) -> None:
            for number, frame in enumerate(frames):
                await one.host.send(other.peer, NORMAL, frame)
                if number == 100 and one is alice:
                    alice.host.learn(bob.peer, [bob.address])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, alice, bob)
            nursery.start_soon(send, bob, alice)
        assert (await bob.heard(alice, 401))[1:] == frames
        assert await alice.heard(bob, 400) == frames
        while alice.host.relay_of(bob.peer) or rita.host.carried().circuits:
            await trio.lowlevel.checkpoint()
        assert bob.host.relay_of(alice.peer) is None
        assert (alice.downs, bob.downs, rita.downs) == ([], [], [])
        for traffic_class in TrafficClass:
            await alice.host.send(bob.peer, traffic_class, b"end")
            await bob.has(lambda c=traffic_class: b"end" in bob.frames.get((alice.peer, c), []))  # type: ignore[misc]


async def test_both_may_find_the_direct_way_at_once() -> None:
    for number in range(5):
        async with relayed() as lab:
            alice, bob, _ = await triangle(lab, ends=RelayConfig(direct_first_s=0.05))
            await say(alice, bob, bytes([number]))
            alice.host.learn(bob.peer, [bob.address])
            bob.host.learn(alice.peer, [alice.address])
            while alice.host.relay_of(bob.peer) or bob.host.relay_of(alice.peer):
                await trio.lowlevel.checkpoint()
            await say(bob, alice, bytes([number]))
            await say(alice, bob, bytes([number]))
            assert alice.downs == bob.downs == []
