"""Alice asks, bob's machine answers."""

import random
from collections.abc import Iterable
from typing import TypeVar

import msgspec
import pytest

from p2p.effects import Effect, Notify, Persist, Send, WakeAt
from p2p.ids import LabId, MemberId, NetworkId, PeerId
from p2p.wire.codec import decode_as, encode
from p2p.wire.envelope import Signed
from storage.rights import Right, RightLink
from swarmnode.market import contractor_events as e
from swarmnode.market.contractor import Contractor
from swarmnode.market.contractor_config import ContractorConfig
from swarmnode.market.contractor_job import is_for
from swarmnode.market.messages import Accept, AwardTerms, Bid, BidKind, Call, Decline
from swarmnode.market.room import Capacity, GpuRoom
from swarmnode.tasks.checkpoint import Checkpoint
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import JobState
from swarmnode.tasks.messages import (
    CancelJob,
    Checkpointed,
    Phase,
    PreemptNotice,
    Query,
    ReceiptTerms,
    Renew,
    State,
)
from swarmnode.tasks.records import FenceRecord, Grant, JobRecord, Outcome
from swarmnode.tasks.spec import GpuWant, PriorityClass, Shape, TaskSpec
from swarmnode.tasks.store import FENCES, JOBS, OWNER, job_key

T = TypeVar("T")
MIB = 1024**2
ALICE, BOB, CAROL, MALLORY = (PeerId(name) for name in ("alice", "bob", "carol", "mallory"))
LAB, OTHER_LAB = LabId("lab"), LabId("other lab")
TASK = TaskId("a" * 16)
SMALL = Shape(cpu_millis=1000, memory_bytes=256 * MIB, disk_bytes=MIB)
PLAIN = ContractorConfig()
DONE = Outcome("done", 0, "exit")
MACHINE = Capacity(
    cpu_millis=4000,
    memory_bytes=4096 * MIB,
    disk_bytes=1024 * MIB,
    gpus=(GpuRoom("gpu-big", "Tesla V100", 32), GpuRoom("gpu-small", "Tesla T4", 16)),
)


def survey(capacity: Capacity = MACHINE, trouble: str = "") -> e.Surveyed:
    return e.Surveyed(capacity, ("torch",), ("memory", "pids"), trouble)


def contractor(config: ContractorConfig = PLAIN, seed: int = 0) -> Contractor:
    made = Contractor(config, BOB, random.Random(seed), lambda: 1_000)
    made.handle(survey(), 0.0)
    return made


def call(auction: int = 1, shape: Shape = SMALL, **changes: object) -> Call:
    plain = Call(auction, shape, "", (), PriorityClass.BATCH, 5, 2000)
    return msgspec.structs.replace(plain, **changes)


def heard(asked: Call, peer: PeerId = ALICE, lab: LabId = LAB) -> e.CallHeard:
    return e.CallHeard(peer, lab, lab == LAB, asked)


def sent(effects: Iterable[Effect], kind: type[T]) -> list[T]:
    return [f.message for f in effects if isinstance(f, Send) and isinstance(f.message, kind)]


def told(effects: Iterable[Effect], kind: type[T]) -> list[T]:
    return [f.event for f in effects if isinstance(f, Notify) and isinstance(f.event, kind)]


def only(found: list[T]) -> T:
    assert len(found) == 1
    return found[0]


def answer(seller: Contractor, event: e.CallHeard, now_s: float = 0.0) -> Bid:
    return only(sent(seller.handle(event, now_s), Bid))


def terms(bid: Bid, fence: int = 1, task: TaskId = TASK, shape: Shape = SMALL) -> AwardTerms:
    return AwardTerms(task, fence, BOB, bid.bid, TaskSpec(("true",), shape=shape))


def award(
    seller: Contractor, fence: int = 1, task: TaskId = TASK, peer: PeerId = ALICE
) -> list[Effect]:
    """A call, a bid and its award."""
    bid = answer(seller, heard(call(auction=1000 * fence), peer))
    return seller.handle(e.AwardHeard(peer, terms(bid, fence, task)), 0.0)


def running(config: ContractorConfig = PLAIN) -> Contractor:
    """A seller on which attempt 1 of TASK runs, for alice."""
    seller = contractor(config)
    award(seller)
    seller.handle(e.Staged(TASK, 1), 1.0)
    return seller


def timers(effects: Iterable[Effect], kind: type[T]) -> list[tuple[float, T]]:
    return [
        (f.deadline_s, f.timer)
        for f in effects
        if isinstance(f, WakeAt) and isinstance(f.timer, kind)
    ]


# -- bids


