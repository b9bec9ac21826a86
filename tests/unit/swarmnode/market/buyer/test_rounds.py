"""Auctions of a buyer: whom it asks, how long it waits, what it does when nobody has room."""

import msgspec
import pytest

from p2p.effects import Persist, Send
from p2p.ids import LabId
from p2p.membership.view import Liveness
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.config import BuyerConfig
from swarmnode.market.messages import Award, CallForBids, Release
from swarmnode.resources.advert import ResourceAdvert
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.spec import GpuWant, PriorityClass, Shape, TaskSpec
from tests.buyer_lab import (
    ADVERT,
    ALICE,
    BOB,
    BUSY,
    CAROL,
    DAVE,
    GIB,
    SPEC,
    TASK,
    Desk,
    held,
    queued,
    refused,
)


def test_the_machines_that_fit_are_asked_and_the_best_bid_wins() -> None:
    desk = Desk()
    desk.know(ALICE, BOB, CAROL)
    desk.submit()
    calls = desk.calls()
    assert set(calls) == {ALICE, BOB, CAROL}
    assert desk.record().state is TaskState.AUCTIONED
    desk.hear(ALICE, held(calls[ALICE], eta_ms=900))
    desk.hear(BOB, held(calls[BOB], eta_ms=200, bid=42))
    desk.hear(CAROL, refused(calls[CAROL]))
    (terms,) = desk.awards()
    assert (terms.task, terms.fence, terms.seller, terms.bid) == (TASK, 1, BOB, 42)
    assert {peer for peer, _ in desk.take(Release)} == {ALICE, CAROL}
    assert desk.record().provider == BOB
    (entry,) = desk.rounds()
    assert [(line.peer, line.kind, line.won) for line in entry.bids] == [
        (BOB, "held", True),
        (ALICE, "held", False),
        (CAROL, "refused", False),
    ]


def test_the_award_is_written_down_before_it_is_sent() -> None:
    desk = Desk()
    desk.know(BOB)
    desk.submit()
    bid = held(desk.calls()[BOB])
    effects = desk.buyer.handle(e.MessageHeard(BOB, bid), desk.now_s)
    kinds = [one for one in effects if isinstance(one, Persist | Send)]
    first_send = next(at for at, one in enumerate(kinds) if isinstance(one, Send))
    assert any(isinstance(one, Persist) and one.table == "tasks" for one in kinds[:first_send])


def test_no_more_than_eight_machines_are_asked_and_ourselves_are_among_them() -> None:
    desk = Desk()
    peers = [type(ALICE)(f"peer-{number:02}") for number in range(30)]
    desk.know(ALICE, *peers)
    desk.submit()
    calls = desk.calls()
    assert len(calls) == 8
    assert ALICE in calls


@pytest.mark.parametrize(
    ("spec", "advert", "why"),
    [
        (TaskSpec(("x",), avoid=(BOB,)), ADVERT, "the task avoids it"),
        (TaskSpec(("x",), require=(CAROL,)), ADVERT, "the task requires other machines"),
        (SPEC, msgspec.structs.replace(ADVERT, lends=False), "lends nothing"),
        (SPEC, msgspec.structs.replace(ADVERT, paused=True), "paused by its owner"),
        (TaskSpec(("x",), shape=Shape(8000)), ADVERT, "lends 4 cores, 8 asked (1 of 1)"),
        (
            TaskSpec(("x",), shape=Shape(memory_bytes=9 * GIB)),
            ADVERT,
            "of memory, 9216 MiB asked",
        ),
        (TaskSpec(("x",), shape=Shape(disk_bytes=200 * GIB)), ADVERT, "204800 MiB asked"),
        (TaskSpec(("x",), shape=Shape(gpu=GpuWant(2))), ADVERT, "lends 1 GPUs, 2 asked"),
        (
            TaskSpec(("x",), shape=Shape(gpu=GpuWant(1, 48 * GIB))),
            ADVERT,
            "1 GPU of 49152 MiB asked",
        ),
        (
            TaskSpec(("x",), shape=Shape(gpu=GpuWant(1, 0, "H100"))),
            ADVERT,
            "1 H100 asked",
        ),
        (TaskSpec(("x",), env="jax"), ADVERT, "no environment 'jax'"),
        (TaskSpec(("x",), enforce=("memory", "net")), ADVERT, "cannot enforce net"),
        (TaskSpec(("x",), data=(("d", "cap"),)), ADVERT, "older version, which shows no datasets"),
        (
            TaskSpec(("x",), data=(("/d", "cap"),)),
            msgspec.structs.replace(ADVERT, data="inside"),
            "shows datasets in the work folder only",
        ),
    ],
)
def test_a_machine_that_cannot_run_it_is_not_asked_and_the_reason_is_told(
    spec: TaskSpec, advert: ResourceAdvert, why: str
) -> None:
    desk = Desk()
    desk.know(BOB, advert=advert)
    desk.submit(spec)
    assert not desk.calls()
    record = desk.record()
    assert record.state is TaskState.SUBMITTED
    assert why in record.why
    assert any(peer == BOB and told in record.why for peer, told in desk.rounds()[0].unfit)


