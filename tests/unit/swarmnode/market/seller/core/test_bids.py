"""Bids of a seller: what room it holds, for whom, and what it refuses."""

import msgspec
import pytest

from p2p.effects import Send
from p2p.ids import LabId
from swarmnode.market.messages import Bid, BidKind, CallForBids
from swarmnode.market.seller import events as e
from swarmnode.market.seller.config import SellerConfig
from swarmnode.market.seller.view import advert_of
from swarmnode.resources.port import MachineSnapshot
from swarmnode.tasks.spec import GpuWant, PriorityClass, Shape
from tests.seller_core_lab import (
    ALICE,
    CAROL,
    LAB,
    MALLORY,
    MIB,
    OTHER_LAB,
    SMALL,
    answer,
    call,
    heard,
    idle,
    only,
    sent,
    survey,
    terms,
    timers,
    told,
)


def test_a_free_machine_holds_room_and_says_for_how_long() -> None:
    seller = idle()
    bid = answer(seller, heard(call(hold_ms=2000)))
    assert (bid.kind, bid.hold_ms, bid.price_microcredits) == (BidKind.HELD, 2000, 0)
    assert seller.room.taken().cpu_millis == 1000


def test_a_hold_is_never_longer_than_three_seconds() -> None:
    assert answer(idle(), heard(call(hold_ms=60_000))).hold_ms == 3000


def test_a_hold_nobody_takes_up_frees_its_room() -> None:
    seller = idle()
    effects = seller.handle(heard(call()), 0.0)
    deadline_s, timer = only(timers(effects, e.HoldOver))
    assert deadline_s == 2.0
    seller.handle(timer, deadline_s)
    assert seller.room.taken().cpu_millis == 0
    assert seller.offers.expired == 1


def test_a_repeated_call_gets_the_same_bid_and_no_second_hold() -> None:
    seller = idle()
    assert answer(seller, heard(call())) == answer(seller, heard(call()), 0.1)
    assert seller.room.taken().cpu_millis == 1000


def test_two_buyers_never_hold_the_same_room() -> None:
    seller = idle()
    large = Shape(cpu_millis=3000, memory_bytes=MIB, disk_bytes=0)
    assert answer(seller, heard(call(shape=large))).kind is BidKind.HELD
    assert answer(seller, heard(call(shape=large), CAROL)).kind is BidKind.QUEUED


def test_a_released_hold_makes_an_offer_to_whoever_waits() -> None:
    seller = idle()
    whole = Shape(cpu_millis=4000, memory_bytes=MIB, disk_bytes=0)
    seller.handle(heard(call(auction=1, shape=whole)), 0.0)
    assert answer(seller, heard(call(auction=7, shape=whole), CAROL)).kind is BidKind.QUEUED
    effects = seller.handle(e.ReleaseHeard(ALICE, 1), 0.5)
    offer = only([f for f in effects if isinstance(f, Send)])
    assert isinstance(offer.message, Bid)
    assert (offer.peer, offer.message.auction, offer.message.kind) == (CAROL, 7, BidKind.HELD)


def test_the_most_urgent_waiting_task_is_offered_room_first() -> None:
    seller = idle()
    whole = Shape(cpu_millis=4000, memory_bytes=MIB, disk_bytes=0)
    seller.handle(heard(call(auction=1, shape=whole)), 0.0)
    seller.handle(heard(call(auction=2, shape=whole)), 0.0)
    urgent = call(auction=3, shape=whole, priority_class=PriorityClass.LATENCY)
    seller.handle(heard(urgent, CAROL), 0.0)
    assert only(sent(seller.handle(e.ReleaseHeard(ALICE, 1), 0.1), Bid)).auction == 3


