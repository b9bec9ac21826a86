"""The seller's jobs: leases, beats, stops and results. One attempt of one task each.

    LEASED -> RUNNING -> (STOPPING ->) REPORTING -> settled, and no longer written down

A job keeps its room from the award until no process of it lives, also across a restart. Only
the buyer of exactly this attempt is listened to: a message with another fence never acts (R3),
except that a newer fence tells that this attempt is no longer the task's.
"""

import math
from collections.abc import Container, Iterable, Mapping
from typing import Final

import msgspec

from p2p.effects import Notify, Persist, Rng, Send, WakeAt
from p2p.ids import PeerId
from swarmnode.market.counting import is_near
from swarmnode.market.messages import Accept
from swarmnode.market.run import events as run_events
from swarmnode.market.run.events import UNWANTED
from swarmnode.market.seller import events as e
from swarmnode.market.seller.config import SellerConfig
from swarmnode.market.seller.job import SellerJob, is_for, written
from swarmnode.market.seller.reports import Reports
from swarmnode.market.seller.room import CapacityBook
from swarmnode.tasks.checkpoint import is_newer
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import JobFact, JobState, next_job_state
from swarmnode.tasks.messages import (
    PHASE_OF,
    CancelJob,
    Checkpointed,
    Phase,
    PreemptNotice,
    Query,
    Renew,
    State,
)
from swarmnode.tasks.records import JobRecord, RoomGrant
from swarmnode.tasks.store import JOBS, job_key

JobKey = tuple[TaskId, int]

NO_ROOM: Final = RoomGrant(0, 0, 0)
"""The grant of a job whose processes have ended."""

_BEAT_BITS: Final = 48


