"""A task that fails again and again from one checkpoint begins from an older one, or none."""

import pytest
from msgspec.structs import replace

from p2p.membership.view import Liveness
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.verdicts.starts import base_of, start_of
from swarmnode.market.messages import AwardTerms
from swarmnode.tasks.checkpoint import CheckpointRecord, OlderStep, StoredFile, resumed_files
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.messages import Checkpointed, Renew
from swarmnode.tasks.records import AttemptRecord, Outcome, TaskRecord
from swarmnode.tasks.spec import Repeatability, TaskSpec
from tests.buyer_lab import BOB, TASK, Desk, beat, result

FAILED = Outcome("failed", 1, "exit", "exit code 1")
UNREADABLE = Outcome("unfit", -1, "checkpoint", "step 6: its shards are gone")
STOPPED = Outcome("stopped", 143, "preempted")
SPEC = TaskSpec(("train",), retries=9)


def file(name: str) -> StoredFile:
    return StoredFile(".", 1, name, tree=True)


def kept(step: int, *older: int, made_ms: int = 1000) -> CheckpointRecord:
    """A step, with those before it, and a file beside them."""
    steps = tuple(OlderStep(one, file(f"step {one}"), beside=True) for one in older)
    return CheckpointRecord(step, (file(f"step {step}"), file("beside")), made_ms, steps)


def attempts(*began: tuple[int, str]) -> tuple[AttemptRecord, ...]:
    """(from which step of the checkpoint taken at 1000, how it ended)."""
    return tuple(
        AttemptRecord(
            at, BOB, 0, 0, 0, how, "", step, restored_ms=1000, is_bad_start=how == "failed"
        )
        for at, (step, how) in enumerate(began, 1)
    )


FAIL, LOST = "failed", "lost"


@pytest.mark.parametrize(
    ("older", "began", "next_step"),
    [
        ((4, 2), [], 6),
        ((4, 2), [(6, FAIL)], 6),
        ((4, 2), [(6, FAIL), (6, FAIL)], 4),
        ((4, 2), [(6, FAIL), (6, LOST), (6, LOST)], 6),
        ((4, 2), [(6, FAIL), (6, LOST), (6, FAIL)], 4),
        ((4, 2), [(6, FAIL), (6, FAIL), (4, FAIL)], 4),
        ((4, 2), [(6, FAIL), (6, FAIL), (4, LOST)], 4),
        ((4, 2), [(6, FAIL), (6, FAIL), (4, FAIL), (4, FAIL)], 2),
        ((4,), [(6, FAIL), (6, FAIL), (4, FAIL), (4, FAIL)], 0),
        ((), [(6, FAIL), (6, FAIL)], 0),
        ((), [(6, FAIL), (6, FAIL), (0, FAIL), (0, FAIL), (0, FAIL)], 0),
        ((4,), [(4, FAIL), (4, FAIL), (0, FAIL)], 0),  # the first ones are not on record any more
    ],
)
def test_the_next_start(
    older: tuple[int, ...], began: list[tuple[int, str]], next_step: int
) -> None:
    record = TaskRecord(TaskId("t"), SPEC, 0, attempts=attempts(*began), checkpoint=kept(6, *older))
    start = start_of(record)
    assert start is not None
    assert start.step == next_step
    assert start.made_ms == 1000
    assert [one.step for one in start.older] == [one for one in older if one < next_step]


def test_an_older_step_comes_with_those_before_it_and_what_lies_beside_and_none_with_nothing() -> (
    None
):
    record = TaskRecord(TaskId("t"), SPEC, 0, checkpoint=kept(6, 4, 2))
    begun = replace(record, attempts=attempts((6, FAIL), (6, FAIL)))
    start = start_of(begun)
    assert start is not None
    assert [one.cap for one in resumed_files(start)] == ["step 2", "beside", "step 4"]
    begun = replace(record, attempts=attempts((2, FAIL), (2, FAIL)))
    start = start_of(begun)
    assert start is not None
    assert resumed_files(start) == ()


def test_of_one_that_may_be_torn_the_step_before_is_what_was_tried() -> None:
    torn = replace(kept(6, 4, 2), sure=False)
    record = TaskRecord(TaskId("t"), SPEC, 0, checkpoint=torn)
    start = start_of(replace(record, attempts=attempts((6, FAIL), (6, FAIL))))
    assert start is not None
    assert start.step == 2


def test_whoever_never_had_a_checkpoint_begins_without_one() -> None:
    record = TaskRecord(TaskId("t"), SPEC, 0, attempts=attempts((0, FAIL), (0, FAIL)))
    assert start_of(record) is None
    assert base_of(record) is None