def test_a_buyer_who_asks_again_keeps_its_turn_and_its_place_longer() -> None:
    seller = idle()
    whole = Shape(cpu_millis=4000, memory_bytes=MIB, disk_bytes=0)
    seller.handle(heard(call(auction=1, shape=whole)), 0.0)
    first = timers(seller.handle(heard(call(auction=2, shape=whole)), 0.0), e.WaitingOver)
    seller.handle(heard(call(auction=3, shape=whole), CAROL), 1.0)
    seller.handle(heard(call(auction=2, shape=whole)), 20.0)
    seller.handle(only(first)[1], only(first)[0])
    assert only(sent(seller.handle(e.ReleaseHeard(ALICE, 1), 31.0), Bid)).auction == 2


def test_a_released_place_is_not_offered_room() -> None:
    seller = idle()
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
def test_what_can_never_run_here_is_refused_with_a_code(asked: CallForBids, reason: str) -> None:
    bid = answer(idle(), heard(asked))
    assert (bid.kind, bid.reason) == (BidKind.REFUSED, reason)
    assert bid.detail


def test_a_task_with_secrets_is_refused_where_it_has_no_place_for_them() -> None:
    assert answer(idle(), heard(call(secrets=True))).kind is BidKind.HELD
    bid = answer(idle(SellerConfig(has_secret_place=False)), heard(call(secrets=True)))
    assert (bid.kind, bid.reason) == (BidKind.REFUSED, "secrets")
    assert answer(idle(SellerConfig(has_secret_place=False)), heard(call())).kind is BidKind.HELD


def test_a_machine_that_cannot_sandbox_says_why() -> None:
    seller = idle()
    seller.handle(survey(trouble="bubblewrap is missing: apt install bubblewrap"), 1.0)
    bid = answer(seller, heard(call()), 1.0)
    assert (bid.kind, bid.detail) == (
        BidKind.REFUSED,
        "bubblewrap is missing: apt install bubblewrap",
    )


def test_the_smallest_gpu_that_does_is_granted() -> None:
    seller = idle()
    shape = msgspec.structs.replace(SMALL, gpu=GpuWant(count=1, vram_bytes=10))
    bid = answer(seller, heard(call(shape=shape)))
    effects = seller.handle(e.AwardHeard(ALICE, terms(bid, shape=shape)), 0.0)
    assert only(told(effects, e.StartJob)).record.grant.gpus == ("gpu-small",)


def test_a_gpu_has_one_holder() -> None:
    seller = idle()
    shape = msgspec.structs.replace(SMALL, gpu=GpuWant(count=1))
    bids = [answer(seller, heard(call(auction=n, shape=shape))) for n in range(3)]
    assert [bid.kind for bid in bids] == [BidKind.HELD, BidKind.HELD, BidKind.QUEUED]
    assert seller.room.taken().gpus == ("gpu-big", "gpu-small")


def test_tasks_are_bounded_in_number() -> None:
    seller = idle(SellerConfig(tasks_max=2))
    bids = [answer(seller, heard(call(auction=n))) for n in range(3)]
    assert [bid.kind for bid in bids] == [BidKind.HELD, BidKind.HELD, BidKind.QUEUED]


def test_a_foreign_lab_holds_a_quarter_of_the_machine_and_ones_own_all_of_it() -> None:
    seller = idle()
    foreign = [answer(seller, heard(call(auction=n), MALLORY, OTHER_LAB)) for n in range(2)]
    ours = [answer(seller, heard(call(auction=n))) for n in range(3)]
    assert [bid.kind for bid in foreign] == [BidKind.HELD, BidKind.QUEUED]
    assert [bid.kind for bid in ours] == [BidKind.HELD] * 3


def test_a_foreign_machine_that_calls_too_often_is_refused() -> None:
    seller = idle(SellerConfig(calls_burst=3, calls_per_s=1.0))
    reasons = [answer(seller, heard(call(auction=n), MALLORY, OTHER_LAB)).reason for n in range(5)]
    assert reasons == ["", "", "", "quota", "quota"]
    assert answer(seller, heard(call(auction=9), MALLORY, OTHER_LAB), 2.0).reason == ""
    assert answer(seller, heard(call(auction=9), CAROL, OTHER_LAB)).reason == ""