def test_a_free_machine_holds_room_and_says_for_how_long() -> None:
    seller = contractor()
    bid = answer(seller, heard(call(hold_ms=2000)))
    assert (bid.kind, bid.hold_ms, bid.price_microcredits) == (BidKind.HELD, 2000, 0)
    assert seller.room.taken().cpu_millis == 1000


def test_a_hold_is_never_longer_than_three_seconds() -> None:
    assert answer(contractor(), heard(call(hold_ms=60_000))).hold_ms == 3000


def test_a_hold_nobody_takes_up_frees_its_room() -> None:
    seller = contractor()
    effects = seller.handle(heard(call()), 0.0)
    deadline_s, timer = only(timers(effects, e.HoldOver))
    assert deadline_s == 2.0
    seller.handle(timer, deadline_s)
    assert seller.room.taken().cpu_millis == 0
    assert seller.offers.expired == 1


def test_a_repeated_call_gets_the_same_bid_and_no_second_hold() -> None:
    seller = contractor()
    assert answer(seller, heard(call())) == answer(seller, heard(call()), 0.1)
    assert seller.room.taken().cpu_millis == 1000


def test_two_buyers_never_hold_the_same_room() -> None:
    seller = contractor()
    large = Shape(cpu_millis=3000, memory_bytes=MIB, disk_bytes=0)
    assert answer(seller, heard(call(shape=large))).kind is BidKind.HELD
    assert answer(seller, heard(call(shape=large), CAROL)).kind is BidKind.QUEUED


def test_a_released_hold_makes_an_offer_to_whoever_waits() -> None:
    seller = contractor()
    whole = Shape(cpu_millis=4000, memory_bytes=MIB, disk_bytes=0)
    seller.handle(heard(call(auction=1, shape=whole)), 0.0)
    assert answer(seller, heard(call(auction=7, shape=whole), CAROL)).kind is BidKind.QUEUED
    effects = seller.handle(e.ReleaseHeard(ALICE, 1), 0.5)
    offer = only([f for f in effects if isinstance(f, Send)])
    assert isinstance(offer.message, Bid)
    assert (offer.peer, offer.message.auction, offer.message.kind) == (CAROL, 7, BidKind.HELD)


def test_the_most_urgent_waiting_task_is_offered_room_first() -> None:
    seller = contractor()
    whole = Shape(cpu_millis=4000, memory_bytes=MIB, disk_bytes=0)
    seller.handle(heard(call(auction=1, shape=whole)), 0.0)
    seller.handle(heard(call(auction=2, shape=whole)), 0.0)
    urgent = call(auction=3, shape=whole, priority_class=PriorityClass.LATENCY)
    seller.handle(heard(urgent, CAROL), 0.0)
    assert only(sent(seller.handle(e.ReleaseHeard(ALICE, 1), 0.1), Bid)).auction == 3


def test_a_buyer_who_asks_again_keeps_its_turn_and_its_place_longer() -> None:
    seller = contractor()
    whole = Shape(cpu_millis=4000, memory_bytes=MIB, disk_bytes=0)
    seller.handle(heard(call(auction=1, shape=whole)), 0.0)
    first = timers(seller.handle(heard(call(auction=2, shape=whole)), 0.0), e.WaitingOver)
    seller.handle(heard(call(auction=3, shape=whole), CAROL), 1.0)
    seller.handle(heard(call(auction=2, shape=whole)), 20.0)
    seller.handle(only(first)[1], only(first)[0])
    assert only(sent(seller.handle(e.ReleaseHeard(ALICE, 1), 31.0), Bid)).auction == 2


def test_a_released_place_is_not_offered_room() -> None:
    seller = contractor()
    whole = Shape(cpu_millis=4000, memory_bytes=MIB, disk_bytes=0)
    seller.handle(heard(call(auction=1, shape=whole)), 0.0)
    seller.handle(heard(call(auction=2, shape=whole)), 0.0)
    seller.handle(e.ReleaseHeard(ALICE, 2), 0.1)
    assert not sent(seller.handle(e.ReleaseHeard(ALICE, 1), 0.2), Bid)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (call(shape=Shape(cpu_millis=5000)), "capacity"),
        (call(shape=Shape(cpu_millis=-1)), "capacity"),
        (call(shape=Shape(gpu=GpuWant(count=3))), "capacity"),
        (call(shape=Shape(gpu=GpuWant(count=1, model="H100"))), "capacity"),
        (call(env="jax"), "environment"),
        (call(enforce=("memory", "disk")), "limit"),
    ],
)
def test_what_can_never_run_here_is_refused_with_a_code(asked: Call, reason: str) -> None:
    bid = answer(contractor(), heard(asked))
    assert (bid.kind, bid.reason) == (BidKind.REFUSED, reason)
    assert bid.detail


