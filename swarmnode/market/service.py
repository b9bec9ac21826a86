"""The market as the rest of the node sees it: this owner's tasks, and this machine's room."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Final

import trio

from p2p.ids import MemberId, PeerId
from p2p.mesh import Mesh
from p2p.wire.envelope import Signer
from swarmnode.market.buyer.book import RightOf, no_right
from swarmnode.market.buyer.own_machines.elsewhere import WhoseTask, nobodys
from swarmnode.market.buyer.own_machines.hand_over import RemovedElsewhere
from swarmnode.market.buyer.service import BuyerService
from swarmnode.market.config import MarketConfig
from swarmnode.market.explain import Explanation, TaskEvent, TaskView
from swarmnode.market.guardians.kept import Guarded
from swarmnode.market.logbook import LogBook
from swarmnode.market.seller.service import Premises, SellerService
from swarmnode.market.seller.view import SellerStats
from swarmnode.resources.advert import ResourceAdvert
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.messages import FilesTold
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import TaskSpec

_UNSAID: Final = PeerId("")


class MarketService:
    """Buys from everybody for our owner, and sells our room to everybody."""

    def __init__(
        self,
        config: MarketConfig,
        mesh: Mesh,
        premises: Premises,
        *,
        boot_s: Callable[[], float] = trio.current_time,
        lends: bool,
        right_of: RightOf = no_right,
        whose: WhoseTask = nobodys,
    ) -> None:
        """`lends` False: this machine runs nobody's tasks. `right_of`: to put in our name.

        `whose` tells from such a right whose task it was given for.
        """
        self._buyer = BuyerService(config.auction, mesh, premises.tables, boot_s, right_of, whose)
        self._seller = SellerService(config.seller, mesh, premises, lends=lends)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Both sides, until cancelled; start it after tables, executor, rpc and gossip."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._buyer.run)  # first: our own jobs here will speak to it
            await nursery.start(self._seller.run)
            task_status.started()

    # -- this owner's tasks

    async def submit(self, spec: TaskSpec, person: str = "", *, detached: bool = False) -> TaskId:
        """Take a task on; it survives any crash once this returns.

        `detached`: others are to keep it at once, and not only when it is two seconds old.
        Raises StoreFullError, TooManyTasksError; then nothing was taken on.
        """
        return await self._buyer.submit(spec, person, detached=detached)

    async def guarded(self, task: TaskId) -> Guarded:
        """Wait until others hold a task that was just submitted as detached, 5 s at most."""
        return await self._buyer.guarded(task)

    async def take_up(
        self, records: Sequence[TaskRecord], sure_ms: int = 0, *, is_told: bool = False
    ) -> None:
        """Go on with tasks that another machine of this person had submitted.

        `is_told`: by their guardians; else a copy knew of them, and their logs until `sure_ms`.
        """
        await self._buyer.take_up(records, sure_ms, is_told=is_told)

    async def kept_for(self, machine: PeerId, taken_ms: int) -> Sequence[TaskRecord]:
        """What a machine of ours was submitted before it knew of that takeover, by guardians."""
        return await self._buyer.left_behind.kept_for(machine, taken_ms)

    async def gone_on(self, taken_ms: int) -> Sequence[TaskRecord]:
        """What of ours goes on elsewhere since this machine was taken over then, and where."""
        return await self._buyer.hand_over.gone_on(taken_ms)

    async def let_go(self, task: TaskId, by: PeerId = _UNSAID) -> None:
        """A task that goes on at that machine is not ours any more."""
        await self._buyer.hand_over.let_go(task, by)

    def moved(self, text: str) -> Mapping[TaskId, PeerId]:
        """Tasks that were submitted here and went on elsewhere, by id, its beginning or name."""
        return self._buyer.hand_over.moved(text)

    async def remove_elsewhere(self, task: TaskId) -> RemovedElsewhere:
        """Have our owner's other machines forget a task that has ended, too."""
        return await self._buyer.hand_over.remove(task)

    def keep_copies(self, on_removed: Callable[[], None]) -> None:
        """From now on `copied` is said of what has ended: others remember it until then.

        `on_removed`: a task of ours is no more.
        """
        self._buyer.keep_copies(on_removed)

    def uncopied(self) -> frozenset[TaskId]:
        """Tasks of ours that have ended, of which the pool may not know yet."""
        return self._buyer.uncopied()

    def copied(self, tasks: frozenset[TaskId]) -> None:
        """The pool knows of their ends, and has their logs."""
        self._buyer.copied(tasks)

    def rest_as(self, at_rest: Callable[[TaskRecord], TaskRecord]) -> None:
        """In which form records of tasks are written down; they stay in memory as they are."""
        self._buyer.rest_as(at_rest)

    def tasks(self) -> Sequence[TaskView]:
        """Every task not forgotten, oldest first."""
        return self._buyer.tasks()

    def task(self, task: TaskId) -> TaskView:
        """One task. Raises TaskUnknownError."""
        return self._buyer.task(task)

    async def wait(self, task: TaskId) -> TaskView:
        """Return once a task has ended. Raises TaskUnknownError."""
        return await self._buyer.wait(task)

    async def cancel(self, task: TaskId) -> TaskView:
        """Stop a task; one that has ended stays as it is. Raises TaskUnknownError."""
        return await self._buyer.cancel(task)

    async def elsewhere(self, task: TaskId, *, cancel: bool = False) -> TaskView:
        """A task that another machine of our owner submitted; with `cancel` it has ended.

        Its record names that machine. Raises TaskUnknownError, TaskUnreachableError.
        """
        return TaskView(await self._buyer.elsewhere.find(task, cancel=cancel))

    async def cancel_as_lab(self, task: TaskId, key: Signer, reason: str) -> TaskView:
        """End a task of anybody of the lab whose key this is, wherever it was submitted.

        Raises TaskUnknownError, TaskUnreachableError.
        """
        elsewhere = self._buyer.elsewhere
        order = elsewhere.order(key, task, reason)
        return TaskView(await elsewhere.find(task, cancel=True, order=order))

    async def files_now(self, task: TaskId) -> FilesTold:
        """What there is of a task's outputs, also while it runs.

        Raises TaskUnknownError, PeerUnreachableError, CallTimeoutError, RemoteRefusalError.
        """
        return await self._buyer.files_now(task)

    async def forget(self, task: TaskId) -> None:
        """Forget a task that has ended, with its logs; harmless for any other."""
        await self._buyer.forget(task)

    def explain(self, task: TaskId) -> Explanation:
        """Every bid, score part and refusal of the newest auctions. Raises TaskUnknownError."""
        return self._buyer.explain(task)

    async def dry_run(self, spec: TaskSpec) -> Explanation:
        """Who would run it now? Asks, scores, releases; nothing is written down."""
        return await self._buyer.dry_run(spec)

    def logs(
        self, task: TaskId, stream: str, *, follow: bool, attempt: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """What a task printed to `stdout` or `stderr`; with `follow` until it has ended.

        Of all attempts, or of one. Raises TaskUnknownError, ValueError for another stream.
        """
        return self._buyer.logs(task, stream, follow=follow, attempt=attempt)

    @property
    def logbook(self) -> LogBook:
        """Where they lie, for who keeps them in the pool."""
        return self._buyer.logbook

    def logs_elsewhere(
        self, task: TaskId, stream: str, *, follow: bool, attempt: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """The same of a task that another machine of our owner submitted. TaskUnknownError."""
        return self._buyer.elsewhere.log(task, stream, follow=follow, attempt=attempt)

    def events(self) -> AsyncGenerator[TaskEvent, None]:
        """What happens to tasks from now on; EventsMissed where a slow reader has a gap.

        This and `logs` are to be closed by who stops reading early: contextlib.aclosing.
        """
        return self._buyer.events()

    # -- this machine

    async def pause(self, *, grace_s: float) -> None:
        """Its owner wants it: returns once no task runs here. Survives a restart."""
        await self._seller.pause(grace_s)

    async def resume(self) -> None:
        """Lend it again."""
        await self._seller.resume()

    def end_of(self, buyers: frozenset[PeerId], people: frozenset[MemberId]) -> None:
        """These machines were removed from the network, and people with all their machines.

        Nothing runs here for them any more, and nothing is kept here for them.
        """
        self._seller.end_of(buyers, people)
        self._buyer.end_of(buyers)

    def seller_stats(self) -> SellerStats:
        """What is lent, free and running here now."""
        return self._seller.stats()

    def advert(self) -> ResourceAdvert | None:
        """What others should know of this machine; None before it was looked at."""
        return self._seller.advert()

    def on_room_changed(self, listener: Callable[[], None]) -> None:
        """Be told whenever `seller_stats` and `advert` have changed; must not block."""
        self._seller.on_room_changed(listener)

    @property
    def trouble(self) -> str:
        """Why tasks stand still here; empty while they do not."""
        return self._buyer.trouble or self._seller.trouble

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened to our tasks, for telemetry."""
        return self._buyer.counters
