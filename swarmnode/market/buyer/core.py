"""The buyer: brings every task of this machine to exactly one end, as a pure state machine.

    Submitted -> CALL a few machines -> bids -> AWARD the best -> accepted -> beats -> result
        ^                                          |                |            |
        +---------- nobody holds room, refused, unanswered, lost, to be tried again

It decides, writes its decision down and then speaks: a crash at any point is followed by a
restart that asks the providers and goes on. Simulated before: sampled contract net with holds.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, assert_never

from p2p.effects import Persist, Rng
from p2p.ids import LabId, NetworkId, PeerId
from p2p.membership.view import Liveness
from p2p.wire.envelope import Signer
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.attempts import Attempts
from swarmnode.market.buyer.bidding.auctions import Auctions
from swarmnode.market.buyer.book import WAITING, Book
from swarmnode.market.buyer.config import BuyerConfig
from swarmnode.market.buyer.logs.late import LateLogs
from swarmnode.market.buyer.notary import RightOf, no_right
from swarmnode.market.buyer.results import Results
from swarmnode.market.buyer.stewardship import FIRST_TERM, Stewardship
from swarmnode.market.buyer.verdicts import once
from swarmnode.market.guardians import events as g
from swarmnode.market.guardians import messages as gm
from swarmnode.market.guardians.custody import Custody
from swarmnode.market.guardians.kept import Post
from swarmnode.market.messages import Accept, Bid, Decline
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import Ledger
from swarmnode.tasks.lifecycle import HELD_BY_PROVIDER, TASK_ENDS, TaskFact, TaskState
from swarmnode.tasks.messages import Checkpointed, Phase, PreemptNotice, Result, State
from swarmnode.tasks.records import Outcome, TaskRecord
from swarmnode.tasks.spec import Repeatability
from swarmnode.tasks.store import OWNER, TAKEN_KEY

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
        self._attempts = Attempts(self._book)
        self._results = Results(self._book, self._attempts)
        self._stewardship = Stewardship(self._book, self._attempts)
        self._auctions = Auctions(self._book, self._attempts, rng)
        self.taken_over_ms = 0
        """The newest takeover of this machine that it knows of."""

    def handle(self, event: e.Event, now_s: float) -> list[e.Effect]:
        """Take one event."""
        slept_s = self._book.alarm.slept_s(now_s)
        woken = self._attempts.on_woke(slept_s, now_s) if slept_s else []
        effects = [*woken, *self._take(event, now_s)]
        return self._stewardship.carry_out(effects + self._auctions.pump(now_s), now_s)

    def _take(self, event: e.Event, now_s: float) -> Sequence[e.Effect]:
        match event:
            case e.MessageHeard():
                return self._on_heard(event.peer, event.message, now_s)
            case e.Tick():
                return self._book.tick(now_s)
            case e.RetryDue():
                return self._auctions.on_retry_due(event, now_s)
            case e.WindowOver():
                return self._auctions.on_window_over(event, now_s)
            case e.AwardDue():
                return self._attempts.on_award_due(event, now_s)
            case e.RenewalDue():
                return self._attempts.on_renewal_due(event, now_s)
            case e.DeadlinePassed():
                return self._on_deadline_passed(event, now_s)
            case e.Advertised():
                return self._on_advertised(event, now_s)
            case e.MemberStands():
                return self._on_member_stands(event, now_s)
            case g.Woke():
                heard = self._book.keeper.handle(event, now_s)
                return [*heard, *self._attempts.on_woke(0.0, now_s)]
            case g.EndsCopied():
                return self._on_ends_copied(event, now_s)
            case g.MachinesRemoved():
                self._book.out = event.machines
                return self._book.keeper.handle(event, now_s)
            case g.LogsTold():
                return self._book.late_logs.told(event)
            case _ if isinstance(event, g.Event):
                return self._book.keeper.handle(event, now_s)
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
                return self._auctions.on_dry_run(event, now_s)
            case e.TakenUp():
                return self._on_taken_up(event, now_s)
            case e.GoesOnElsewhere():
                return self._on_goes_on_elsewhere(event, now_s)
            case e.SecretRemoved():
                return self._on_secret_removed(event, now_s)
            case e.WasTaken():
                self.taken_over_ms = event.at_ms
                return [Persist(OWNER, TAKEN_KEY, event.at_ms.to_bytes(8))]
            case e.TasksLoaded():
                return self._on_begin(event, now_s)
            case _:
                assert_never(event)

    def _on_heard(self, peer: PeerId, message: e.BuyerMessage, now_s: float) -> Sequence[e.Effect]:
        match message:
            case Bid():
                return self._auctions.on_bid(peer, message, now_s)
            case Accept():
                return self._attempts.on_accept(peer, message, now_s)
            case Decline():
                return self._attempts.on_decline(peer, message, now_s)
            case Result():
                return self._results.on_result(peer, message, now_s)
            case State():
                return self._attempts.on_state(peer, message, now_s)
            case PreemptNotice():
                return self._attempts.on_preempt_notice(peer, message, now_s)
            case Checkpointed():
                return self._attempts.on_checkpointed(peer, message, now_s)
            case _:
                return self._book.keeper.hear(peer, message, now_s)

    @property
    def ledger(self) -> Ledger:
        """All tasks; to be read only."""
        return self._book.ledger

    def phase(self, task: TaskId) -> Phase:
        """What the provider of a task said last."""
        pursuit = self._book.pursuits.get(task)
        return Phase.UNKNOWN if pursuit is None else pursuit.watch.phase

    @property
    def custody(self) -> Custody:
        """In whose hands each task is, our own included."""
        return self._book.keeper.custody

    def was_receipted(self, task: TaskId, fence: int) -> bool:
        """Whether an attempt's provider was told that it need not remember it any more."""
        return self._book.receipts.was_given(task, fence)

    @property
    def late_logs(self) -> LateLogs:
        """Which logs are not whole here; to be read only."""
        return self._book.late_logs

    def uncopied(self) -> frozenset[TaskId]:
        """Tasks of ours that have ended, of which the pool may not know yet."""
        return self.custody.over() | self._book.receipts.waiting()

    @property
    def tasks_open(self) -> int:
        """Tasks that have not ended."""
        return len(self._book.pursuits)

    @property
    def counts(self) -> Mapping[str, int]:
        """How often things happened to our tasks, since the start."""
        return self._book.counts

    @property
    def auctions_open(self) -> int:
        """Auctions under way."""
        return self._book.auctions_open

    # -- the submitter

    def _on_begin(self, event: e.TasksLoaded, now_s: float) -> list[e.Effect]:
        self._auctions.begin()
        self.taken_over_ms = event.taken_over_ms
        self._book.ledger.load(event.records)
        self._book.ledger.forgotten.update(event.forgotten)
        self._book.ledger.moved.update(event.moved)
        effects = [*self._book.tick(now_s), *self._load_guards(event, now_s)]
        unfinished = self._book.ledger.unfinished()
        lost = [record for record in unfinished if record.taken_up_ms]
        effects += self._come_home(lost, now_s)
        for record in self._book.ledger.all():
            if record.state in TASK_ENDS and not record.submitter:
                effects += self._stewardship.seek_log(record, now_s)
        for record in unfinished:
            effects += self._go_on(record, now_s)
            if record.spec.effects is Repeatability.ONCE:
                pursuit = self._book.pursuits[record.task]
                pursuit.search.not_before_s = now_s + self._book.config.returned_s
        return effects

    def _load_guards(self, event: e.TasksLoaded, now_s: float) -> list[e.Effect]:
        """What is kept here; of tasks of others only those that we act for are in the ledger."""
        keeper, ledger = self._book.keeper, self._book.ledger
        effects: list[e.Effect] = [*keeper.handle(g.GuardsLoaded(event.guarded), now_s)]
        for record in ledger.all():
            if record.submitter and keeper.custody.post_of(record.task) is not Post.ACTS:
                effects += ledger.drop(record.task)
        return effects

    def _come_home(self, records: Sequence[TaskRecord], now_s: float) -> list[e.Effect]:
        """Their keepers are to be found."""
        taken_up = (g.TaskTakenUp(record, self._book.patience_s(record)) for record in records)
        return [effect for one in taken_up for effect in self._book.keeper.handle(one, now_s)]

    def _on_taken_up(self, event: e.TakenUp, now_s: float) -> list[e.Effect]:
        now_ms, ledger = self._book.wall_ms(), self._book.ledger
        effects: list[e.Effect] = [*ledger.were_removed(event.forgotten, now_ms)]
        new = [record for record in event.records if record.task not in ledger]
        records = [once.taken_up(record, now_ms, self.taken_over_ms) for record in new]
        effects += ledger.take_up(records, now_ms)
        lost = [ledger.get(record.task) for record in event.records]
        asked = [record for record in lost if event.is_told or record.state not in TASK_ENDS]
        effects += self._come_home(asked, now_s)
        for record in records:
            if record.state not in TASK_ENDS:
                effects += self._go_on(record, now_s)
            elif record.log_at:
                effects += self._stewardship.seek_log(record, now_s)
            elif record.ended_ms >= event.sure_ms and not event.is_told:
                self._stewardship.want_log(record, FIRST_TERM, now_s)
        return effects

    def _go_on(self, record: TaskRecord, now_s: float) -> list[e.Effect]:
        effects = self._book.pursue(record, now_s)
        effects += self._book.keeper.handle(g.TaskBegun(record), now_s)
        if record.state in HELD_BY_PROVIDER:
            effects += self._attempts.on_restart(record, now_s)
            if record.taken_up_ms and record.key:  # its provider knows another buyer
                claim = self._book.notary.claim(record, FIRST_TERM)
                self._book.pursuits[record.task].watch.claim = claim
            return effects
        if record.state is TaskState.AUCTIONED:
            effects += self._book.step(record.task, TaskFact.INTERRUPTED, "this node restarted")
        return [*effects, *self._book.retry(record.task, now_s)]

    def _on_submitted(self, event: e.Submitted, now_s: float) -> list[e.Effect]:
        record = event.record
        effects = [
            *self._book.ledger.submit(record),
            *self._book.pursue(record, now_s),
            *self._book.keeper.handle(g.TaskBegun(record, event.is_detached), now_s),
        ]
        self._auctions.enqueue(record.task)
        return effects

    def _on_goes_on_elsewhere(self, event: e.GoesOnElsewhere, now_s: float) -> list[e.Effect]:
        """Its attempt is not stopped: its provider hears from who has the task now."""
        record = self._book.ledger.find(event.task)
        if record is None or record.submitter or record.state in TASK_ENDS:
            return []
        return [
            *self._book.keeper.handle(g.TaskWentOn(event.task), now_s),
            *self._book.end_pursuit(event.task),
            *self._book.ledger.hand_on(event.task, event.by, self._book.wall_ms()),
        ]

    def _on_cancel_asked(self, event: e.CancelAsked) -> list[e.Effect]:
        if event.task not in self._book.pursuits:
            return []
        record = self._book.ledger.get(event.task)
        stop = self._attempts.end_attempt(record, "cancelled")
        if record.left and not stop:  # nobody else will tell what there is
            self._book.ledger.set_outcome(event.task, Outcome("stopped", -1, "cancelled"))
        return [*self._book.close(event.task, TaskFact.CANCEL_ASKED, event.why), *stop]

    def _on_ends_copied(self, event: g.EndsCopied, now_s: float) -> list[e.Effect]:
        receipts, effects = self._book.receipts, list[e.Effect]()
        receipts.are_copies_kept = True
        effects += self._book.keeper.handle(event, now_s)
        for task in sorted(event.tasks):
            effects += receipts.give(task)
        return effects

    def _on_secret_removed(self, event: e.SecretRemoved, now_s: float) -> list[e.Effect]:
        """What runs has it; whoever would need it for another start is told so at its turn."""
        book, effects = self._book, list[e.Effect]()
        for record in book.ledger.unfinished():
            is_theirs = record.person == event.person and not record.submitter
            if is_theirs and event.name in dict(record.spec.secrets):
                effects += book.ledger.lose_secret(record.task, event.name, book.wall_ms())
                if record.state in WAITING:
                    effects += book.retry(record.task, now_s)
        return effects

    def _on_deadline_passed(self, event: e.DeadlinePassed, now_s: float) -> list[e.Effect]:
        if event.task not in self._book.pursuits:
            return []
        record = self._book.ledger.get(event.task)
        waited = f"; it waited because {record.why}" if record.why else ""
        why = f"its deadline has passed{waited}"
        if record.spec.effects is Repeatability.ONCE and record.state in HELD_BY_PROVIDER:
            return self._attempts.end_surely(record, "deadline", why)
        if once.may_have_begun(record):  # told when its keepers have, or can no more
            self._book.pursuits[event.task].watch.ending = ("deadline", why)
            return []
        stop = self._attempts.end_attempt(record, "deadline")
        return [*self._book.give_up(event.task, "deadline", why), *stop]

    # -- the machines

    def _on_advertised(self, event: e.Advertised, now_s: float) -> list[e.Effect]:
        self._book.machine(event.peer).advert = event.advert
        knows = event.advert is not None and event.advert.knows_secrets
        self._book.keeper.handle(g.KnowsSecrets(event.peer, knows), now_s)
        return self._auctions.on_room(event.peer, now_s)

    def _on_member_stands(self, event: e.MemberStands, now_s: float) -> list[e.Effect]:
        lab = LabId("") if event.lab is None else event.lab
        self._book.keeper.handle(g.KeeperStands(event.peer, event.liveness, lab), now_s)
        if event.liveness is None:
            self._book.machines.pop(event.peer, None)
            return self._attempts.on_gone(event.peer, "its machine is gone", now_s)
        self._book.machine(event.peer).liveness = event.liveness
        self._book.machine(event.peer).lab = event.lab
        if event.liveness is Liveness.ALIVE:
            return self._auctions.on_room(event.peer, now_s)
        if event.liveness is Liveness.SUSPECT:
            return []  # it gets no new work; its lease decides about the old
        is_out = event.peer in self._book.out
        dead = "was removed from the network" if is_out else "is dead"
        why = dead if event.liveness is Liveness.DEAD else "has left"
        return self._attempts.on_gone(event.peer, f"its machine {why}", now_s)
