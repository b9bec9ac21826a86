"""Runs the buyer core over Rpc and the tables: this machine's own tasks, wherever they run."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial
from typing import Final, assert_never

import trio

from p2p.gossip.items import RESOURCES, Item
from p2p.identity.caller import Caller
from p2p.ids import LabId, PeerId, TrafficClass
from p2p.membership.view import COMPUTE, MemberChanged
from p2p.mesh import Mesh
from p2p.service import Driver, Performer
from p2p.wire.codec import encode
from storage.engine.port import Tables, WriteView
from storage.errors import StoreFullError
from swarmnode.errors import SpecError, TaskUnknownError, TooManyTasksError
from swarmnode.limits import TASKS_OPEN_MAX
from swarmnode.market.buyer import events as e
from swarmnode.market.buyer.book import RightOf, no_right
from swarmnode.market.buyer.config import BuyerConfig
from swarmnode.market.buyer.core import HEARD, Buyer
from swarmnode.market.buyer.dry_runs import DryRuns
from swarmnode.market.buyer.feed import EventFeed
from swarmnode.market.buyer.log_inbox import LogInbox, OldLogs
from swarmnode.market.buyer.own_machines.elsewhere import Elsewhere, WhoseTask, nobodys
from swarmnode.market.buyer.own_machines.hand_over import HandOver
from swarmnode.market.buyer.own_machines.left_behind import LeftBehind
from swarmnode.market.buyer.verdicts.once import taken_up
from swarmnode.market.explain import Explanation, TaskEvent, TaskView
from swarmnode.market.guardians import events as g
from swarmnode.market.guardians.kept import Guarded
from swarmnode.market.guardians.service import KeeperService
from swarmnode.market.guardians.store import load_guards
from swarmnode.market.logbook import STREAMS, LogBook
from swarmnode.resources.advert import read_advert
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.keys import SEED_BYTES, task_id_of
from swarmnode.tasks.ledger import TaskChanged, TaskForgotten
from swarmnode.tasks.lifecycle import TASK_ENDS, TaskState
from swarmnode.tasks.messages import AskFiles, FilesTold
from swarmnode.tasks.patient_writer import PatientWriter
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import PriorityClass, TaskSpec
from swarmnode.tasks.store import (
    TASKS,
    load_forgotten,
    load_moved,
    load_rounds,
    load_taken_ms,
    load_tasks,
    task_key,
)

ADVERTS_EVERY_S: Final = 5.0
"""How often adverts that have expired, and members that are forgotten, are noticed."""

FILES_TIMEOUT_S: Final = 600.0
"""A provider has this long to store the outputs of a job that runs: gigabytes on a slow line."""

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
        self._config, self._mesh, self._tables, self._boot_s = config, mesh, tables, boot_s
        self._wall_ms = mesh.wall_ms
        self._core = Buyer(config, mesh.signer, mesh.network, mesh.rng, mesh.wall_ms, right_of)
        self._pen = PatientWriter(tables.transact)
        self._driver = Driver(self._core, Performer(mesh.rpc.send, self._notify, self._pen.persist))
        self.logbook, guards = LogBook(tables), self._core.guards
        who = (mesh.rpc, mesh.signer, mesh.network)
        self._keeper = KeeperService(*who, guards, self.logbook, self._post_begun)
        self._feed, self._begun = EventFeed(), trio.Event()
        """All tasks are loaded: what others say before is not heard."""
        self._ends: dict[TaskId, trio.Event] = {}
        """By task that somebody waits for: set and dropped once it has ended or is forgotten."""
        ours = (self._core, self._driver.do, self._begun)
        self.elsewhere = Elsewhere(mesh, *ours, whose)
        self.hand_over = HandOver(mesh.rpc.me, mesh.members, self.elsewhere.ask, *ours)
        self.left_behind = LeftBehind(mesh, guards, self._begun, whose)
        self._told: dict[PeerId, tuple[bytes, bool]] = {}
        """Advert of each machine, and whether its certificate lets it lend."""
        self._met: set[PeerId] = set()
        """Whom membership has told us of, and not forgotten since."""
        self._dry_runs = DryRuns(self._driver.do)
        self._old_logs = OldLogs(self.logbook)
        self._listen()

    def _listen(self) -> None:
        self._keeper.asks(self.elsewhere.may_read, self.left_behind.is_ours)
        LogInbox(self._mesh.rpc, self._core, self._keeper, self.logbook, self._begun)
        for kind in HEARD:
            self._mesh.rpc.listen(kind, self._on_message)
        self._mesh.members.on_change(self._on_member)
        self._mesh.gossip.on_item(RESOURCES, self._on_advert)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Go on with the tasks an earlier life left, and serve until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._driver.run)
            for member in self._mesh.members.view().members:
                self._on_member(MemberChanged(member, None))
            self._look_at_adverts()
            await nursery.start(self._keeper.run)
            await self._driver.do(self._loaded())
            self._begun.set()
            nursery.start_soon(self._old_logs.run, self._core.ledger)
            nursery.start_soon(self._notice_sleep)
            task_status.started()
            while True:
                await trio.sleep(ADVERTS_EVERY_S)
                self._look_at_adverts()
                self._forget_members()

    def _loaded(self) -> e.TasksLoaded:
        view = self._tables
        held = load_tasks(view), load_guards(view), load_taken_ms(view)
        return e.TasksLoaded(*held, load_forgotten(view), load_moved(view))

    async def _notice_sleep(self) -> None:
        """Timers do not see that a lid was closed: the boot clock does."""
        while True:
            before_s = self._boot_s() - trio.current_time()
            await trio.sleep(self._config.tick_s)
            if self._boot_s() - trio.current_time() - before_s >= self._config.asleep_s:
                self._driver.order(e.Woke())

    # -- what the owner may ask

    async def submit(self, spec: TaskSpec, person: str = "", *, detached: bool = False) -> TaskId:
        """Take a task of a person on; it survives any crash once this returns.

        Raises StoreFullError, TooManyTasksError, SpecError; then nothing was taken on.
        """
        await self._begun.wait()
        self._refuse_if_full()
        if person and spec.priority_class is PriorityClass.OWNER:
            raise SpecError(_NOT_THE_OWNER)
        if self._core.tasks_open >= TASKS_OPEN_MAX:
            raise TooManyTasksError(f"{TASKS_OPEN_MAX} tasks are unfinished: wait, or cancel some")
        key = self._mesh.entropy(SEED_BYTES)
        task = task_id_of(self._mesh.signer.from_seed(key).peer_id)
        record = TaskRecord(
            task, spec, self._wall_ms(), key=key, person=person,
            after_taken_ms=self._core.taken_ms,
        )  # fmt: skip
        await self._tables.transact(lambda view: view.put(TASKS, task_key(task), encode(record)))
        await self._is_done(e.Submitted(record, detached))  # else later: it is durable already
        return task

    async def _is_done(self, event: e.Event) -> bool:
        """Whether all that an event causes is done; on a full disk nobody waits for that."""
        return await self._pen.unless_full(partial(self._driver.do, event))

    def _refuse_if_full(self) -> None:
        if self._pen.is_waiting:
            raise StoreFullError(TASKS_UNWRITABLE)

    async def guarded(self, task: TaskId) -> Guarded:
        """Wait until others hold a task that was submitted as detached, 5 s at most."""
        return await self._keeper.guarded(task)

    async def take_up(
        self, records: Sequence[TaskRecord], sure_ms: int = 0, *, is_told: bool = False
    ) -> None:
        """Go on with tasks that another machine of this person had submitted.

        Those known, or forgotten, here stay so. `is_told`: by their guardians. Else a copy knew of
        them, which may lack the logs of those that ended after `sure_ms`. Raises StoreFullError;
        then none is taken up.
        """
        await self._begun.wait()
        now_ms, ledger = self._wall_ms(), self._core.ledger
        forgotten = load_forgotten(self._tables)  # a copy may have brought some
        records = [one for one in records if one.task not in forgotten]
        fresh = [one for one in records if one.task not in ledger]
        new = [taken_up(one, now_ms, self._core.taken_ms) for one in fresh]

        def write(view: WriteView) -> None:
            for one in new:
                view.put(TASKS, task_key(one.task), encode(ledger.at_rest(one)))

        await self._tables.transact(write)
        known = [one for one in records if one.task in ledger]
        await self._driver.do(e.TakenUp([*new, *known], sure_ms, is_told, forgotten))

    def keep_copies(self, on_removed: Callable[[], None]) -> None:
        """From now on `copied` is said of what has ended, `on_removed` of what is no more."""
        self._feed.on_removed = on_removed
        self._driver.order(e.EndsCopied(frozenset()))

    def uncopied(self) -> frozenset[TaskId]:
        """Tasks of ours that have ended, of which the pool may not know yet, and we know all."""
        found = self._core.uncopied()
        return frozenset(task for task in found if not self._keeper.is_fetching(task))

    def copied(self, tasks: frozenset[TaskId]) -> None:
        """The pool knows of their ends, and has their logs: nobody else need remember them."""
        self._driver.order(e.EndsCopied(tasks))

    def rest_as(self, at_rest: Callable[[TaskRecord], TaskRecord]) -> None:
        """In which form records are written down."""
        self._core.ledger.at_rest = at_rest

    def tasks(self) -> Sequence[TaskView]:
        """Every task not forgotten, oldest first."""
        return tuple(self._view(one) for one in self._core.ledger.all() if not one.owner)

    def task(self, task: TaskId) -> TaskView:
        """One task. Raises TaskUnknownError."""
        record = self._core.ledger.get(task)
        if record.owner:
            raise TaskUnknownError(f"no task {task} was submitted here")
        return self._view(record)

    async def wait(self, task: TaskId) -> TaskView:
        """Return once a task has ended. Raises TaskUnknownError."""
        while not (view := self.task(task)).has_ended:
            await self._ends.setdefault(task, trio.Event()).wait()
        return view

    async def cancel(self, task: TaskId) -> TaskView:
        """Stop a task; one that has ended stays as it is. Raises TaskUnknownError."""
        self.task(task)
        self._refuse_if_full()
        if not await self._is_done(e.CancelAsked(task)):
            raise StoreFullError(f"the disk is full: {task} is cancelled once there is room")
        return self.task(task)

    async def files_now(self, task: TaskId) -> FilesTold:
        """What there is of a task's outputs, also while it runs: its provider stores it.

        Raises TaskUnknownError, PeerUnreachableError, CallTimeoutError, RemoteRefusalError.
        """
        record = self._core.ledger.get(task)
        if record.state is not TaskState.RUNNING:
            return FilesTold(record.outcome.outputs if record.outcome else record.left)
        told, _ = await self._mesh.rpc.call(
            record.provider,
            AskFiles(task, record.fence),
            FilesTold,
            traffic_class=TrafficClass.NORMAL,
            timeout_s=FILES_TIMEOUT_S,
        )
        return told

    async def forget(self, task: TaskId) -> None:
        """Forget a task that has ended, with its logs; harmless for any other. StoreFullError."""
        if not await self._is_done(e.ForgetAsked(task)):
            raise StoreFullError(f"the disk is full: {task} goes once there is room")

    def explain(self, task: TaskId) -> Explanation:
        """Why a task is where it is. Raises TaskUnknownError."""
        return Explanation(self.task(task), tuple(load_rounds(self._tables, task)))

    async def dry_run(self, spec: TaskSpec) -> Explanation:
        """Hold an auction for nothing: who would run it? Nothing is written down."""
        found = await self._dry_runs.hold(spec)
        record = TaskRecord(TaskId(""), spec, self._wall_ms(), why=found.outcome)
        return Explanation(TaskView(record), (found,))

    def logs(
        self, task: TaskId, stream: str, *, follow: bool, attempt: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """What a task printed to stdout or stderr; with `follow` until it has ended.

        Of all attempts, or of one. Raises TaskUnknownError, ValueError for another stream.
        """
        self.task(task)
        if stream not in STREAMS:
            raise ValueError(f"no stream {stream!r}: there are {' and '.join(STREAMS)}")

        def may_grow() -> bool:
            record = self._core.ledger.find(task)
            is_open = record is not None and record.state not in TASK_ENDS
            is_over = record is not None and 0 < attempt < record.fence
            return follow and is_open and not is_over

        return self.logbook.read(task, stream, follow=may_grow, attempt=attempt)

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
            "auctions_open": self._core.rounds_open,
            "market_messages_dropped": self._driver.dropped,
            "market_disk_full": self._pen.waits,
            **self._core.counts,
        }

    def end_of(self, owners: frozenset[PeerId]) -> None:
        """These machines were removed: nothing is kept here for them any more."""
        self._driver.order(g.OwnersRemoved(owners))

    # -- what others say

    def _on_message(self, caller: Caller, message: e.BuyerMessage) -> None:
        self._post_begun(e.MessageHeard(caller.peer, message))

    def _post_begun(self, event: e.Event) -> None:
        # Before the ledger is read every task looks unknown: answering would stop its provider.
        if self._begun.is_set():
            self._driver.post(event)

    def _on_member(self, change: MemberChanged) -> None:
        member = change.member
        self._met.add(member.peer)
        self._driver.order(e.MemberStands(member.peer, member.liveness, member.lab))

    def _forget_members(self) -> None:
        """Membership says nothing of whom it forgets: those gone for a day."""
        view = self._mesh.members.view()
        for peer in sorted(peer for peer in self._met if view.find(peer) is None):
            self._met.discard(peer)
            self._driver.order(e.MemberStands(peer, None, LabId("")))

    def _on_advert(self, item: Item) -> None:
        """What it lends; nothing if its certificate, which may come later, is no provider's."""
        member = self._mesh.members.view().find(item.origin)
        told = item.body, member is None or member.may_offer(COMPUTE)
        if self._told.get(item.origin) == told:
            return
        self._told[item.origin] = told
        self._driver.order(e.Advertised(item.origin, read_advert(item.body) if told[1] else None))

    def _look_at_adverts(self) -> None:
        items = self._mesh.gossip.items(RESOURCES)
        for item in items.values():
            self._on_advert(item)
        for peer in [peer for peer in self._told if peer not in items]:
            del self._told[peer]
            self._driver.order(e.Advertised(peer, None))

    # -- effects

    def _notify(self, event: e.Notice) -> None:
        match event:
            case g.Carry(peer, record):
                self._keeper.carry(peer, record)
            case g.Confirmed(task):
                self._keeper.confirmed(task)
            case g.LogsWanted(task, peer, is_up):
                self._keeper.fetch_logs(task, peer, is_up=is_up)
            case TaskChanged() if self._is_ours(event.task):
                self._feed.tell(event)
                if event.state in TASK_ENDS:
                    self.logbook.wake(event.task)
                    self._keeper.confirmed(event.task)
                    self._wake(event.task)
            case TaskForgotten(task):
                self._old_logs.forget(task)
                self._wake(task)  # it may have gone on elsewhere
                if task in self._core.ledger.forgotten:
                    self._feed.on_removed()
            case e.DryRunEnded(number, round_record):
                self._dry_runs.end(number, round_record)
            case TaskChanged():
                pass  # of a task that we keep for another
            case _:
                assert_never(event)

    def _wake(self, task: TaskId) -> None:
        if (ended := self._ends.pop(task, None)) is not None:
            ended.set()

    def _is_ours(self, task: TaskId) -> bool:
        record = self._core.ledger.find(task)
        return record is None or not record.owner

    def _view(self, record: TaskRecord) -> TaskView:
        core, task = self._core, record.task
        may_act = core.guards.may_act(task, trio.current_time())
        keepers = core.guards.find(task) if core.guards.is_kept(task) else None
        return TaskView(record, core.phase(task), keepers, may_act)
