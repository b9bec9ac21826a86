"""What is taken over of a task, and what of it may go."""

from typing import Any

from storage.facade import Mark, ObjectEntry, ObjectKind, ReadCap
from storage.ids import Address, ObjectKey
from storage.manifests.capability import text_of_cap
from swarmnode.estate.plan import due, files_until_ms, inputs_of, logs_of_nobody, unneeded
from swarmnode.limits import INPUT_KEPT_MS, INPUT_UNUSED_MS, TASK_FILES_KEPT_MS
from swarmnode.tasks.checkpoint import CheckpointRecord, OlderStep, StoredFile
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TaskState
from swarmnode.tasks.records import Outcome, TaskRecord
from swarmnode.tasks.spec import TaskSpec

T = TaskId("t" * 26)


def cap(number: int) -> ReadCap:
    return ReadCap(Address(bytes([number]) * 32), ObjectKey(bytes(32)))


def stored(number: int, name: str = "f") -> StoredFile:
    return StoredFile(name, 1, text_of_cap(cap(number)))


def record(state: TaskState = TaskState.RUNNING, **changes: Any) -> TaskRecord:  # noqa: ANN401
    spec = changes.pop("spec", TaskSpec(("true",)))
    return TaskRecord(T, spec, 1000, state, **changes)


def entry(number: int, name: str, kind: str, put_ms: int = 0) -> ObjectEntry:
    return ObjectEntry(cap(number), name, 1, put_ms, Mark(kind, T))


def left(one: TaskRecord, entries: list[ObjectEntry], now_ms: int) -> list[int]:
    going = unneeded({one.task: one}, {one.task: inputs_of(one)}, entries, now_ms)
    return [address[0] for address in going]


def test_a_checkpoint_is_taken_over_once_and_outputs_at_the_end() -> None:
    older = (OlderStep(6, stored(3), beside=True),)
    running = record(checkpoint=CheckpointRecord(7, (stored(1), stored(4)), 50, older))
    assert [one.name for one in due(running, 49, has_outputs=False)] == [
        f"checkpoint/{T}/7/0", f"checkpoint/{T}/7/1", f"checkpoint/{T}/6/0",
    ]  # fmt: skip
    assert due(running, 50, has_outputs=False) == []
    outcome = Outcome("done", 0, "exit", outputs=(stored(2, "a/b"),))
    done = record(TaskState.DONE, outcome=outcome, checkpoint=running.checkpoint)
    assert [(one.name, one.mark.kind) for one in due(done, 0, has_outputs=False)] == [
        (f"output/{T}/a/b", ObjectKind.OUTPUT)
    ]
    assert due(done, 0, has_outputs=True) == []


def test_outputs_of_a_failed_task_are_its_owners_too() -> None:
    outcome = Outcome("failed", 1, "exit", outputs=(stored(2),))
    failed = record(TaskState.FAILED, outcome=outcome)
    assert len(due(failed, 0, has_outputs=False)) == 1


def test_what_a_failed_attempt_left_is_taken_over_until_a_later_one_stands() -> None:
    again = record(left=(stored(1, "x"),), left_fence=2)
    found = due(again, 0, has_outputs=False, left_fence=1)
    assert [(one.name, one.mark.kind) for one in found] == [(f"attempt/{T}/2/x", ObjectKind.OUTPUT)]
    assert due(again, 0, has_outputs=False, left_fence=2) == []
    both = [
        entry(1, f"attempt/{T}/1/x", ObjectKind.OUTPUT),
        entry(2, f"attempt/{T}/2/x", ObjectKind.OUTPUT),
        entry(3, f"output/{T}/x", ObjectKind.OUTPUT),
    ]
    assert left(record(left=(stored(1),), left_fence=1), both[:1], 0) == []
    assert left(record(left=(stored(2),), left_fence=2), both, 0) == [1]
    outcome = Outcome("failed", 1, "exit", outputs=(stored(2),))
    assert left(record(TaskState.FAILED, outcome=outcome), both, 0) == [1]
    outcome = Outcome("done", 0, "exit", outputs=(stored(3),))
    assert left(record(TaskState.DONE, outcome=outcome), both, 0) == [1, 2]
    assert unneeded({}, {}, both, 0) == []  # nobody knows what became of its task


