"""Whose turn it is to act for a task, as its keepers decide: we go on with it, or rest from it."""

from collections.abc import Sequence
from typing import Final, assert_never

import msgspec

from p2p.effects import Notify, Send
from p2p.ids import PeerId
from p2p.membership.view import Liveness
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.attempts import Attempts
from swarmnode.market.buyer.bidding.fit import Seen
from swarmnode.market.buyer.book import Book
from swarmnode.market.guardians import events as g
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import TaskChanged, TaskForgotten
from swarmnode.tasks.lifecycle import HELD_BY_PROVIDER, TASK_ENDS, TaskFact, TaskState
from swarmnode.tasks.messages import CancelJob
from swarmnode.tasks.records import TaskRecord

FIRST_TERM: Final = 1
"""Of a claim on a task of which no keeper is known here."""


class Stewardship:
    """Carries out what the keepers decide, and tells them what changes here."""

    def __init__(self, book: Book, attempts: Attempts) -> None:
        self._book, self._attempts = book, attempts

    def carry_out(self, effects: list[e.Effect], now_s: float) -> list[e.Effect]:
        """Tell the keepers what changed here and do what they decide, until nothing is left."""
        told = 0
        while True:
            news = [effect.event for effect in effects[told:] if isinstance(effect, Notify)]
            told = len(effects)
            effects += self._told(news, now_s)
            decisions = self._book.keeper.take_decisions()
            for decision in decisions:
                effects += self._decided(decision, now_s)
            if not decisions and not any(isinstance(notice, TaskChanged) for notice in news):
                return effects

    def _told(self, news: Sequence[e.Notice], now_s: float) -> list[e.Effect]:
        """What changed, to the keepers of its task."""
        effects: list[e.Effect] = []
        changed = dict.fromkeys(notice.task for notice in news if isinstance(notice, TaskChanged))
        for forgotten in (notice.task for notice in news if isinstance(notice, TaskForgotten)):
            effects += self._book.receipts.give(forgotten)
            self._book.late_logs.forget(forgotten)
        for settled in (notice.task for notice in news if isinstance(notice, e.LogSettled)):
            if settled in self._book.ledger and not self._book.late_logs.where(settled):
                effects += self._book.ledger.set_log_at(settled, ())
        for task in changed:
            if (record := self._book.ledger.find(task)) is not None:
                effects += self._book.keeper.handle(g.TaskNoted(record), now_s)
        return effects

    def _decided(self, decision: g.Decision, now_s: float) -> list[e.Effect]:
        match decision:
            case g.Acts(guard, before):
                return self._on_acts(guard, before, now_s)
            case g.Rests(task):
                return self._on_rests(task)
            case g.TaskLetGo(task):
                return [Notify(TaskForgotten(task))]
            case _:
                assert_never(decision)

    def _on_acts(self, guard: GuardRecord, before: PeerId, now_s: float) -> list[e.Effect]:
        """Go on from what the keepers know; what we have ended ourselves stays ended."""
        book, task = self._book, guard.task
        is_mine, record = guard.submitter == book.me, book.ledger.find(task)
        logs = (
            self._logs(guard.task_record, guard.log_at(before, book.me), record)
            if is_mine and before != book.me
            else []
        )
        if logs and guard.task_record.state in TASK_ENDS:
            book.late_logs.expect(task, guard.log_at(before, book.me), now_s)
        went_on = self._went_on(guard, record, logs, now_s)
        sought = book.late_logs.machines(task)
        return went_on + (book.ledger.set_log_at(task, sought) if task in book.ledger else [])

    def _went_on(
        self,
        guard: GuardRecord,
        record: TaskRecord | None,
        logs: list[e.Effect],
        now_s: float,
    ) -> list[e.Effect]:
        book, task, is_mine = self._book, guard.task, guard.submitter == self._book.me
        if record is not None and record.state in TASK_ENDS:
            return [*self._has_ended(guard, record, now_s, is_back=bool(logs)), *logs]
        if is_mine and record is None and task in book.ledger.forgotten:
            return [*book.keeper.handle(g.TaskRemoved(task), now_s)]
        why = "this machine is back" if is_mine else f"{guard.submitter} is away"
        if logs:
            self.want_log(guard.task_record, guard.term, now_s)
        return [*logs, *book.end_pursuit(task), *self._adopt(guard, why, now_s)]

    def seek_log(self, record: TaskRecord, now_s: float) -> list[e.Effect]:
        """Of one that has ended, whose rest was still to come when this machine stopped."""
        if not record.log_at:
            return []
        guard = self._book.keeper.custody.find(record.task)
        self._book.late_logs.expect(record.task, record.log_at, now_s)
        self.want_log(record, FIRST_TERM if guard is None else guard.term, now_s)
        return self._logs(record, record.log_at, record)

    def _logs(
        self, told: TaskRecord, machines: tuple[PeerId, ...], ours: TaskRecord | None
    ) -> list[e.Effect]:
        """Of what it printed while the first of those acted for it. What has ended here stays as it
        is known here, with its attempts."""
        seen = self._book.machines.get(machines[0], Seen())
        is_up = seen.liveness in (Liveness.ALIVE, Liveness.SUSPECT)
        has_ended = ours is not None and ours.state in TASK_ENDS
        attempts = (*told.attempts, *(ours.attempts if ours is not None and has_ended else ()))
        known = tuple(dict.fromkeys(attempt.fence for attempt in attempts))
        printed = () if told.outcome is None else told.outcome.log_bytes
        return [Notify(g.LogsWanted(told.task, machines, told.fence, printed, known, is_up))]

    def _has_ended(
        self, guard: GuardRecord, record: TaskRecord, now_s: float, *, is_back: bool
    ) -> list[e.Effect]:
        """Here, while another machine acted for it: its attempt stops, and its keepers hear."""
        book, stop = self._book, list[e.Effect]()
        if guard.task_record.state in HELD_BY_PROVIDER:
            job = CancelJob(guard.task, guard.task_record.fence, "cancelled")
            messages = (book.notary.claim(guard.task_record, guard.term), job)
            stop = [Send(guard.task_record.provider, message) for message in messages]
        if is_back:
            self.want_log(guard.task_record, guard.term, now_s)
        ours = self._made_ours(record) if guard.submitter == book.me else []
        return [*ours, *book.keeper.handle(g.TaskNoted(record), now_s), *stop]

    def _adopt(self, guard: GuardRecord, why: str, now_s: float) -> list[e.Effect]:
        """Go on with it as its keepers know it, under fences that no other machine gave."""
        adopted, ledger, now_ms = self._adopted(guard), self._book.ledger, self._book.wall_ms()
        before, effects = ledger.find(guard.task), list[e.Effect]()
        if before is not None and not before.submitter and adopted.submitter:
            # That machine took this one over.
            effects += ledger.went_to(guard.task, adopted.submitter, now_ms)
        effects += ledger.adopt(adopted, now_ms, why)
        is_over = adopted.state in TASK_ENDS
        return effects if is_over else effects + self._go_on(adopted, guard.term, why, now_s)

    def _adopted(self, guard: GuardRecord) -> TaskRecord:
        submitter = PeerId("") if guard.submitter == self._book.me else guard.submitter
        floor = guard.task_record.fence + self._book.config.fence_gap
        return msgspec.structs.replace(guard.task_record, fence_floor=floor, submitter=submitter)

    def _go_on(self, record: TaskRecord, term: int, why: str, now_s: float) -> list[e.Effect]:
        book, effects = self._book, self._book.pursue(record, now_s)
        if record.state in HELD_BY_PROVIDER:
            return effects + self._attempts.on_claimed(record, term, now_s)
        if record.state is TaskState.AUCTIONED:
            effects += book.step(record.task, TaskFact.INTERRUPTED, why)
        return effects + book.retry(record.task, now_s)

    def _made_ours(self, record: TaskRecord) -> list[e.Effect]:
        """It ended here while we acted for the machine that we take over now."""
        if not record.submitter:
            return []
        record = msgspec.structs.replace(record, submitter=PeerId(""))
        return [*self._book.ledger.adopt(record, self._book.wall_ms(), record.why)]

    def want_log(self, record: TaskRecord, term: int, now_s: float) -> None:
        """Of what ended while another machine had it, its provider may still have the log."""
        if record.provider and record.key and record.state in TASK_ENDS:
            claim = self._book.notary.claim(record, term)
            self._book.late_logs.claims.want(record.task, record.provider, claim, now_s)

    def _on_rests(self, task: TaskId) -> list[e.Effect]:
        record = self._book.ledger.find(task)
        if record is None or not record.submitter:
            return []  # ours: it waits until we act again
        return [*self._book.end_pursuit(task), *self._book.ledger.drop(task)]