def test_a_machine_that_cannot_sandbox_says_why() -> None:
    seller = contractor()
    seller.handle(survey(trouble="bubblewrap is missing: apt install bubblewrap"), 1.0)
    bid = answer(seller, heard(call()), 1.0)
    assert (bid.kind, bid.detail) == (
        BidKind.REFUSED,
        "bubblewrap is missing: apt install bubblewrap",
    )


def test_the_smallest_gpu_that_does_is_granted() -> None:
    seller = contractor()
    shape = msgspec.structs.replace(SMALL, gpu=GpuWant(count=1, vram_bytes=10))
    bid = answer(seller, heard(call(shape=shape)))
    effects = seller.handle(e.AwardHeard(ALICE, terms(bid, shape=shape)), 0.0)
    assert only(told(effects, e.Begin)).record.grant.gpus == ("gpu-small",)


def test_a_gpu_has_one_holder() -> None:
    seller = contractor()
    shape = msgspec.structs.replace(SMALL, gpu=GpuWant(count=1))
    bids = [answer(seller, heard(call(auction=n, shape=shape))) for n in range(3)]
    assert [bid.kind for bid in bids] == [BidKind.HELD, BidKind.HELD, BidKind.QUEUED]
    assert seller.room.taken().gpus == ("gpu-big", "gpu-small")


def test_tasks_are_bounded_in_number() -> None:
    seller = contractor(ContractorConfig(tasks_max=2))
    bids = [answer(seller, heard(call(auction=n))) for n in range(3)]
    assert [bid.kind for bid in bids] == [BidKind.HELD, BidKind.HELD, BidKind.QUEUED]


def test_a_foreign_lab_holds_a_quarter_of_the_machine_and_ones_own_all_of_it() -> None:
    seller = contractor()
    foreign = [answer(seller, heard(call(auction=n), MALLORY, OTHER_LAB)) for n in range(2)]
    ours = [answer(seller, heard(call(auction=n))) for n in range(3)]
    assert [bid.kind for bid in foreign] == [BidKind.HELD, BidKind.QUEUED]
    assert [bid.kind for bid in ours] == [BidKind.HELD] * 3


def test_a_foreign_machine_that_calls_too_often_is_refused() -> None:
    seller = contractor(ContractorConfig(calls_burst=3, calls_per_s=1.0))
    reasons = [answer(seller, heard(call(auction=n), MALLORY, OTHER_LAB)).reason for n in range(5)]
    assert reasons == ["", "", "", "quota", "quota"]
    assert answer(seller, heard(call(auction=9), MALLORY, OTHER_LAB), 2.0).reason == ""
    assert answer(seller, heard(call(auction=9), CAROL, OTHER_LAB)).reason == ""


def test_a_bid_tells_what_it_would_waste() -> None:
    seller = contractor()
    even = Shape(cpu_millis=2000, memory_bytes=2048 * MIB, disk_bytes=0, gpu=GpuWant(count=1))
    lopsided = Shape(cpu_millis=4000, memory_bytes=1024 * MIB, disk_bytes=0)
    assert answer(seller, heard(call(auction=1, shape=even))).waste_micro == 0
    seller.handle(e.ReleaseHeard(ALICE, 1), 0.0)
    assert answer(seller, heard(call(auction=2, shape=lopsided))).waste_micro == 1_000_000


# -- awards


def test_an_award_is_written_down_before_it_is_accepted() -> None:
    effects = award(contractor())
    kinds = [type(effect) for effect in effects]
    accept = next(
        n for n, f in enumerate(effects) if isinstance(f, Send) and isinstance(f.message, Accept)
    )
    tables = [f.table for f in effects[:accept] if isinstance(f, Persist)]
    assert sorted(tables) == [FENCES, JOBS]
    assert Persist not in kinds[accept:]
    written = next(f for f in effects if isinstance(f, Persist) and f.table == JOBS)
    assert written.value is not None
    record = decode_as(JobRecord, written.value)
    assert (record.buyer, record.state, record.grant.cpu_millis) == (ALICE, JobState.LEASED, 1000)


def test_an_award_turns_the_hold_into_the_job_s_room() -> None:
    seller = contractor()
    award(seller)
    seller.handle(e.HoldOver(bid=0), 5.0)
    assert seller.room.taken().cpu_millis == 1000
    assert seller.offers.held() == 0


def test_a_repeated_award_is_accepted_again_and_begins_nothing() -> None:
    seller = contractor()
    bid = answer(seller, heard(call()))
    first = seller.handle(e.AwardHeard(ALICE, terms(bid)), 0.0)
    again = seller.handle(e.AwardHeard(ALICE, terms(bid)), 0.3)
    assert only(sent(first, Accept)) == only(sent(again, Accept))
    assert not told(again, e.Begin)


