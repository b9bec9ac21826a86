import msgspec
import pytest

from p2p.effects import Persist, Send
from p2p.membership.view import Liveness
from p2p.wire.envelope import open_signed
from swarmnode.market import auction_events as e
from swarmnode.market.auction_config import AuctionConfig
from swarmnode.market.messages import Accept, Award, Call, Decline, Release
from swarmnode.resources.advert import ResourceAdvert
from swarmnode.tasks.checkpoint import Checkpoint, StoredFile
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.messages import (
    RECEIPT_DOMAIN,
    CancelJob,
    Checkpointed,
    Phase,
    PreemptNotice,
    Query,
    Receipt,
    ReceiptTerms,
    Renew,
    State,
)
from swarmnode.tasks.records import Outcome
from swarmnode.tasks.spec import Effects, GpuWant, PriorityClass, Shape, TaskSpec
from testnet.sim.signer import KeyedHashSigner
from tests.buyer_lab import (
    ADVERT,
    ALICE,
    BOB,
    BUSY,
    CAROL,
    DAVE,
    DONE,
    GIB,
    NETWORK,
    SPEC,
    TASK,
    Desk,
    beat,
    held,
    queued,
    refused,
    result,
)

ONCE = TaskSpec(("true",), effects=Effects.ONCE)
STOPPED = Outcome("stopped", -1, "paused")
FAILED = Outcome("failed", 3, "exit")


# -- whom it asks


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
    effects = desk.buyer.handle(e.Heard(BOB, bid), desk.now_s)
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
        (TaskSpec(("x",), shape=Shape(memory_bytes=9 * GIB)), ADVERT, "8192 MiB of memory, 9216"),
        (TaskSpec(("x",), shape=Shape(disk_bytes=200 * GIB)), ADVERT, "MiB of disk"),
        (TaskSpec(("x",), shape=Shape(gpu=GpuWant(2))), ADVERT, "lends 1 GPUs, 2 asked"),
        (TaskSpec(("x",), shape=Shape(gpu=GpuWant(1, 48 * GIB))), ADVERT, "of 49152 MiB"),
        (
            TaskSpec(("x",), shape=Shape(gpu=GpuWant(1, 0, "H100"))),
            ADVERT,
            "1 H100 asked",
        ),
        (TaskSpec(("x",), env="jax"), ADVERT, "no environment 'jax'"),
        (TaskSpec(("x",), enforce=("memory", "net")), ADVERT, "cannot enforce net"),
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


# -- windows


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
    assert desk.buyer.rounds_open == 1
    desk.run_for(0.041)
    assert desk.buyer.rounds_open == 0


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
    desk = Desk(AuctionConfig(rounds_open_max=1))
    desk.know(BOB)
    for number, kind in enumerate(("batch", "scavenger", "latency")):
        spec = TaskSpec(("x",), priority_class=PriorityClass(kind))
        desk.submit(spec, TaskId(f"{number:016}"))
    order = []
    for number in range(3):
        ((peer, call),) = desk.take(Call)
        order.append(call.priority_class.value)
        desk.hear(peer, held(call.auction, bid=number))
    assert order == ["batch", "latency", "scavenger"]


# -- nobody has room


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
        while not any(isinstance(one.message, Call) for one in desk.sent):
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
        for peer, call in desk.take(Call):
            calls += 1
            desk.hear(peer, refused(call.auction))
        desk.know(BOB)
        desk.run_for(0.1)
    assert 5 <= calls <= 11


# -- awards


def test_an_award_is_repeated_and_then_goes_to_another_round_under_a_higher_fence() -> None:
    desk = Desk()
    desk.awarded(BOB)
    desk.know(CAROL)
    desk.run_for(1.9)
    assert {terms.fence for terms in desk.awards()} == {1}
    desk.run_for(1)
    assert [message for _, message in desk.take(CancelJob)] == [CancelJob(TASK, 1, "unanswered")]
    calls = desk.calls()
    assert set(calls) == {CAROL}  # the one that did not answer is left alone for a while
    desk.hear(CAROL, held(calls[CAROL]))
    assert [(terms.seller, terms.fence) for terms in desk.awards()] == [(CAROL, 2)]
    assert [one.ended_as for one in desk.record().attempts] == ["unanswered", ""]


