"""Hosts of whatever kind that cannot dial each other meet by a third."""

import pytest
import trio

from p2p.errors import PeerUnreachableError
from tests.host_lab import NORMAL, World, contract, known_as, say, triangle


@contract
async def test_two_that_cannot_dial_each_other_meet_by_a_relay(world: World) -> None:
    alice, bob, rita = await triangle(world)
    await say(alice, bob, b"hello")
    await say(bob, alice, b"hi")
    assert alice.host.relay_of(bob.peer) == bob.host.relay_of(alice.peer) == rita.peer
    assert alice.host.relay_of(rita.peer) is None
    assert (rita.host.carried().circuits, alice.host.carried().circuits) == (1, 0)
    assert rita.host.carried().bytes_total >= len(b"hellohi")


@contract
async def test_each_is_told_who_the_other_proved_to_be_through_the_relay(world: World) -> None:
    alice, bob, _ = await triangle(world)
    await say(alice, bob, b"hello")
    assert known_as("bob", bob.peer) in alice.callers
    assert known_as("alice", alice.peer) in bob.callers


@contract
async def test_what_goes_by_a_relay_ends_with_it(world: World) -> None:
    alice, bob, rita = await triangle(world)
    await say(alice, bob, b"hello")
    await rita.stop()
    await alice.has(lambda: {peer for peer, _ in alice.downs} == {bob.peer, rita.peer})
    await bob.has(lambda: {peer for peer, _ in bob.downs} == {alice.peer, rita.peer})
    why = dict(alice.downs)[bob.peer]
    assert f"the way by relay {rita.peer} ended" in why
    with trio.fail_after(25), pytest.raises(PeerUnreachableError):
        await alice.host.send(bob.peer, NORMAL, b"x")


@contract
async def test_when_a_relay_goes_another_is_used(world: World) -> None:
    alice, bob, rita = await triangle(world)
    rob = await world.start("rob")
    await say(alice, bob, b"one")
    for end in (alice, bob):
        await end.host.dial(rob.address)
        end.host.note_relay(rob.peer, carries=True)
    await rita.stop()
    await bob.has(lambda: alice.peer in dict(bob.downs))
    await say(bob, alice, b"two")
    assert bob.host.relay_of(alice.peer) == rob.peer


@contract
async def test_nothing_goes_by_a_machine_that_is_itself_reached_by_relay(world: World) -> None:
    """One hop: bob is connected to carol, and alice to bob by rita."""
    alice, bob, _ = await triangle(world)
    carol = await world.start("carol")
    world.part(alice, carol)
    await carol.host.dial(bob.address)
    await say(alice, bob, b"hello")
    alice.host.note_relay(bob.peer, carries=True)
    with trio.fail_after(25), pytest.raises(PeerUnreachableError):
        await alice.host.send(carol.peer, NORMAL, b"x")
