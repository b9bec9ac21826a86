"""Runs the buyer core over Rpc and the tables: this machine's own tasks, wherever they run."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial
from typing import Final, assert_never

import trio

from p2p.identity.caller import Caller
from p2p.identity.keys import SEED_BYTES
from p2p.ids import PeerId
from p2p.mesh import Mesh
from p2p.service import Driver, Performer
from storage.engine.port import Tables
from storage.errors import StoreFullError
from swarmnode.errors import SpecError, TaskUnknownError, TooManyTasksError
from swarmnode.limits import TASKS_OPEN_MAX
from swarmnode.market.buyer import at_provider
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.bidding.dry_runs import DryRuns
from swarmnode.market.buyer.config import BuyerConfig
from swarmnode.market.buyer.core import HEARD, Buyer
from swarmnode.market.buyer.feed import EventFeed
from swarmnode.market.buyer.logs.inbox import LogInbox, OldLogs
from swarmnode.market.buyer.lookout import Lookout
from swarmnode.market.buyer.notary import RightOf, no_right
from swarmnode.market.buyer.own_machines.machines import OwnMachines
from swarmnode.market.buyer.own_machines.standing import WhoseTask, nobodys
from swarmnode.market.explain import Explanation, TaskEvent, TaskView
from swarmnode.market.guardians import events as g
from swarmnode.market.guardians.service import KeeperService
from swarmnode.market.guardians.store import load_guards
from swarmnode.market.logbook import LogBook
from swarmnode.market.secrets.desk import NO_SECRETS, SecretDesk
from swarmnode.tasks.choices import STREAMS, JobSignal
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.keys import task_id_of
from swarmnode.tasks.ledger import TaskChanged, TaskForgotten
from swarmnode.tasks.lifecycle import TASK_ENDS
from swarmnode.tasks.messages import FilesTold
from swarmnode.tasks.patient_writer import PatientWriter
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import PriorityClass, TaskSpec
from swarmnode.tasks.store import (
    load_forgotten,
    load_moved,
    load_rounds,
    load_taken_over_ms,
    load_tasks,
)

_NOT_THE_OWNER: Final = (
    "class owner is for the person in this machine's certificate: submit without it"
)
TASKS_UNWRITABLE: Final = "the disk is full: tasks stand still here until there is room"


class BuyerService:
    """The tasks of this node's owner."""

    def __init__(
        self,
        config: BuyerConfig,
        mesh: Mesh,
        tables: Tables,
        boot_s: Callable[[], float] = trio.current_time,
        right_of: RightOf = no_right,
        whose: WhoseTask = nobodys,
    ) -> None:
        """`boot_s` goes on while the machine sleeps."""
        self._mesh, self._tables = mesh, tables
        self._core = Buyer(config, mesh.signer, mesh.network, mesh.rng, mesh.wall_ms, right_of)
        self._pen = PatientWriter(tables.transact)
        self._driver = Driver(self._core, Performer(mesh.rpc.send, self._notify, self._pen.persist))
        self.logbook, custody = LogBook(tables), self._core.custody
        """Where the logs of our tasks lie, for who keeps them in the pool."""
        self.guardians = KeeperService(
            mesh.rpc,
            mesh.signer,
            mesh.network,
            custody,
            self.logbook,
            self._post_begun,
            lambda task: self._core.late_logs.where(task) != "",
            config.guard.logs_every_s,
        )
        """Among the keepers of tasks: ours are kept by others, and theirs here."""
        self._begun = trio.Event()
        """All tasks are loaded: what others say before is not heard."""
        self.own_machines = OwnMachines(
            mesh, tables, self._core, self._driver.do, self._begun, whose
        )
        """What other machines of this person have."""
        self._lookout = Lookout(config, mesh, boot_s, self._driver.order)
        self._feed = EventFeed()
        self._dry_runs = DryRuns(self._driver.do)
        self._old_logs = OldLogs(self.logbook)
        find, kept = self._core.ledger.find, self._core.custody.find
        self._secrets = SecretDesk(mesh, tables, find, kept, self._begun)
        self._listen()

    def _listen(self) -> None:
        theirs = self.own_machines
        is_ours = theirs.left_behind.is_ours
        self.guardians.asks(theirs.elsewhere.may_read, is_ours, self._secrets.bring)
        LogInbox(self._mesh.rpc, self._core, self.guardians, self.logbook, self._begun)
        for kind in HEARD:
            self._mesh.rpc.listen(kind, self._on_message)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Go on with the tasks an earlier life left, and serve until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._driver.run)
            self._lookout.look()
            await nursery.start(self.guardians.run)
            await nursery.start(self._secrets.run)
            await self._driver.do(self._loaded())
            self._begun.set()
            nursery.start_soon(self._old_logs.run, self._core, self.guardians.copies)
            nursery.start_soon(self._lookout.run)
            task_status.started()

    def _loaded(self) -> e.TasksLoaded:
        view = self._tables
        return e.TasksLoaded(
            load_tasks(view),
            load_guards(view),
            load_taken_over_ms(view),
            load_forgotten(view),
            load_moved(view),
        )

    # -- what the owner may ask

    async def submit(
        self,
        spec: TaskSpec,
        person: str = "",
        *,
        detached: bool = False,
        secrets: Mapping[str, bytes] = NO_SECRETS,
    ) -> TaskId:
        """Take a task of a person on; it survives any crash once this returns.

        `secrets`: the values of those that the spec names.

        Raises StoreFullError, TooManyTasksError, SpecError; then nothing was taken on.
        """
        await self._begun.wait()
        self._refuse(spec, person)
        record = self._new_task(spec, person)
        await self._secrets.take_on(record, secrets)
        await self._is_done(e.Submitted(record, detached))  # else later: it is durable already
        return record.task

    def _refuse(self, spec: TaskSpec, person: str) -> None:
        self._refuse_if_full()
        if person and spec.priority_class is PriorityClass.OWNER:
            raise SpecError(_NOT_THE_OWNER)
        if self._core.tasks_open >= TASKS_OPEN_MAX:
            raise TooManyTasksError(f"{TASKS_OPEN_MAX} tasks are unfinished: wait, or cancel some")

    def _new_task(self, spec: TaskSpec, person: str) -> TaskRecord:
        """With a key of its own, which makes its id."""
        key, mesh = self._mesh.entropy(SEED_BYTES), self._mesh
        task, after_ms = task_id_of(mesh.signer.from_seed(key).peer_id), self._core.taken_over_ms
        return TaskRecord(
            task, spec, mesh.wall_ms(), key=key, person=person, after_taken_over_ms=after_ms
        )

    async def _is_done(self, event: e.Event) -> bool:
        """Whether all that an event causes is done; on a full disk nobody waits for that."""
        return await self._pen.unless_full(partial(self._driver.do, event))

    def _refuse_if_full(self) -> None:
        if self._pen.is_waiting:
            raise StoreFullError(TASKS_UNWRITABLE)

    def keep_copies(self, on_removed: Callable[[], None]) -> None:
        """From now on `copied` is said of what has ended, `on_removed` of what is no more."""
        self._feed.on_removed(on_removed)
        self._driver.order(g.EndsCopied(frozenset()))

    def uncopied(self) -> frozenset[TaskId]:
        """Tasks of ours that have ended, of which the pool may not know yet, and we know all."""
        ended = self._core.uncopied()
        return frozenset(task for task in ended if not self._is_coming(task))

    def _is_coming(self, task: TaskId) -> bool:
        """The rest of its log: whoever has that must not be told yet that we have everything."""
        late, guardians = self._core.late_logs, self.guardians
        may_come = guardians.logs.is_asking(task) or late.is_waited_for(task)
        return guardians.logs.is_fetching(task) or (may_come and late.where(task) != "")

    def copied(self, tasks: frozenset[TaskId]) -> None:
        """The pool knows of their ends, and has their logs: nobody else need remember them."""
        self._driver.order(g.EndsCopied(tasks))

    def rest_as(self, at_rest: Callable[[TaskRecord], TaskRecord]) -> None:
        """In which form records are written down."""
        self._core.ledger.at_rest = at_rest

    def tasks(self) -> Sequence[TaskView]:
        """Every task not forgotten, oldest first."""
        ours = (record for record in self._core.ledger.all() if not record.submitter)
        return tuple(self._view(record) for record in ours)

    def task(self, task: TaskId) -> TaskView:
        """One task. Raises TaskUnknownError."""
        record = self._core.ledger.get(task)
        if record.submitter:
            raise TaskUnknownError(f"no task {task} was submitted here")
        return self._view(record)

    async def wait(self, task: TaskId) -> TaskView:
        """Return once a task has ended. Raises TaskUnknownError."""
        while not (view := self.task(task)).has_ended:
            await self._feed.end_of(task)
        return view

    async def cancel(self, task: TaskId) -> TaskView:
        """Stop a task; one that has ended stays as it is.

        Raises TaskUnknownError, StoreFullError.
        """
        self.task(task)
        asked = e.CancelAsked(task)
        if self._pen.is_waiting:
            self._driver.order(asked)
            raise _comes_later(f"{task} is cancelled")
        if not await self._is_done(asked):
            raise _comes_later(f"{task} is cancelled")
        return self.task(task)

    async def secret_removed(self, person: str, name: str) -> None:
        """No open task of that person that wants it starts any more. Raises StoreFullError."""
        if not await self._is_done(e.SecretRemoved(person, name)):
            raise _comes_later("open tasks that want that secret are held back")

    async def files_now(self, task: TaskId) -> FilesTold:
        """What there is of a task's outputs, also while it runs.

        Raises TaskUnknownError, and those of a call to its provider.
        """
        return await at_provider.files_now(self._mesh.rpc, self._core.ledger.get(task))

    async def signal(self, task: TaskId, signal: JobSignal) -> None:
        """Have the programs of a task that runs hear a signal.

        Raises TaskUnknownError, TaskNotRunningError, and those of a call to its provider.
        """
        await at_provider.give_signal(self._mesh.rpc, self.task(task).record, signal)

    async def forget(self, task: TaskId) -> None:
        """Forget a task that has ended, with its logs; harmless for any other. StoreFullError."""
        if not await self._is_done(e.ForgetAsked(task)):
            raise _comes_later(f"{task} goes")

    def explain(self, task: TaskId) -> Explanation:
        """Why a task is where it is. Raises TaskUnknownError."""
        return Explanation(self.task(task), tuple(load_rounds(self._tables, task)))

    async def dry_run(self, spec: TaskSpec, person: str = "") -> Explanation:
        """Hold an auction for nothing: who would run it? Nothing is written down.

        Raises what `submit` raises.
        """
        await self._begun.wait()
        self._refuse(spec, person)
        round_record = await self._dry_runs.hold(spec)
        record = TaskRecord(TaskId(""), spec, self._mesh.wall_ms(), why=round_record.outcome)
        return Explanation(TaskView(record), (round_record,))

    def logs(
        self, task: TaskId, stream: str, *, follow: bool, attempt: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """What a task printed to stdout or stderr; with `follow` until it has ended.

        One that ended while another machine had it until its log is whole, or `late.FOLLOWED_S`.

        Of all attempts, or of one. Raises TaskUnknownError, ValueError for another stream.
        """
        self.task(task)
        if stream not in STREAMS:
            raise ValueError(f"no stream {stream!r}: there are {' and '.join(STREAMS)}")

        may_grow = partial(self._may_grow, task, follow=follow, attempt=attempt)
        return self.logbook.read(task, stream, follow=may_grow, attempt=attempt)

    def _may_grow(self, task: TaskId, *, follow: bool, attempt: int) -> bool:
        record = self._core.ledger.find(task)
        is_open = record is not None and record.state not in TASK_ENDS
        is_open = is_open or self._core.late_logs.is_waited_for(task)
        is_over = record is not None and 0 < attempt < record.fence
        return follow and is_open and not is_over

    def events(self) -> AsyncGenerator[TaskEvent, None]:
        """What happens to tasks from now on; close it when done (contextlib.aclosing)."""
        return self._feed.read()

    @property
    def trouble(self) -> str:
        """Why tasks stand still here; empty while they do not."""
        return TASKS_UNWRITABLE if self._pen.is_waiting else ""

    @property
    def counters(self) -> Mapping[str, int]:
        """For telemetry: whole numbers, since the start or now."""
        return {
            "tasks_open": self._core.tasks_open,
            "auctions_open": self._core.auctions_open,
            "market_messages_dropped": self._driver.dropped,
            "market_disk_full": self._pen.waits,
            **self._core.counts,
        }

    def end_of(self, machines: frozenset[PeerId]) -> None:
        """These machines were removed: nothing is kept here for them any more."""
        self._driver.order(g.MachinesRemoved(machines))

    # -- what others say

    def _on_message(self, caller: Caller, message: e.BuyerMessage) -> None:
        self._post_begun(e.MessageHeard(caller.peer, message))

    def _post_begun(self, event: e.Event) -> None:
        # Before the ledger is read every task looks unknown: answering would stop its provider.
        if self._begun.is_set():
            self._driver.post(event)

    # -- effects

    def _notify(self, event: e.Notice) -> None:
        if isinstance(event, TaskChanged | TaskForgotten):
            self._secrets.look_at(event.task)
        match event:
            case g.Carry(peer, record):
                self.guardians.carriage.carry(peer, record)
            case g.Confirmed(task):
                self.guardians.confirmed(task)
            case g.LogsWanted():
                self.guardians.logs.fetch(event)
            case TaskChanged() if self._is_ours(event.task):
                self._feed.tell(event)
                if event.state in TASK_ENDS:
                    self.logbook.wake(event.task)
                    self.guardians.confirmed(event.task)
                    self._feed.tell_end(event.task)
            case TaskForgotten(task):
                self.guardians.copies.forget(task)
                self._old_logs.forget(task)
                self._feed.tell_end(task)  # it may have gone on elsewhere
                if task in self._core.ledger.forgotten:
                    self._feed.tell_removed()
            case e.LogSettled(task):
                self.logbook.wake(task)
            case e.DryRunEnded(number, round_record):
                self._dry_runs.end(number, round_record)
            case TaskChanged():
                self._feed.tell_end(event.task)  # another machine's; perhaps it was ours until now
            case _:
                assert_never(event)

    def _is_ours(self, task: TaskId) -> bool:
        record = self._core.ledger.find(task)
        return record is None or not record.submitter

    def _view(self, record: TaskRecord) -> TaskView:
        core, task, custody = self._core, record.task, self._core.custody
        may_act = custody.may_act(task, trio.current_time())
        keepers = custody.find(task) if custody.is_kept(task) else None
        return TaskView(record, core.phase(task), keepers, may_act, core.late_logs.where(task))


def _comes_later(what: str) -> StoreFullError:
    """What was asked waits in memory: where nothing can be written nothing else could keep it."""
    return StoreFullError(
        f"the disk is full: {what} once there is room, unless the node stops before: then ask again"
    )