@pytest.mark.parametrize(
    ("lab", "net", "why"),
    [
        ("ours", ("pypi",), ""),
        ("ours", ("pypi", "hf"), "lets tasks of its own lab reach pypi, hf asked"),
        ("theirs", ("pypi",), "lets tasks of other labs reach nothing, pypi asked"),
        ("theirs", (), ""),
    ],
)
def test_nobody_is_asked_who_would_refuse_what_the_task_reaches(
    lab: str, net: tuple[str, ...], why: str
) -> None:
    desk = Desk()
    lends = msgspec.structs.replace(ADVERT, net=("none", "pypi"), net_others=("none",))
    desk.do(
        e.MemberStands(ALICE, Liveness.ALIVE, LabId("ours")),
        e.MemberStands(BOB, Liveness.ALIVE, LabId(lab)),
        e.Advertised(BOB, lends),
    )
    desk.submit(TaskSpec(("x",), net=net))
    assert [call.net for _, call in desk.take(CallForBids)] == ([] if why else [net])
    assert why in desk.record().why


def test_an_advert_of_nonsense_allows_nothing_and_is_not_repeated() -> None:
    desk = Desk()
    lends = msgspec.structs.replace(ADVERT, net=("a:b", "\x1b[2J", "hf"), net_others=("a:b",))
    desk.know(BOB)
    desk.do(e.Advertised(BOB, lends))
    desk.submit(TaskSpec(("x",), net=("pypi",)))
    assert not desk.calls()
    assert "\x1b" not in desk.record().why
    assert "a:b" not in desk.record().why


@pytest.mark.parametrize("liveness", [Liveness.SUSPECT, Liveness.DEAD, Liveness.LEFT])
def test_only_machines_that_are_alive_are_asked(liveness: Liveness) -> None:
    desk = Desk()
    desk.know(BOB)
    desk.do(e.MemberStands(BOB, liveness))
    desk.submit()
    assert not desk.calls()
    assert f"is {liveness.name.lower()}" in desk.record().why


def test_a_gpu_is_found_by_part_of_its_model_in_any_case() -> None:
    desk = Desk()
    desk.know(BOB)
    desk.submit(TaskSpec(("x",), shape=Shape(gpu=GpuWant(1, 40 * GIB, "a100"))))
    assert BOB in desk.calls()


def test_busy_machines_are_asked_too() -> None:
    desk = Desk()
    desk.know(BOB, advert=BUSY)
    desk.submit()
    assert BOB in desk.calls()


def test_the_window_closes_early_once_everybody_answered() -> None:
    desk = Desk()
    desk.know(BOB, CAROL)
    desk.submit()
    calls = desk.calls()
    desk.hear(BOB, held(calls[BOB]))
    assert desk.record().state is TaskState.AUCTIONED
    desk.hear(CAROL, queued(calls[CAROL]))
    assert desk.record().state is TaskState.AWARDED


def test_after_the_window_it_decides_with_what_it_has() -> None:
    desk = Desk()
    desk.know(BOB, CAROL)
    desk.submit()
    desk.hear(BOB, held(desk.calls()[BOB]))
    desk.run_for(0.5)
    assert desk.record().provider == BOB
    assert {peer for peer, _ in desk.take(Release)} == {CAROL}
    assert {line.peer: line.kind for line in desk.rounds()[0].bids}[CAROL] == "silent"


def test_machines_known_to_be_near_get_a_short_window() -> None:
    desk = Desk()
    desk.know(BOB)
    desk.running()
    for number in range(30):
        desk.submit(task=TaskId(f"{number:016}"))
        desk.now_s += 0.002
        desk.hear(BOB, refused(desk.calls()[BOB]))
    desk.submit(task=TaskId("b" * 16))
    assert desk.buyer.auctions_open == 1
    desk.run_for(0.041)
    assert desk.buyer.auctions_open == 0


