"""What is said of a segment goes by the pool as it is now."""

from dataclasses import dataclass, field
from typing import cast

import trio

from p2p.ids import LabId, PeerId
from p2p.membership.view import Liveness
from storage.arrival import Arrival
from storage.facade import ObjectHealth
from storage.objects.judging import SegmentJudge
from storage.placement.pool import Pool
from storage.placement.rendezvous import Candidate
from storage.repair.config import RepairConfig
from testnet.sim.seeded import simulated

A, B, C, D, E = (PeerId(name) for name in "abcde")
WHOLE, DEGRADED, UNREADABLE = ObjectHealth.WHOLE, ObjectHealth.DEGRADED, ObjectHealth.UNREADABLE


@dataclass
class FakePool:
    """Who lives lends, too, unless it is `idle`."""

    standing: dict[PeerId, tuple[Liveness, float]]
    idle: frozenset[PeerId] = frozenset()
    removed: frozenset[PeerId] = frozenset()

    def usable(self) -> tuple[Candidate, ...]:
        living = [p for p in self.standing if self.is_alive(p) and p not in self.idle]
        return tuple(Candidate(peer, LabId("lab"), "", 1, 1) for peer in living)

    def is_alive(self, peer: PeerId) -> bool:
        return peer in self.standing and self.standing[peer][0] is Liveness.ALIVE

    def silent_since_s(self, peer: PeerId) -> float | None:
        is_silent = peer in self.standing and not self.is_alive(peer)
        return self.standing[peer][1] if is_silent else None

    def has_left(self, peer: PeerId) -> bool:
        return peer in self.standing and self.standing[peer][0] is Liveness.LEFT


@dataclass
class FakeArrival:
    until_s: float = field(default_factory=trio.current_time)


def judge_of(pool: FakePool) -> SegmentJudge:
    return SegmentJudge(cast("Pool", pool), cast("Arrival", FakeArrival()), RepairConfig())


def pool_of(*alive: PeerId, **others: Liveness) -> FakePool:
    now_s = trio.current_time()
    gone = {PeerId(name): (liveness, now_s) for name, liveness in others.items()}
    return FakePool(dict.fromkeys(alive, (Liveness.ALIVE, now_s)) | gone)


@simulated
async def test_the_silent_count_until_nobody_waits_for_them_and_those_that_left_never() -> None:
    silent = judge_of(pool_of(A, B, C, d=Liveness.DEAD))
    left = judge_of(pool_of(A, B, C, d=Liveness.LEFT))
    unheard = judge_of(pool_of(A, B, C))
    row, held = (A, B, C, D), {A, B, C}
    assert left.health_of(1, row, held) is WHOLE
    for judge in (silent, unheard):
        assert judge.health_of(1, row, held) is DEGRADED
    await trio.sleep(899)
    for judge in (silent, unheard):
        assert judge.health_of(1, row, held) is DEGRADED
    await trio.sleep(2)
    for judge in (silent, unheard):
        assert judge.health_of(1, row, held) is WHOLE
        assert judge.health_of(1, row, {A, B}) is DEGRADED, "a living one has lost its copy"


@simulated
async def test_a_removed_holder_counts_neither_silent_nor_unheard_of() -> None:
    for pool in (pool_of(A, B, C, d=Liveness.DEAD), pool_of(A, B, C)):
        pool.removed = frozenset({D})
        assert judge_of(pool).health_of(1, (A, B, C, D), {A, B, C}) is WHOLE


@simulated
async def test_a_machine_without_a_shard_of_it_is_one_that_could_have_it() -> None:
    pool = pool_of(A, B, C, E, d=Liveness.LEFT)
    assert judge_of(pool).health_of(1, (A, B, C, D), {A, B, C}) is DEGRADED
    pool.idle = frozenset({E})
    assert judge_of(pool).health_of(1, (A, B, C, D), {A, B, C}) is WHOLE
    pool.idle = frozenset({B, E})
    assert judge_of(pool).health_of(1, (A, B, C, D), {A, C}) is DEGRADED, "B had one"


@simulated
async def test_fewer_than_needed_are_unreadable_however_small_the_pool() -> None:
    pool = pool_of(A, B, c=Liveness.LEFT, d=Liveness.LEFT)
    assert judge_of(pool).health_of(3, (A, B, C, D), {A, B}) is UNREADABLE
    assert judge_of(pool).health_of(2, (A, B, C, D), {A, B}) is WHOLE
