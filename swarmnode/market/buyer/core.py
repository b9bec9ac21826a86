"""The buyer: brings every task of this machine to exactly one end, as a pure state machine.

    Submitted -> CALL a few machines -> bids -> AWARD the best -> accepted -> beats -> result
        ^                                          |                |            |
        +---------- nobody holds room, refused, unanswered, lost, to be tried again

It decides, writes its decision down and then speaks: a crash at any point is followed by a
restart that asks the providers and goes on. Simulated before: sampled contract net with holds.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, assert_never

import msgspec

from p2p.effects import Notify, Persist, Rng, Send, WakeAt
from p2p.ids import LabId, NetworkId, PeerId
from p2p.membership.view import Liveness
from p2p.wire.envelope import Signer
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.attempts import Attempts
from swarmnode.market.buyer.auctions import Auctions
from swarmnode.market.buyer.book import Book, Pursuit, RightOf, no_right
from swarmnode.market.buyer.config import BuyerConfig
from swarmnode.market.buyer.fit import Seen
from swarmnode.market.buyer.verdicts import once
from swarmnode.market.guardians import events as g
from swarmnode.market.guardians import messages as gm
from swarmnode.market.guardians.core import Guardian
from swarmnode.market.guardians.kept import Post
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.market.messages import Accept, Bid, Decline
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import Ledger, TaskChanged, TaskForgotten
from swarmnode.tasks.lifecycle import HELD_BY_PROVIDER, TASK_ENDS, TaskFact, TaskState
from swarmnode.tasks.messages import CancelJob, Checkpointed, Phase, PreemptNotice, Result, State
from swarmnode.tasks.records import Outcome, TaskRecord
from swarmnode.tasks.spec import Repeatability
from swarmnode.tasks.store import OWNER, TAKEN_KEY

FIRST_TERM: Final = 1
"""Of whoever takes up what has ended: a guardian that had acted knows the end itself."""
HEARD: Final[tuple[type[e.BuyerMessage], ...]] = (
    *(Bid, Accept, Decline, Result, State, PreemptNotice, Checkpointed),
    *(gm.GuardBeat, gm.GuardHeard, gm.AskVote, gm.Vote, gm.Relieve),
)
"""Kinds of messages a buyer listens to."""


class Buyer:
    """One submitter's tasks. The first event is TasksLoaded."""

    def __init__(
        self,
        config: BuyerConfig,
        signer: Signer,
        network: NetworkId,
        rng: Rng,
        wall_ms: Callable[[], int],
        right_of: RightOf = no_right,
    ) -> None:
        self._book = Book(config, signer, network, wall_ms, right_of)
        self._leases = Attempts(self._book)
        self._rounds = Auctions(self._book, self._leases, rng)
        self.taken_ms = 0
        """The newest takeover of this machine that it knows of."""

    def handle(self, event: e.Event, now_s: float) -> list[e.Effect]:
        """Take one event."""
        slept_s = self._book.slept_s(now_s)
        woken = self._leases.on_woke(slept_s, now_s) if slept_s else []
        effects = [*woken, *self._take(event, now_s)]
        return self._with_keepers(effects + self._rounds.pump(now_s), now_s)

    def _take(self, event: e.Event, now_s: float) -> Sequence[e.Effect]:
        if isinstance(event, g.OwnersRemoved):
            self._book.out = event.owners
        match event:
            case e.MessageHeard():
                return self._on_heard(event.peer, event.message, now_s)
            case e.Tick():
                return self._book.tick(now_s)
            case e.RetryDue():
                return self._rounds.on_retry_due(event, now_s)
            case e.WindowOver():
                return self._rounds.on_window_over(event, now_s)
            case e.AwardDue():
                return self._leases.on_award_due(event, now_s)
            case e.RenewalDue():
                return self._leases.on_beat_due(event, now_s)
            case e.DeadlinePassed():
                return self._on_deadline_passed(event, now_s)
            case e.Advertised():
                return self._on_advertised(event, now_s)
            case e.MemberStands():
                return self._on_member_stands(event, now_s)
            case e.Woke():
                self._book.guards.on_woke(now_s)
                return self._leases.on_woke(0.0, now_s)
            case _ if isinstance(event, g.Event):
                return self._book.guards.handle(event, now_s)
            case _:
                return self._on_our_side(event, now_s)

    def _on_our_side(self, event: e.OwnersWord, now_s: float) -> Sequence[e.Effect]:
        match event:
            case e.Submitted():
                return self._on_submitted(event, now_s)
            case e.CancelAsked():
                return self._on_cancel_asked(event)
            case e.ForgetAsked():
                return self._book.ledger.forget(event.task, self._book.wall_ms())
            case e.DryRunAsked():
                return self._rounds.on_dry_run(event, now_s)
            case e.EndsCopied():
                return self._on_ends_copied(event)
            case e.TakenUp():
                return self._on_taken_up(event, now_s)
            case e.GoesOnElsewhere():
                return self._on_goes_on_elsewhere(event)
            case e.WasTaken():
                self.taken_ms = event.at_ms
                return [Persist(OWNER, TAKEN_KEY, event.at_ms.to_bytes(8))]
            case e.TasksLoaded():
                return self._on_begin(event, now_s)
            case _:
                assert_never(event)

    def _on_heard(self, peer: PeerId, message: e.BuyerMessage, now_s: float) -> Sequence[e.Effect]:
        match message:
            case Bid():
                return self._rounds.on_bid(peer, message, now_s)
            case Accept():
                return self._leases.on_accept(peer, message, now_s)
            case Decline():
                return self._leases.on_decline(peer, message, now_s)
            case Result():
                return self._leases.on_result(peer, message, now_s)
            case State():
                return self._leases.on_state(peer, message, now_s)
            case PreemptNotice():
                return self._leases.on_preempt_notice(peer, message, now_s)
            case Checkpointed():
                return self._leases.on_checkpointed(peer, message, now_s)
            case _:
                return self._book.guards.hear(peer, message, now_s)

    @property
    def ledger(self) -> Ledger:
        """All tasks; to be read only."""
        return self._book.ledger

    def phase(self, task: TaskId) -> Phase:
        """What the provider of a task said last."""
        pursuit = self._book.pursuits.get(task)
        return Phase.UNKNOWN if pursuit is None else pursuit.phase

    @property
    def guards(self) -> Guardian:
        """Everything this machine keeps, its own tasks included; to be read only."""
        return self._book.guards

    def was_receipted(self, task: TaskId, fence: int) -> bool:
        """Whether an attempt's provider was told that it need not remember it any more."""
        return self._book.receipts.was_given(task, fence)

    def uncopied(self) -> frozenset[TaskId]:
        """Tasks of ours that have ended, of which the pool may not know yet."""
        return self._book.guards.over() | self._book.receipts.waiting()

    @property
    def tasks_open(self) -> int:
        """Tasks that have not ended."""
        return len(self._book.pursuits)

    @property
    def counts(self) -> Mapping[str, int]:
        """How often things happened to our tasks, since the start."""
        return self._book.counts

    @property
    def rounds_open(self) -> int:
        """Auctions under way."""
        return self._book.rounds_open

    # -- the submitter

    def _on_begin(self, event: e.TasksLoaded, now_s: float) -> list[e.Effect]:
        self._rounds.begin()
        self.taken_ms = event.taken_ms
        guards, ledger = self._book.guards, self._book.ledger
        ledger.load(event.records)
        ledger.forgotten.update(event.forgotten)
        ledger.moved.update(event.moved)
        effects = self._book.tick(now_s) + guards.handle(g.GuardsLoaded(event.guarded), now_s)
        for record in self._book.ledger.all():
            if record.owner and guards.post_of(record.task) is not Post.ACTS:
                effects += self._book.ledger.drop(record.task)
        unfinished = self._book.ledger.unfinished()
        lost = [one for one in unfinished if one.taken_up_ms]
        effects += guards.come_home(lost, now_s, self._book.patience_s)
        for record in unfinished:
            effects += self._go_on(record, now_s)
            if record.spec.effects is Repeatability.ONCE:
                pursuit = self._book.pursuits[record.task]
                pursuit.not_before_s = now_s + self._book.config.returned_s
        return effects

    def _on_taken_up(self, event: e.TakenUp, now_s: float) -> list[e.Effect]:
        now_ms, ledger, guards = self._book.wall_ms(), self._book.ledger, self._book.guards
        effects: list[e.Effect] = [*ledger.were_removed(event.forgotten, now_ms)]
        new = [one for one in event.records if one.task not in ledger]
        records = [once.taken_up(one, now_ms, self.taken_ms) for one in new]
        effects += ledger.take_up(records, now_ms)
        lost = [ledger.get(one.task) for one in event.records]
        asked = [one for one in lost if event.is_told or one.state not in TASK_ENDS]
        effects += guards.come_home(asked, now_s, self._book.patience_s)
        for record in records:
            if record.state not in TASK_ENDS:
                effects += self._go_on(record, now_s)
            elif record.ended_ms >= event.sure_ms and not event.is_told:
                self._want_log(record, FIRST_TERM, now_s)
        return effects

    def _go_on(self, record: TaskRecord, now_s: float) -> list[e.Effect]:
        effects = self._pursue(record, now_s)
        effects += self._book.guards.expect(record, now_s)
        if record.state in HELD_BY_PROVIDER:
            effects += self._leases.on_restart(record, now_s)
            if record.taken_up_ms and record.key:  # its provider knows another buyer
                claim = self._book.claim(record, FIRST_TERM)
                self._book.pursuits[record.task].claim = claim
            return effects
        if record.state is TaskState.AUCTIONED:
            effects += self._book.step(record.task, TaskFact.INTERRUPTED, "this node restarted")
        return [*effects, *self._book.retry(record.task, now_s)]

    def _on_submitted(self, event: e.Submitted, now_s: float) -> list[e.Effect]:
        record = event.record
        return [
            *self._book.ledger.submit(record),
            *self._pursue(record, now_s),
            *self._book.guards.expect(record, now_s, at_once=event.is_detached),
            *self._rounds.enqueue(record.task),
        ]

    def _on_goes_on_elsewhere(self, event: e.GoesOnElsewhere) -> list[e.Effect]:
        """Its attempt is not stopped: its provider hears from who has the task now."""
        record = self._book.ledger.find(event.task)
        if record is None or record.owner or record.state in TASK_ENDS:
            return []
        effects = self._book.guards.let_go(event.task) + self._end_pursuit(event.task)
        return [*effects, *self._book.ledger.hand_on(event.task, event.by, self._book.wall_ms())]

    def _pursue(self, record: TaskRecord, now_s: float) -> list[e.Effect]:
        self._book.pursuits[record.task] = Pursuit()
        left_ms = self._book.deadline_left_ms(record.spec, record.submitted_ms)
        if left_ms is None:
            return []
        return [WakeAt(now_s + left_ms / 1000, e.DeadlinePassed(record.task))]

    def _on_cancel_asked(self, event: e.CancelAsked) -> list[e.Effect]:
        if event.task not in self._book.pursuits:
            return []
        record = self._book.ledger.get(event.task)
        stop = self._leases.end_attempt(record, "cancelled")
        if record.left and not stop:  # nobody else will tell what there is
            self._book.ledger.set_outcome(event.task, Outcome("stopped", -1, "cancelled"))
        return [*self._book.close(event.task, TaskFact.CANCEL_ASKED, event.why), *stop]

    def _on_ends_copied(self, event: e.EndsCopied) -> list[e.Effect]:
        self._book.receipts.are_copies_kept = True
        self._book.guards.copied(event.tasks)
        return [one for task in sorted(event.tasks) for one in self._book.receipts.give(task)]

    def _on_deadline_passed(self, event: e.DeadlinePassed, now_s: float) -> list[e.Effect]:
        if event.task not in self._book.pursuits:
            return []
        record = self._book.ledger.get(event.task)
        waited = f"; it waited because {record.why}" if record.why else ""
        why = f"its deadline has passed{waited}"
        if record.spec.effects is Repeatability.ONCE and record.state in HELD_BY_PROVIDER:
            return self._leases.end_surely(record, "deadline", why)
        if once.may_have_begun(record):  # told when its keepers have, or can no more
            self._book.pursuits[event.task].ending = ("deadline", why)
            return []
        stop = self._leases.end_attempt(record, "deadline")
        return [*self._book.give_up(event.task, "deadline", why), *stop]

    # -- keepers

    def _with_keepers(self, effects: list[e.Effect], now_s: float) -> list[e.Effect]:
        """Tell the keepers what changed here and do what they decide, until nothing is left."""
        guards, told = self._book.guards, 0
        while True:
            news = [f.event for f in effects[told:] if isinstance(f, Notify)]
            changed = dict.fromkeys(one.task for one in news if isinstance(one, TaskChanged))
            told = len(effects)
            for forgotten in (one.task for one in news if isinstance(one, TaskForgotten)):
                effects += self._book.receipts.give(forgotten)
            for task in changed:
                if (record := self._book.ledger.find(task)) is not None:
                    effects += guards.on_noted(record, now_s)
            decisions = guards.take_decisions()
            for decision in decisions:
                match decision:
                    case g.Acts(kept, before):
                        effects += self._on_acts(kept, before, now_s)
                    case g.Rests(task):
                        effects += self._on_rests(task)
                    case g.TaskLetGo(task):
                        effects.append(Notify(TaskForgotten(task)))
            if not changed and not decisions:
                return effects

    def _on_acts(self, kept: GuardRecord, before: PeerId, now_s: float) -> list[e.Effect]:
        """Go on from what the keepers know; what we have ended ourselves stays ended."""
        book, task = self._book, kept.task
        is_mine, record = kept.owner == book.me, book.ledger.find(task)
        up = book.machines.get(before, Seen()).liveness in (Liveness.ALIVE, Liveness.SUSPECT)
        logs = [Notify(g.LogsWanted(task, before, up))] if is_mine and before != book.me else []
        if record is not None and record.state in TASK_ENDS:
            stop: list[e.Effect] = []
            if kept.kept.state in HELD_BY_PROVIDER:
                job = CancelJob(task, kept.kept.fence, "cancelled")
                messages = (book.claim(kept.kept, kept.term), job)
                stop = [Send(kept.kept.provider, one) for one in messages]
            if logs:
                self._want_log(kept.kept, kept.term, now_s)
            ours = self._made_ours(record) if is_mine else []
            return [*ours, *book.guards.on_noted(record, now_s), *stop, *logs]
        if is_mine and record is None and task in book.ledger.forgotten:
            return [*book.guards.end_for_good(task)]
        changes = {"owner": PeerId("") if is_mine else kept.owner}
        floor = kept.kept.fence + book.config.fence_gap
        adopted = msgspec.structs.replace(kept.kept, fence_floor=floor, **changes)
        why = "this machine is back" if is_mine else f"{kept.owner} is away"
        effects = [
            *logs,
            *self._end_pursuit(task),
            *book.ledger.adopt(adopted, book.wall_ms(), why),
        ]
        if adopted.state in TASK_ENDS:
            if logs:
                self._want_log(kept.kept, kept.term, now_s)
            return effects
        effects += self._pursue(adopted, now_s)
        if adopted.state in HELD_BY_PROVIDER:
            return effects + self._leases.on_claimed(adopted, kept.term, now_s)
        if adopted.state is TaskState.AUCTIONED:
            effects += book.step(task, TaskFact.INTERRUPTED, why)
        return effects + book.retry(task, now_s)

    def _made_ours(self, record: TaskRecord) -> list[e.Effect]:
        """It ended here while we acted for the machine that we take over now."""
        if not record.owner:
            return []
        record = msgspec.structs.replace(record, owner=PeerId(""))
        return [*self._book.ledger.adopt(record, self._book.wall_ms(), record.why)]

    def _want_log(self, record: TaskRecord, term: int, now_s: float) -> None:
        """Of what ended while another machine had it, its provider may still have the log."""
        if record.provider and record.key and record.state in TASK_ENDS:
            claim = self._book.claim(record, term)
            self._book.log_claims.want(record.task, record.provider, claim, now_s)

    def _on_rests(self, task: TaskId) -> list[e.Effect]:
        record = self._book.ledger.find(task)
        if record is None or not record.owner:
            return []  # ours: it waits until we act again
        return [*self._end_pursuit(task), *self._book.ledger.drop(task)]

    def _end_pursuit(self, task: TaskId) -> list[e.Effect]:
        pursuit = self._book.pursuits.pop(task, None)
        return [] if pursuit is None else self._book.drop_rounds(pursuit)

    # -- the machines

    def _on_advertised(self, event: e.Advertised, now_s: float) -> list[e.Effect]:
        self._book.machine(event.peer).advert = event.advert
        return self._rounds.on_room(event.peer, now_s)

    def _on_member_stands(self, event: e.MemberStands, now_s: float) -> list[e.Effect]:
        lab = LabId("") if event.lab is None else event.lab
        self._book.guards.handle(g.KeeperStands(event.peer, event.liveness, lab), now_s)
        if event.liveness is None:
            self._book.machines.pop(event.peer, None)
            return self._leases.on_gone(event.peer, "its machine is gone", now_s)
        self._book.machine(event.peer).liveness = event.liveness
        match event.liveness:
            case Liveness.ALIVE:
                return self._rounds.on_room(event.peer, now_s)
            case Liveness.SUSPECT:
                return []  # it gets no new work; its lease decides about the old
            case Liveness.DEAD:
                is_out = event.peer in self._book.out
                why = "was removed from the network" if is_out else "is dead"
                return self._leases.on_gone(event.peer, f"its machine {why}", now_s)
            case Liveness.LEFT:
                return self._leases.on_gone(event.peer, "its machine has left", now_s)