def test_a_bid_after_the_end_is_released_but_never_that_of_the_winner() -> None:
    desk = Desk()
    desk.know(BOB, CAROL)
    desk.submit()
    calls = desk.calls()
    desk.hear(BOB, held(calls[BOB]))
    desk.run_for(0.5)
    desk.take(Release)
    desk.hear(BOB, held(calls[BOB]))
    assert not desk.take(Release)
    desk.hear(CAROL, held(calls[CAROL]))
    desk.hear(DAVE, held(calls[CAROL]))
    assert [peer for peer, _ in desk.take(Release)] == [CAROL, DAVE]


def test_so_many_auctions_are_open_at_once_and_the_urgent_go_first() -> None:
    desk = Desk(BuyerConfig(auctions_open_max=1))
    desk.know(BOB)
    for number, kind in enumerate(("batch", "scavenger", "latency")):
        spec = TaskSpec(("x",), priority_class=PriorityClass(kind))
        desk.submit(spec, TaskId(f"{number:016}"))
    order = []
    for number in range(3):
        ((peer, call),) = desk.take(CallForBids)
        order.append(call.priority_class.value)
        desk.hear(peer, held(call.auction, bid=number))
    assert order == ["batch", "latency", "scavenger"]


def test_a_busy_machine_offers_itself_later_and_gets_the_task() -> None:
    desk = Desk()
    desk.know(BOB, CAROL)
    desk.submit()
    calls = desk.calls()
    desk.hear(BOB, queued(calls[BOB]))
    desk.hear(CAROL, queued(calls[CAROL]))
    assert desk.record().state is TaskState.SUBMITTED
    assert desk.record().why == "asked 2 machines: 2 busy"
    desk.run_for(3)
    assert not desk.take(Release)  # their places are kept
    desk.hear(CAROL, held(calls[CAROL]))
    assert [terms.seller for terms in desk.awards()] == [CAROL]
    assert [peer for peer, _ in desk.take(Release)] == [BOB]


def test_it_asks_again_with_growing_pauses_and_gives_up_old_places() -> None:
    desk = Desk()
    desk.know(BOB)
    desk.submit()
    asked = []
    for _ in range(5):
        before_s = desk.now_s
        auction = desk.calls()[BOB]
        desk.hear(BOB, refused(auction))
        while not any(isinstance(one.message, CallForBids) for one in desk.sent):
            desk.run_for(0.1)
        asked.append(desk.now_s - before_s)
    assert 0.9 < asked[0] < 1.3
    assert asked == sorted(asked)
    assert asked[-1] > 12
    assert "1 refused: its owner has paused it" in desk.record().why or desk.record().why


def test_a_machine_that_becomes_free_is_asked_at_once() -> None:
    desk = Desk()
    desk.submit()
    desk.run_for(20)
    assert desk.record().why == "no machine is known yet"
    desk.know(BOB)
    desk.run_for(0)
    assert BOB in desk.calls()


def test_a_waiting_task_says_why_only_once() -> None:
    desk = Desk()
    desk.know(BOB, advert=msgspec.structs.replace(ADVERT, lends=False))
    desk.submit()
    desk.run_for(300)
    assert len(desk.rounds()) == 1
    notes = [one.fact for one in desk.told if isinstance(one, TaskChanged)]
    assert notes == ["submitted", "noted"]


def test_no_task_is_put_to_auction_more_than_once_a_second() -> None:
    desk = Desk()
    desk.know(BOB)
    desk.submit()
    calls = 0
    for _ in range(100):
        for peer, call in desk.take(CallForBids):
            calls += 1
            desk.hear(peer, refused(call.auction))
        desk.know(BOB)
        desk.run_for(0.1)
    assert 5 <= calls <= 11


def test_a_dry_run_scores_and_releases_and_writes_nothing() -> None:
    desk = Desk()
    desk.know(BOB, CAROL)
    before = dict(desk.disk)
    desk.do(e.DryRunAsked(5, SPEC))
    calls = desk.calls()
    desk.hear(BOB, held(calls[BOB], eta_ms=100))
    desk.hear(CAROL, held(calls[CAROL]))
    ended = next(one for one in desk.told if isinstance(one, e.DryRunEnded))
    assert ended.number == 5
    assert [(line.peer, line.won) for line in ended.record.bids] == [(CAROL, True), (BOB, False)]
    assert dict(ended.record.bids[1].parts)["waiting"] > 0
    assert {peer for peer, _ in desk.take(Release)} == {BOB, CAROL}
    assert desk.disk == before
    assert not desk.take(Award)


def test_a_dry_run_that_nobody_fits_says_why() -> None:
    desk = Desk()
    desk.know(BOB)
    desk.do(e.DryRunAsked(1, TaskSpec(("x",), env="jax")))
    ended = next(one for one in desk.told if isinstance(one, e.DryRunEnded))
    assert "has no environment 'jax'" in ended.record.outcome