def test_what_the_newest_checkpoint_is_made_of_stays_and_what_it_replaced_goes() -> None:
    steps = [entry(n, f"checkpoint/{T}/{n}/0", ObjectKind.CHECKPOINT) for n in range(1, 7)]
    older = (OlderStep(4, stored(4), beside=True), OlderStep(2, stored(2), beside=True))
    now = record(checkpoint=CheckpointRecord(6, (stored(6), stored(5)), 0, older))
    assert left(now, steps, 0) == [1, 3]
    again = record(checkpoint=CheckpointRecord(6, (stored(1),), 1, older))
    assert left(again, steps, 0) == [3, 5, 6]


def test_a_checkpoint_newer_than_what_is_known_of_an_open_task_stays() -> None:
    """Its guardians may know it: who has just recovered knows an older one, or none."""
    newer = [entry(7, f"checkpoint/{T}/24/0", ObjectKind.CHECKPOINT)]
    known = CheckpointRecord(16, (stored(1),), 0)
    assert left(record(checkpoint=known), newer, 0) == []
    assert left(record(), newer, 0) == []
    assert left(record(TaskState.DONE, ended_ms=5, checkpoint=known), newer, 5) == [7]


def test_a_made_up_capability_keeps_nothing() -> None:
    odd = record(checkpoint=CheckpointRecord(6, (StoredFile(".", 1, "nonsense"),), 0))
    assert left(odd, [entry(1, f"checkpoint/{T}/6/0", ObjectKind.CHECKPOINT)], 0) == [1]


def test_checkpoints_go_when_their_task_is_done_or_forgotten_and_a_week_after_it_failed() -> None:
    step = [entry(1, f"checkpoint/{T}/1/f", ObjectKind.CHECKPOINT)]
    assert left(record(TaskState.DONE, ended_ms=5), step, 5) == [1]
    assert [one[0] for one in unneeded({}, {}, step, 0)] == [1]
    for state in (TaskState.FAILED, TaskState.CANCELLED):
        ended = record(state, ended_ms=5, checkpoint=CheckpointRecord(1, (stored(1),), 0))
        assert left(ended, step, 4 + TASK_FILES_KEPT_MS) == []
        assert left(ended, step, 5 + TASK_FILES_KEPT_MS) == [1]
        assert files_until_ms(ended) == 5 + TASK_FILES_KEPT_MS


def test_an_input_lives_as_long_as_a_task_needs_it() -> None:
    one = [entry(3, "data", ObjectKind.INPUT)]
    spec = TaskSpec(("true",), inputs=(("data", text_of_cap(cap(3))),))
    late = 10 * TASK_FILES_KEPT_MS
    assert left(record(spec=spec), one, late) == []
    done = record(TaskState.DONE, spec=spec, ended_ms=late)
    assert left(done, one, late + INPUT_KEPT_MS - 1) == []
    assert left(done, one, late + INPUT_KEPT_MS) == [3]


def test_an_input_that_no_task_has_used_goes_after_an_hour() -> None:
    one = [entry(3, "data", ObjectKind.INPUT, put_ms=7)]
    assert unneeded({}, {}, one, 6 + INPUT_UNUSED_MS) == []
    assert len(unneeded({}, {}, one, 7 + INPUT_UNUSED_MS)) == 1


def test_what_a_person_put_and_what_a_task_gave_back_never_goes_by_itself() -> None:
    things = [entry(1, "mine", ObjectKind.NONE), entry(2, f"output/{T}/x", ObjectKind.OUTPUT)]
    assert unneeded({}, {}, things, 2**60) == []


def test_an_input_that_is_no_capability_is_the_tasks_affair() -> None:
    assert inputs_of(record(spec=TaskSpec(("true",), inputs=(("x", "nonsense"),)))) == frozenset()


def test_logs_go_when_no_task_has_its_own_in_them_any_more() -> None:
    entries = [
        entry(1, "log/a", ObjectKind.LOG),
        entry(2, "log/b", ObjectKind.LOG),
        entry(3, "x", ObjectKind.NONE),
    ]
    needed = {cap(1).address}
    assert logs_of_nobody(needed, entries, INPUT_KEPT_MS) == [cap(2).address]
    assert logs_of_nobody(needed, entries, INPUT_KEPT_MS - 1) == [], "about to be noted"
