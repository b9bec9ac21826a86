"""Awards and what follows them: accept, beats, checkpoints, results, losses.

Only the attempt with the newest fence, at the machine it was awarded to, may act for a task;
whoever else speaks for it is told to stop.
"""

from p2p.effects import Send, WakeAt
from p2p.ids import PeerId
from swarmnode.limits import REASON_CHARS_MAX
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.book import Book, Pursuit
from swarmnode.market.buyer.verdicts import held_back, starts
from swarmnode.market.buyer.verdicts.once import UNDECIDED
from swarmnode.market.messages import Accept, Award, AwardTerms, Bid, Decline
from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import HELD_BY_PROVIDER, TaskFact, TaskState
from swarmnode.tasks.messages import (
    CancelJob,
    Checkpointed,
    Phase,
    PreemptNotice,
    Query,
    Renew,
    State,
)
from swarmnode.tasks.records import REPORTED, AttemptRecord, TaskRecord, attempt_of
from swarmnode.tasks.spec import Repeatability


class Attempts:
    """The attempts of one buyer's tasks."""

    def __init__(self, book: Book) -> None:
        self._book, self._custody = book, book.keeper.custody

    # -- awards

    def award(self, task: TaskId, winner: PeerId, bid: Bid, now_s: float) -> list[e.Effect]:
        """Promise a task to the machine whose bid won, under the next fence."""
        book, config = self._book, self._book.config
        record, pursuit = book.ledger.get(task), book.pursuits[task]
        fence, restore = max(record.fence, record.fence_floor) + 1, starts.start_of(record)
        pursuit.watch.award = message = self._sealed(record, winner, bid, fence, restore)
        attempt = _awarded(fence, winner, bid, restore, book.wall_ms())
        pursuit.watch.heard_s, is_once = now_s, record.spec.effects is Repeatability.ONCE
        # What must not run twice waits until whatever the award may have begun has ended.
        longest_s = config.hold_s + book.alone_s(attempt)
        pursuit.watch.award_until_s = now_s + (longest_s if is_once else config.award_timeout_s)
        book.ledger.award(task, attempt)
        stepped = book.step(task, TaskFact.AWARD_SENT)
        # Whoever takes over from us must know of an attempt that may not be repeated.
        sent = [] if is_once and not self._custody.is_alone(task) else [Send(winner, message)]
        return [*stepped, *sent, WakeAt(now_s + config.award_repeat_s, e.AwardDue(task, fence))]

    def _sealed(
        self,
        record: TaskRecord,
        winner: PeerId,
        bid: Bid,
        fence: int,
        restore: CheckpointRecord | None,
    ) -> Award:
        notary, guard = self._book.notary, self._book.kept_for_another(record.task)
        names_grant, state_key = notary.grant(record, winner, fence)
        terms = AwardTerms(
            task=record.task,
            fence=fence,
            seller=winner,
            bid=bid.bid,
            spec=record.spec,
            restore=restore,
            names_grant=names_grant,
            state_key=state_key,
        )
        return notary.award(terms, guard)

    def on_award_due(self, event: e.AwardDue, now_s: float) -> list[e.Effect]:
        """Say an award again, or give it up."""
        record = self._book.ledger.find(event.task)
        if record is None or (record.fence, record.state) != (event.fence, TaskState.AWARDED):
            return []
        pursuit, repeat_s = self._book.pursuits[event.task], self._book.config.award_repeat_s
        again = WakeAt(now_s + repeat_s, event)
        if not self._custody.may_act(event.task, now_s) or not self._may_end(record, now_s):
            pursuit.watch.award_until_s += repeat_s
            return [again]
        if now_s < pursuit.watch.award_until_s:
            return [*self._say_again(record, pursuit), again]
        stop = Send(record.provider, CancelJob(event.task, event.fence, "unanswered"))
        return [*self._refused(record, "unanswered", "no answer to the award", now_s), stop]

    def _may_end(self, record: TaskRecord, now_s: float) -> bool:
        """Whether an attempt that nobody speaks for may be given up."""
        is_once = record.spec.effects is Repeatability.ONCE
        return not is_once or self._book.may_judge(record, now_s)

    def _say_again(self, record: TaskRecord, pursuit: Pursuit) -> list[e.Effect]:
        if pursuit.watch.award is None:
            return [self._ask(record, pursuit)]
        is_once = record.spec.effects is Repeatability.ONCE
        is_safe = not is_once or self._custody.holds(record.task, record.fence)
        return [Send(record.provider, pursuit.watch.award)] if is_safe else []

    def on_accept(self, peer: PeerId, message: Accept, now_s: float) -> list[e.Effect]:
        """The lease runs."""
        record = self._live(peer, message.task, message.fence)
        if record is None:
            return self.stop(peer, message.task, message.fence)
        return self._accepted(record, now_s) if record.state is TaskState.AWARDED else []

    def on_decline(self, peer: PeerId, message: Decline, now_s: float) -> list[e.Effect]:
        """The machine does not want it: it never started."""
        record = self._live(peer, message.task, message.fence)
        if record is None or record.state is not TaskState.AWARDED:
            return []
        # A machine that knows the fence has had the award before: it may have begun and ended.
        ended_as = "unanswered" if message.reason == "stale" else "refused"
        return self._refused(record, ended_as, message.reason[:REASON_CHARS_MAX], now_s)

    # -- life

    def on_restart(self, record: TaskRecord, now_s: float) -> list[e.Effect]:
        """Go on with an attempt of an earlier life of this node."""
        config, pursuit = self._book.config, self._book.pursuits[record.task]
        once = record.spec.effects is Repeatability.ONCE
        wait_s = self._book.alone_of(record) if once else config.lease_s
        pursuit.watch.heard_s, pursuit.watch.award_until_s = now_s, now_s + wait_s
        query = self._ask(record, pursuit)
        if record.state is TaskState.AWARDED:
            due = e.AwardDue(record.task, record.fence)
            return [query, WakeAt(now_s + config.award_repeat_s, due)]
        return [query, self._renewal_at(record, pursuit, now_s + config.renew_s)]

    def on_claimed(self, record: TaskRecord, term: int, now_s: float) -> list[e.Effect]:
        """Go on with an attempt that another machine began: its provider is told who we are."""
        self._book.pursuits[record.task].watch.claim = self._book.notary.claim(record, term)
        return self.on_restart(record, now_s)

    def _ask(self, record: TaskRecord, pursuit: Pursuit) -> e.Effect:
        return Send(record.provider, pursuit.watch.claim or Query(record.task, record.fence))

    def _renewal_at(self, record: TaskRecord, pursuit: Pursuit, at_s: float) -> e.Effect:
        pursuit.watch.renewal_due_s = at_s
        return WakeAt(at_s, e.RenewalDue(record.task, record.fence, at_s))

    def on_state(self, peer: PeerId, message: State, now_s: float) -> list[e.Effect]:
        """A beat of the job, or the answer to a query."""
        told = self._book.late_logs.answered(peer, message)
        noted = self._note_death(peer, message) if message.node_died_ms > 0 else []
        return [*told, *noted, *self._on_state(peer, message, now_s)]

    def _note_death(self, peer: PeerId, message: State) -> list[e.Effect]:
        """Count the machines whose node died soon after the start; hold the task back at three."""
        ledger, task = self._book.ledger, message.task
        record = ledger.find(task)
        why = held_back.death_of(record, peer, message)
        if record is None or not why:
            return []
        ledger.note_death(task, message.fence, message.node_died_ms, why)
        record = ledger.get(task)
        if not (reason := held_back.reason(record)):
            return [*ledger.set_why(task, why, self._book.wall_ms())]
        ended = self.end_attempt(record, held_back.REASON)
        return [*ended, *self._book.give_up(task, held_back.REASON, reason)]

    def _on_state(self, peer: PeerId, message: State, now_s: float) -> list[e.Effect]:
        record = self._live(peer, message.task, message.fence)
        if record is None:
            is_gone = message.phase is Phase.UNKNOWN
            return [] if is_gone else self.stop(peer, message.task, message.fence)
        if message.phase is Phase.UNKNOWN:
            return self._unknown_there(record, now_s)
        return self._lives(record, message, now_s)

    def _unknown_there(self, record: TaskRecord, now_s: float) -> list[e.Effect]:
        """Its provider has no such job."""
        if not self._custody.may_act(record.task, now_s):
            return []
        if record.state is TaskState.RUNNING:
            return self._lost(record, "lost", "its machine does not know it any more", now_s)
        is_asked = self._book.pursuits[record.task].watch.award is None
        why = "the award never came"
        return self._refused(record, "unanswered", why, now_s) if is_asked else []

    def _lives(self, record: TaskRecord, message: State, now_s: float) -> list[e.Effect]:
        pursuit = self._book.pursuits[record.task]
        watch = pursuit.watch
        was_silent = now_s - watch.heard_s >= 1.5 * self._book.config.renew_s
        is_first = watch.phase is Phase.UNKNOWN
        watch.claim = None
        watch.heard_s, watch.phase, watch.beat = now_s, message.phase, message.beat
        noted = self._book.note(record, message.note[:REASON_CHARS_MAX], now_s)
        if record.why == UNDECIDED:
            noted += self._book.ledger.set_why(record.task, "", self._book.wall_ms())
        if record.state is TaskState.AWARDED:
            return [*noted, *self._accepted(record, now_s)]
        # It may have little time left: whoever was away, it or we, is answered at once.
        return [*noted, *([self._renewal(record, pursuit)] if was_silent or is_first else [])]

    def on_renewal_due(self, event: e.RenewalDue, now_s: float) -> list[e.Effect]:
        """Renew the lease, ask when nothing was heard, or give the provider up."""
        record = self._book.ledger.find(event.task)
        if record is None or (record.fence, record.state) != (event.fence, TaskState.RUNNING):
            return []
        pursuit = self._book.pursuits[event.task]
        if pursuit.watch.renewal_due_s != event.due_s:
            return []  # it was taken over and back since
        again = self._renewal_at(record, pursuit, now_s + self._book.config.renew_s)
        if not self._custody.may_act(event.task, now_s):
            pursuit.watch.heard_s = now_s  # nobody answers whom nobody asks
            return [again]
        silent_s = now_s - pursuit.watch.heard_s
        is_lost = silent_s >= self._lease_s(record)
        if is_lost and self._may_end(record, now_s):
            return self._lost(record, "lost", f"silent for {silent_s:.0f} s", now_s)
        return [*self._renew(record, pursuit, silent_s, is_lost=is_lost), again]

    def _lease_s(self, record: TaskRecord) -> float:
        """Whoever is silent for so long has lost the task; what must not run twice waits longer."""
        is_once = record.spec.effects is Repeatability.ONCE
        return self._book.alone_of(record) if is_once else self._book.config.lease_s

    def _renew(
        self, record: TaskRecord, pursuit: Pursuit, silent_s: float, *, is_lost: bool
    ) -> list[e.Effect]:
        messages: list[e.Effect] = [self._renewal(record, pursuit)]
        if is_lost and record.why != UNDECIDED and not pursuit.watch.ending[0]:
            messages += self._book.ledger.set_why(record.task, UNDECIDED, self._book.wall_ms())
        is_unheard = pursuit.watch.phase is Phase.UNKNOWN
        is_silent = is_unheard or silent_s >= 1.5 * self._book.config.renew_s
        if is_silent or pursuit.watch.ending[0]:
            messages.insert(0, self._ask(record, pursuit))
        return messages

    def on_woke(self, slept_s: float, now_s: float) -> list[e.Effect]:
        """We were stopped, and nobody else was silent meanwhile: ask all before judging any."""
        effects: list[e.Effect] = []
        self._book.alarm.awake_s = now_s
        for task, pursuit in self._book.pursuits.items():
            record = self._book.ledger.get(task)
            pursuit.watch.heard_s = min(now_s, pursuit.watch.heard_s + slept_s)
            pursuit.watch.award_until_s += slept_s
            if record.state is TaskState.RUNNING:
                effects += [self._ask(record, pursuit), self._renewal(record, pursuit)]
        return effects

    def end_surely(self, record: TaskRecord, reason: str, why: str) -> list[e.Effect]:
        """Stop what may not run any more once we say so; we say it when no process can live."""
        self._book.pursuits[record.task].watch.ending = (reason, why)
        stop = Send(record.provider, CancelJob(record.task, record.fence, reason))
        told = f"{why}; waiting for its machine to stop it"
        return [*self._book.ledger.set_why(record.task, told, self._book.wall_ms()), stop]

    def _renewal(self, record: TaskRecord, pursuit: Pursuit) -> e.Effect:
        if reason := pursuit.watch.ending[0]:
            return Send(record.provider, CancelJob(record.task, record.fence, reason))
        newest = starts.base_of(record)
        step, made_ms = (0, 0) if newest is None else (newest.step, newest.made_ms)
        renew = Renew(record.task, record.fence, step, pursuit.watch.beat, made_ms)
        return Send(record.provider, renew)

    def on_checkpointed(self, peer: PeerId, message: Checkpointed, now_s: float) -> list[e.Effect]:
        """Progress was stored; also of an attempt just lost, as long as no newer one began."""
        record = self._live(peer, message.task, message.fence)
        if record is not None:
            self._book.pursuits[message.task].watch.heard_s = now_s
        else:
            record = self._book.ledger.find(message.task)
            if record is None or (record.provider, record.fence) != (peer, message.fence):
                return self.stop(peer, message.task, message.fence)
            if not record.attempts or record.attempts[-1].ended_as in REPORTED:
                return []  # its result told of all there was, and was judged by that
        return self._book.keep(record, message.checkpoint)

    def on_preempt_notice(self, peer: PeerId, told: PreemptNotice, now_s: float) -> list[e.Effect]:
        """Its owner wants the machine: the result that follows moves the task elsewhere."""
        record = self._live(peer, told.task, told.fence)
        if record is None:
            return self.stop(peer, told.task, told.fence)
        self._book.shun(told.task, peer, now_s)
        why = f"its machine is wanted back within {told.grace_ms / 1000:.0f} s"
        if record.why == why:
            return []
        return [*self._book.ledger.set_why(told.task, why, self._book.wall_ms())]

    def on_gone(self, peer: PeerId, why: str, now_s: float) -> list[e.Effect]:
        """Membership has given a machine up; what may not run twice waits for its lease."""
        if now_s < self._book.alarm.awake_s + self._book.config.lease_s:
            return []  # perhaps it was us who were away; the lease decides
        effects: list[e.Effect] = []
        for task in list(self._book.pursuits):
            record = self._book.ledger.get(task)
            once = record.spec.effects is Repeatability.ONCE
            may = self._custody.may_act(task, now_s)
            if record.provider == peer and record.state in HELD_BY_PROVIDER and may and not once:
                effects += self._lost(record, "lost", why, now_s)
        return effects

    def end_attempt(self, record: TaskRecord, reason: str) -> list[e.Effect]:
        """The task ends by our own will: its provider, if it has one, is told to stop."""
        if record.state not in HELD_BY_PROVIDER:
            return []
        self._book.ledger.end_attempt(record.task, self._book.wall_ms(), "cancelled", reason)
        return [Send(record.provider, CancelJob(record.task, record.fence, reason))]

    # -- inside

    def _live(self, peer: PeerId, task: TaskId, fence: int) -> TaskRecord | None:
        record = self._book.ledger.find(task)
        if record is None or record.state not in HELD_BY_PROVIDER:
            return None
        return record if (record.provider, record.fence) == (peer, fence) else None

    def stop(self, peer: PeerId, task: TaskId, fence: int) -> list[e.Effect]:
        """Whoever speaks for an attempt that does not act is told so, if it is to stop."""
        record = self._book.ledger.find(task)
        if record is None and self._custody.is_others(task):
            return []  # another machine acts for it, and will tell
        if record is None:
            return [Send(peer, CancelJob(task, fence, "unknown"))]
        attempt = attempt_of(record, peer, fence)
        if attempt is not None and attempt.ended_as in REPORTED:
            return []  # it repeats its result until the receipt comes
        reason = "cancelled" if record.state is TaskState.CANCELLED else "stale"
        return [Send(peer, CancelJob(task, fence, reason))]

    def _accepted(self, record: TaskRecord, now_s: float) -> list[e.Effect]:
        book, pursuit = self._book, self._book.pursuits[record.task]
        pursuit.watch.heard_s, pursuit.watch.award, pursuit.search.idle_auctions = now_s, None, 0
        book.ledger.accept_attempt(record.task, book.wall_ms())
        renewal = self._renewal_at(record, pursuit, now_s + book.config.renew_s)
        return [*book.step(record.task, TaskFact.ACCEPTED), renewal]

    def _refused(self, record: TaskRecord, ended_as: str, why: str, now_s: float) -> list[e.Effect]:
        task, book = record.task, self._book
        self._close_attempt(record, ended_as, why)
        if ended_as == "unanswered":
            book.machine(record.provider).failures += 1
            book.shun(task, record.provider, now_s)
            if record.spec.effects is Repeatability.ONCE:
                return self._book.fail_once(record, why)
        told = f"the winner of the auction did not take it: {why}"
        return [*book.step(task, TaskFact.AWARD_REFUSED, told), *book.retry(task, now_s)]

    def _lost(self, record: TaskRecord, ended_as: str, why: str, now_s: float) -> list[e.Effect]:
        task, book = record.task, self._book
        self._close_attempt(record, ended_as, why)
        book.machine(record.provider).failures += 1
        if record.spec.effects is Repeatability.ONCE:
            return self._book.fail_once(record, why)
        book.shun(task, record.provider, now_s)
        book.pursuits[task].watch.phase = Phase.UNKNOWN
        return [*book.step(task, TaskFact.PROVIDER_LOST, why), *book.retry(task, now_s)]

    def _close_attempt(self, record: TaskRecord, ended_as: str, why: str) -> None:
        self._book.ledger.end_attempt(record.task, self._book.wall_ms(), ended_as, why)


def _awarded(
    fence: int, winner: PeerId, bid: Bid, restore: CheckpointRecord | None, now_ms: int
) -> AttemptRecord:
    step, made_ms = (0, 0) if restore is None else (restore.step, restore.made_ms)
    return AttemptRecord(
        fence,
        winner,
        now_ms,
        restored_step=step,
        alone_ms=bid.alone_ms,
        restored_ms=made_ms,
    )
