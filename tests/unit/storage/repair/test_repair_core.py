"""When a holder repairs, and what it leaves to others."""

import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from msgspec.structs import replace

from p2p.effects import Notify
from p2p.ids import PeerId
from p2p.membership.view import Liveness
from storage.ids import Address
from storage.placement.rendezvous import peers_in_order
from storage.repair.config import RepairConfig, repair_at
from storage.repair.core import Repair
from storage.repair.events import (
    Event,
    HomesAre,
    JobEnded,
    LookDue,
    MemberIs,
    Mend,
    PageGone,
    PageIs,
    PageKey,
    RemovedAre,
    objects_of,
)

CONFIG = RepairConfig(
    bytes_per_s=1000.0,
    down_after_s=100.0,
    raise_s=1e9,
    lazy_s=400.0,
    takeover_s=10.0,
    jitter_s=0.0,
    retry_s=5.0,
    retry_max_s=20.0,
    brake_s=1000.0,
)
PEERS = [PeerId(f"p{number:02}") for number in range(20)]
PAGE: PageKey = (Address(bytes(32)), 0)
OTHER: PageKey = (Address(b"\1" * 32), 0)


def order_of(page: PageKey, peers: list[PeerId]) -> list[PeerId]:
    """Who leads the repair of a page, then who takes over."""
    return peers_in_order(page[0] + page[1].to_bytes(4), peers)


@dataclass
class Seat:
    """One node's core, told about a pool."""

    me: PeerId
    now_s: float = 0.0
    core: Repair = field(init=False)
    config: RepairConfig = CONFIG

    def __post_init__(self) -> None:
        self.core = Repair(self.config, self.me, random.Random(0))
        for peer in PEERS:
            self.tell(MemberIs(peer, Liveness.ALIVE, 0.0))
        self.tell(HomesAre(tuple(PEERS)))

    def tell(self, event: Event) -> None:
        assert not self.core.handle(event, self.now_s)
        self.core.check_invariants()

    def fall(self, *peers: PeerId, liveness: Liveness = Liveness.DEAD) -> None:
        for peer in peers:
            self.tell(MemberIs(peer, liveness, self.now_s))

    def look(self, at_s: float) -> list[Mend]:
        """What it would mend at that time."""
        self.now_s = at_s
        found = [e.event for e in self.core.handle(LookDue(), at_s) if isinstance(e, Notify)]
        self.core.check_invariants()
        assert all(isinstance(event, Mend) for event in found)
        return [event for event in found if isinstance(event, Mend)]


def page_of(
    holders: list[PeerId], k: int = 3, page: PageKey = PAGE, sequence: int = 1, size: int = 1
) -> PageIs:
    return PageIs(page, sequence, k, size, (tuple(holders),))


def test_a_silent_holder_counts_as_lost_after_a_while() -> None:
    holders = PEERS[:6]
    leader, *_, victim = order_of(PAGE, holders)
    seat = Seat(leader)
    seat.tell(page_of(holders))
    seat.fall(victim)
    assert not seat.look(99)
    (mend,) = seat.look(100)
    assert mend == Mend(PAGE, 1, ((0, (holders.index(victim),)),))


def test_a_holder_that_comes_back_in_time_is_not_replaced() -> None:
    holders = PEERS[:6]
    leader, *_, victim = order_of(PAGE, holders)
    seat = Seat(leader)
    seat.tell(page_of(holders))
    seat.fall(victim)
    seat.fall(victim, liveness=Liveness.ALIVE)
    assert not seat.look(1000)
    assert not seat.core.degraded(seat.now_s)


def test_nobody_waits_when_only_one_more_loss_can_be_borne() -> None:
    holders = PEERS[:6]
    leader, *_, first, second = order_of(PAGE, holders)
    seat = Seat(leader)
    seat.tell(page_of(holders))
    seat.fall(first, second)
    (mend,) = seat.look(1)
    assert sorted(mend.segments[0][1]) == sorted([holders.index(first), holders.index(second)])


