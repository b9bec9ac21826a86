"""Results of a buyer's tasks: taken once, receipted as often as they come."""

import msgspec

from p2p.effects import Persist, Send
from p2p.membership.view import Liveness
from p2p.wire.envelope import open_signed
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.config import BuyerConfig
from swarmnode.market.guardians import events as g
from swarmnode.market.messages import AwardTerms, Release
from swarmnode.tasks.checkpoint import CheckpointRecord, StoredFile
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.messages import (
    RECEIPT_DOMAIN,
    CancelJob,
    Checkpointed,
    ReceiptTerms,
    ResultReceipt,
)
from swarmnode.tasks.records import Outcome, TaskRecord
from swarmnode.tasks.spec import TaskSpec
from testnet.sim.signer import KeyedHashSigner
from tests.buyer_lab import BOB, CAROL, DONE, NETWORK, SPEC, TASK, Desk, held, result

FAILED = Outcome("failed", 3, "exit")


def test_a_result_is_taken_once_and_its_receipt_given_again_and_again() -> None:
    desk = Desk()
    terms = desk.running()
    for _ in range(3):
        desk.hear(BOB, result(terms))
        ((peer, receipt),) = desk.take(ResultReceipt)
        opened = open_signed(
            KeyedHashSigner(BOB), NETWORK, RECEIPT_DOMAIN, ReceiptTerms, receipt.sealed
        )
        assert (peer, opened) == (BOB, ReceiptTerms(TASK, terms.fence, BOB))
    record = desk.record()
    assert (record.state, record.outcome) == (TaskState.DONE, DONE)
    ends = [t for t in desk.told if isinstance(t, TaskChanged) and t.state is TaskState.DONE]
    assert len(ends) == 1


def test_where_the_keyring_is_copied_a_receipt_waits_for_the_copy() -> None:
    """Until then whoever takes over for this machine has the log from the provider."""
    desk = Desk()
    desk.do(g.EndsCopied(frozenset()))
    terms = desk.running()
    for _ in range(2):
        desk.hear(BOB, result(terms))
    assert desk.record().state is TaskState.DONE
    assert desk.take(ResultReceipt) == []
    assert desk.buyer.uncopied() == {TASK}
    desk.do(g.EndsCopied(frozenset({TASK})))
    assert len(desk.take(ResultReceipt)) == 1
    assert desk.buyer.uncopied() == frozenset()
    desk.hear(BOB, result(terms))
    assert len(desk.take(ResultReceipt)) == 1, "the first may have been lost"


def ended_but_not_copied() -> tuple[Desk, AwardTerms]:
    """Bob has told the result; no copy of the keyring has it."""
    desk = Desk()
    desk.do(g.EndsCopied(frozenset()))
    terms = desk.running()
    desk.hear(BOB, result(terms))
    return desk, terms


def test_a_receipt_waits_again_after_a_restart() -> None:
    desk, terms = ended_but_not_copied()
    desk.restart()
    desk.do(g.EndsCopied(frozenset()))
    desk.hear(BOB, result(terms))
    assert desk.take(ResultReceipt) == []
    desk.do(g.EndsCopied(frozenset({TASK})))
    assert len(desk.take(ResultReceipt)) == 1


def test_a_receipt_waits_no_longer_than_is_said() -> None:
    desk, terms = ended_but_not_copied()
    desk.run_for(299)
    desk.hear(BOB, result(terms))
    assert desk.take(ResultReceipt) == []
    desk.run_for(2)
    desk.hear(BOB, result(terms))
    assert len(desk.take(ResultReceipt)) == 1
    assert desk.buyer.uncopied() == frozenset()


def test_of_a_task_that_is_removed_the_receipt_is_given_at_once() -> None:
    desk, _ = ended_but_not_copied()
    desk.do(e.ForgetAsked(TASK))
    assert len(desk.take(ResultReceipt)) == 1


def test_a_result_of_a_task_that_was_forgotten_has_its_receipt_and_no_refusal() -> None:
    """A refusal would free what the task has left."""
    desk, terms = ended_but_not_copied()
    desk.do(e.ForgetAsked(TASK))
    assert len(desk.take(ResultReceipt)) == 1
    desk.hear(BOB, result(terms))
    assert len(desk.take(ResultReceipt)) == 1
    assert desk.take(CancelJob) == []
    assert desk.buyer.uncopied() == frozenset()