# -- as the buyer does it


def fails(desk: Desk, outcome: Outcome = FAILED) -> AwardTerms:
    """One more attempt, which ends like this."""
    desk.run_for(15)
    terms = desk.running(BOB, SPEC)
    desk.hear(BOB, result(terms, outcome))
    return terms


def after_a_first_attempt(*older: int) -> Desk:
    """It stored step 6 and failed: that speaks against nothing but the program."""
    desk = Desk()
    terms = desk.running(BOB, SPEC)
    desk.hear(BOB, Checkpointed(TASK, terms.fence, kept(6, *older)))
    desk.hear(BOB, result(terms, FAILED, kept(6, *older)))
    return desk


def steps(desk: Desk) -> list[int]:
    return [one.restored_step for one in desk.record().attempts]


@pytest.mark.parametrize("outcome", [FAILED, UNREADABLE])
def test_two_failures_from_a_step_lead_to_the_one_before_and_then_to_none(
    outcome: Outcome,
) -> None:
    desk = after_a_first_attempt(4)
    for _ in range(6):
        fails(desk, outcome)
    assert steps(desk) == [0, 6, 6, 4, 4, 0, 0]
    assert desk.record().checkpoint == kept(6, 4), "whoever mends the program wants it"


def test_it_is_said_in_the_attempt_and_in_the_events() -> None:
    desk = after_a_first_attempt(4)
    for _ in range(4):
        fails(desk)
    words = [one.detail for one in desk.record().attempts]
    assert [one for one in words if "attempts from step" in one] == [
        "exit: exit code 1; 2 attempts from step 6: the next is from step 4",
        "exit: exit code 1; 2 attempts from step 4: the next is from the beginning, "
        "without a checkpoint",
    ]
    told = [one.detail for one in desk.told if isinstance(one, TaskChanged)]
    assert any("the next is from step 4" in one for one in told)


def test_a_lost_or_preempted_attempt_says_nothing_of_its_checkpoint() -> None:
    desk = after_a_first_attempt(4)
    for _ in range(3):
        fails(desk, STOPPED)
        desk.run_for(15)
        terms = desk.running(BOB)
        desk.do(e.MemberStands(BOB, Liveness.DEAD))
        assert terms.restore == kept(6, 4)


def test_progress_of_its_own_begins_the_count_anew_from_there() -> None:
    desk = after_a_first_attempt(4)
    fails(desk)
    fails(desk)
    terms = fails(desk, STOPPED)
    assert terms.restore is not None
    assert terms.restore.step == 4
    desk.run_for(15)
    terms = desk.running(BOB, SPEC)
    assert terms.restore is not None
    assert terms.restore.step == 4
    desk.hear(BOB, Checkpointed(TASK, terms.fence, kept(5, 4, made_ms=2000)))
    assert desk.record().checkpoint == kept(5, 4, made_ms=2000)
    desk.hear(BOB, result(terms, FAILED))
    fails(desk)
    fails(desk)
    fails(desk)
    assert steps(desk)[-4:] == [4, 5, 5, 4]


def test_a_provider_repeats_progress_that_lies_below_the_step_that_was_left_behind() -> None:
    desk = after_a_first_attempt()
    fails(desk)
    fails(desk)
    desk.run_for(15)
    terms = desk.running(BOB, SPEC)
    desk.take(Renew)
    desk.hear(BOB, beat(terms))
    desk.run_for(6)
    (*_, (_, renew)) = desk.take(Renew)
    assert (renew.checkpoint_step, renew.checkpoint_ms) == (0, 1000)


def test_a_late_word_of_the_failed_attempt_does_not_bring_its_step_back() -> None:
    desk = after_a_first_attempt(4)
    fails(desk)
    last = fails(desk)
    desk.hear(BOB, Checkpointed(TASK, last.fence, kept(7, 6, made_ms=3000)))
    assert desk.record().checkpoint == kept(6, 4)


def test_the_count_outlives_the_submitters_node() -> None:
    desk = after_a_first_attempt(4)
    fails(desk)
    desk.restart()
    fails(desk)
    fails(desk)
    assert steps(desk)[-1] == 4


def test_what_must_not_run_twice_fails_at_its_first_failure() -> None:
    desk = Desk()
    spec = TaskSpec(("x",), retries=5, effects=Repeatability.ONCE)
    desk.hear(BOB, result(desk.running(BOB, spec), FAILED))
    assert desk.record().state is TaskState.FAILED