def test_a_signed_farewell_is_a_loss_at_once_and_a_suspicion_is_none() -> None:
    holders = PEERS[:6]
    leader, *_, victim = order_of(PAGE, holders)
    seat = Seat(leader)
    seat.tell(page_of(holders))
    seat.fall(victim, liveness=Liveness.SUSPECT)
    assert not seat.look(500)
    seat.fall(victim, liveness=Liveness.LEFT)
    assert len(seat.look(501)) == 1


def test_the_next_in_rank_acts_later_and_only_while_the_record_stays() -> None:
    holders = PEERS[:6]
    leader, second, *_, victim = order_of(PAGE, holders)
    seat = Seat(second)
    seat.tell(page_of(holders))
    seat.fall(victim, liveness=Liveness.LEFT)
    assert not seat.look(9)
    mended = [PEERS[10] if peer == victim else peer for peer in holders]
    seat.tell(page_of(mended, sequence=2))
    assert not seat.look(50)
    seat.fall(PEERS[10], leader, liveness=Liveness.LEFT)
    assert len(seat.look(51)) == 1, "the leader is gone: the second leads"


def test_the_second_takes_over_when_the_first_does_nothing() -> None:
    holders = PEERS[:6]
    _, second, *_, victim = order_of(PAGE, holders)
    seat = Seat(second)
    seat.tell(page_of(holders))
    seat.fall(victim, liveness=Liveness.LEFT)
    assert len(seat.look(10)) == 1


def test_what_the_pool_could_keep_better_is_raised_after_a_moment() -> None:
    holders = PEERS[:6]
    leader = order_of(PAGE, holders)[0]
    seat = Seat(leader, config=replace(CONFIG, raise_s=15.0))
    seat.tell(page_of(holders))
    assert not seat.look(14)
    (mend,) = seat.look(15)
    assert mend == Mend(PAGE, 1, ((0, (6, 7, 8, 9, 10)),))
    assert not seat.core.degraded(seat.now_s), "nothing that it has is lost"


def test_copies_are_raised_when_machines_come_and_only_by_who_leads() -> None:
    seats = {peer: Seat(peer, config=replace(CONFIG, raise_s=15.0)) for peer in PEERS[:2]}
    leader, second = order_of(PAGE, PEERS[:2])
    for seat in seats.values():
        seat.tell(HomesAre(tuple(PEERS[:2])))
        seat.tell(page_of(PEERS[:2], k=1))
        assert not seat.look(100)
        seat.tell(HomesAre(tuple(PEERS[:3])))
        assert not seat.look(114)
    assert seats[leader].look(115) == [Mend(PAGE, 1, ((0, (2,)),))]
    assert not seats[second].look(115)
    assert len(seats[second].look(125)) == 1, "the leader did nothing"


def test_what_is_as_wide_as_the_pool_allows_is_left_alone() -> None:
    seat = Seat(PEERS[0], config=replace(CONFIG, raise_s=0.0))
    for width, count in ((3, 3), (3, 6), (7, 9), (7, 16)):
        homes, holders = tuple(PEERS[:count]), PEERS[:width]
        seat.tell(HomesAre(homes))
        seat.tell(page_of(holders, k=1 if width == 3 else 3, sequence=count))
        assert not seat.look(seat.now_s + 100), (width, count)


def test_who_holds_nothing_of_a_page_leaves_it_to_others() -> None:
    holders = PEERS[:6]
    seat = Seat(PEERS[10])
    seat.tell(page_of(holders))
    seat.fall(holders[0], liveness=Liveness.LEFT)
    assert not seat.look(10_000)
    assert len(seat.core.degraded(seat.now_s)) == 1


