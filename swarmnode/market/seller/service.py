"""Sells this machine's room: bids, takes awards, runs the jobs, delivers results.

The core decides; this service hears the buyers, writes down, and gives each job a runner.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Protocol, TypeVar, assert_never

import trio

from p2p.errors import RefusalError, WireError
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.ids import MemberId, PeerId
from p2p.limits import CLOCK_SKEW_MAX_MS
from p2p.mesh import Mesh
from p2p.service import Driver, Performer
from p2p.wire.codec import Record
from p2p.wire.envelope import Signed, open_signed, seal
from storage.engine.port import Tables
from storage.facade import Objects
from storage.records.names.messages import GRANT_DOMAIN, NameGrant
from swarmnode.contained import contained
from swarmnode.errors import JobUnknownError
from swarmnode.executor.port import Executor, JobId
from swarmnode.limits import KILL_TIMEOUT_S
from swarmnode.market.guardians.messages import CLAIM_DOMAIN, Claim, ClaimTerms
from swarmnode.market.messages import (
    AWARD_DOMAIN,
    Award,
    AwardTerms,
    Bid,
    BidKind,
    CallForBids,
    Release,
)
from swarmnode.market.run.outputs import let_go, snapshot
from swarmnode.market.run.runner import JobMemory, JobRunner
from swarmnode.market.seller import events as e
from swarmnode.market.seller.config import SellerConfig
from swarmnode.market.seller.core import Seller
from swarmnode.market.seller.view import Lent, SellerStats, advert_of, lent_now, stats_of
from swarmnode.resources.advert import ResourceAdvert
from swarmnode.resources.port import Machine, MachineSnapshot
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.keys import task_id_of
from swarmnode.tasks.lifecycle import JobState
from swarmnode.tasks.messages import (
    RECEIPT_DOMAIN,
    RESULT_DOMAIN,
    AskFiles,
    CancelJob,
    FilesTold,
    Query,
    ReceiptTerms,
    Renew,
    Result,
    ResultReceipt,
    ResultTerms,
)
from swarmnode.tasks.patient_writer import PatientWriter
from swarmnode.tasks.records import FAULT, FAULT_WORDS, JobRecord
from swarmnode.tasks.store import load_fences, load_jobs, load_paused

RecordT = TypeVar("RecordT", bound=Record)

TIDY_EVERY_S: Final = 3600.0
"""How often checkpoints are looked for that nobody will want any more."""


@dataclass(frozen=True, slots=True)
class SellerServiceConfig:
    """What this machine lends, and on what terms."""

    terms: SellerConfig = field(default_factory=SellerConfig)
    lent: Lent = field(default_factory=Lent)
    survey_s: float = 5.0
    """How often the machine is looked at: its owner's processes and GPUs come and go."""


class SellerMemory(JobMemory, Protocol):
    """The part of MemoryService that is needed here."""

    def acknowledge(self, job: JobId, taken_ms: int) -> None: ...

    async def discard(self, task: TaskId) -> None: ...

    async def forget_stale(self, in_use: frozenset[TaskId]) -> None: ...


@dataclass(frozen=True, slots=True)
class Premises:
    """Where jobs run, and what of this machine they are given."""

    executor: Executor
    machine: Machine
    tables: Tables
    objects: Objects
    memory: SellerMemory


