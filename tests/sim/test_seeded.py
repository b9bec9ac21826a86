"""One seed, one run: what every simulation stands on, and what a new trio may break."""

import random

import pytest
import trio

from p2p.host.memory.network import LinkModel
from p2p.ids import PeerId, TrafficClass
from testnet.sim.seeded import run_seeded, simulated, until
from tests.p2p_lab import at, p2p_lab
from tests.sim.own_process import assert_seed_decides

MEETING = """
import sys
sys.path.insert(0, ".")
from tests.sim.test_seeded import meeting
print(meeting(int(sys.argv[1])))
"""


def order_of_tasks(seed: int) -> list[int]:
    """Fifty tasks become runnable at once, several times."""
    order: list[int] = []

    async def worker(number: int) -> None:
        for _ in range(3):
            await trio.sleep(1)
            order.append(number)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(worker, number)

    run_seeded(seed, main)
    return order


def test_tasks_are_shuffled_by_the_seed_and_by_nothing_else() -> None:
    assert order_of_tasks(1) == order_of_tasks(1)
    assert order_of_tasks(1) != order_of_tasks(2)


def test_sleeping_takes_no_real_time() -> None:
    async def main() -> float:
        await trio.sleep(365 * 24 * 3600.0)
        return trio.current_time()

    assert run_seeded(0, main) == 365 * 24 * 3600.0


def test_trio_is_left_as_it_was() -> None:
    from trio._core import _run

    before = _run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r.getstate()
    order_of_tasks(3)
    assert (_run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r.getstate()) == before


def test_a_failure_names_its_seed() -> None:
    async def main() -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("gone")

    with pytest.raises(LookupError) as caught:
        run_seeded(42, main)
    assert caught.value.__notes__ == ["seed=42"]


@pytest.mark.parametrize("seed", [3, 4])
@simulated
async def test_a_simulated_test_runs_under_its_own_seed(seed: int) -> None:
    assert trio.current_time() == 0
    await trio.sleep(1000)
    assert trio.current_time() == 1000


@simulated
async def test_waiting_until_something_is_so_returns_how_long_it_took() -> None:
    assert await until(lambda: trio.current_time() >= 3, within_s=5) == pytest.approx(3, abs=0.02)
    assert await until(lambda: True, within_s=0) == 0
    with pytest.raises(trio.TooSlowError):
        await until(lambda: False, within_s=1)


def meeting(seed: int) -> str:
    """Five whole p2p nodes meet, lose one and heal; a hash of every frame delivered."""
    from hashlib import blake2b

    frames = blake2b(digest_size=16)

    def note(at_s: float, sender: PeerId, to: PeerId, urgency: TrafficClass, frame: bytes) -> None:
        frames.update(f"{at_s!r} {sender} {to} {urgency} {len(frame)} ".encode() + frame)

    async def main() -> None:
        async with p2p_lab(LinkModel(jitter_s=0.03, cast_loss=0.02), seed=seed, trace=note) as lab:
            names = [f"n{number}" for number in range(5)]
            for name in names:
                node = await lab.start(name, [at("n0")])
                node.gossip.publish(1, name.encode(), ttl_s=35)
            await trio.sleep(20)
            lab.end("n4", silent=True)
            lab.network.cut([PeerId("n0")], [PeerId("n1"), PeerId("n2")])
            await trio.sleep(20)
            lab.network.heal()
            await trio.sleep(20)

    run_seeded(seed, main)
    return frames.hexdigest()


def test_one_seed_gives_one_trace_of_whole_nodes_whatever_the_hash_seed() -> None:
    assert_seed_decides(MEETING, within_s=120)


def test_the_dice_of_a_run_are_those_of_its_arguments_only() -> None:
    random.seed(1)
    one = meeting(5)
    random.seed(2)
    assert meeting(5) == one