def test_the_next_in_rank_keeps_an_eye_on_the_leader_of_each_page() -> None:
    holders = PEERS[:5]
    first, second, third = order_of(PAGE, holders)[:3]
    seats = {peer: Seat(peer) for peer in (first, second, third)}
    for seat in seats.values():
        seat.tell(page_of(holders))
    assert [seat.core.led_pages() for seat in seats.values()] == [[PAGE], [], []]
    assert seats[second].core.seconded_pages() == [(PAGE, first)]
    assert not seats[first].core.seconded_pages()
    assert not seats[third].core.seconded_pages()
    seats[third].fall(first)
    assert seats[third].core.seconded_pages() == [(PAGE, second)]


def test_what_has_fewest_shards_to_spare_is_mended_first() -> None:
    holders = PEERS[:6]
    me = PEERS[0]
    seat = Seat(me, config=RepairConfig(bytes_per_s=1.0, jitter_s=0.0, takeover_s=1e-6))
    seat.tell(PageIs(PAGE, 1, 3, 100, (tuple(holders), (*holders[:4], PEERS[7], PEERS[8]))))
    seat.tell(page_of([*holders[:3], *PEERS[9:12]], page=OTHER, size=100))
    seat.fall(PEERS[4], PEERS[5], PEERS[9], liveness=Liveness.LEFT)
    (mend,) = seat.look(1)  # the bucket is empty after one
    assert mend.page == PAGE
    assert not seat.look(2)
    assert [m.page for m in seat.look(600)] == [OTHER]


def test_the_worst_segments_of_a_page_go_first_and_only_so_many_at_a_time() -> None:
    holders = PEERS[:6]
    leader, *_, one, two = order_of(PAGE, holders)
    seat = Seat(leader)
    better = tuple(PEERS[9] if peer == one else peer for peer in holders)
    seat.tell(PageIs(PAGE, 1, 3, 1, (better, *[tuple(holders)] * 20)))
    seat.fall(one, two, liveness=Liveness.LEFT)
    (mend,) = seat.look(1)
    assert [segment for segment, _ in mend.segments] == list(range(1, 17))


def test_a_failed_repair_is_tried_again_later_and_later() -> None:
    holders = PEERS[:6]
    leader, *_, victim = order_of(PAGE, holders)
    seat = Seat(leader)
    seat.tell(page_of(holders))
    seat.fall(victim, liveness=Liveness.LEFT)
    times: list[float] = []
    at_s = 0.0
    while len(times) < 5:
        at_s += 1
        if seat.look(at_s):
            times.append(at_s)
            seat.tell(JobEnded(PAGE, is_done=False))
    assert [b - a for a, b in pairwise(times)] == [5, 10, 20, 20]


def test_without_a_place_to_put_shards_it_waits_until_one_comes() -> None:
    holders = PEERS[:3]
    leader, *_, victim = order_of(PAGE, holders)
    seat = Seat(leader)
    seat.tell(HomesAre(tuple(holders)))
    seat.tell(page_of(holders, k=1))
    seat.fall(victim, liveness=Liveness.LEFT)
    left = tuple(peer for peer in holders if peer != victim)
    seat.tell(HomesAre(left))
    assert not seat.look(10_000)
    assert not seat.core.degraded(seat.now_s), "two machines have two copies"
    seat.tell(HomesAre((*left, PEERS[9])))
    assert len(seat.core.degraded(seat.now_s)) == 1
    assert len(seat.look(10_001)) == 1


@pytest.mark.parametrize(("k", "width"), [(1, 4), (4, 8), (3, 6)])
def test_a_page_is_degraded_until_the_silent_are_no_machines_of_the_pool(
    k: int, width: int
) -> None:
    holders = PEERS[:width]
    leader, *_, victim = order_of(PAGE, holders)
    seat = Seat(leader)
    seat.tell(HomesAre(tuple(holders)))
    seat.tell(page_of(holders, k=k))
    seat.fall(victim)
    seat.tell(HomesAre(tuple(peer for peer in holders if peer != victim)))
    seat.look(99)
    assert len(seat.core.degraded(99.0)) == 1
    spared_s = 400.0 if width - 1 > repair_at(k, width) else 0.0
    seat.look(99 + spared_s)
    assert len(seat.core.degraded(99 + spared_s)) == 1
    assert not seat.core.degraded(100 + spared_s)
    seat.fall(victim, liveness=Liveness.ALIVE)
    assert not seat.core.degraded(seat.now_s)