class Jobs:
    """Every job that is not settled. Methods return effects to be performed in order."""

    def __init__(self, config: SellerConfig, room: CapacityBook, rng: Rng) -> None:
        self._config = config
        self._room, self._reports = room, Reports(config)
        self._beat = rng.getrandbits(_BEAT_BITS)
        """Of the State said last; no number of an earlier life of this node comes again."""
        self._jobs: dict[JobKey, SellerJob] = {}
        """The oldest award first; one with `has_room` has a grant in the room by its name."""
        self.expired = 0
        """Leases that ended because their buyer was silent for too long."""

    def records(self) -> tuple[JobRecord, ...]:
        """Jobs as they are written down, oldest award first."""
        return tuple(job.record for job in self._jobs.values())

    def find(self, task: TaskId, fence: int) -> JobRecord | None:
        """The job of an attempt, if it is here and not settled."""
        job = self._jobs.get((task, fence))
        return job.record if job else None

    def using_room(self) -> int:
        """Jobs whose processes may live."""
        return sum(job.has_room for job in self._jobs.values())

    def eta_s(self, now_s: float) -> float:
        """A guess when the next job ends: it has run for a while, it may run as long again."""
        guesses = [
            min(now_s - job.started_s, job.record.spec.timeout_ms / 1000)
            for job in self._jobs.values()
            if job.has_room
        ]
        return max(1.0, min(guesses, default=0.0))

    # -- beginning

    def load(
        self, records: Iterable[JobRecord], now_s: float, node_died_ms: Mapping[str, int]
    ) -> list[e.Effect]:
        """Go on with what an earlier life of this node left.

        How long each may still run its executor knows; what did not start yet starts when its
        buyer has renewed: meanwhile it may have been given up.
        """
        effects: list[e.Effect] = []
        for record in sorted(records, key=lambda left: (left.leased_ms, left.task, left.fence)):
            if record.state is not JobState.REPORTING and record.grant != NO_ROOM:
                self._room.take(record.job, record.grant)
            effects += [*self._enter(record, now_s), Notify(e.StartJob(record))]
            job = self._jobs[record.task, record.fence]
            job.node_died_ms = node_died_ms.get(record.job, 0)
            effects += self._tell_state(job, now_s)
            if record.state is JobState.REPORTING:
                effects.append(self._reports.keep(job, now_s))
        return effects

    def accept(self, record: JobRecord, now_s: float) -> list[e.Effect]:
        """A new job; its room has been taken under its name."""
        return [
            written(record),
            *self._supersede(
                None if record.names_grant else record.buyer, record.task, record.fence, now_s
            ),
            Send(record.buyer, Accept(record.task, record.fence)),
            *self._enter(record, now_s),
            Notify(e.StartJob(record)),
            self._leased(self._jobs[record.task, record.fence]),
        ]

    def _leased(self, job: SellerJob) -> e.Effect:
        until_s = job.lease_until_s + self._config.orphan_grace_s
        return Notify(e.Leased(job.record.job, until_s, self._config.notice_s))

    def _enter(self, record: JobRecord, now_s: float) -> list[e.Effect]:
        config, key = self._config, (record.task, record.fence)
        has_room = record.state is not JobState.REPORTING and record.grant != NO_ROOM
        job = self._jobs[key] = SellerJob(record, now_s + config.lease_s, now_s, has_room)
        beat = WakeAt(now_s + config.lease_renew_s, e.BeatDue(*key))
        return [beat, self._look_at(job, now_s + config.lease_s)]

    def _look_at(self, job: SellerJob, at_s: float) -> e.Effect:
        job.look_s = at_s
        return WakeAt(at_s, e.LeaseDue(job.record.task, job.record.fence))

    # -- what the buyer says

    def on_heard(self, heard: e.JobHeard, now_s: float) -> list[e.Effect]:
        """Renew, Query or CancelJob; only the attempt's own buyer is obeyed."""
        peer, message = heard.peer, heard.message
        superseded = self._supersede(peer, message.task, message.fence, now_s)
        job = self._jobs.get((message.task, message.fence))
        if job is None:
            unknown = State(message.task, message.fence, Phase.UNKNOWN)
            return [*superseded, Send(peer, unknown)]
        if job.record.buyer != peer:
            return superseded  # it acts for the task no more, or never did; it may claim
        match message:
            case Renew():
                return superseded + self._on_renew(job, message, now_s)
            case Query():
                return [*superseded, *self._tell_state(job, now_s)]
            case CancelJob():
                return superseded + self._on_cancel(job, message.reason, now_s)

    def _on_renew(self, job: SellerJob, message: Renew, now_s: float) -> list[e.Effect]:
        record, newest = job.record, job.record.checkpoint
        effects: list[e.Effect] = []
        said_s = job.beats.get(message.beat, -math.inf) if message.beat else now_s
        if said_s + self._config.lease_s >= job.lease_until_s:
            job.lease_until_s = said_s + self._config.lease_s
            effects = [self._leased(job)] if record.state is not JobState.REPORTING else []
        if newest is None:
            return effects
        has_other = 0 < message.checkpoint_ms < newest.made_ms
        if message.checkpoint_step < newest.step or has_other:
            return [*effects, Send(record.buyer, Checkpointed(record.task, record.fence, newest))]
        made_ms = message.checkpoint_ms or newest.made_ms
        return [*effects, Notify(e.CheckpointHad(record.job, made_ms))]

    def _on_cancel(self, job: SellerJob, reason: str, now_s: float) -> list[e.Effect]:
        """What a person cancelled leaves its files to them; anything else nothing."""
        has_heirs = reason == "cancelled"
        if job.record.state is JobState.REPORTING:
            return [] if has_heirs else self._settle(job, JobFact.WRITTEN_OFF, is_wanted=False)
        return self._stop(job, self._config.cancel_grace_s, reason if has_heirs else "unwanted")

    def on_claim(self, heard: e.ClaimHeard, now_s: float) -> list[e.Effect]:
        """Somebody with the task's key acts for it now: obey the highest term."""
        peer, terms = heard.peer, heard.terms
        effects = self._supersede(None, terms.task, terms.fence, now_s)
        job = self._jobs.get((terms.task, terms.fence))
        if job is None:
            return [*effects, Send(peer, State(terms.task, terms.fence, Phase.UNKNOWN))]
        if job.record.buyer != peer:
            if terms.term <= job.record.term or not is_near(terms.term, job.record.term):
                return effects
            job.record = msgspec.structs.replace(job.record, buyer=peer, term=terms.term)
            effects += [written(job.record), Notify(e.BuyerChanged(job.record))]
            effects += self._reports.turned(job, now_s)
        return [*effects, *self._tell_state(job, now_s)]

    def _supersede(
        self, buyer: PeerId | None, task: TaskId, fence: int, now_s: float
    ) -> list[e.Effect]:
        """The buyer speaks of a newer attempt: older ones here no longer act for the task.

        None: whoever has the task's key, whoever was the buyer of the older ones.
        """
        effects: list[e.Effect] = []
        for (other, older), job in list(self._jobs.items()):
            if other != task or older >= fence or buyer not in (None, job.record.buyer):
                continue
            if job.record.state is JobState.REPORTING:
                effects += self._settle(job, JobFact.WRITTEN_OFF, is_wanted=False)
            elif job.record.stop_reason not in UNWANTED:
                effects += self._stop(job, 0.0, "superseded")
        return effects

    def on_receipt(self, event: e.ReceiptHeard) -> list[e.Effect]:
        """The buyer has written the result down."""
        job = self._jobs.get((event.terms.task, event.terms.fence))
        if job is None or job.record.buyer != event.peer:
            return []
        if job.record.state is not JobState.REPORTING:
            return []
        return self._settle(job, JobFact.RECEIPT_CAME)

    # -- what the runner says

    def on_staged(self, event: run_events.Staged, now_s: float) -> list[e.Effect]:
        """From here on a process of the job may live."""
        job = self._jobs.get((event.task, event.fence))
        if job is None or job.record.state is not JobState.LEASED:
            return []
        return [*self._step(job, JobFact.STAGED), *self._tell_state(job, now_s)]

    def on_checkpoint(self, event: run_events.CheckpointStored) -> list[e.Effect]:
        """Newer progress is kept: write it down, then tell the buyer."""
        job = self._jobs.get((event.task, event.fence))
        if job is None:
            return []
        if not is_newer(event.checkpoint, job.record.checkpoint):
            return []
        # It started long ago: nobody restores the older one any more.
        record = job.record = msgspec.structs.replace(
            job.record, checkpoint=event.checkpoint, restore=None
        )
        message = Checkpointed(record.task, record.fence, event.checkpoint)
        return [written(record), Send(record.buyer, message)]

    def on_trouble(self, event: run_events.CheckpointTrouble, now_s: float) -> list[e.Effect]:
        """A checkpoint is not kept: the buyer hears of it with every beat until one is."""
        job = self._jobs.get((event.task, event.fence))
        if job is None or job.note == event.note:
            return []
        job.note = event.note
        return self._tell_state(job, now_s)

    def on_process_gone(self, event: run_events.ProcessGone) -> list[e.Effect]:
        """The room is free for others while the outputs are stored, also after a crash."""
        job = self._jobs.get((event.task, event.fence))
        if job is None or not job.has_room:
            return []
        self._free(job)
        job.record = msgspec.structs.replace(job.record, grant=NO_ROOM)
        return [written(job.record)]

    def _free(self, job: SellerJob) -> None:
        job.has_room = False
        self._room.give_back(job.record.job)

    def on_ended(self, event: run_events.Ended, now_s: float) -> list[e.Effect]:
        """No process lives: report, unless nobody wants to know."""
        job = self._jobs.get((event.task, event.fence))
        if job is None or job.record.state is JobState.REPORTING:
            return []
        self._free(job)
        if job.record.stop_reason in UNWANTED:
            return self._settle(job, JobFact.WRITTEN_OFF, is_wanted=False)
        is_done = event.outcome.status == "done"
        # A finished task needs no checkpoint; both lists together may be too long to read back.
        kept = None if is_done else job.record.checkpoint
        job.record = msgspec.structs.replace(
            job.record, outcome=event.outcome, checkpoint=kept, restore=None
        )
        stepped = self._step(job, JobFact.ENDED)
        return [*stepped, *self._tell_state(job, now_s), self._reports.keep(job, now_s)]

    def on_logs_delivered(self, event: run_events.LogsDelivered, now_s: float) -> list[e.Effect]:
        """The result is final now: say it."""
        job = self._jobs.get((event.task, event.fence))
        if job is None or job.record.state is not JobState.REPORTING or job.logs_delivered:
            return []
        return self._reports.delivered(job, event.buyer, self._last_word(job, now_s), now_s)

    # -- timers

    def on_beat_due(self, event: e.BeatDue, now_s: float) -> list[e.Effect]:
        """Tell the buyer that the job lives."""
        job = self._jobs.get((event.task, event.fence))
        if job is None:
            return []
        return [*self._tell_state(job, now_s), WakeAt(now_s + self._config.lease_renew_s, event)]

    def on_lease_due(self, event: e.LeaseDue, now_s: float) -> list[e.Effect]:
        """Without its buyer a job goes on for the orphan grace; before the end it saves."""
        job, config = self._jobs.get((event.task, event.fence)), self._config
        if job is None or job.record.state is JobState.REPORTING:
            return []
        ends_s = job.lease_until_s + config.orphan_grace_s
        if now_s < ends_s - config.notice_s:
            return [self._look_at(job, ends_s - config.notice_s)]
        if job.record.state is JobState.STOPPING:
            return []
        if now_s > job.look_s + config.asleep_s and now_s < ends_s:  # it was us who were away
            look = self._look_at(job, min(now_s + config.ask_s, ends_s))
            return [*self._tell_state(job, now_s), look]
        self.expired += 1
        return self._stop(job, max(0.0, ends_s - now_s), "orphaned")

    def on_result_due(self, event: e.ResultDue, now_s: float) -> list[e.Effect]:
        """No receipt yet: repeat the result, less and less often."""
        job = self._jobs.get((event.task, event.fence))
        if job is None:
            return []
        return self._reports.repeat(job, self._last_word(job, now_s), now_s)

    def on_patience_over(self, event: e.PatienceOver, now_s: float) -> list[e.Effect]:
        """Nobody asked for the result in all that time."""
        job = self._jobs.get((event.task, event.fence))
        if job is None or now_s < job.keep_until_s:
            return []
        return self._settle(job, JobFact.WRITTEN_OFF)

    # -- who may no longer be here

    def end_of(self, removed: e.BuyersRemoved, now_s: float) -> list[e.Effect]:
        """They were removed from the network: nothing runs for them any more."""
        effects: list[e.Effect] = []
        for job in list(self._jobs.values()):
            record = job.record
            if not is_for(record, removed) or record.stop_reason == "removed":
                continue
            if record.state is JobState.REPORTING:
                effects += self._settle(job, JobFact.WRITTEN_OFF)
            elif record.state is JobState.STOPPING:  # without the grace it had
                effects.append(Notify(e.Stop(record.job, 0.0, "removed")))
            else:
                effects += self._stop(job, 0.0, "removed")
        return effects

    # -- the owner

    def preempt(
        self, grace_s: float, now_s: float, reason: str, only: Container[str] | None = None
    ) -> list[e.Effect]:
        """Give the machine back, or the room of some jobs: notice to their buyers, then stop."""
        effects: list[e.Effect] = []
        for job in list(self._jobs.values()):
            record = job.record
            if record.state is JobState.REPORTING or (only is not None and record.job not in only):
                continue
            if record.state is JobState.STOPPING:  # perhaps with a longer grace
                effects.append(Notify(e.Stop(record.job, grace_s, record.stop_reason)))
                continue
            notice = PreemptNotice(record.task, record.fence, int(grace_s * 1000))
            effects += [Send(record.buyer, notice), *self._stop(job, grace_s, reason)]
        return effects

    # -- inside

    def _stop(self, job: SellerJob, grace_s: float, reason: str) -> list[e.Effect]:
        job.record = msgspec.structs.replace(job.record, stop_reason=reason)
        stepped = self._step(job, JobFact.STOP_ORDERED)
        return [*stepped, Notify(e.Stop(job.record.job, grace_s, reason))]

    def _step(self, job: SellerJob, fact: JobFact) -> list[e.Effect]:
        state = next_job_state(job.record.state, fact)
        job.record = msgspec.structs.replace(job.record, state=state)
        return [written(job.record)]

    def _settle(self, job: SellerJob, fact: JobFact, *, is_wanted: bool = True) -> list[e.Effect]:
        record = job.record
        next_job_state(record.state, fact)
        del self._jobs[record.task, record.fence]
        done = record.outcome is not None and record.outcome.status == "done"
        is_done = done and fact is JobFact.RECEIPT_CAME
        forget = Persist(JOBS, job_key(record.task, record.fence), None)
        return [forget, Notify(e.Settle(record, is_done, is_wanted))]

    def _last_word(self, job: SellerJob, now_s: float) -> list[e.Effect]:
        """Before a result: that the node died under the job."""
        return self._tell_state(job, now_s) if job.node_died_ms else []

    def _tell_state(self, job: SellerJob, now_s: float) -> list[e.Effect]:
        record = job.record
        step = record.checkpoint.step if record.checkpoint else 0
        self._beat += 1
        job.note_beat(self._beat, now_s)
        phase, died_ms = PHASE_OF[record.state], job.node_died_ms
        state = State(record.task, record.fence, phase, step, self._beat, died_ms, job.note)
        return [Send(record.buyer, state)]
