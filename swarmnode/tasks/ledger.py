"""The submitter's book of tasks: every change is a Persist first and an event after it.

It decides nothing about providers; `swarmnode.market.buyer.core` does, and writes here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from p2p.effects import Notify, Persist
from p2p.ids import PeerId
from p2p.wire.codec import encode
from swarmnode.errors import TaskUnknownError
from swarmnode.limits import (
    ATTEMPTS_KEPT_MAX,
    OUTPUTS_APART_MAX,
    ROUNDS_KEPT_MAX,
    TASKS_FINISHED_MAX,
    TASKS_FORGOTTEN_MAX,
    TASKS_MOVED_MAX,
)
from swarmnode.tasks.checkpoint import CheckpointRecord, StoredFile
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TASK_ENDS, TaskFact, TaskState, next_task_state
from swarmnode.tasks.records import AttemptRecord, MovedRecord, Outcome, RoundRecord, TaskRecord
from swarmnode.tasks.store import FORGOTTEN, MOVED, ROUNDS, TASKS, round_key, task_key

_GIVEN_UP: Final = frozenset({"", "lost", "unanswered"})


class TaskChanged(msgspec.Struct, frozen=True):
    """A line of the event stream."""

    task: TaskId
    at_ms: int
    fact: str
    """A TaskFact's text, `submitted`, `checkpointed`; `taken over` (by us); `taken up` (of another
    machine of ours that is gone); `noted`: a new detail."""
    state: TaskState
    provider: PeerId
    detail: str = ""


class TaskForgotten(msgspec.Struct, frozen=True):
    """A task that ended long ago is gone; what is kept of its logs can go too."""

    task: TaskId


LedgerEffect: TypeAlias = Persist | Notify[TaskChanged | TaskForgotten]


class Ledger:
    """All tasks of this submitter, oldest first; methods return effects to perform in order."""

    def __init__(self) -> None:
        self._records: dict[TaskId, TaskRecord] = {}
        """By task; who changes one also returns, or lets the next step return, its Persist."""
        self._is_sorted = True
        """They stand there from the oldest on; looked after when somebody asks for all."""
        self._ended: dict[TaskId, None] = {}
        """Tasks that have ended, the one that ended first is first."""
        self.forgotten: dict[TaskId, bytes] = {}
        """Tasks that are no more, with their keys, the newest last; TASKS_FORGOTTEN_MAX at most."""
        self.moved: dict[TaskId, MovedRecord] = {}
        """Those that go on at another machine of ours, the newest last; TASKS_MOVED_MAX at most."""
        self.at_rest: Callable[[TaskRecord], TaskRecord] = lambda record: record
        """A record as it is to be written: what is secret of one that has ended may be sealed."""

    def load(self, records: Iterable[TaskRecord]) -> None:
        """Take over what an earlier life of this node wrote, or another machine of ours."""
        for record in records:
            self._records[record.task] = record
            self._is_sorted = False
        by_end = sorted(self._records.values(), key=lambda known: (known.ended_ms, known.task))
        self._ended = {ended.task: None for ended in by_end if ended.state in TASK_ENDS}

    def were_removed(self, tasks: Mapping[TaskId, bytes], at_ms: int) -> list[LedgerEffect]:
        """Tasks that are no more, here or at another machine of ours, with their keys."""
        self.forgotten.update(tasks)
        gone = [task for task in tasks if task in self._ended]
        return [effect for task in gone for effect in self.forget(task, at_ms)]

    def __contains__(self, task: TaskId) -> bool:
        return task in self._records

    def get(self, task: TaskId) -> TaskRecord:
        """The record of a task. Raises TaskUnknownError."""
        record = self._records.get(task)
        if record is None:
            raise TaskUnknownError(f"no task {task} was submitted here")
        return record

    def find(self, task: TaskId) -> TaskRecord | None:
        """The same, or None."""
        return self._records.get(task)

    def all(self) -> Sequence[TaskRecord]:
        """Every task, oldest first."""
        return tuple(self._in_order())

    def unfinished(self) -> Sequence[TaskRecord]:
        """Tasks that have not ended, oldest first."""
        return tuple(record for record in self._in_order() if record.state not in TASK_ENDS)

    def _in_order(self) -> Iterable[TaskRecord]:
        if not self._is_sorted:
            by_age = sorted(
                self._records.values(), key=lambda record: (record.submitted_ms, record.task)
            )
            self._records = {record.task: record for record in by_age}
            self._is_sorted = True
        return self._records.values()

    def submit(self, record: TaskRecord) -> list[LedgerEffect]:
        """Begin a task; forgets those that ended first when there are too many."""
        task, at_ms = record.task, record.submitted_ms
        self._records[task] = record
        event = TaskChanged(task, at_ms, "submitted", record.state, PeerId(""))
        return [self._write(record), Notify(event), *self._forget_oldest(at_ms)]

    def adopt(self, record: TaskRecord, at_ms: int, why: str) -> list[LedgerEffect]:
        """Go on with a task as another machine has left it."""
        self._is_sorted = self._is_sorted and record.task in self._records
        self._records[record.task] = record
        if record.state in TASK_ENDS:
            self._ended[record.task] = None
        event = TaskChanged(record.task, at_ms, "taken over", record.state, record.provider, why)
        return [self._write(record), Notify(event)]

    def take_up(self, records: Sequence[TaskRecord], at_ms: int) -> list[LedgerEffect]:
        """Tasks of another machine of ours, which is gone; written down before."""
        self.load(records)
        return [
            Notify(
                TaskChanged(
                    record.task, at_ms, "taken up", record.state, record.provider, record.why
                )
            )
            for record in records
        ]

    def drop(self, task: TaskId) -> list[LedgerEffect]:
        """Another machine goes on with a task that is not ours."""
        self._ended.pop(task, None)
        return _erased(self._records.pop(task))

    def hand_on(self, task: TaskId, by: PeerId, at_ms: int) -> list[LedgerEffect]:
        """Another machine of our owner goes on with a task of ours: only where is kept."""
        return [*self.went_to(task, by, at_ms), *self.drop(task), Notify(TaskForgotten(task))]

    def went_to(self, task: TaskId, by: PeerId, at_ms: int) -> list[LedgerEffect]:
        """A task of ours is that machine's now: it goes by its name still."""
        record = self.get(task)
        moved = self.moved[task] = MovedRecord(record.spec.name, by, at_ms, record.person)
        effects: list[LedgerEffect] = [Persist(MOVED, task_key(task), encode(moved))]
        if len(self.moved) > TASKS_MOVED_MAX:
            oldest = next(iter(self.moved))
            del self.moved[oldest]
            effects.append(Persist(MOVED, task_key(oldest), None))
        return effects

    def step(self, task: TaskId, fact: TaskFact, at_ms: int, why: str = "") -> list[LedgerEffect]:
        """Move a task along its lifecycle. Raises IllegalTransitionError."""
        before = self.get(task)
        state = next_task_state(before.state, fact)
        ended_ms = at_ms if state in TASK_ENDS else 0
        record = msgspec.structs.replace(before, state=state, why=why, ended_ms=ended_ms)
        self._records[task] = record
        if state in TASK_ENDS:
            self._ended[task] = None
        event = TaskChanged(task, at_ms, fact.value, state, record.provider, why)
        return [self._write(record), Notify(event)]

    def award(self, task: TaskId, attempt: AttemptRecord) -> None:
        """Put a new attempt on the record; the following `step` writes it."""
        record = self.get(task)
        kept = record.attempts[:1] + record.attempts[1:][-(ATTEMPTS_KEPT_MAX - 2) :]
        self._change(
            task, attempts=(*kept, attempt), fence=attempt.fence, provider=attempt.provider
        )

    def end_attempt(
        self,
        task: TaskId,
        at_ms: int,
        ended_as: str,
        detail: str = "",
        *,
        is_bad_start: bool = False,
        node_faulted: bool = False,
    ) -> None:
        """Close the newest attempt; the following `step` writes it.

        A result tells better how an attempt ended than we, who had given it up.
        """
        record = self.get(task)
        if record.attempts and record.attempts[-1].ended_as in _GIVEN_UP:
            last = msgspec.structs.replace(
                record.attempts[-1],
                ended_ms=at_ms,
                ended_as=ended_as,
                detail=detail,
                is_bad_start=is_bad_start,
                node_faulted=node_faulted,
            )
            self._change(task, attempts=(*record.attempts[:-1], last))

    def accept_attempt(self, task: TaskId, at_ms: int) -> None:
        """Note when the newest attempt was accepted; the following `step` writes it."""
        record = self.get(task)
        last = msgspec.structs.replace(record.attempts[-1], accepted_ms=at_ms)
        self._change(task, attempts=(*record.attempts[:-1], last))

    def note_death(self, task: TaskId, fence: int, node_died_ms: int, why: str) -> None:
        """Note that a machine's node died under an attempt; the following `set_why` writes it."""
        attempts = tuple(
            msgspec.structs.replace(
                attempt, node_died_ms=node_died_ms, detail=attempt.detail or why
            )
            if attempt.fence == fence
            else attempt
            for attempt in self.get(task).attempts
        )
        self._change(task, attempts=attempts)

    def use_retry(self, task: TaskId) -> None:
        """Count a failure of the task itself; the following `step` writes it."""
        self._change(task, retries_used=self.get(task).retries_used + 1)

    def set_left(self, task: TaskId, fence: int, outputs: tuple[StoredFile, ...]) -> None:
        """Keep what a failed attempt left; the following `step` writes it."""
        if 0 < len(outputs) <= OUTPUTS_APART_MAX:
            self._change(task, left=outputs, left_fence=fence)

    def set_outcome(self, task: TaskId, outcome: Outcome) -> None:
        """Keep how the task ended; the following `step` writes it."""
        self._change(task, **_with_left(self.get(task), outcome))

    def left_over(
        self, task: TaskId, outcome: Outcome, checkpoint: CheckpointRecord | None, at_ms: int
    ) -> list[LedgerEffect]:
        """What a cancelled task had made until it was stopped."""
        kept = _with_left(self.get(task), outcome)
        record = self._change(task, checkpoint=checkpoint, **kept)
        files = f"{len(record.outcome.outputs if record.outcome else ())} outputs are kept"
        event = TaskChanged(task, at_ms, "noted", record.state, record.provider, files)
        return [self._write(record), Notify(event)]

    def checkpointed(
        self, task: TaskId, checkpoint: CheckpointRecord, at_ms: int
    ) -> list[LedgerEffect]:
        """Remember newer progress."""
        record = self._change(task, checkpoint=checkpoint)
        step = f"step {checkpoint.step}"
        event = TaskChanged(task, at_ms, "checkpointed", record.state, record.provider, step)
        return [self._write(record), Notify(event)]

    def set_why(self, task: TaskId, why: str, at_ms: int) -> list[LedgerEffect]:
        """Say in words what a task waits for."""
        record = self._change(task, why=why)
        event = TaskChanged(task, at_ms, "noted", record.state, record.provider, why)
        return [self._write(record), Notify(event)]

    def set_note(self, task: TaskId, note: str, at_ms: int) -> list[LedgerEffect]:
        """What a provider tells besides: why a checkpoint is not kept; empty takes it back."""
        record = self._change(task, note=note)
        words = note or "checkpoints are kept again"
        event = TaskChanged(task, at_ms, "noted", record.state, record.provider, words)
        return [self._write(record), Notify(event)]

    def lose_secret(self, task: TaskId, name: str, at_ms: int) -> list[LedgerEffect]:
        """Its person has removed a secret of it: it starts nowhere any more."""
        before = self.get(task)
        lost = tuple(dict.fromkeys((*before.lost_secrets, name)))
        record = self._change(task, lost_secrets=lost)
        words = f"secret {name!r} was removed"
        event = TaskChanged(task, at_ms, "noted", record.state, record.provider, words)
        return [self._write(record), Notify(event)]

    def set_log_at(self, task: TaskId, machines: tuple[PeerId, ...]) -> list[LedgerEffect]:
        """Who may have more of its log; none once that is whole."""
        if self.get(task).log_at == machines:
            return []
        return [self._write(self._change(task, log_at=machines))]

    def count_round(self, task: TaskId) -> int:
        """Number of the auction that now opens; the following `step` writes it."""
        return self._change(task, rounds=self.get(task).rounds + 1).rounds

    def note_round(self, task: TaskId, entry: RoundRecord) -> list[LedgerEffect]:
        """Write an auction down for `explain`, and drop the one that is too old."""
        effects: list[LedgerEffect] = [
            Persist(ROUNDS, round_key(task, entry.number), encode(entry))
        ]
        if entry.number > ROUNDS_KEPT_MAX:
            oldest = round_key(task, entry.number - ROUNDS_KEPT_MAX)
            effects.append(Persist(ROUNDS, oldest, None))
        return effects

    def _write(self, record: TaskRecord) -> Persist:
        return Persist(TASKS, task_key(record.task), encode(self.at_rest(record)))

    def _change(self, task: TaskId, **changes: object) -> TaskRecord:
        record = self._records[task] = msgspec.structs.replace(self.get(task), **changes)
        return record

    def _forget_oldest(self, at_ms: int) -> list[LedgerEffect]:
        effects: list[LedgerEffect] = []
        while len(self._ended) > TASKS_FINISHED_MAX:
            effects += self.forget(next(iter(self._ended)), at_ms)
        return effects

    def forget(self, task: TaskId, at_ms: int) -> list[LedgerEffect]:
        """A task that has ended is no more; any other stays."""
        if task not in self._ended:
            return []
        del self._ended[task]
        record = self._records.pop(task)
        return [*_erased(record), *self._note_forgotten(record, at_ms), Notify(TaskForgotten(task))]

    def _note_forgotten(self, record: TaskRecord, at_ms: int) -> list[LedgerEffect]:
        """Whoever was away meanwhile, and tells us of it again, does not make it run again."""
        if not record.key or record.submitter:
            return []
        self.forgotten[record.task] = record.key
        noted = max(0, at_ms).to_bytes(8) + record.key
        effects: list[LedgerEffect] = [Persist(FORGOTTEN, task_key(record.task), noted)]
        if len(self.forgotten) > TASKS_FORGOTTEN_MAX:
            oldest = next(iter(self.forgotten))
            del self.forgotten[oldest]
            effects.append(Persist(FORGOTTEN, task_key(oldest), None))
        return effects


def _with_left(record: TaskRecord, outcome: Outcome) -> dict[str, object]:
    """How it ended, with the outputs of an earlier attempt where the last has none."""
    if record.left and not outcome.outputs and outcome.status != "done":
        outcome = msgspec.structs.replace(outcome, outputs=record.left)
    return {"outcome": outcome, "left": ()}


def _erased(record: TaskRecord) -> list[LedgerEffect]:
    oldest = max(1, record.rounds - ROUNDS_KEPT_MAX + 1)
    numbers = range(oldest, record.rounds + 1)
    rounds = [Persist(ROUNDS, round_key(record.task, number), None) for number in numbers]
    return [Persist(TASKS, task_key(record.task), None), *rounds]
