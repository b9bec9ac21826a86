"""Hosts of whatever kind meet, are refused, part and are missed."""

import pytest
import trio
from msgspec.structs import replace

from p2p.errors import DialError, PeerUnreachableError
from tests.host_lab import (
    BAD_FRAME,
    CONTROL,
    NORMAL,
    STRANGERS,
    World,
    contract,
    known_as,
    pair,
    say,
)


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
async def test_a_host_has_one_listener(world: World) -> None:
    alice = await world.start("alice")
    with pytest.raises(ValueError, match="listener"):
        alice.host.attach(alice)
