"""Frames between hosts, of whatever kind: in order, in time, counted."""

import trio

from p2p.ids import TrafficClass
from tests.host_lab import CONTROL, NORMAL, World, contract, pair, say


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
