"""The owner of the machine, and who may no longer be here."""

import msgspec

from p2p.effects import Persist, Send
from p2p.ids import NetworkId, PeerId, PersonId
from p2p.wire.codec import encode
from p2p.wire.envelope import Signed
from storage.rights import Right, RightLink
from swarmnode.market.messages import Bid, BidKind, Decline
from swarmnode.market.run import events as run_events
from swarmnode.market.seller import events as e
from swarmnode.market.seller.core import Seller
from swarmnode.market.seller.job import is_for
from swarmnode.market.seller.room import Capacity
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.messages import PreemptNotice
from swarmnode.tasks.records import JobRecord, Outcome, RoomGrant
from swarmnode.tasks.spec import PriorityClass, Shape, TaskSpec
from swarmnode.tasks.store import OWNER
from tests.seller_core_lab import (
    ALICE,
    BOB,
    CAROL,
    DONE,
    LAB,
    MACHINE,
    MIB,
    SMALL,
    TASK,
    answer,
    call,
    heard,
    idle,
    only,
    running,
    sent,
    survey,
    terms,
    told,
)


def test_a_pause_gives_notice_stops_every_job_and_is_remembered() -> None:
    seller = running()
    effects = seller.handle(e.PauseAsked(3.0), 5.0)
    assert only(sent(effects, PreemptNotice)) == PreemptNotice(TASK, 1, 3000)
    assert only(told(effects, e.Stop)) == e.Stop(f"{TASK}.1", 3.0, "paused")
    assert any(isinstance(f, Persist) and f.table == OWNER for f in effects)


def test_a_paused_machine_bids_for_nothing_and_takes_nothing() -> None:
    seller = idle()
    bid = answer(seller, heard(call()))
    seller.handle(e.PauseAsked(3.0), 0.5)
    assert answer(seller, heard(call(auction=2)), 0.6).reason == "paused"
    effects = seller.handle(e.AwardHeard(ALICE, terms(bid)), 0.7)
    assert only(sent(effects, Decline)).reason == "paused"
    seller.handle(e.ResumeAsked(), 1.0)
    assert answer(seller, heard(call(auction=3)), 1.1).kind is BidKind.HELD


def test_a_paused_machine_is_still_paused_after_a_restart() -> None:
    seller = idle()
    seller.handle(e.JobsLoaded((), (), is_paused=True), 0.0)
    assert answer(seller, heard(call())).reason == "paused"


def owners_call(shape: Shape, auction: int = 50, peer: PeerId = ALICE) -> e.CallHeard:
    asked = call(auction, shape, priority_class=PriorityClass.OWNER)
    return e.CallHeard(peer, LAB, True, asked, is_owner=peer == ALICE)


def guest(seller: Seller, number: int, shape: Shape) -> None:
    """A running job of somebody else."""
    bid = answer(seller, heard(call(number, shape), CAROL))
    task = TaskId(chr(ord("b") + number) * 16)
    seller.handle(e.AwardHeard(CAROL, terms(bid, 1, task, shape)), 0.0)
    seller.handle(run_events.Staged(task, 1), 0.0)


def test_class_owner_is_refused_to_everybody_but_the_owner() -> None:
    seller = idle()
    bid = answer(seller, owners_call(SMALL, peer=CAROL))
    assert (bid.kind, bid.reason) == (BidKind.REFUSED, "owner")
    assert "owner of this machine" in bid.detail
    assert answer(seller, owners_call(SMALL)).kind is BidKind.HELD


def test_guests_in_the_owner_s_way_are_told_and_moved_the_newest_first() -> None:
    seller = idle()
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
    freed = seller.handle(run_events.ProcessGone(newest, 1), 3.0)
    offer = only([f for f in freed if isinstance(f, Send)])
    assert offer.peer == ALICE
    assert isinstance(offer.message, Bid)
    assert offer.message.kind is BidKind.HELD


def test_nobody_moves_when_that_would_not_make_room_enough() -> None:
    seller = idle()
    whole = Shape(cpu_millis=4000, memory_bytes=MIB, disk_bytes=0)
    bid = answer(seller, owners_call(Shape(cpu_millis=1000, memory_bytes=MIB, disk_bytes=0), 1))
    seller.handle(e.AwardHeard(ALICE, terms(bid, shape=bid_shape(1000))), 0.0)
    guest(seller, 2, Shape(cpu_millis=2000, memory_bytes=MIB, disk_bytes=0))
    assert not told(seller.handle(owners_call(whole), 1.0), e.Stop)


def bid_shape(cpu_millis: int) -> Shape:
    return Shape(cpu_millis=cpu_millis, memory_bytes=MIB, disk_bytes=0)


def test_an_owner_s_other_task_is_no_guest() -> None:
    seller = idle()
    whole = bid_shape(4000)
    bid = answer(seller, owners_call(whole, 1))
    seller.handle(e.AwardHeard(ALICE, terms(bid, shape=whole)), 0.0)
    assert not told(seller.handle(owners_call(whole, 2), 1.0), e.Stop)


def removed(*buyers: PeerId, people: tuple[str, ...] = ()) -> e.BuyersRemoved:
    return e.BuyersRemoved(frozenset(buyers), frozenset(PersonId(one) for one in people))


def test_the_job_of_a_buyer_who_was_removed_stops_at_once_and_no_other() -> None:
    seller = running()
    assert told(seller.handle(removed(CAROL), 2.0), e.Stop) == []
    stop = only(told(seller.handle(removed(ALICE), 3.0), e.Stop))
    assert (stop.grace_s, stop.reason) == (0.0, "removed")
    assert told(seller.handle(removed(ALICE, CAROL), 4.0), e.Stop) == []
    ended = seller.handle(run_events.Ended(TASK, 1, Outcome("stopped", 143, "killed")), 5.0)
    assert only(told(ended, e.Settle)).record.task == TASK  # nobody is told, nothing is kept


def test_a_result_of_a_buyer_who_was_removed_goes_nowhere() -> None:
    seller = running()
    seller.handle(run_events.Ended(TASK, 1, DONE), 2.0)
    assert only(told(seller.handle(removed(ALICE), 3.0), e.Settle)).record.task == TASK


def test_a_job_that_others_act_for_stops_with_the_person_it_is_of() -> None:
    link = RightLink(PersonId("ann"), LAB, BOB, TASK)
    sealed = Signed(1, NetworkId("net"), "right", CAROL, 0, 0, encode(link))
    bare = JobRecord(TASK, 1, CAROL, 1, TaskSpec(("true",), shape=SMALL), RoomGrant(0, 0, 0), 0)
    record = msgspec.structs.replace(bare, right=Right((sealed,)))
    assert is_for(record, removed(people=("ann",)))
    assert not is_for(record, removed(ALICE, people=("bob",)))
    assert not is_for(bare, removed(people=("ann",)))


def test_a_change_of_what_is_lent_is_told_once() -> None:
    seller = idle()
    less = Capacity(cpu_millis=1000, memory_bytes=MACHINE.memory_bytes)
    assert len(told(seller.handle(survey(less, "no cgroup"), 1.0), e.RoomChanged)) == 1
    assert not told(seller.handle(survey(less, "no cgroup"), 2.0), e.RoomChanged)
    assert len(told(seller.handle(survey(), 3.0), e.RoomChanged)) == 1
    assert answer(seller, heard(call()), 3.0).kind is BidKind.HELD  # its room is freed by the pause
    assert len(told(seller.handle(e.PauseAsked(0.0), 4.0), e.RoomChanged)) == 1
    assert len(told(seller.handle(e.ResumeAsked(), 5.0), e.RoomChanged)) == 1