def test_two_that_start_anew_at_once_make_no_pool_smaller() -> None:
    holders = PEERS[:3]
    leader, *gone = order_of(PAGE, holders)
    seat = Seat(leader)
    seat.tell(HomesAre(tuple(holders)))
    seat.tell(page_of(holders, k=1))
    seat.fall(*gone)
    seat.tell(HomesAre((leader,)))
    seat.look(99)
    assert len(seat.core.degraded(99.0)) == 1, "nobody waits to mend it, but it is not whole"
    assert not seat.core.degraded(100.0)


def test_what_cannot_be_read_is_never_whole() -> None:
    holders = PEERS[:6]
    leader, *gone = order_of(PAGE, holders)
    seat = Seat(leader)
    seat.tell(HomesAre((leader,)))
    seat.tell(page_of(holders))
    seat.fall(*gone)
    seat.look(10_000)
    assert (len(seat.core.degraded(10_000.0)), seat.core.unreadable) == (1, 1)


def test_who_was_removed_is_no_machine_of_the_pool_whatever_is_said_of_it() -> None:
    holders = PEERS[:4]
    leader, *_, victim = order_of(PAGE, holders)
    seat = Seat(leader)
    seat.tell(HomesAre(tuple(holders)))
    seat.tell(page_of(holders, k=1))
    seat.tell(RemovedAre(frozenset({victim})))
    seat.tell(HomesAre(tuple(peer for peer in holders if peer != victim)))
    for liveness in (Liveness.DEAD, Liveness.SUSPECT, Liveness.ALIVE):
        seat.fall(victim, liveness=liveness)
        assert not seat.core.degraded(seat.now_s)
    assert not seat.look(10_000), "there is nobody to give it to"
    seat.tell(RemovedAre(frozenset()))
    seat.fall(victim)
    assert len(seat.core.degraded(seat.now_s)) == 1


@pytest.mark.parametrize(("k", "width"), [(3, 6), (8, 16)])
def test_what_a_removed_machine_held_is_mended_at_once(k: int, width: int) -> None:
    holders = PEERS[:width]
    leader, *_, victim = order_of(PAGE, holders)
    seat = Seat(leader)
    seat.tell(page_of(holders, k=k))
    seat.fall(victim)
    assert not seat.look(1)
    seat.tell(RemovedAre(frozenset({victim})))
    assert len(seat.core.degraded(1.0)) == 1
    (mend,) = seat.look(1)
    assert mend == Mend(PAGE, 1, ((0, (holders.index(victim),)),))


def test_removals_are_no_partition() -> None:
    holders = PEERS[:8]
    leader, *_, first, second, third, fourth = order_of(PAGE, holders)
    seat = Seat(leader)
    seat.tell(page_of(holders, k=3))
    seat.fall(first, second, third, fourth)
    seat.tell(RemovedAre(frozenset({first, second, third, fourth})))
    assert len(seat.look(1)) == 1


def test_many_silent_at_once_hold_back_all_but_critical_repairs() -> None:
    holders, doomed = PEERS[:8], PEERS[4:9]
    me = PEERS[0]
    seat = Seat(me, config=RepairConfig(
        bytes_per_s=1e9, down_after_s=10, jitter_s=0.0, takeover_s=1e-6, brake_s=1000,
    ))  # fmt: skip
    seat.tell(page_of(holders, k=3))
    seat.tell(page_of([*PEERS[1:4], PEERS[0], *PEERS[4:8]], k=4, page=OTHER))
    seat.fall(*doomed)
    assert [mend.page for mend in seat.look(100)] == [OTHER], "four live of four needed"
    assert [mend.page for mend in seat.look(1001)] == [PAGE], "it has lasted too long for a cut"


