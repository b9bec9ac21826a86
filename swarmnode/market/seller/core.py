"""The seller's core: who may use this machine, on what terms, until when. A pure state machine.

    Call -> Bid HELD | QUEUED | REFUSED;   Award -> Accept | Decline;   then see jobs.py

Invariant R1: holds and grants together never exceed what the machine lends.
Invariant R3: an award is taken only with a fence above every one known for its task, and an
attempt acts only for its own buyer and fence. Both survive a crash: job and fence are durable
before the Accept leaves.
"""

from collections.abc import Callable
from typing import assert_never

from p2p.effects import Notify, Persist, Rng, Send
from p2p.errors import WireError
from p2p.ids import PeerId
from p2p.wire.codec import encode
from storage.rights import named_in
from swarmnode.limits import FENCES_MAX
from swarmnode.market.messages import Accept, AwardTerms, Decline
from swarmnode.market.run import events as run
from swarmnode.market.run.events import RunEvent
from swarmnode.market.seller import events as e
from swarmnode.market.seller.config import SellerConfig
from swarmnode.market.seller.guests import in_the_way
from swarmnode.market.seller.jobs import NO_ROOM, Jobs
from swarmnode.market.seller.offers import Hold, Offers
from swarmnode.market.seller.room import CapacityBook
from swarmnode.tasks.checkpoint import fits_award
from swarmnode.tasks.environments.recipe import build_fault
from swarmnode.tasks.ids import TaskId, is_task_id
from swarmnode.tasks.lifecycle import JobState
from swarmnode.tasks.records import FenceRecord, JobRecord
from swarmnode.tasks.spec_load import is_sound
from swarmnode.tasks.store import FENCES, OWNER, PAUSED_KEY, task_key

_FENCE_MAX = 2**63 - 1