def test_a_declined_award_costs_no_retry_and_is_tried_elsewhere() -> None:
    desk = Desk()
    terms = desk.awarded()
    desk.hear(BOB, Decline(TASK, terms.fence, "expired"))
    record = desk.record()
    assert (record.state, record.retries_used) == (TaskState.SUBMITTED, 0)
    assert record.attempts[0].ended_as == "refused"
    desk.run_for(1.1)
    assert BOB in desk.calls()


def test_an_answer_to_an_older_award_is_told_to_stop() -> None:
    desk = Desk()
    old = desk.awarded(BOB)
    desk.hear(BOB, Decline(TASK, old.fence, "expired"))
    desk.run_for(1.1)
    desk.awarded(BOB)
    desk.hear(BOB, Accept(TASK, old.fence))
    assert desk.take(CancelJob) == [(BOB, CancelJob(TASK, old.fence, "stale"))]
    assert desk.record().state is TaskState.AWARDED


def test_what_a_provider_notes_is_kept_but_not_more_often_than_once_a_second() -> None:
    desk = Desk()
    terms = desk.running()
    for note in ("one", "two", "three"):
        desk.hear(BOB, State(TASK, terms.fence, Phase.RUNNING, note=note))
    assert desk.record().note == "one"
    desk.run_for(1)
    desk.hear(BOB, State(TASK, terms.fence, Phase.RUNNING, note="three"))
    assert desk.record().note == "three"
    desk.run_for(1)
    desk.hear(BOB, State(TASK, terms.fence, Phase.RUNNING))
    assert desk.record().note == ""


def test_a_beat_counts_as_acceptance_when_that_was_lost() -> None:
    desk = Desk()
    terms = desk.awarded()
    desk.hear(BOB, beat(terms, Phase.LEASED))
    assert desk.record().state is TaskState.RUNNING
    assert desk.buyer.phase(TASK) is Phase.LEASED


def test_the_award_carries_the_newest_checkpoint() -> None:
    desk = Desk()
    terms = desk.running()
    for step in (3, 9, 5):
        desk.hear(BOB, Checkpointed(TASK, terms.fence, Checkpoint(step, (), 0)))
    desk.do(e.MemberStands(BOB, Liveness.DEAD))
    assert desk.record().state in (TaskState.LOST, TaskState.AUCTIONED)
    desk.run_for(1)
    terms = desk.awarded(CAROL)
    assert terms.fence == 2
    assert terms.restore is not None
    assert terms.restore.step == 9
    assert desk.record().attempts[1].restored_step == 9


# -- leases


def test_the_lease_is_renewed_while_beats_come() -> None:
    desk = Desk()
    terms = desk.running()
    for number in range(1, 21):
        desk.hear(BOB, State(terms.task, terms.fence, Phase.RUNNING, beat=number))
        desk.run_for(5)
    renewals = [message.beat for _, message in desk.take(Renew)]
    assert renewals == [1, *range(1, 21)]  # the first word is answered at once
    assert desk.record().state is TaskState.RUNNING


def test_a_silent_provider_is_asked_and_then_lost() -> None:
    desk = Desk()
    desk.running()
    desk.run_for(14)
    assert desk.take(Query)
    assert desk.record().state is TaskState.RUNNING
    desk.run_for(1.1)
    assert desk.record().attempts[0].ended_as == "lost"
    assert desk.record().retries_used == 0


@pytest.mark.parametrize("liveness", [Liveness.DEAD, Liveness.LEFT, None])
def test_a_provider_that_is_gone_is_replaced_at_once(liveness: Liveness | None) -> None:
    desk = Desk()
    desk.running()
    desk.know(CAROL)
    desk.run_for(5)
    desk.do(e.MemberStands(BOB, liveness))
    desk.run_for(0)
    assert set(desk.calls()) == {CAROL}


def test_a_suspect_keeps_its_task() -> None:
    desk = Desk()
    desk.running()
    desk.do(e.MemberStands(BOB, Liveness.SUSPECT))
    assert desk.record().state is TaskState.RUNNING


def test_a_provider_that_forgot_the_job_has_lost_it() -> None:
    desk = Desk()
    terms = desk.running()
    desk.hear(BOB, beat(terms, Phase.UNKNOWN))
    assert desk.record().attempts[0].ended_as == "lost"