@pytest.mark.parametrize("fence", [0, 1, 2, 2**63])
def test_an_award_with_an_old_or_absurd_fence_is_stale(fence: int) -> None:
    seller = contractor()
    award(seller, fence=2)
    bid = answer(seller, heard(call(auction=2)))
    effects = seller.handle(e.AwardHeard(ALICE, terms(bid, fence)), 0.0)
    assert only(sent(effects, Decline)).reason == "stale"


def test_a_fence_is_remembered_across_a_restart() -> None:
    seller = contractor()
    seller.handle(e.Loaded((), ((TASK, FenceRecord(5, 1)),), is_paused=False), 0.0)
    bid = answer(seller, heard(call()))
    assert only(sent(seller.handle(e.AwardHeard(ALICE, terms(bid, 5)), 0.0), Decline)).reason == (
        "stale"
    )


def test_an_award_for_a_hold_that_is_over_is_declined() -> None:
    seller = contractor()
    bid = answer(seller, heard(call()))
    seller.handle(e.HoldOver(bid.bid), 2.0)
    effects = seller.handle(e.AwardHeard(ALICE, terms(bid)), 2.1)
    assert only(sent(effects, Decline)).reason == "expired"


def test_nobody_takes_up_the_hold_of_another() -> None:
    seller = contractor()
    bid = answer(seller, heard(call()))
    effects = seller.handle(e.AwardHeard(MALLORY, terms(bid)), 0.1)
    assert only(sent(effects, Decline)).reason == "expired"
    assert sent(seller.handle(e.AwardHeard(ALICE, terms(bid)), 0.2), Accept)


def test_an_award_for_another_shape_is_declined_and_frees_the_hold() -> None:
    seller = contractor()
    bid = answer(seller, heard(call()))
    larger = msgspec.structs.replace(SMALL, memory_bytes=512 * MIB)
    effects = seller.handle(e.AwardHeard(ALICE, terms(bid, shape=larger)), 0.1)
    assert only(sent(effects, Decline)).reason == "shape"
    assert seller.room.taken().cpu_millis == 0


def test_a_spec_no_submitter_could_have_made_is_declined() -> None:
    seller = contractor()
    bid = answer(seller, heard(call()))
    spec = TaskSpec(("true",), shape=SMALL, inputs=(("../../etc/passwd", "swarm:x"),))
    bad = AwardTerms(TASK, 1, BOB, bid.bid, spec)
    assert only(sent(seller.handle(e.AwardHeard(ALICE, bad), 0.1), Decline)).reason == "shape"


def test_an_award_that_comes_again_after_a_newer_one_is_stale() -> None:
    seller = contractor()
    bid = answer(seller, heard(call()))
    seller.handle(e.AwardHeard(ALICE, terms(bid)), 0.0)
    award(seller, fence=2)
    again = seller.handle(e.AwardHeard(ALICE, terms(bid)), 0.5)
    assert only(sent(again, Decline)).reason == "stale"


def test_a_newer_attempt_here_ends_the_older_one_for_good() -> None:
    seller = running()
    effects = award(seller, fence=2)
    assert only(told(effects, e.Stop)) == e.Stop(f"{TASK}.1", 0.0, "superseded")
    ended = seller.handle(e.Ended(TASK, 1, DONE), 2.0)
    assert only(told(ended, e.Settle)).is_done is False
    assert not told(ended, e.Report)


# -- leases


def test_a_renewed_lease_never_ends() -> None:
    seller = running(ContractorConfig(lease_s=15, orphan_grace_s=60))
    for now_s in range(0, 300, 5):
        seller.handle(e.JobHeard(ALICE, Renew(TASK, 1)), float(now_s))
        assert not told(seller.handle(e.LeaseDue(TASK, 1), float(now_s)), e.Stop)


def test_a_job_without_a_buyer_goes_on_for_the_grace_and_then_stops() -> None:
    seller = running(ContractorConfig(lease_s=15, orphan_grace_s=60))
    deadline_s, again = only(timers(seller.handle(e.LeaseDue(TASK, 1), 15.0), e.LeaseDue))
    assert deadline_s == 65.0  # with the notice it has ended at 75
    effects = seller.handle(again, deadline_s)
    assert only(told(effects, e.Stop)) == e.Stop(f"{TASK}.1", 10.0, "orphaned")
    assert seller.jobs.expired == 1
    assert any(isinstance(f, Persist) for f in effects)


def test_the_buyer_hears_of_every_job_all_the_time() -> None:
    seller = running()
    effects = seller.handle(e.BeatDue(TASK, 1), 5.0)
    said = only(sent(effects, State))
    assert said == State(TASK, 1, Phase.RUNNING, beat=said.beat)
    assert only(timers(effects, e.BeatDue))[0] == 10.0