def test_of_an_attempt_that_is_followed_by_another_the_receipt_waits_for_nothing() -> None:
    desk = Desk()
    desk.do(g.EndsCopied(frozenset()))
    terms = desk.running(BOB, TaskSpec(("x",), retries=1))
    desk.hear(BOB, result(terms, FAILED))
    assert len(desk.take(ResultReceipt)) == 1


def test_the_receipt_leaves_only_with_the_result_on_disk() -> None:
    desk = Desk()
    terms = desk.running()
    effects = desk.buyer.handle(e.MessageHeard(BOB, result(terms)), desk.now_s)
    assert isinstance(effects[0], Persist)
    assert isinstance(effects[-1], Send)
    assert isinstance(effects[-1].message, ResultReceipt)


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
    assert desk.buyer.counts["results_refused"] == 3
    assert not desk.take(ResultReceipt)


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
    assert len(desk.take(ResultReceipt)) == 2


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
    assert desk.buyer.auctions_open == 0


def test_a_failure_is_tried_again_as_often_as_was_asked() -> None:
    desk = Desk()
    spec = TaskSpec(("x",), retries=1)
    terms = desk.running(BOB, spec)
    desk.hear(BOB, result(terms, FAILED))
    assert desk.take(ResultReceipt)
    assert desk.record().retries_used == 1
    desk.run_for(1)
    terms = desk.running(BOB, spec)
    desk.hear(BOB, result(terms, FAILED))
    record = desk.record()
    assert (record.state, record.outcome) == (TaskState.FAILED, FAILED)
    assert [one.ended_as for one in record.attempts] == ["failed", "failed"]


def test_a_retry_goes_to_another_machine_where_there_is_one() -> None:
    """One bad machine, quick to fail, would use up all retries."""
    desk, spec = Desk(), TaskSpec(("x",), retries=5)
    desk.know(BOB, CAROL)
    desk.submit(spec)
    ran: list[str] = []
    for number in range(4):
        desk.run_for(1 if number else 0)
        calls = desk.calls()
        for peer in (BOB, CAROL):
            desk.hear(peer, held(calls[peer]))
        (terms,) = desk.awards()
        ran.append(terms.seller)
        desk.hear(terms.seller, result(terms, FAILED))
    assert ran[0] != ran[1]
    assert sorted(ran) == [BOB, BOB, CAROL, CAROL]
    desk.do(e.MemberStands(CAROL, Liveness.DEAD))
    desk.run_for(1)
    assert set(desk.calls()) == {BOB}  # the only one is good enough


def test_a_task_that_can_be_started_nowhere_fails_in_the_end() -> None:
    desk = Desk(BuyerConfig(unfit_max=3, shun_s=0.5))
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
    desk.hear(BOB, Checkpointed(TASK, terms.fence, CheckpointRecord(1, files, 0)))
    desk.hear(BOB, Checkpointed(TASK, terms.fence, CheckpointRecord(2, files[:256], 0)))
    desk.hear(BOB, result(terms, Outcome("done", 0, "exit", "", files)))
    assert desk.record().state is TaskState.LOST
    assert desk.record().checkpoint == CheckpointRecord(2, files[:256], 0)
    desk.know(CAROL)
    desk.run_for(1.1)
    terms = desk.running(CAROL, spec)
    desk.hear(CAROL, result(terms, Outcome("done", 0, "exit", "x" * 9999, files[:256])))
    assert desk.record().state is TaskState.DONE
    desk.restart()
    assert desk.record().state is TaskState.DONE


def test_the_result_of_what_goes_on_elsewhere_is_left_to_the_machine_that_has_it_now() -> None:
    """Its provider may not have heard of that one yet: a receipt of ours would end it for both."""
    desk = Desk()
    desk.do(e.Submitted(TaskRecord(TASK, SPEC, desk.wall_ms(), key=b"k" * 32)))
    terms = desk.running()
    desk.run_for(4)
    assert desk.buyer.custody.find(TASK) is not None
    desk.do(e.GoesOnElsewhere(TASK, CAROL))
    desk.hear(BOB, result(terms))
    assert not desk.take(ResultReceipt)
    assert not desk.take(CancelJob)