def test_a_lost_provider_that_comes_back_is_told_to_stop() -> None:
    desk = Desk()
    old = desk.running()
    desk.do(e.MemberStands(BOB, Liveness.DEAD))
    desk.run_for(1)
    desk.running(CAROL)
    desk.hear(BOB, beat(old))
    desk.hear(BOB, result(old))
    stop = (BOB, CancelJob(TASK, old.fence, "stale"))
    assert desk.take(CancelJob) == [stop, stop]
    assert desk.record().state is TaskState.RUNNING


def test_a_notice_of_the_owner_is_shown_and_its_machine_not_asked_again() -> None:
    desk = Desk()
    terms = desk.running()
    desk.hear(BOB, PreemptNotice(TASK, terms.fence, 3000))
    assert desk.record().why == "its machine is wanted back within 3 s"
    desk.know(CAROL)
    desk.hear(BOB, result(terms, STOPPED, Checkpoint(4, (), 0)))
    assert desk.take(Receipt)
    desk.run_for(1)
    calls = desk.calls()
    assert set(calls) == {CAROL}
    desk.hear(CAROL, held(calls[CAROL]))
    (award,) = desk.awards()
    assert award.restore == Checkpoint(4, (), 0)
    assert desk.record().retries_used == 0


# -- results


def test_a_result_is_taken_once_and_its_receipt_given_again_and_again() -> None:
    desk = Desk()
    terms = desk.running()
    for _ in range(3):
        desk.hear(BOB, result(terms))
        ((peer, receipt),) = desk.take(Receipt)
        opened = open_signed(
            KeyedHashSigner(BOB), NETWORK, RECEIPT_DOMAIN, ReceiptTerms, receipt.sealed
        )
        assert (peer, opened) == (BOB, ReceiptTerms(TASK, terms.fence, BOB))
    record = desk.record()
    assert (record.state, record.outcome) == (TaskState.DONE, DONE)
    ends = [t for t in desk.told if isinstance(t, TaskChanged) and t.state is TaskState.DONE]
    assert len(ends) == 1


def test_the_receipt_leaves_only_with_the_result_on_disk() -> None:
    desk = Desk()
    terms = desk.running()
    effects = desk.buyer.handle(e.Heard(BOB, result(terms)), desk.now_s)
    assert isinstance(effects[0], Persist)
    assert isinstance(effects[-1], Send)
    assert isinstance(effects[-1].message, Receipt)


def test_a_result_is_proof_of_an_award_whose_acceptance_was_lost() -> None:
    desk = Desk()
    desk.hear(BOB, result(desk.awarded()))
    assert desk.record().state is TaskState.DONE


def test_a_false_result_is_not_taken() -> None:
    desk = Desk()
    terms = desk.running()
    desk.hear(BOB, result(terms, signer=CAROL))
    desk.hear(CAROL, result(terms, signer=CAROL))
    desk.hear(BOB, result(terms, buyer=CAROL))
    good = result(terms)
    forged = msgspec.structs.replace(good.sealed, payload=good.sealed.payload + b"x")
    desk.hear(BOB, type(good)(forged))
    assert desk.record().state is TaskState.RUNNING
    assert desk.buyer.results_refused == 3
    assert not desk.take(Receipt)


def test_a_result_that_comes_after_its_attempt_was_given_up_still_counts_if_no_other_began() -> (
    None
):
    desk = Desk()
    terms = desk.running()
    desk.do(e.MemberStands(BOB, Liveness.DEAD))
    assert desk.record().attempts[0].ended_as == "lost"
    desk.hear(BOB, result(terms))
    desk.hear(BOB, result(terms))
    assert desk.record().state is TaskState.DONE
    assert desk.record().attempts[0].ended_as == "done"
    assert len(desk.take(Receipt)) == 2


def test_an_open_auction_is_called_off_when_the_late_result_comes() -> None:
    desk = Desk()
    terms = desk.running()
    desk.know(CAROL)
    desk.run_for(3)
    desk.do(e.MemberStands(BOB, Liveness.DEAD))
    desk.run_for(0)
    calls = desk.calls()
    desk.hear(BOB, result(terms))
    assert [peer for peer, _ in desk.take(Release)] == [CAROL]
    desk.hear(CAROL, held(calls[CAROL]))
    assert not desk.awards()
    assert desk.buyer.rounds_open == 0