def leased_until(effects: Iterable[Effect]) -> float:
    return only(told(effects, e.Leased)).until_s


def test_a_renewal_counts_from_the_word_it_answers_however_late_it_comes() -> None:
    seller = running(ContractorConfig(lease_s=15, orphan_grace_s=60))
    said = only(sent(seller.handle(e.BeatDue(TASK, 1), 5.0), State))
    effects = seller.handle(e.JobHeard(ALICE, Renew(TASK, 1, beat=said.beat)), 9.0)
    assert leased_until(effects) == 80.0
    again = seller.handle(e.JobHeard(ALICE, Renew(TASK, 1, beat=said.beat)), 40.0)
    assert leased_until(again) == 80.0


def test_a_renewal_that_answers_nothing_we_said_promises_nothing() -> None:
    seller = running()
    effects = seller.handle(e.JobHeard(ALICE, Renew(TASK, 1, beat=12345)), 9.0)
    assert not told(effects, e.Leased)


def test_a_new_job_is_leased_at_once_and_one_found_after_a_restart_only_by_its_buyer() -> None:
    effects = award(contractor(ContractorConfig(lease_s=15, orphan_grace_s=60)))
    assert leased_until(effects) == 75.0
    record = only(told(effects, e.Begin)).record
    after = contractor(seed=1)
    loaded = after.handle(e.Loaded((record,), (), is_paused=False), 1000.0)
    assert not told(loaded, e.Leased)
    said = only(sent(loaded, State))  # so that its buyer can answer without delay
    renewed = after.handle(e.JobHeard(ALICE, Renew(TASK, 1, beat=said.beat)), 1001.0)
    assert leased_until(renewed) == 1075.0


def test_a_machine_that_was_stopped_itself_asks_before_it_gives_a_job_up() -> None:
    seller = running(ContractorConfig(lease_s=15, orphan_grace_s=60))
    seller.handle(e.LeaseDue(TASK, 1), 15.0)
    effects = seller.handle(e.LeaseDue(TASK, 1), 70.0)  # due at 65
    assert not told(effects, e.Stop)
    said = only(sent(effects, State))
    deadline_s, again = only(timers(effects, e.LeaseDue))
    seller.handle(e.JobHeard(ALICE, Renew(TASK, 1, beat=said.beat)), 70.1)
    assert not told(seller.handle(again, deadline_s), e.Stop)


def test_a_machine_that_was_stopped_for_too_long_does_not_ask_any_more() -> None:
    seller = running(ContractorConfig(lease_s=15, orphan_grace_s=60))
    seller.handle(e.LeaseDue(TASK, 1), 15.0)
    assert only(told(seller.handle(e.LeaseDue(TASK, 1), 75.0), e.Stop)).grace_s == 0


@pytest.mark.parametrize("fence", [0, 3])
def test_a_cancel_with_another_fence_stops_nothing_it_does_not_name(fence: int) -> None:
    seller = contractor()
    award(seller, fence=2)
    effects = seller.handle(e.JobHeard(MALLORY, CancelJob(TASK, fence, "cancelled")), 1.0)
    assert not told(effects, e.Stop)
    assert only(sent(effects, State)).phase is Phase.UNKNOWN


def test_a_stranger_can_neither_renew_nor_cancel() -> None:
    seller = running()
    assert not told(seller.handle(e.JobHeard(MALLORY, CancelJob(TASK, 1, "")), 1.0), e.Stop)
    seller.handle(e.JobHeard(MALLORY, Renew(TASK, 1)), 14.0)
    assert only(timers(seller.handle(e.LeaseDue(TASK, 1), 15.0), e.LeaseDue))[0] == 65.0


def test_hearing_of_a_newer_attempt_stops_the_one_here() -> None:
    seller = running()
    effects = seller.handle(e.JobHeard(ALICE, Renew(TASK, 2)), 3.0)
    assert only(told(effects, e.Stop)).reason == "superseded"
    assert only(sent(effects, State)) == State(TASK, 2, Phase.UNKNOWN)


def test_hearing_of_an_older_attempt_changes_nothing() -> None:
    seller = contractor()
    award(seller, fence=2)
    effects = seller.handle(e.JobHeard(ALICE, Renew(TASK, 1)), 3.0)
    assert effects == [Send(ALICE, State(TASK, 1, Phase.UNKNOWN))]


def test_a_query_is_answered_truthfully() -> None:
    seller = running()
    known = seller.handle(e.JobHeard(ALICE, Query(TASK, 1)), 3.0)
    assert only(sent(known, State)).phase is Phase.RUNNING
    unknown = seller.handle(e.JobHeard(ALICE, Query(TaskId("b" * 16), 1)), 3.0)
    assert only(sent(unknown, State)).phase is Phase.UNKNOWN


