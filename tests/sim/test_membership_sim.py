"""Who is alive, in swarms of one to thirty: joining, dying, pausing, parting and coming back."""

import random

import pytest

from p2p.ids import PeerId
from p2p.membership import events as e
from p2p.membership.view import Liveness
from testnet.sim.heap import Weather
from tests.sim.member_world import MemberWorld, names
from tests.sim.own_process import assert_seed_decides

SIZES = [1, 2, 3, 9, 30]
ALIVE, SUSPECT, DEAD, LEFT = Liveness


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("seed", range(3))
def test_everybody_joins_through_one_and_knows_all_within_seconds(count: int, seed: int) -> None:
    world = MemberWorld(seed)
    peers = names(count)
    for peer in peers:
        world.start(peer)
    for peer in peers[1:]:
        world.heap.tell(peer, e.Join(peers[0]))
    took_s = world.heap.run_until(lambda: world.all_see(peers, peers), within_s=5)
    assert took_s <= 3, f"seed={seed}"


@pytest.mark.parametrize("count", [2, 3, 9, 30])
@pytest.mark.parametrize("seed", range(5))
def test_a_crash_is_known_to_all_within_fifteen_seconds(count: int, seed: int) -> None:
    world = MemberWorld(seed)
    peers = world.swarm(count)
    world.heap.run(random.Random(seed).uniform(0, 30))
    victim, others = peers[seed % count], [p for p in peers if p != peers[seed % count]]
    world.heap.crash(victim)
    took_s = world.heap.run_until(lambda: world.all_hold(others, victim, DEAD), within_s=15)
    assert took_s >= world.config.suspicion_s, "it had no time to object"
    assert world.all_see(others, others)


@pytest.mark.parametrize("seed", range(3))
def test_several_crashes_at_once_are_known_to_all(seed: int) -> None:
    world = MemberWorld(seed)
    peers = world.swarm(30)
    victims, others = peers[::5], [p for p in peers if p not in peers[::5]]
    for victim in victims:
        world.heap.crash(victim)
    world.heap.run_until(
        lambda: all(world.all_hold(others, victim, DEAD) for victim in victims), within_s=20
    )
    assert world.all_see(others, others)


@pytest.mark.parametrize("count", SIZES)
def test_nobody_is_held_for_dead_under_loss_and_pauses(count: int) -> None:
    """1 % loss; every ten seconds 2 % of the members (or one of few) pause for 1 to 6 s."""
    world = MemberWorld(count, weather=Weather(loss=0.01))
    peers = world.swarm(count)
    dice = random.Random(count)
    for _ in range(20 if count > 9 else 40):
        if dice.random() < max(0.02 * count, 0.3):
            world.heap.pause(dice.choice(peers), dice.uniform(1, 6))
        world.heap.run(10)
    assert world.changes(DEAD) == []
    world.heap.run_until(lambda: world.all_see(peers, peers), within_s=20)


@pytest.mark.parametrize("count", [2, 3, 9])
def test_a_suspect_that_lives_objects_and_is_alive_again(count: int) -> None:
    world = MemberWorld()
    peers = world.swarm(count)
    before = world.cores[peers[1]].view().find(peers[1])
    world.heap.pause(peers[1], 5)
    world.heap.run_until(lambda: bool(world.changes(SUSPECT, peers[1])), within_s=5)
    world.heap.run_until(lambda: world.all_see(peers, peers), within_s=10)
    assert world.changes(DEAD) == []
    after = world.cores[peers[0]].view().find(peers[1])
    assert before is not None
    assert after is not None
    assert after.incarnation > before.incarnation


@pytest.mark.parametrize("count", [2, 3, 9, 30])
@pytest.mark.parametrize("seed", range(3))
def test_the_halves_of_a_partition_find_each_other_again(count: int, seed: int) -> None:
    world = MemberWorld(seed)
    peers = world.swarm(count)
    left, right = peers[: count // 2], peers[count // 2 :]
    world.heap.cut(left, right)
    world.heap.run_until(
        lambda: world.all_see(left, left) and world.all_see(right, right), within_s=60
    )
    world.heap.run(120)
    world.heap.heal()
    world.heap.run_until(lambda: world.all_see(peers, peers), within_s=45)


@pytest.mark.parametrize("count", [2, 3, 9, 30])
def test_a_restarted_member_is_alive_again_at_once(count: int) -> None:
    world = MemberWorld()
    peers = world.swarm(count)
    others = peers[:-1]
    world.heap.crash(peers[-1])
    world.heap.run_until(lambda: world.all_hold(others, peers[-1], DEAD), within_s=15)
    world.start(peers[-1])
    world.heap.tell(peers[-1], e.Join(peers[0]))
    world.heap.run_until(lambda: world.all_see(peers, peers), within_s=3)


@pytest.mark.parametrize("count", [2, 3, 9, 30])
def test_a_restart_faster_than_detection_is_no_death(count: int) -> None:
    world = MemberWorld()
    peers = world.swarm(count)
    world.heap.crash(peers[-1])
    world.heap.run(3)
    world.start(peers[-1])
    world.heap.tell(peers[-1], e.Join(peers[0]))
    world.heap.run(60)
    assert world.changes(DEAD) == []
    assert world.all_see(peers, peers)


@pytest.mark.parametrize("count", [2, 3, 9, 30])
def test_a_member_that_leaves_is_known_to_have_left_and_never_held_for_dead(count: int) -> None:
    world = MemberWorld()
    peers = world.swarm(count)
    others = peers[:-1]
    world.heap.tell(peers[-1], e.Leave())
    world.heap.run_until(lambda: world.all_hold(others, peers[-1], LEFT), within_s=3)
    assert any(isinstance(n, e.FarewellHeard) for _, p, n in world.heap.notified if p == peers[-1])
    world.heap.crash(peers[-1])
    world.heap.run(60)
    assert world.changes(DEAD) == world.changes(SUSPECT) == []
    world.start(peers[-1])
    world.heap.tell(peers[-1], e.Join(peers[0]))
    world.heap.run_until(lambda: world.all_see(peers, peers), within_s=3)


def test_at_two_the_survivor_decides_alone() -> None:
    world = MemberWorld()
    alice, bob = world.swarm(2)
    world.heap.crash(bob)
    took_s = world.heap.run_until(lambda: world.all_hold([alice], bob, DEAD), within_s=15)
    assert took_s <= world.config.suspicion_s + 4, "no confirmation is waited for that cannot come"


TRACE = """
import sys
sys.path.insert(0, ".")
from tests.sim.test_membership_sim import lively
print(lively(int(sys.argv[1])))
"""


def lively(seed: int) -> str:
    """A minute of everything at once; its trace."""
    world = MemberWorld(seed, weather=Weather(loss=0.05))
    peers = world.swarm(9)
    world.heap.crash(peers[3])
    world.heap.pause(peers[5], 4)
    world.heap.tell(peers[7], e.Leave())
    world.heap.run(20)
    world.heap.cut(peers[:4], peers[4:])
    world.heap.run(20)
    world.heap.heal()
    world.start(PeerId(peers[3]))
    world.heap.tell(peers[3], e.Join(peers[0]))
    world.heap.run(20)
    return world.heap.trace


def test_one_seed_gives_one_trace_whatever_the_hash_seed() -> None:
    assert_seed_decides(TRACE, within_s=60)