def test_a_failure_is_tried_again_as_often_as_was_asked() -> None:
    desk = Desk()
    spec = TaskSpec(("x",), retries=1)
    terms = desk.running(BOB, spec)
    desk.hear(BOB, result(terms, FAILED))
    assert desk.take(Receipt)
    assert desk.record().retries_used == 1
    desk.run_for(1)
    terms = desk.running(BOB, spec)
    desk.hear(BOB, result(terms, FAILED))
    record = desk.record()
    assert (record.state, record.outcome) == (TaskState.FAILED, FAILED)
    assert [one.ended_as for one in record.attempts] == ["failed", "failed"]


def test_a_task_that_can_be_started_nowhere_fails_in_the_end() -> None:
    desk = Desk(AuctionConfig(unfit_max=3, shun_s=0.5))
    unfit = Outcome("unfit", -1, "inputs", "object unknown")
    for _ in range(3):
        assert desk.buyer.ledger.find(TASK) is None or desk.record().state is TaskState.SUBMITTED
        desk.run_for(2)
        desk.hear(BOB, result(desk.running(), unfit))
    record = desk.record()
    assert record.state is TaskState.FAILED
    assert record.why == "could not be started anywhere: inputs: object unknown"


def test_an_outcome_of_an_unknown_kind_is_the_providers_doing() -> None:
    desk = Desk()
    desk.hear(BOB, result(desk.running(), Outcome("exploded", 1, "?")))
    assert desk.record().state is TaskState.LOST


def test_what_a_provider_says_can_always_be_read_back_from_disk() -> None:
    desk = Desk()
    spec = TaskSpec(("x",) * 900)
    files = tuple(StoredFile(f"{number}", 1, "") for number in range(800))
    terms = desk.running(BOB, spec)
    desk.hear(BOB, Checkpointed(TASK, terms.fence, Checkpoint(1, files, 0)))
    desk.hear(BOB, Checkpointed(TASK, terms.fence, Checkpoint(2, files[:256], 0)))
    desk.hear(BOB, result(terms, Outcome("done", 0, "exit", "", files)))
    assert desk.record().state is TaskState.LOST
    assert desk.record().checkpoint == Checkpoint(2, files[:256], 0)
    desk.know(CAROL)
    desk.run_for(1.1)
    terms = desk.running(CAROL, spec)
    desk.hear(CAROL, result(terms, Outcome("done", 0, "exit", "x" * 9999, files[:256])))
    assert desk.record().state is TaskState.DONE
    desk.restart()
    assert desk.record().state is TaskState.DONE


# -- at most once


def test_a_task_that_must_not_run_twice_fails_when_its_machine_is_lost() -> None:
    desk = Desk()
    desk.running(BOB, ONCE)
    desk.do(e.MemberStands(BOB, Liveness.DEAD))
    desk.run_for(75)
    assert desk.record().state is TaskState.RUNNING  # until then it may run there
    desk.run_for(8)
    record = desk.record()
    assert record.state is TaskState.FAILED
    assert "must not run twice" in record.why


def test_what_must_not_run_twice_waits_as_long_as_its_provider_said_it_goes_on_alone() -> None:
    desk = Desk()
    desk.know(BOB)
    desk.submit(ONCE)
    desk.run_for(0)
    bid = msgspec.structs.replace(held(desk.calls()[BOB]), alone_ms=300_000)
    desk.hear(BOB, bid)
    desk.hear(BOB, Accept(TASK, desk.awards()[-1].fence))
    desk.run_for(300)
    assert desk.record().state is TaskState.RUNNING
    desk.run_for(8)
    assert desk.record().state is TaskState.FAILED


def test_the_deadline_of_what_must_not_run_twice_is_told_when_it_has_really_stopped() -> None:
    desk = Desk()
    spec = msgspec.structs.replace(ONCE, deadline_ms=20_000)
    terms = desk.running(BOB, spec)
    for _ in range(6):
        desk.hear(BOB, beat(terms))
        desk.run_for(5)
    assert desk.record().state is TaskState.RUNNING  # its deadline has passed, it may still run
    assert desk.take(CancelJob)
    desk.hear(BOB, beat(terms, Phase.UNKNOWN))
    record = desk.record()
    assert record.state is TaskState.FAILED
    assert record.outcome is not None
    assert record.outcome.reason == "deadline"