def test_a_cancelled_job_is_stopped_and_tells_what_it_left_until_the_receipt() -> None:
    seller = running()
    cancel = e.JobHeard(ALICE, CancelJob(TASK, 1, "cancelled"))
    assert only(told(seller.handle(cancel, 3.0), e.Stop)).reason == "cancelled"
    seller.handle(e.Ended(TASK, 1, DONE), 4.0)
    assert told(seller.handle(e.LogsDelivered(TASK, 1), 4.0), e.Report)
    assert not seller.handle(cancel, 5.0)  # it goes on telling until it has been heard
    assert seller.jobs.find(TASK, 1) is not None


def test_a_job_that_nobody_wants_any_more_is_stopped_and_its_result_kept_to_itself() -> None:
    seller = running()
    effects = seller.handle(e.JobHeard(ALICE, CancelJob(TASK, 1, "stale")), 3.0)
    assert only(told(effects, e.Stop)).reason == "unwanted"
    ended = seller.handle(e.Ended(TASK, 1, DONE), 4.0)
    assert Persist(JOBS, job_key(TASK, 1), None) in ended
    assert told(ended, e.Settle)
    assert seller.room.taken().cpu_millis == 0


# -- checkpoints


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, (), 0)


def test_a_checkpoint_is_written_down_and_then_told() -> None:
    effects = running().handle(e.CheckpointStored(TASK, 1, checkpoint(10)), 3.0)
    assert isinstance(effects[0], Persist)
    assert only(sent(effects, Checkpointed)).checkpoint.step == 10


def test_steps_only_grow() -> None:
    seller = running()
    seller.handle(e.CheckpointStored(TASK, 1, checkpoint(10)), 3.0)
    assert not seller.handle(e.CheckpointStored(TASK, 1, checkpoint(9)), 4.0)


def test_a_checkpoint_the_buyer_lacks_is_repeated_and_one_it_has_lets_older_ones_go() -> None:
    seller = running()
    seller.handle(e.CheckpointStored(TASK, 1, checkpoint(10)), 3.0)
    lacks = seller.handle(e.JobHeard(ALICE, Renew(TASK, 1, checkpoint_step=5)), 5.0)
    assert only(sent(lacks, Checkpointed)).checkpoint.step == 10
    has = seller.handle(e.JobHeard(ALICE, Renew(TASK, 1, checkpoint_step=10)), 10.0)
    assert only(told(has, e.CheckpointHad)) == e.CheckpointHad(f"{TASK}.1", 0)


def test_a_checkpoint_that_was_taken_again_replaces_the_one_before() -> None:
    seller = running()
    seller.handle(e.CheckpointStored(TASK, 1, Checkpoint(10, (), 5, sure=False)), 3.0)
    assert not seller.handle(e.CheckpointStored(TASK, 1, Checkpoint(10, (), 5)), 4.0)
    again = seller.handle(e.CheckpointStored(TASK, 1, Checkpoint(10, (), 6)), 4.0)
    assert only(sent(again, Checkpointed)).checkpoint.sure
    lacks = seller.handle(e.JobHeard(ALICE, Renew(TASK, 1, 10, checkpoint_ms=5)), 5.0)
    assert only(sent(lacks, Checkpointed)).checkpoint.taken_ms == 6
    has = seller.handle(e.JobHeard(ALICE, Renew(TASK, 1, 10, checkpoint_ms=6)), 6.0)
    assert only(told(has, e.CheckpointHad)) == e.CheckpointHad(f"{TASK}.1", 6)


def test_that_a_checkpoint_is_not_kept_is_told_with_every_beat_until_one_is() -> None:
    seller = running()
    trouble = e.CheckpointTrouble(TASK, 1, "checkpoint not kept: it is a socket")
    assert only(sent(seller.handle(trouble, 3.0), State)).note == trouble.note
    assert not seller.handle(trouble, 4.0)
    assert only(sent(seller.handle(e.BeatDue(TASK, 1), 5.0), State)).note == trouble.note
    assert only(sent(seller.handle(e.CheckpointTrouble(TASK, 1, ""), 6.0), State)).note == ""


# -- results


def test_room_is_free_as_soon_as_no_process_lives() -> None:
    seller = running()
    effects = seller.handle(e.Ended(TASK, 1, DONE), 9.0)
    assert seller.room.taken().cpu_millis == 0
    assert told(effects, e.RoomChanged)