def test_holders_that_a_record_makes_up_hold_no_repair_back_and_are_forgotten_with_it() -> None:
    holders = PEERS[:6]
    leader, *_, victim = order_of(PAGE, holders)
    seat = Seat(leader, config=replace(CONFIG, stranger_s=1.0))
    made_up = [PeerId(f"nobody{number}") for number in range(9)]
    seat.tell(page_of([*PEERS[:3], *made_up], page=OTHER))
    seat.tell(page_of(holders))
    seat.look(10)
    seat.fall(victim)
    assert PAGE in [mend.page for mend in seat.look(200)]
    seat.tell(PageGone(OTHER))
    assert not set(made_up) & seat.core._members.keys()


def test_a_shard_that_never_found_a_holder_is_placed_by_the_leader() -> None:
    holders: list[PeerId | None] = [*PEERS[:5], None]
    leader = order_of(PAGE, PEERS[:5])[0]
    seat = Seat(leader)
    seat.tell(PageIs(PAGE, 1, 3, 1, (tuple(holders),)))
    (mend,) = seat.look(0)
    assert mend.segments == ((0, (5,)),)


def test_a_node_that_has_just_started_waits_until_it_knows_who_is_there() -> None:
    holders = PEERS[:6]
    core = Repair(replace(CONFIG, takeover_s=0.001), PEERS[0], random.Random(0))
    seat = Seat(PEERS[0])
    seat.core = core
    seat.tell(MemberIs(PEERS[0], Liveness.ALIVE, 0.0))
    seat.tell(page_of(holders))
    seat.tell(HomesAre((PEERS[0], PEERS[9])))
    assert not seat.look(899)
    assert len(seat.look(901)) == 1, "nobody else ever came"


def test_who_was_never_heard_of_since_the_start_is_no_machine_of_the_pool_after_a_while() -> None:
    holders = PEERS[:4]
    seat = Seat(PEERS[0])
    seat.core = Repair(replace(CONFIG, stranger_s=50.0), PEERS[0], random.Random(0))
    for peer in holders[:3]:
        seat.tell(MemberIs(peer, Liveness.ALIVE, 0.0))
    seat.tell(HomesAre(tuple(holders[:3])))
    seat.tell(page_of(holders, k=1))
    assert not seat.look(51)
    assert not seat.core.degraded(51.0)
    seat.fall(holders[3])
    assert len(seat.core.degraded(51.0)) == 1, "others knew it: it is waited for from now on"
    assert not seat.core.degraded(51.0 + 100.0)


def test_segments_with_shards_to_spare_wait_longer() -> None:
    holders = PEERS[:16]
    leader, *_, victim = order_of(PAGE, holders)
    seat = Seat(leader)
    seat.tell(page_of(holders, k=8))
    seat.fall(victim)
    assert not seat.look(499)
    assert len(seat.look(500)) == 1


def test_a_page_that_was_given_up_is_forgotten() -> None:
    holders = PEERS[:6]
    leader, *_, victim = order_of(PAGE, holders)
    seat = Seat(leader)
    seat.tell(page_of(holders))
    seat.fall(victim, liveness=Liveness.LEFT)
    seat.tell(PageGone(PAGE))
    assert not seat.look(1)
    assert (seat.core.pages, seat.core.degraded(seat.now_s)) == (0, [])


@pytest.mark.parametrize(
    ("k", "n", "at"), [(8, 16, 13), (8, 12, 11), (4, 8, 7), (3, 6, 5), (1, 3, 2), (1, 2, 1)]
)
def test_few_spare_shards_are_mended_soon(k: int, n: int, at: int) -> None:
    assert repair_at(k, n) == at


def test_an_object_with_many_pages_is_one_object() -> None:
    pages = [(PAGE[0], number) for number in range(50)]
    assert objects_of([*pages, OTHER, pages[0]]) == (PAGE[0], OTHER[0])