def test_an_award_that_may_have_begun_fails_what_must_not_run_twice_when_it_can_run_no_more() -> (
    None
):
    desk = Desk()
    desk.awarded(BOB, ONCE)
    desk.run_for(75)
    assert desk.record().state is TaskState.AWARDED
    desk.run_for(8)
    assert desk.record().state is TaskState.FAILED


# -- a buyer that was stopped itself


@pytest.mark.parametrize("spec", [SPEC, ONCE])
def test_a_buyer_that_was_stopped_asks_before_it_judges(spec: TaskSpec) -> None:
    desk = Desk()
    terms = desk.running(BOB, spec)
    desk.hear(BOB, beat(terms))
    desk.run_for(6)
    desk.take(Query)
    desk.now_s += 3600
    desk.do(e.MemberStands(BOB, Liveness.DEAD))  # so it looked to us, who heard nothing
    desk.run_for(0)
    assert desk.record().state is TaskState.RUNNING
    assert desk.take(Query)
    desk.hear(BOB, beat(terms))
    desk.run_for(14)
    assert desk.record().state is TaskState.RUNNING
    assert len(desk.record().attempts) == 1


def test_a_provider_that_does_not_answer_after_we_were_stopped_is_lost() -> None:
    desk = Desk()
    terms = desk.running()
    desk.hear(BOB, beat(terms))
    desk.now_s += 3600
    desk.run_for(25)
    assert desk.record().attempts[0].ended_as == "lost"


def test_sleep_that_only_the_boot_clock_shows_is_no_reason_to_judge_either() -> None:
    desk = Desk()
    desk.running()
    desk.do(e.Woke())
    desk.do(e.MemberStands(BOB, Liveness.DEAD))
    assert desk.record().state is TaskState.RUNNING
    assert desk.take(Query)


def test_a_task_that_must_not_run_twice_moves_on_when_it_was_never_started() -> None:
    desk = Desk()
    terms = desk.awarded(BOB, ONCE)
    desk.hear(BOB, Decline(TASK, terms.fence, "expired"))
    desk.run_for(1.1)
    terms = desk.running(BOB, ONCE)
    desk.hear(BOB, result(terms, Outcome("unfit", -1, "inputs")))
    assert desk.record().state is TaskState.SUBMITTED
    desk.know(CAROL)
    desk.run_for(1.1)
    terms = desk.running(CAROL, ONCE)
    desk.hear(CAROL, result(terms, STOPPED))
    assert desk.record().state is TaskState.FAILED


def test_an_unanswered_award_that_must_not_run_twice_is_repeated_for_a_whole_lease() -> None:
    desk = Desk()
    terms = desk.awarded(BOB, ONCE)
    desk.run_for(14)
    assert desk.record().state is TaskState.AWARDED
    desk.hear(BOB, Accept(TASK, terms.fence))
    assert desk.record().state is TaskState.RUNNING


# -- the submitter


def test_a_cancelled_task_stops_its_provider_as_often_as_that_speaks() -> None:
    desk = Desk()
    terms = desk.running()
    desk.do(e.CancelAsked(TASK), e.CancelAsked(TASK))
    desk.hear(BOB, beat(terms))
    desk.hear(BOB, result(terms))
    stop = (BOB, CancelJob(TASK, terms.fence, "cancelled"))
    assert desk.take(CancelJob) == [stop, stop]
    assert desk.record().state is TaskState.CANCELLED


def test_what_a_cancelled_task_left_is_taken_once_and_receipted_as_often_as_it_comes() -> None:
    desk = Desk()
    terms = desk.running()
    desk.do(e.CancelAsked(TASK))
    left = Outcome("stopped", 143, "cancelled", outputs=(StoredFile("log", 1, "swarm:a"),))
    desk.hear(BOB, result(terms, left))
    desk.hear(BOB, result(terms, Outcome("stopped", 143, "cancelled")))
    assert len(desk.take(Receipt)) == 2
    record = desk.record()
    assert (record.state, record.outcome) == (TaskState.CANCELLED, left)