def test_a_result_waits_for_the_log_and_is_repeated_until_its_receipt() -> None:
    seller = running()
    assert not told(seller.handle(e.Ended(TASK, 1, DONE), 9.0), e.Report)
    effects = seller.handle(e.LogsDelivered(TASK, 1), 9.5)
    assert only(told(effects, e.Report)).record.outcome == DONE
    waits = []
    for _ in range(8):
        deadline_s, timer = only(timers(effects, e.ResultDue))
        waits.append(deadline_s)
        effects = seller.handle(timer, deadline_s)
        assert told(effects, e.Report)
    gaps = [round(b - a, 3) for a, b in zip([9.5, *waits], waits, strict=False)]
    assert gaps == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    settled = seller.handle(e.ReceiptHeard(ALICE, ReceiptTerms(TASK, 1, BOB)), 99.0)
    assert only(told(settled, e.Settle)).is_done
    assert not seller.handle(e.ResultDue(TASK, 1), 100.0)


def test_a_receipt_of_another_peer_settles_nothing() -> None:
    seller = running()
    seller.handle(e.Ended(TASK, 1, DONE), 9.0)
    assert not seller.handle(e.ReceiptHeard(MALLORY, ReceiptTerms(TASK, 1, BOB)), 10.0)


def test_a_result_nobody_asks_for_is_dropped_after_ten_minutes() -> None:
    seller = running()
    ended = seller.handle(e.Ended(TASK, 1, DONE), 9.0)
    deadline_s, timer = only(timers(ended, e.PatienceOver))
    assert deadline_s == 609.0
    assert only(told(seller.handle(timer, deadline_s), e.Settle)).is_done is False


def test_room_that_an_ended_process_left_is_not_taken_back_by_a_restart() -> None:
    before = running()
    before.handle(e.ProcessGone(TASK, 1), 2.0)
    assert before.room.taken().cpu_millis == 0
    after = Contractor(PLAIN, BOB, random.Random(1), lambda: 2_000)
    after.handle(e.Loaded(before.jobs.records(), (), is_paused=False), 0.0)
    assert after.room.taken().cpu_millis == 0
    assert told(after.handle(e.Ended(TASK, 1, DONE), 1.0), e.Settle) == []


# -- the owner


def test_a_pause_gives_notice_stops_every_job_and_is_remembered() -> None:
    seller = running()
    effects = seller.handle(e.PauseAsked(3.0), 5.0)
    assert only(sent(effects, PreemptNotice)) == PreemptNotice(TASK, 1, 3000)
    assert only(told(effects, e.Stop)) == e.Stop(f"{TASK}.1", 3.0, "paused")
    assert any(isinstance(f, Persist) and f.table == OWNER for f in effects)


def test_a_paused_machine_bids_for_nothing_and_takes_nothing() -> None:
    seller = contractor()
    bid = answer(seller, heard(call()))
    seller.handle(e.PauseAsked(3.0), 0.5)
    assert answer(seller, heard(call(auction=2)), 0.6).reason == "paused"
    effects = seller.handle(e.AwardHeard(ALICE, terms(bid)), 0.7)
    assert only(sent(effects, Decline)).reason == "paused"
    seller.handle(e.ResumeAsked(), 1.0)
    assert answer(seller, heard(call(auction=3)), 1.1).kind is BidKind.HELD


def test_a_paused_machine_is_still_paused_after_a_restart() -> None:
    seller = contractor()
    seller.handle(e.Loaded((), (), is_paused=True), 0.0)
    assert answer(seller, heard(call())).reason == "paused"


# -- restarts


def test_jobs_of_an_earlier_life_keep_their_room_and_go_on() -> None:
    before = running()
    before.handle(e.CheckpointStored(TASK, 1, checkpoint(10)), 3.0)
    after = Contractor(ContractorConfig(), BOB, random.Random(1), lambda: 2_000)
    effects = after.handle(e.Loaded(before.jobs.records(), (), is_paused=False), 0.0)
    after.handle(survey(), 0.0)
    assert only(told(effects, e.Begin)).record.checkpoint == checkpoint(10)
    assert after.room.taken().cpu_millis == 1000
    assert only(timers(effects, e.LeaseDue))[0] == 15.0


def test_a_bid_of_an_earlier_life_is_not_taken_for_a_new_one() -> None:
    old = answer(contractor(seed=1), heard(call()))
    reborn = contractor(seed=2)
    answer(reborn, heard(call()))
    effects = reborn.handle(e.AwardHeard(ALICE, terms(old)), 0.1)
    assert only(sent(effects, Decline)).reason == "expired"


# -- the owner's own tasks


def owners_call(shape: Shape, auction: int = 50, peer: PeerId = ALICE) -> e.CallHeard:
    asked = call(auction, shape, priority_class=PriorityClass.OWNER)
    return e.CallHeard(peer, LAB, True, asked, is_owner=peer == ALICE)


