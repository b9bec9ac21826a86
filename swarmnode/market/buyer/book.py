"""What a buyer knows: its ledger, the machines, and what is not written down of open tasks."""

import math
from collections.abc import Callable
from typing import Final

import msgspec

from p2p.effects import WakeAt
from p2p.ids import LabId, NetworkId, PeerId
from p2p.wire.envelope import Signer
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.bidding.auction import Auction
from swarmnode.market.buyer.bidding.fit import Seen
from swarmnode.market.buyer.config import BuyerConfig
from swarmnode.market.buyer.events import RetryDue, Tick
from swarmnode.market.buyer.logs.late import LateLogs
from swarmnode.market.buyer.notary import Notary, RightOf, no_right
from swarmnode.market.buyer.receipts import Receipts
from swarmnode.market.buyer.verdicts.starts import base_of
from swarmnode.market.guardians.core import Keeper
from swarmnode.market.guardians.messages import Claim
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.market.messages import Award
from swarmnode.tasks.checkpoint import CheckpointRecord, fits_award, is_newer
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import Ledger
from swarmnode.tasks.lifecycle import TASK_ENDS, TaskFact, TaskState
from swarmnode.tasks.messages import Phase
from swarmnode.tasks.records import AttemptRecord, Outcome, TaskRecord, Usage
from swarmnode.tasks.spec import PriorityClass, Repeatability, TaskSpec

WAITING = frozenset({TaskState.SUBMITTED, TaskState.LOST})
_URGENCY = {priority: rank for rank, priority in enumerate(PriorityClass)}
COUNTED = {
    TaskFact.BIDDING_OPENED: "auctions",
    TaskFact.AWARD_SENT: "awards",
    TaskFact.AWARD_REFUSED: "awards_refused",
    TaskFact.PROVIDER_LOST: "providers_lost",
    TaskFact.FINISHED: "tasks_done",
    TaskFact.GAVE_UP: "tasks_failed",
}
"""Facts that telemetry counts, by the name they have there."""

_NOTHING_USED: Final = Usage()
_NO_ATTEMPT: Final = AttemptRecord(0, PeerId(""), 0)

NOTED_EVERY_S: Final = 1.0

MAY_HAVE_RUN = "may have run and must not run twice (effects = once)"


class Search(msgspec.Struct):
    """The way of an open task to its next machine."""

    auction: Auction | None = None
    """The auction under way: there is one while the task is AUCTIONED, and only then."""
    places: Auction | None = None
    """An auction nobody won: its callees may still offer themselves."""
    last_auction_s: float = -math.inf
    """When its newest auction opened; the next one opens auction_every_s later, at the soonest."""
    idle_auctions: int = 0
    """Auctions in a row that nobody won."""
    retry_due_s: float | None = None
    """When its turn comes; a RetryDue of another time is stale. None: no turn is timed."""
    shunned: dict[PeerId, float] = msgspec.field(default_factory=dict)
    """Machines not to be asked, until when."""
    told: str = ""
    """Why nobody could be asked, as it was written down last ..."""
    told_of: tuple[tuple[str, int], ...] = ()
    """... and the reasons behind that: what lacks, on how many machines."""
    not_before_s: float = 0.0
    """It is not put to auction sooner: another machine may have it."""

    def shun(self, peer: PeerId, until_s: float, now_s: float) -> None:
        """Do not ask it for a while; those whose while is over are forgotten."""
        after = {machine: until for machine, until in self.shunned.items() if until > now_s}
        self.shunned = {**after, peer: until_s}

    def shuns(self, peer: PeerId, now_s: float) -> bool:
        return self.shunned.get(peer, now_s) > now_s


class Watch(msgspec.Struct):
    """What is known of the provider of an open task's newest attempt, and owed to it."""

    award: Award | None = None
    """To be repeated; None after a restart, when the provider is queried instead."""
    award_until_s: float = 0.0
    """When an award that is not answered is given up; put off while we may not judge."""
    heard_s: float = 0.0
    """When the provider last showed that it has the job."""
    beat: int = 0
    """Number of the newest word of the provider: a renewal answers it."""
    noted_s: float = -math.inf
    """When its provider's note was last written down: more often than once a second it is not."""
    renewal_due_s: float = 0.0
    """Of the one timer that renews the lease."""
    claim: Claim | None = None
    """To be said until the provider of another's attempt has answered us."""
    ending: tuple[str, str] = ("", "")
    """Reason and words to fail with once the provider's processes have ended."""
    phase: Phase = Phase.UNKNOWN
    """What the provider of its newest attempt said last; UNKNOWN before it spoke."""