def test_of_an_attempt_that_was_lost_before_its_task_was_cancelled_nothing_is_taken() -> None:
    desk = Desk()
    first = desk.running()
    desk.do(e.MemberStands(BOB, Liveness.DEAD))
    desk.know(CAROL)
    desk.run_for(2)
    desk.do(e.CancelAsked(TASK))
    desk.hear(BOB, result(first, Outcome("stopped", 143, "cancelled")))
    assert desk.record().outcome is None


def test_cancelling_an_auction_releases_everybody() -> None:
    desk = Desk()
    desk.know(BOB, CAROL)
    desk.submit()
    desk.do(e.CancelAsked(TASK))
    assert {peer for peer, _ in desk.take(Release)} == {BOB, CAROL}
    desk.run_for(60)
    assert desk.record().state is TaskState.CANCELLED


def test_a_task_fails_at_its_deadline_and_says_what_it_waited_for() -> None:
    desk = Desk()
    desk.submit(TaskSpec(("x",), deadline_ms=30_000))
    desk.run_for(29)
    assert desk.record().state is TaskState.SUBMITTED
    desk.run_for(1.1)
    record = desk.record()
    assert record.state is TaskState.FAILED
    assert "no machine is known yet" in record.why
    assert record.outcome is not None
    assert record.outcome.reason == "deadline"


def test_a_running_task_is_stopped_at_its_deadline() -> None:
    desk = Desk()
    terms = desk.running(BOB, TaskSpec(("x",), deadline_ms=10_000))
    desk.run_for(11)
    assert desk.take(CancelJob) == [(BOB, CancelJob(TASK, terms.fence, "deadline"))]
    assert desk.record().state is TaskState.FAILED


# -- restarts


def test_a_running_task_survives_a_restart_without_a_new_attempt() -> None:
    desk = Desk()
    terms = desk.running()
    desk.restart()
    assert desk.take(Query) == [(BOB, Query(TASK, terms.fence))]
    desk.hear(BOB, beat(terms))
    desk.run_for(10)
    assert desk.take(Renew)
    desk.hear(BOB, result(terms))
    assert desk.record().state is TaskState.DONE
    assert len(desk.record().attempts) == 1


def test_an_award_that_left_before_the_crash_is_found_again() -> None:
    desk = Desk()
    terms = desk.awarded()
    desk.restart()
    desk.hear(BOB, beat(terms, Phase.LEASED))
    assert desk.record().state is TaskState.RUNNING
    assert desk.record().fence == 1


def test_an_award_that_never_left_is_made_anew() -> None:
    desk = Desk()
    terms = desk.awarded()
    desk.restart()
    desk.hear(BOB, beat(terms, Phase.UNKNOWN))
    desk.know(CAROL)
    desk.run_for(1)
    assert desk.awarded(CAROL).fence == 2


def test_an_interrupted_auction_is_held_again() -> None:
    desk = Desk()
    desk.know(BOB)
    desk.submit()
    old = desk.calls()[BOB]
    desk.restart()
    assert desk.record().state is TaskState.SUBMITTED
    desk.know(BOB)
    desk.run_for(2)
    assert desk.calls()[BOB] > old
    desk.hear(BOB, held(old))
    assert not desk.take(Award)


def test_a_provider_that_does_not_answer_after_a_restart_is_lost() -> None:
    desk = Desk()
    desk.running()
    desk.restart()
    desk.run_for(16)
    assert desk.record().attempts[0].ended_as == "lost"


def test_a_receipt_is_given_again_after_a_restart() -> None:
    desk = Desk()
    terms = desk.running()
    desk.hear(BOB, result(terms))
    desk.restart()
    desk.hear(BOB, result(terms))
    assert desk.take(Receipt)


def test_a_deadline_holds_across_a_restart() -> None:
    desk = Desk()
    desk.submit(TaskSpec(("x",), deadline_ms=30_000))
    desk.run_for(20)
    desk.restart()
    desk.run_for(10.1)
    assert desk.record().state is TaskState.FAILED


def test_the_job_of_a_task_nobody_knows_is_stopped() -> None:
    desk = Desk()
    terms = desk.running()
    desk.disk.clear()
    desk.restart()
    desk.hear(BOB, beat(terms))
    desk.hear(BOB, result(terms))
    stop = (BOB, CancelJob(TASK, terms.fence, "unknown"))
    assert desk.take(CancelJob) == [stop, stop]


# -- dry runs


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
