"""Locks by key."""

import random

import trio

from storage.locks import KeyedLocks
from testnet.sim.seeded import simulated


@simulated
async def test_who_comes_for_the_same_key_waits_and_others_go_on() -> None:
    locks, ended = KeyedLocks[str](), list[tuple[str, float]]()

    async def work(key: str) -> None:
        async with locks.of(key):
            await trio.sleep(1)
            ended.append((key, trio.current_time()))

    begun_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        for key in ("a", "a", "b"):
            nursery.start_soon(work, key)
    assert sorted((key, now_s - begun_s) for key, now_s in ended) == [("a", 1), ("a", 2), ("b", 1)]
    assert len(locks) == 0


@simulated
async def test_a_lock_is_gone_when_nobody_waits_however_its_holder_ended() -> None:
    locks = KeyedLocks[str]()
    with trio.move_on_after(1):
        async with locks.of("a"):
            assert len(locks) == 1
            await trio.sleep_forever()
    assert len(locks) == 0
    async with trio.open_nursery() as nursery, locks.of("a"):
        nursery.start_soon(_wait_for, locks)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert len(locks) == 0


@simulated
async def test_who_is_cancelled_while_it_comes_lets_no_two_in_together() -> None:
    dice = random.Random(1)
    for _ in range(100):
        visitors = _Visitors()
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                late, steps = dice.randrange(8), dice.randrange(4)
                nursery.start_soon(visitors.come, late, steps, dice.random() < 0.4)
        assert visitors.most == 1
        assert len(visitors.locks) == 0


class _Visitors:
    """They come for one key, some of them cancelled already."""

    def __init__(self) -> None:
        self.locks, self.inside, self.most = KeyedLocks[str](), 0, 0

    async def come(self, late: int, steps: int, is_cancelled: bool) -> None:
        for _ in range(late):
            await trio.lowlevel.checkpoint()
        with trio.CancelScope() as scope:
            if is_cancelled:
                scope.cancel()
            async with self.locks.of("a"):
                self.inside += 1
                self.most = max(self.most, self.inside)
                for _ in range(steps):
                    await trio.lowlevel.cancel_shielded_checkpoint()
                self.inside -= 1


async def _wait_for(locks: KeyedLocks[str]) -> None:
    async with locks.of("a"):
        raise AssertionError("somebody else holds it")
