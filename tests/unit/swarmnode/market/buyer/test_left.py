"""Outputs of failed attempts: kept until a later one leaves its own, the task's when none does."""

from p2p.wire.codec import decode_as, encode
from swarmnode.limits import (
    ATTEMPTS_KEPT_MAX,
    CHECKPOINT_FILES_MAX,
    OUTPUTS_APART_MAX,
    OUTPUTS_MAX,
    SPEC_VALUES_MAX,
    TASK_RECORD_BYTES_MAX,
)
from swarmnode.market.buyer import events as e
from swarmnode.tasks.checkpoint import CheckpointRecord, OlderStep, StoredFile, fits_award
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.messages import Checkpointed
from swarmnode.tasks.records import AttemptRecord, Outcome, TaskRecord
from swarmnode.tasks.spec import TaskSpec
from tests.buyer_lab import BOB, DONE, TASK, Desk, result

SPEC = TaskSpec(("x",), outputs=("*",), retries=2)


def files(*names: str) -> tuple[StoredFile, ...]:
    return tuple(StoredFile(name, 1, f"cap of {name}") for name in names)


def failed(*names: str) -> Outcome:
    return Outcome("failed", 1, "exit", outputs=files(*names))


def attempts(desk: Desk, *outcomes: Outcome) -> None:
    for outcome in outcomes:
        desk.run_for(2)
        desk.hear(BOB, result(desk.running(BOB, SPEC), outcome))


def outputs(desk: Desk) -> list[str]:
    outcome = desk.record().outcome
    assert outcome is not None
    return [one.name for one in outcome.outputs]


def test_the_newest_failed_attempt_that_left_something_is_remembered() -> None:
    desk = Desk()
    attempts(desk, failed("a", "b"))
    assert (desk.record().left, desk.record().left_fence) == (files("a", "b"), 1)
    attempts(desk, failed())
    assert desk.record().left == files("a", "b")
    desk.restart()
    assert desk.record().left == files("a", "b")


def test_what_a_later_attempt_left_takes_its_place() -> None:
    desk = Desk()
    attempts(desk, failed("a"), failed("b"))
    assert desk.record().left == files("b")
    attempts(desk, failed("c"))
    assert desk.record().state is TaskState.FAILED
    assert (outputs(desk), desk.record().left) == (["c"], ())


def test_a_success_has_its_own_outputs_only() -> None:
    desk = Desk()
    attempts(desk, failed("a"), DONE)
    assert (outputs(desk), desk.record().left) == ([], ())


def test_a_task_whose_last_attempt_leaves_nothing_has_what_the_one_before_left() -> None:
    desk = Desk()
    attempts(desk, failed("a"), failed(), failed())
    assert desk.record().state is TaskState.FAILED
    assert outputs(desk) == ["a"]


def test_a_deadline_and_a_cancellation_leave_it_too() -> None:
    desk = Desk()
    late = TaskSpec(("x",), outputs=("*",), retries=2, deadline_ms=60_000)
    desk.hear(BOB, result(desk.running(BOB, late), failed("a")))
    desk.run_for(120)
    assert desk.record().state is TaskState.FAILED
    assert outputs(desk) == ["a"]
    desk = Desk()
    attempts(desk, failed("a"))
    desk.do(e.CancelAsked(TASK))
    assert desk.record().state is TaskState.CANCELLED
    assert outputs(desk) == ["a"]


def test_a_cancelled_attempt_that_leaves_nothing_does_not_take_it_away() -> None:
    desk = Desk()
    attempts(desk, failed("a"))
    desk.run_for(2)
    terms = desk.running(BOB, SPEC)
    desk.do(e.CancelAsked(TASK))
    desk.hear(BOB, result(terms, Outcome("stopped", 143, "cancelled")))
    assert outputs(desk) == ["a"]


# -- everything at its limit can be read back


def longest_checkpoint() -> CheckpointRecord:
    return CheckpointRecord(
        7, tuple(StoredFile("f", 1, "") for _ in range(CHECKPOINT_FILES_MAX)), 5
    )


def test_a_record_with_everything_at_its_limit_can_be_read_back() -> None:
    many = tuple(StoredFile("f", 1, "") for _ in range(OUTPUTS_MAX))
    attempt = AttemptRecord(1, BOB, 1, 2, 3, "failed", "x" * 300, 4, 5, 6, 7, is_bad_start=True)
    record = TaskRecord(
        TASK,
        TaskSpec(("x",) * (SPEC_VALUES_MAX - 1)),
        1000,
        attempts=(attempt,) * ATTEMPTS_KEPT_MAX,
        checkpoint=longest_checkpoint(),
        outcome=Outcome("failed", 1, "exit", outputs=many),
        left=many[:OUTPUTS_APART_MAX],
    )
    assert decode_as(TaskRecord, encode(record), TASK_RECORD_BYTES_MAX) == record


def test_a_checkpoint_of_very_many_older_steps_is_not_written_down() -> None:
    desk = Desk()
    terms = desk.running(BOB, TaskSpec(("x",) * 900))
    steps = tuple(OlderStep(1, StoredFile("f", 1, ""), beside=True) for _ in range(400))
    torn = CheckpointRecord(2, (StoredFile("f", 1, ""),), 1, steps)
    assert not fits_award(torn)
    desk.hear(BOB, Checkpointed(TASK, terms.fence, torn))
    assert desk.record().checkpoint is None
    assert fits_award(longest_checkpoint())
    kept = CheckpointRecord(101, (StoredFile("f", 1, ""),) * 2, 1, steps[:99])  # keep = 100
    assert fits_award(kept)