def test_a_bid_tells_what_it_would_waste() -> None:
    seller = idle()
    even = Shape(cpu_millis=2000, memory_bytes=2048 * MIB, disk_bytes=0, gpu=GpuWant(count=1))
    lopsided = Shape(cpu_millis=4000, memory_bytes=1024 * MIB, disk_bytes=0)
    assert answer(seller, heard(call(auction=1, shape=even))).waste_micro == 0
    seller.handle(e.ReleaseHeard(ALICE, 1), 0.0)
    assert answer(seller, heard(call(auction=2, shape=lopsided))).waste_micro == 1_000_000


@pytest.mark.parametrize(
    ("config", "lab", "net", "why"),
    [
        (SellerConfig(net=("none", "pypi")), LAB, ("pypi",), ""),
        (SellerConfig(net=("pypi",)), LAB, ("pypi", "hf"), "own lab reach pypi, hf asked"),
        (SellerConfig(net=("pypi",)), LAB, ("hf",), "[compute] net"),
        (SellerConfig(net=("internet",)), OTHER_LAB, ("pypi",), "other labs reach nothing"),
        (SellerConfig(net=("internet",)), OTHER_LAB, ("pypi",), "[compute] net_others"),
        (SellerConfig(net_others=("internet",)), OTHER_LAB, ("internet",), ""),
        (SellerConfig(net=("internet",)), LAB, (), ""),
        (SellerConfig(), OTHER_LAB, ("a:b",), "a:b asked"),  # no word of anybody's
        (SellerConfig(), LAB, ("[::1]:443",), "[::1]:443 asked"),
        (SellerConfig(net=("internet",)), LAB, ("pypi",) * 100_000, "limit 32"),
    ],
)
def test_what_a_task_may_reach_is_its_owners_to_say(
    config: SellerConfig, lab: LabId, net: tuple[str, ...], why: str
) -> None:
    bid = answer(idle(config), heard(call(net=net), lab=lab))
    assert (bid.kind, bid.reason) == ((BidKind.REFUSED, "network") if why else (BidKind.HELD, ""))
    assert why in bid.detail


def test_an_advert_says_what_tasks_may_reach_and_nothing_where_no_network_can_be_made() -> None:
    config = SellerConfig(net=("none", "pypi"), net_others=("none",))
    seller = idle(config)
    snapshot = MachineSnapshot(1000, 0, MIB, MIB, MIB, MIB, ())
    told = advert_of(seller, config, snapshot)
    assert (told.net, told.net_others) == (("none", "pypi"), ("none",))
    looked = survey()
    fitness = msgspec.structs.replace(looked.fitness, net_trouble="the kernel lacks it")
    seller.handle(msgspec.structs.replace(looked, fitness=fitness), 0.0)
    assert advert_of(seller, config, snapshot).net == ()


def test_an_advert_says_whether_tasks_may_write_to_their_images() -> None:
    seller, looked = idle(SellerConfig()), survey()
    snapshot = MachineSnapshot(1000, 0, MIB, MIB, MIB, MIB, ())
    assert not advert_of(seller, SellerConfig(), snapshot).writes_images
    fitness = msgspec.structs.replace(looked.fitness, writes_images=True)
    seller.handle(msgspec.structs.replace(looked, fitness=fitness), 0.0)
    assert advert_of(seller, SellerConfig(), snapshot).writes_images


def test_a_machine_that_makes_no_networks_refuses_tasks_that_need_one_and_runs_others() -> None:
    seller = idle(SellerConfig(net=("internet",)))
    looked = survey()
    fitness = msgspec.structs.replace(looked.fitness, net_trouble="the kernel lacks it; load it")
    seller.handle(msgspec.structs.replace(looked, fitness=fitness), 0.0)
    refused = answer(seller, heard(call(1, net=("pypi",))))
    assert (refused.reason, "the kernel lacks it" in refused.detail) == ("network", True)
    assert answer(seller, heard(call(2))).kind is BidKind.HELD