class Pursuit(msgspec.Struct):
    """What is known of one open task besides its record."""

    search: Search = msgspec.field(default_factory=Search)
    """While it waits, and for the time after: how often nobody won, and whom not to ask."""
    watch: Watch = msgspec.field(default_factory=Watch)
    """While a machine has it, from the award on."""


class Alarm:
    """Rings again and again; late where this machine was stopped, which it tells by that."""

    def __init__(self, config: BuyerConfig) -> None:
        self._config = config
        self.awake_s = -math.inf
        """Since when this machine was not stopped, as far as we know."""
        self._due_s = math.inf
        """When the next Tick is due; an event asleep_s later tells that we were stopped."""

    def set(self, now_s: float) -> WakeAt[Tick]:
        """Look at the clock again soon."""
        self._due_s = now_s + self._config.tick_s
        return WakeAt(self._due_s, Tick())

    def slept_s(self, now_s: float) -> float:
        """How long this machine was stopped until just now; 0 when it was not. Says it once."""
        late_s = now_s - self._due_s
        if late_s < self._config.asleep_s:
            return 0.0
        self._due_s, self.awake_s = now_s, now_s
        return late_s


class Book:
    """Shared by the parts of the buyer core."""

    def __init__(
        self,
        config: BuyerConfig,
        signer: Signer,
        network: NetworkId,
        wall_ms: Callable[[], int],
        right_of: RightOf = no_right,
    ) -> None:
        """`wall_ms` is for people, for expiry and for deadlines across a restart."""
        self.config, self.wall_ms = config, wall_ms
        self.notary = Notary(signer, network, wall_ms, right_of)
        self.ledger = Ledger()
        """Every task here, also those that we act for while their submitter is away."""
        self.machines: dict[PeerId, Seen] = {}
        """What is known of each machine; dropped when membership has forgotten it."""
        self.out: frozenset[PeerId] = frozenset()
        """Machines that were removed from the network."""
        self.pursuits: dict[TaskId, Pursuit] = {}
        """One for each unfinished task of the ledger, and for no other."""
        self.auctions: dict[int, Auction] = {}
        """Open auctions, and those whose callees may still offer themselves."""
        self.auctions_open = 0
        """Those of them that are not decided; dry runs alone may exceed auctions_open_max."""
        self.counts = dict.fromkeys([*COUNTED.values(), "results_refused"], 0)
        """How often each fact of COUNTED happened since the start, by its name in telemetry."""
        self.alarm = Alarm(config)
        self.receipts, self.late_logs = Receipts(config.guard.copy_s), LateLogs()
        self.keeper = Keeper(
            config.guard,
            self.me,
            find=self.ledger.find,
            hand_on=self.notary.hand_on,
            home=self.notary.home,
            was_forgotten=self.ledger.forgotten.__contains__,
        )
        """Who acts for each task; what it decides is carried out in the same step."""

    @property
    def me(self) -> PeerId:
        """This machine."""
        return self.notary.me

    def tick(self, now_s: float) -> list[e.Effect]:
        """Look at the clock again soon."""
        return [*self.late_logs.tick(now_s), self.alarm.set(now_s)]

    def out_because(self, peer: PeerId) -> str:
        """Why a machine is out of the network, or out of ours; empty while it is in it."""
        if self.me in self.out:
            return "this machine was removed from the network"
        return "was removed from the network" if peer in self.out else ""

    def machine(self, peer: PeerId) -> Seen:
        """What is known of a machine."""
        return self.machines.setdefault(peer, Seen())

    def step(self, task: TaskId, fact: TaskFact, why: str = "") -> list[e.Effect]:
        """Move a task along its lifecycle."""
        if fact in COUNTED:
            self.counts[COUNTED[fact]] += 1
        return [*self.ledger.step(task, fact, self.wall_ms(), why)]

    def retry(self, task: TaskId, now_s: float, delay_s: float = 0.0) -> list[e.Effect]:
        """Put a waiting task to auction after a while, but not more often than is allowed."""
        pursuit = self.pursuits[task]
        due_s = max(now_s + delay_s, pursuit.search.last_auction_s + self.config.auction_every_s)
        pursuit.search.retry_due_s = due_s
        return [WakeAt(due_s, RetryDue(task, due_s))]

    def pursue(self, record: TaskRecord, now_s: float) -> list[e.Effect]:
        """From now on it is open here."""
        self.pursuits[record.task] = Pursuit()
        left_ms = self.deadline_left_ms(record.spec, record.submitted_ms)
        if left_ms is None:
            return []
        return [WakeAt(now_s + left_ms / 1000, e.DeadlinePassed(record.task))]

    def end_pursuit(self, task: TaskId) -> list[e.Effect]:
        """It is open here no more, though it may be elsewhere."""
        pursuit = self.pursuits.pop(task, None)
        return [] if pursuit is None else self.drop_auctions(pursuit)

    def shun(self, task: TaskId, peer: PeerId, now_s: float) -> None:
        """Do not ask a machine for this task for a while."""
        pursuit = self.pursuits[task]
        pursuit.search.shun(peer, now_s + self.config.shun_s, now_s)

    @property
    def own_lab(self) -> LabId | None:
        """Of this machine, as membership knows it."""
        seen = self.machines.get(self.me)
        return None if seen is None else seen.lab

    def kept_for_another(self, task: TaskId) -> GuardRecord | None:
        """What is kept here of a task for which we act while its submitter is away."""
        return self.keeper.custody.find(task) if self.ledger.get(task).submitter else None

    def drop_auctions(self, pursuit: Pursuit) -> list[e.Effect]:
        """End what is open for a task without a winner; its callees are told."""
        effects: list[e.Effect] = []
        for auction in (pursuit.search.auction, pursuit.search.places):
            if auction is not None:
                self.auctions.pop(auction.auction, None)
                effects += auction.release(None)
        if pursuit.search.auction is not None:
            self.auctions_open -= 1
        pursuit.search.auction = pursuit.search.places = None
        return effects

    def close(self, task: TaskId, fact: TaskFact, why: str = "") -> list[e.Effect]:
        """End a task by a last step."""
        pursuit = self.pursuits.pop(task)
        return [*self.step(task, fact, why), *self.drop_auctions(pursuit)]

    def give_up(
        self, task: TaskId, reason: str, why: str, usage: Usage = _NOTHING_USED
    ) -> list[e.Effect]:
        """End a task as failed for a reason that no provider gave; `usage` is its last word."""
        self.ledger.set_outcome(task, Outcome("failed", -1, reason, why, usage=usage))
        return self.close(task, TaskFact.GAVE_UP, why)

    def alone_s(self, attempt: AttemptRecord) -> float:
        """No process of an attempt lives longer than this after we last heard of it."""
        config = self.config
        told_s = attempt.alone_ms / 1000 if attempt.alone_ms > 0 else config.alone_s
        return min(max(told_s, config.lease_s), config.alone_max_s) + config.alone_slack_s

    def alone_of(self, record: TaskRecord) -> float:
        """The same for the newest attempt of a task, if one is known."""
        return self.alone_s(record.attempts[-1] if record.attempts else _NO_ATTEMPT)

    def may_judge(self, record: TaskRecord, now_s: float) -> bool:
        """Whether what must not run twice may be ended for its provider's silence.

        Nobody else lets it go on, or its timeout is over there as well.
        """
        silent_s = now_s - self.pursuits[record.task].watch.heard_s
        outlived_s = record.spec.timeout_ms / 1000 + self.alone_of(record)
        return silent_s >= outlived_s or self.keeper.custody.may_judge(record.task, now_s)

    def patience_s(self, record: TaskRecord) -> float:
        """The same for a task that is known from a copy; an award after that is not known."""
        if record.spec.effects is not Repeatability.ONCE:
            return 0.0
        return self.alone_of(record)

    def fail_once(self, record: TaskRecord, why: str) -> list[e.Effect]:
        """End what may have run and may not run again."""
        reason, words = self.pursuits[record.task].watch.ending
        words = f"{words}; {why}" if reason else f"{why}; it {MAY_HAVE_RUN}"
        return self.give_up(record.task, reason or "lost", words)

    def note(self, record: TaskRecord, note: str, now_s: float) -> list[e.Effect]:
        """What the provider says of the checkpoints; written down when it is new."""
        pursuit = self.pursuits[record.task]
        if note == record.note or now_s - pursuit.watch.noted_s < NOTED_EVERY_S:
            return []  # the next beat says it again
        pursuit.watch.noted_s = now_s
        return [*self.ledger.set_note(record.task, note, self.wall_ms())]

    def keep(self, record: TaskRecord, checkpoint: CheckpointRecord) -> list[e.Effect]:
        """Remember newer progress of a task, if it can be read back."""
        is_wanted = record.state not in TASK_ENDS and is_newer(checkpoint, base_of(record))
        if not is_wanted or not fits_award(checkpoint):
            return []
        return [*self.ledger.checkpointed(record.task, checkpoint, self.wall_ms())]

    def urgency(self, record: TaskRecord) -> tuple[int, int, int, TaskId]:
        """Sort key: the most urgent task first, then the oldest."""
        spec = record.spec
        rank = _URGENCY[spec.priority_class]
        return (rank, spec.priority, record.submitted_ms, record.task)

    def deadline_left_ms(self, spec: TaskSpec, submitted_ms: int) -> int | None:
        """Milliseconds to the deadline, None without one."""
        if not spec.deadline_ms:
            return None
        return max(0, submitted_ms + spec.deadline_ms - self.wall_ms())