class SellerService:
    """This machine's side of the market for those who want to run tasks on it."""

    def __init__(
        self,
        config: SellerServiceConfig,
        mesh: Mesh,
        premises: Premises,
        *,
        lends: bool = True,
    ) -> None:
        """`lends` False: run nobody's tasks, whatever the configuration says."""
        terms = replace(config.terms, lends=config.terms.lends and lends)
        self._terms, self._config = terms, config
        self._rpc, self._members, self._wall_ms = mesh.rpc, mesh.members, mesh.wall_ms
        self._signer, self._network = mesh.signer, mesh.network
        self._executor, self._machine = premises.executor, premises.machine
        self._tables, self._objects = premises.tables, premises.objects
        self._memory = premises.memory
        self._core = Seller(terms, mesh.me, mesh.rng, mesh.wall_ms)
        # By the room set aside, too: what fills the disk may go only once its end is written.
        self._pen = PatientWriter(premises.tables.free)
        self._driver = Driver(self._core, Performer(mesh.rpc.send, self._notify, self._pen.persist))
        self._runners: dict[str, JobRunner] = {}
        """By job, from its start until it was cleared."""
        self._listeners: list[Callable[[], None]] = []
        self._nursery: trio.Nursery | None = None
        """Of runners and clearings; None before `run`."""
        self._snapshot: MachineSnapshot | None = None
        """The newest look at the machine; None before the first."""
        self._is_open = False
        """Jobs are loaded: what others say before is not heard."""
        self._stores_files_of: set[str] = set()
        """Jobs whose files somebody has asked for just now: one at a time."""
        self._listen(mesh.rpc)

    def _listen(self, rpc: Rpc) -> None:
        rpc.listen(CallForBids, self._on_call)
        rpc.listen(Award, self._on_award)
        rpc.listen(Release, self._on_release)
        rpc.listen(ResultReceipt, self._on_receipt)
        rpc.listen(Claim, self._on_claim)
        rpc.listen(Renew, self._on_job_message)
        rpc.listen(Query, self._on_job_message)
        rpc.listen(CancelJob, self._on_job_message)
        rpc.serve(AskFiles, self._on_ask_files)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Go on with the jobs an earlier life left, sweep all others, sell until cancelled.

        Start it after tables, executor and rpc.
        """
        jobs = tuple(load_jobs(self._tables))
        fences = tuple(load_fences(self._tables).items())
        await self._executor.sweep(frozenset(JobId(job.job) for job in jobs))
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self._driver.run)
            died = {str(view.job): view.node_died_ms for view in self._executor.jobs()}
            await self._driver.do(e.JobsLoaded(jobs, fences, load_paused(self._tables), died))
            await self._survey()
            self._is_open = True  # before, every job would have looked unknown
            nursery.start_soon(self._tidy_forever)
            task_status.started()
            while True:
                await trio.sleep(self._config.survey_s)
                await self._survey()

    async def _tidy_forever(self) -> None:
        while True:
            await trio.sleep(TIDY_EVERY_S)
            here = frozenset(record.task for record in self._core.jobs.records())
            await self._memory.forget_stale(here)

    # -- the owner, and the rest of this node

    async def pause(self, grace_s: float) -> None:
        """Take no work; returns once no process of a task is left: grace and kill time at most."""
        await self._driver.do(e.PauseAsked(grace_s))
        with trio.move_on_after(grace_s + 2 * KILL_TIMEOUT_S):
            for runner in list(self._runners.values()):
                await runner.has_no_process.wait()

    async def resume(self) -> None:
        """Lend the machine again."""
        await self._driver.do(e.ResumeAsked())

    def end_of(self, buyers: frozenset[PeerId], people: frozenset[MemberId]) -> None:
        """These were removed: their jobs here stop, and their results go nowhere."""
        self._driver.order(e.BuyersRemoved(buyers, people))

    @property
    def trouble(self) -> str:
        """Why the tasks of others stand still here; empty while they do not."""
        full = "the disk is full: tasks of others stand still here until there is room"
        return full if self._pen.is_waiting else ""

    def stats(self) -> SellerStats:
        """What is lent, free and running now."""
        return stats_of(self._core, self._terms)

    def advert(self) -> ResourceAdvert | None:
        """What others should know of this machine; None before it was looked at."""
        if self._snapshot is None:
            return None
        return advert_of(self._core, self._terms, self._snapshot)

    def on_room_changed(self, listener: Callable[[], None]) -> None:
        """Be told whenever `stats` and `advert` have changed; must not block."""
        self._listeners.append(listener)

    # -- what buyers say

    def _on_call(self, caller: Caller, call: CallForBids) -> None:
        if self._pen.is_waiting:
            self._rpc.cast(caller.peer, _no_room(call))
            return
        is_ours = caller.is_me or caller.lab == self._rpc.me.lab
        is_owner = caller.is_me or caller.member == self._rpc.me.member
        self._post(e.CallHeard(caller.peer, caller.lab, is_ours, call, is_owner))

    def _on_release(self, caller: Caller, message: Release) -> None:
        self._post(e.ReleaseHeard(caller.peer, message.auction))

    def _on_award(self, caller: Caller, message: Award) -> None:
        terms = self._opened(caller.peer, AWARD_DOMAIN, AwardTerms, message.sealed)
        if terms is not None:
            self._check_grant(terms)
            self._post(e.AwardHeard(caller.peer, terms))

    def _on_receipt(self, caller: Caller, message: ResultReceipt) -> None:
        terms = self._opened(caller.peer, RECEIPT_DOMAIN, ReceiptTerms, message.sealed)
        if terms is not None and terms.seller == self._rpc.peer_id:
            self._post(e.ReceiptHeard(caller.peer, terms))

    def _on_claim(self, caller: Caller, message: Claim) -> None:
        sealed = message.sealed
        terms = open_signed(self._signer, self._network, CLAIM_DOMAIN, ClaimTerms, sealed)
        if task_id_of(sealed.sender) != terms.task or terms.machine != caller.peer:
            raise WireError(f"{caller.peer} claims what it was not given")
        if sealed.expires_ms + CLOCK_SKEW_MAX_MS >= self._wall_ms():
            self._post(e.ClaimHeard(caller.peer, terms))

    def _on_job_message(self, caller: Caller, message: Renew | Query | CancelJob) -> None:
        self._post(e.JobHeard(caller.peer, message))

    async def _on_ask_files(
        self, caller: Caller, asked: AskFiles, _body: bytes
    ) -> tuple[FilesTold, bytes]:
        record = self._core.jobs.find(asked.task, asked.fence)
        if record is None or record.buyer != caller.peer or record.state is not JobState.RUNNING:
            raise RefusalError("unknown", "that attempt does not run here")
        if record.job in self._stores_files_of:
            raise RefusalError("busy", "its outputs are being stored just now: ask again")
        self._stores_files_of.add(record.job)
        try:
            with contained(f"the look at the files of job {record.job}"):
                found = await snapshot(self._executor, self._objects, record)
                return FilesTold(found.files, found.fault), b""
        finally:
            self._stores_files_of.discard(record.job)
        raise RefusalError(FAULT, FAULT_WORDS)

    def _opened(
        self, peer: PeerId, domain: str, kind: type[RecordT], sealed: Signed
    ) -> RecordT | None:
        """The terms; None when they are late. A forgery ends the connection by WireError."""
        if sealed.sender != peer:
            raise WireError(f"{peer} sends what {sealed.sender} signed")
        terms = open_signed(self._signer, self._network, domain, kind, sealed)
        return terms if sealed.expires_ms + CLOCK_SKEW_MAX_MS >= self._wall_ms() else None

    def _check_grant(self, terms: AwardTerms) -> None:
        """Raises WireError for a grant that the task's own key did not sign for this award."""
        sealed = terms.names_grant
        if sealed is None:
            return
        grant = open_signed(self._signer, self._network, GRANT_DOMAIN, NameGrant, sealed)
        if task_id_of(sealed.sender) != terms.task:
            raise WireError(f"{sealed.sender} is not the key of task {terms.task}")
        if (grant.machine, grant.fence) != (terms.seller, terms.fence):
            raise WireError("an award with a grant for another attempt")

    def _post(self, event: e.Event) -> None:
        if self._is_open:
            self._driver.post(event)

    # -- what the core wants done

    def _notify(self, event: e.Notice) -> None:
        match event:
            case e.StartJob(record):
                self._begin(record)
            case e.BuyerChanged(record):
                self._runners[record.job].turn_to(record)
            case e.Leased(job, until_s, notice_s):
                self._runners[job].renew(until_s - trio.current_time(), notice_s)
            case e.Stop(job, grace_s, reason):
                self._runners[job].stop(grace_s, reason)
            case e.SendResult(record):
                self._report(record)
            case e.Settle():
                self._runners[event.record.job].cancel()
                self._spawn(partial(self._clear, event))
            case e.CheckpointHad(job, taken_ms):
                self._memory.acknowledge(JobId(job), taken_ms)
            case e.RoomChanged():
                for listener in self._listeners:
                    listener()
            case _:
                assert_never(event)

    def _begin(self, record: JobRecord) -> None:
        runner = self._runners[record.job] = JobRunner(
            record, self._rpc, self._executor, self._objects, self._memory, self._driver.do
        )
        self._spawn(runner.run)

    def _report(self, record: JobRecord) -> None:
        assert record.outcome is not None
        terms = ResultTerms(
            record.task, record.fence, record.buyer, record.outcome, record.checkpoint
        )
        expires_ms = self._wall_ms() + int(self._terms.result_keep_s * 1000)
        sealed = seal(
            self._signer,
            self._network,
            RESULT_DOMAIN,
            terms,
            sequence=record.fence,
            expires_ms=expires_ms,
        )
        self._rpc.cast(record.buyer, Result(sealed))

    async def _clear(self, settled: e.Settle) -> None:
        record = settled.record
        await self._runners[record.job].has_ended.wait()
        del self._runners[record.job]
        with contained(f"the clearing of job {record.job}"), suppress(JobUnknownError):
            await self._executor.forget(JobId(record.job))  # else the next start sweeps it
        with contained(f"the letting go of what job {record.job} left"):
            await let_go(self._objects, record, is_wanted=settled.is_wanted)
            if settled.is_done:
                await self._memory.discard(record.task)

    def _spawn(self, task: Callable[[], Awaitable[None]]) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(task)

    async def _survey(self) -> None:
        """Look at the machine; what tasks have of it counts as free to lend again."""
        snapshot = self._snapshot = await self._machine.read()
        capacity = lent_now(self._config.lent, snapshot, self._core.room.taken())
        enforced = [limit.value for limit, why in self._executor.enforceable().items() if not why]
        await self._driver.do(
            e.Surveyed(
                capacity,
                self._executor.environments(),
                tuple(enforced),
                self._executor.trouble(),
            )
        )


def _no_room(call: CallForBids) -> Bid:
    words = "no room: the disk of this machine is full"
    return Bid(call.auction, 0, BidKind.REFUSED, reason="disk", detail=words)