def guest(seller: Contractor, number: int, shape: Shape) -> None:
    """A running job of somebody else."""
    bid = answer(seller, heard(call(number, shape), CAROL))
    task = TaskId(chr(ord("b") + number) * 16)
    seller.handle(e.AwardHeard(CAROL, terms(bid, 1, task, shape)), 0.0)
    seller.handle(e.Staged(task, 1), 0.0)


def test_class_owner_is_refused_to_everybody_but_the_owner() -> None:
    seller = contractor()
    bid = answer(seller, owners_call(SMALL, peer=CAROL))
    assert (bid.kind, bid.reason) == (BidKind.REFUSED, "owner")
    assert "owner of this machine" in bid.detail
    assert answer(seller, owners_call(SMALL)).kind is BidKind.HELD


def test_guests_in_the_owner_s_way_are_told_and_moved_the_newest_first() -> None:
    seller = contractor()
    half = Shape(cpu_millis=2000, memory_bytes=MIB, disk_bytes=0)
    guest(seller, 1, half)
    guest(seller, 2, half)
    effects = seller.handle(owners_call(half), 1.0)
    newest = TaskId("d" * 16)
    assert only(told(effects, e.Stop)) == e.Stop(f"{newest}.1", 3.0, "owner")
    assert only(sent(effects, PreemptNotice)) == PreemptNotice(newest, 1, 3000)
    assert only(sent(effects, Bid)).kind is BidKind.QUEUED
    assert not told(seller.handle(owners_call(half), 1.5), e.Stop)  # asked again: it leaves already
    # Whoever asks meanwhile waits behind the owner.
    freed = seller.handle(e.ProcessGone(newest, 1), 3.0)
    offer = only([f for f in freed if isinstance(f, Send)])
    assert offer.peer == ALICE
    assert isinstance(offer.message, Bid)
    assert offer.message.kind is BidKind.HELD


def test_nobody_moves_when_that_would_not_make_room_enough() -> None:
    seller = contractor()
    whole = Shape(cpu_millis=4000, memory_bytes=MIB, disk_bytes=0)
    bid = answer(seller, owners_call(Shape(cpu_millis=1000, memory_bytes=MIB, disk_bytes=0), 1))
    seller.handle(e.AwardHeard(ALICE, terms(bid, shape=bid_shape(1000))), 0.0)
    guest(seller, 2, Shape(cpu_millis=2000, memory_bytes=MIB, disk_bytes=0))
    assert not told(seller.handle(owners_call(whole), 1.0), e.Stop)


def bid_shape(cpu_millis: int) -> Shape:
    return Shape(cpu_millis=cpu_millis, memory_bytes=MIB, disk_bytes=0)


def test_an_owner_s_other_task_is_no_guest() -> None:
    seller = contractor()
    whole = bid_shape(4000)
    bid = answer(seller, owners_call(whole, 1))
    seller.handle(e.AwardHeard(ALICE, terms(bid, shape=whole)), 0.0)
    assert not told(seller.handle(owners_call(whole, 2), 1.0), e.Stop)


# -- who may no longer be here


def removed(*buyers: PeerId, people: tuple[str, ...] = ()) -> e.BuyersRemoved:
    return e.BuyersRemoved(frozenset(buyers), frozenset(MemberId(one) for one in people))


def test_the_job_of_a_buyer_who_was_removed_stops_at_once_and_no_other() -> None:
    seller = running()
    assert told(seller.handle(removed(CAROL), 2.0), e.Stop) == []
    stop = only(told(seller.handle(removed(ALICE), 3.0), e.Stop))
    assert (stop.grace_s, stop.reason) == (0.0, "removed")
    assert told(seller.handle(removed(ALICE, CAROL), 4.0), e.Stop) == []
    ended = seller.handle(e.Ended(TASK, 1, Outcome("stopped", 143, "killed")), 5.0)
    assert only(told(ended, e.Settle)).record.task == TASK  # nobody is told, nothing is kept


def test_a_result_of_a_buyer_who_was_removed_goes_nowhere() -> None:
    seller = running()
    seller.handle(e.Ended(TASK, 1, DONE), 2.0)
    assert only(told(seller.handle(removed(ALICE), 3.0), e.Settle)).record.task == TASK


def test_a_job_that_others_act_for_stops_with_the_person_it_is_of() -> None:
    link = RightLink(MemberId("ann"), LAB, BOB, TASK)
    sealed = Signed(1, NetworkId("net"), "right", CAROL, 0, 0, encode(link))
    bare = JobRecord(TASK, 1, CAROL, 1, TaskSpec(("true",), shape=SMALL), Grant(0, 0, 0), 0)
    record = msgspec.structs.replace(bare, right=Right((sealed,)))
    assert is_for(record, removed(people=("ann",)))
    assert not is_for(record, removed(ALICE, people=("bob",)))
    assert not is_for(bare, removed(people=("ann",)))
