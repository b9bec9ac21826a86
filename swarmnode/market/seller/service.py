"""Sells this machine's room: bids, takes awards, runs the jobs, delivers results.

The core decides; this service hears the buyers, writes down, and gives each job a runner.
"""

from typing import Final, assert_never

import msgspec
import trio
from msgspec.structs import replace

from p2p.ids import PeerId, PersonId
from p2p.mesh import Mesh
from p2p.service import Driver, Performer
from swarmnode.executor.port import JobId
from swarmnode.limits import KILL_TIMEOUT_S
from swarmnode.market.seller import events as e
from swarmnode.market.seller.config import SellerConfig
from swarmnode.market.seller.core import Seller
from swarmnode.market.seller.lending import Lending
from swarmnode.market.seller.mail import BuyerMail
from swarmnode.market.seller.premises import Premises
from swarmnode.market.seller.running import RunningJobs
from swarmnode.market.seller.view import Lent
from swarmnode.tasks.patient_writer import PatientWriter
from swarmnode.tasks.records import JobRecord
from swarmnode.tasks.store import load_fences, load_jobs, load_paused

TIDY_EVERY_S: Final = 3600.0
"""How often checkpoints are looked for that nobody will want any more."""


class SellerServiceConfig(msgspec.Struct, frozen=True):
    """What this machine lends, and on what terms."""

    terms: SellerConfig = msgspec.field(default_factory=SellerConfig)
    lent: Lent = msgspec.field(default_factory=Lent)
    survey_s: float = 5.0
    """How often the machine is looked at: its owner's processes and GPUs come and go."""


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
        self._survey_s, self._tables = config.survey_s, premises.tables
        self._executor, self._memory = premises.executor, premises.memory
        self._core = Seller(terms, mesh.me, mesh.rng, mesh.wall_ms)
        # By the room set aside, too: what fills the disk may go only once its end is written.
        self._pen = PatientWriter(premises.tables.free)
        self._driver = Driver(self._core, Performer(mesh.rpc.send, self._notify, self._pen.persist))
        self._running = RunningJobs(mesh.rpc, premises, self._driver.do)
        self.lending = Lending(
            self._core, terms, config.lent, premises.executor, premises.machine, self._driver.do
        )
        """What of this machine is lent now."""
        self._is_open = False
        """Jobs are loaded: what others say before is not heard."""
        self._mail = BuyerMail(
            mesh,
            self._core.jobs,
            post=self._post,
            is_full=lambda: self._pen.is_waiting,
            files_of=self._running.files_of,
            signal=self._running.signal,
            keep_s=terms.result_keep_s,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Go on with the jobs an earlier life left, sweep all others, sell until cancelled.

        Start it after tables, executor and rpc.
        """
        jobs = tuple(load_jobs(self._tables))
        await self._executor.sweep(frozenset(JobId(job.job) for job in jobs))
        async with trio.open_nursery() as nursery:
            await nursery.start(self._running.run)
            await nursery.start(self._driver.run)
            await self._driver.do(self._loaded(jobs))
            await self.lending.survey()
            self._is_open = True  # before, every job would have looked unknown
            nursery.start_soon(self._tidy_forever)
            task_status.started()
            while True:
                with trio.move_on_after(self._survey_s):
                    await self._executor.bringing.arrived()  # the next task is to come here, too
                await self.lending.survey()

    def _loaded(self, jobs: tuple[JobRecord, ...]) -> e.JobsLoaded:
        fences = tuple(load_fences(self._tables).items())
        died = {str(view.job): view.node_died_ms for view in self._executor.jobs()}
        return e.JobsLoaded(jobs, fences, load_paused(self._tables), died)

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
            await self._running.no_process_left()

    async def resume(self) -> None:
        """Lend the machine again."""
        await self._driver.do(e.ResumeAsked())

    def end_of(self, buyers: frozenset[PeerId], people: frozenset[PersonId]) -> None:
        """These were removed: their jobs here stop, and their results go nowhere."""
        self._driver.order(e.BuyersRemoved(buyers, people))

    @property
    def trouble(self) -> str:
        """Why the tasks of others stand still here; empty while they do not."""
        full = "the disk is full: tasks of others stand still here until there is room"
        return full if self._pen.is_waiting else ""

    def _post(self, event: e.Event) -> None:
        if self._is_open:
            self._driver.post(event)

    def _notify(self, event: e.Notice) -> None:
        match event:
            case e.StartJob(record):
                self._running.begin(record)
            case e.BuyerChanged(record):
                self._running[record.job].turn_to(record)
            case e.Leased(job, until_s, notice_s):
                self._running[job].process.renew(until_s - trio.current_time(), notice_s)
            case e.Stop(job, grace_s, reason):
                self._running[job].process.stop(grace_s, reason)
            case e.SendResult(record):
                self._mail.send_result(record)
            case e.Settle():
                self._running.settle(event)
            case e.CheckpointHad(job, made_ms):
                self._memory.acknowledge(JobId(job), made_ms)
            case e.RoomChanged():
                self.lending.changed()
            case _:
                assert_never(event)