class Seller:
    """All that this machine has promised to anybody."""

    def __init__(
        self,
        config: SellerConfig,
        me: PeerId,
        rng: Rng,
        wall_ms: Callable[[], int],
    ) -> None:
        self.room = CapacityBook()
        self.offers = Offers(config, self.room, rng)
        self.jobs = Jobs(config, self.room, rng)
        self._me, self._config = me, config
        self._wall_ms = wall_ms
        self._fences: dict[TaskId, FenceRecord] = {}
        """Newest fence taken for each task, the newest last; FENCES_MAX at most, jobs here stay."""

    def handle(self, event: e.Event, now_s: float) -> list[e.Effect]:
        """Take one event."""
        before = (self.room.version, self.offers.version)
        effects = self._take(event, now_s)
        if self.room.has_freed:
            self.room.has_freed = False
            effects = effects + self.offers.offer_room(now_s, self.jobs.using_room())
        if (self.room.version, self.offers.version) != before:
            effects = [*effects, Notify(e.RoomChanged())]
        return effects

    def check_invariants(self) -> None:
        """R1, and what else holds between two events.

        The amounts are not compared with the capacity: that may have shrunk since they were given.
        """
        records, room, offers = self.jobs.records(), self.room, self.offers
        jobs = {
            record.job: record.grant
            for record in records
            if _lives(record) and record.grant != NO_ROOM
        }
        assert room.grants() == {**offers.grants(), **jobs}, "others have room than hold or use it"
        assert len(jobs) == self.jobs.using_room(), "jobs and room disagree about who lives"
        gpus = room.taken().gpus
        assert len(set(gpus)) == len(gpus), "a GPU is lent twice"
        assert not room.has_freed, "room was freed and offered to nobody"
        is_empty = not offers.held() and not offers.waits()
        assert not self.is_paused or is_empty, "an offer outlived the pause"
        for record in records:
            assert _lives(record) == (record.outcome is None), f"{record.job} ended without an end"

    def _take(self, event: e.Event, now_s: float) -> list[e.Effect]:
        match event:
            case e.CallHeard():
                return self._on_call(event, now_s)
            case e.AwardHeard():
                return self._on_award(event, now_s)
            case e.JobHeard():
                return self.jobs.on_heard(event, now_s)
            case e.ReceiptHeard():
                return self.jobs.on_receipt(event)
            case e.ClaimHeard():
                return self.jobs.on_claim(event, now_s)
            case e.ReleaseHeard():
                self.offers.on_release(event.peer, event.auction)
                return []
            case e.Surveyed():
                return self._on_surveyed(event)
            case e.PauseAsked():
                return self._on_pause(event, now_s)
            case e.ResumeAsked():
                return self._on_resume()
            case e.BuyersRemoved():
                return self.jobs.end_of(event, now_s)
            case e.JobsLoaded():
                return self._on_loaded(event, now_s)
            case _:
                return self._on_run_or_timer(event, now_s)

    def _on_run_or_timer(self, event: RunEvent | e.Timer, now_s: float) -> list[e.Effect]:
        match event:
            case run.Staged():
                return self.jobs.on_staged(event, now_s)
            case run.CheckpointStored():
                return self.jobs.on_checkpoint(event)
            case run.CheckpointTrouble():
                return self.jobs.on_trouble(event, now_s)
            case run.ProcessGone():
                return self.jobs.on_process_gone(event)
            case run.Ended():
                return self.jobs.on_ended(event, now_s)
            case run.LogsDelivered():
                return self.jobs.on_logs_delivered(event, now_s)
            case e.BeatDue():
                return self.jobs.on_beat_due(event, now_s)
            case e.LeaseDue():
                return self.jobs.on_lease_due(event, now_s)
            case e.ResultDue():
                return self.jobs.on_result_due(event, now_s)
            case e.PatienceOver():
                return self.jobs.on_patience_over(event, now_s)
            case e.HoldOver():
                self.offers.on_hold_over(event)
                return []
            case e.WaitingOver():
                self.offers.on_waiting_over(event, now_s)
                return []
            case _:
                assert_never(event)

    @property
    def is_paused(self) -> bool:
        """Whether its owner uses the machine."""
        return self.offers.is_paused

    # -- this machine

    def _on_loaded(self, event: e.JobsLoaded, now_s: float) -> list[e.Effect]:
        self._fences.update(event.fences)
        effects = self.jobs.load(event.jobs, now_s, event.node_died_ms)
        if event.is_paused:
            self.offers.pause()  # the crash may have come between the pause and the stops
            effects += self.jobs.preempt(0.0, now_s, "paused")
        return effects

    def _on_surveyed(self, event: e.Surveyed) -> list[e.Effect]:
        self.offers.survey(event.fitness)
        self.room.set_capacity(event.capacity)
        return []

    def _on_pause(self, event: e.PauseAsked, now_s: float) -> list[e.Effect]:
        self.offers.pause()
        stopped = self.jobs.preempt(event.grace_s, now_s, "paused")
        return [Persist(OWNER, PAUSED_KEY, b"1"), *stopped]

    def _on_resume(self) -> list[e.Effect]:
        self.offers.resume()
        return [Persist(OWNER, PAUSED_KEY, None)]

    # -- offers

    def _on_call(self, event: e.CallHeard, now_s: float) -> list[e.Effect]:
        jobs_now, eta_s = self.jobs.using_room(), self.jobs.eta_s(now_s)
        effects = self.offers.on_call(event, now_s, jobs_now, eta_s)
        if not event.is_owners or not self.offers.waits_for(event):
            return effects
        config, records = self._config, self.jobs.records()
        guests = in_the_way(self.room, event.call.shape, records, config.tasks_max)
        return effects + self.jobs.preempt(config.owner_notice_s, now_s, "owner", guests)

    # -- awards

    def _on_award(self, event: e.AwardHeard, now_s: float) -> list[e.Effect]:
        peer, terms = event.peer, event.terms
        job = self.jobs.find(terms.task, terms.fence)
        is_newest = self._fence_before(peer, terms) <= terms.fence
        if job is not None and job.buyer == peer and job.bid == terms.bid and is_newest:
            return [Send(peer, Accept(terms.task, terms.fence))]  # our first answer was lost
        refusal = "stale" if job is not None else self._award_fault(peer, terms)
        hold = None if refusal else self.offers.take_up(peer, terms.bid, now_s)
        if hold is None:
            return [Send(peer, Decline(terms.task, terms.fence, refusal or "expired"))]
        return self._taken(peer, terms, hold, now_s)

    def _taken(self, peer: PeerId, terms: AwardTerms, hold: Hold, now_s: float) -> list[e.Effect]:
        """Its room is the job's now, if it was held for such a task."""
        taker, call, now_ms = f"hold/{terms.bid}", hold.heard.call, self._wall_ms()
        spec = terms.spec
        if (spec.shape, spec.env, spec.net) != (call.shape, call.env, call.net):
            self.room.give_back(taker)
            return [Send(peer, Decline(terms.task, terms.fence, "shape"))]
        record = _job_of(peer, terms, hold, now_ms)
        self.room.hand_over(taker, record.job)
        return [*self._note_fence(record, now_ms), *self.jobs.accept(record, now_s)]

    def _award_fault(self, peer: PeerId, terms: AwardTerms) -> str:
        """Why an award is refused whatever room is held for it; empty when it is not."""
        if self.offers.is_paused:
            return "paused"
        if not self._fence_before(peer, terms) < terms.fence <= _FENCE_MAX:
            return "stale"
        if terms.seller != self._me or not is_task_id(terms.task) or not is_sound(terms.spec):
            return "shape"
        if build_fault(terms.spec, is_restored=terms.restore is not None):
            return "shape"
        if terms.restore is not None and not fits_award(terms.restore):
            return "shape"  # written down, it could not be read back
        return "" if _may_put(terms, self._me) else "shape"

    def _fence_before(self, peer: PeerId, terms: AwardTerms) -> int:
        """The newest fence known for a task; `_FENCE_MAX` for who has no say in it.

        Whoever has the task's key has it. Without such a proof the first who awarded it here has:
        so nobody can lock a task out by awarding its id under a fence of their own.
        """
        known = self._fences.get(terms.task)
        if known is None or known.awarder in ("", _awarder(peer, terms)):
            return known.fence if known else 0
        return 0 if terms.names_grant is not None else _FENCE_MAX

    def _note_fence(self, record: JobRecord, now_ms: int) -> list[e.Effect]:
        grant = record.names_grant
        noted = FenceRecord(record.fence, now_ms, record.buyer if grant is None else grant.sender)
        self._fences.pop(record.task, None)
        self._fences[record.task] = noted
        effects: list[e.Effect] = [Persist(FENCES, task_key(record.task), encode(noted))]
        if len(self._fences) > FENCES_MAX:
            in_use = {job.task for job in self.jobs.records()} | {record.task}
            oldest = next(task for task in self._fences if task not in in_use)
            del self._fences[oldest]
            effects.append(Persist(FENCES, task_key(oldest), None))
        return effects


def _lives(record: JobRecord) -> bool:
    return record.state is not JobState.REPORTING


def _job_of(peer: PeerId, terms: AwardTerms, hold: Hold, now_ms: int) -> JobRecord:
    return JobRecord(
        task=terms.task,
        fence=terms.fence,
        buyer=peer,
        bid=terms.bid,
        spec=terms.spec,
        grant=hold.grant,
        leased_ms=now_ms,
        restore=terms.restore,
        names_grant=terms.names_grant,
        state_key=terms.state_key,
        is_owners=hold.heard.is_owner,
        right=terms.right,
    )


def _awarder(peer: PeerId, terms: AwardTerms) -> str:
    return peer if terms.names_grant is None else terms.names_grant.sender


def _may_put(terms: AwardTerms, me: PeerId) -> bool:
    """Whether the right in an award is for this machine and task; none at all is fine."""
    if terms.right is None:
        return True
    try:
        link = named_in(terms.right)
    except WireError:
        return False
    return (link.putter, link.task) == (me, terms.task)
