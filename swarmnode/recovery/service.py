"""Keeps the copy of this machine's keyring in the pool as new as it can be.

a put, task or checkpoint -> a moment of rest -> snapshot put -> its place under the person's name
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from typing import Final

import trio

from p2p.ids import PeerId
from storage.engine.port import Tables
from storage.errors import StorageError, StoreFullError
from storage.facade import Mark, ObjectKind, ReadCap
from storage.ids import Address
from storage.manifests.capability import text_of_cap
from swarmnode.errors import SnapshotError
from swarmnode.estate.logs import ESTATES
from swarmnode.estate.plan import inputs_of
from swarmnode.limits import COPIES_WAITING_MAX
from swarmnode.market.explain import EventsMissed
from swarmnode.people.book import TABLE as PEOPLE
from swarmnode.recovery.copies import Taken
from swarmnode.recovery.finding import Finder
from swarmnode.recovery.place import Place
from swarmnode.recovery.retrieval import Retrieval
from swarmnode.recovery.returned import Return
from swarmnode.recovery.snapshot import KeyringSnapshot, SnapshotRow, pack
from swarmnode.recovery.things import Things
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TASK_ENDS
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.store import FORGOTTEN, TASKS, task_of

REST_S: Final = 2.0
"""Changes come in bursts: a loop of submits is one copy."""
EVERY_S: Final = 5.0
"""At least so long between two copies."""
COPIES_BYTES_PER_S: Final = 256 * 1024
"""Copies of a long keyring come more rarely, so that they are no more than this on average. How
long one took says nothing: a holder that does not answer made the next one minutes late."""
AGAIN_S: Final = 10.0
"""After the pool could not take or give a copy."""
MEET_S: Final = 1.0
"""Between two looks for others, and for the copies, after a start."""
LOOK_S: Final = 15.0
"""Between two looks at which machines of the person are gone."""
PIECE_BYTES: Final = 256 * 1024
log = logging.getLogger("swarm.recovery")
_FACTS: Final = frozenset({"submitted", "checkpointed", "taken over", "taken up"})


class RecoveryService:
    """One person's keyring, from this machine to the pool and back."""

    def __init__(
        self,
        things: Things,
        place: Place,
        waits_for_others: Callable[[], bool],
        settled: Callable[[frozenset[TaskId]], Awaitable[frozenset[TaskId]]],
        leave: Callable[[Sequence[TaskRecord]], Awaitable[None]],
        *,
        retrieval: Retrieval | None = None,
        finder: Finder | None = None,
    ) -> None:
        """`settled` says of which ended tasks the logs are on the keyring, and waits for them;
        `leave` takes off it what belongs to tasks. The last two where the person's key lies."""
        self._things, self._place, self._settled = things, place, settled
        self._waits_for_others = waits_for_others
        self._retrieval, self._finder = retrieval, finder
        self._news = trio.Event()
        """The pool lacks something; replaced when a copy begins, set again when that fails."""
        self._brought = trio.Event()
        self._trouble, self._is_copying = "", False
        """Why the newest copy that was tried failed, in words; empty: it did not."""
        self._return = Return(things.market, leave, waits_for_others, self._stir)
        self._unpointed: tuple[ReadCap, Taken | None] | None = None
        """The newest copy, which is not at its place yet, and who had taken us over then."""
        self._reused = False
        """It was made before the last try, so that it may lack something."""
        self._ended: frozenset[TaskId] = frozenset()
        """Tasks that have ended, according to it."""
        self._bytes = 0
        """Of the newest copy."""
        self.waiting: tuple[PeerId, ...] = ()
        """Machines of the person that are gone, whose things nobody took over."""
        things.keyring.on_change = self._stir

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bring back what is to be, then keep the copy until cancelled."""
        self._things.market.keep_copies(self._stir)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            task_status.started()
            nursery.start_soon(self._return.run)
            if self._finder is not None:
                nursery.start_soon(self._look_around, self._finder)
            if self._retrieval is not None:
                await self._bring_back(self._retrieval)
            self._brought.set()
            self._news.set()
            while True:
                await self._news.wait()
                await trio.sleep(REST_S)
                ended = await self._settled(self._things.market.uncopied())
                self._is_copying, self._news = True, trio.Event()
                is_done = await self._copy()
                self._is_copying = False
                if is_done:
                    self._things.market.copied(ended & self._ended)
                if not is_done:
                    self._news.set()
                    await trio.sleep(AGAIN_S)
                await trio.sleep(max(EVERY_S - REST_S, self._bytes / COPIES_BYTES_PER_S))

    async def _bring_back(self, retrieval: Retrieval) -> None:
        while self._things.vault.is_recovering():
            if self._waits_for_others() or not await retrieval.go_on():
                await trio.sleep(MEET_S)

    async def _look_around(self, finder: Finder) -> None:
        while True:
            if not self._waits_for_others():
                with suppress(StorageError, SnapshotError):  # what is wrong, the copy says
                    sight = await finder.look()
                    self.waiting = tuple(sight.gone())
                    if self._retrieval is not None:
                        await self._retrieval.look_for_more(sight.copies)
            if self._brought.is_set():
                await trio.sleep(LOOK_S)
            else:
                with trio.move_on_after(LOOK_S):
                    await self._brought.wait()

    @property
    def warning(self) -> str:
        """Why things are not back, or the copy in the pool is not kept; for status."""
        return (self._retrieval.warning if self._retrieval else "") or self._trouble

    @property
    def taken_over(self) -> Taken | None:
        """Who took this machine over while it was thought gone; for a while after its return."""
        return self._return.told(self._things.wall_ms())

    @property
    def is_behind(self) -> bool:
        """Whether the pool lacks something that this machine knows."""
        return self._news.is_set() or self._is_copying

    def _stir(self) -> None:
        self._news.set()

    async def _follow(self) -> None:
        async with aclosing(self._things.market.events()) as events:
            async for event in events:
                if isinstance(event, EventsMissed) or _matters(event):
                    self._stir()

    async def _copy(self) -> bool:
        """Whether the pool has what we have now."""
        if self._waits_for_others():
            return False
        try:
            taken = self._return.note(await self._place.taken())
            cap = await self._put(taken)
            await self._point(cap, taken)
        except (StorageError, SnapshotError) as exc:
            self._trouble = f"the copy of your keyring in the pool is behind: {exc}"
            return False
        is_newest, self._reused = not self._reused, False
        self._trouble, self._unpointed = "", None
        return is_newest

    async def _put(self, taken: Taken | None) -> ReadCap:
        """A new copy; the last one again where many wait for a place that cannot be written."""
        waiting = sum(one.mark.kind == ObjectKind.KEYRING for one in self._things.objects.entries())
        if self._unpointed is not None and waiting > COPIES_WAITING_MAX:
            cap, known = self._unpointed
            if known == taken:
                self._reused = True
                return cap
        data, mark = pack(self._snapshot()), Mark(ObjectKind.KEYRING)
        self._bytes = len(data)
        receipt = await self._things.objects.put(_pieces(data), name="keyring", mark=mark)
        self._unpointed, self._reused = (receipt.cap, taken), False
        return receipt.cap

    async def _point(self, cap: ReadCap, taken: Taken | None) -> None:
        await self._place.point(text_of_cap(cap), taken)
        for entry in self._things.objects.entries():  # copies of other machines are never in it
            if entry.mark.kind == ObjectKind.KEYRING and entry.cap.address != cap.address:
                with suppress(StoreFullError):
                    await self._things.objects.forget(entry.cap.address)

    def _snapshot(self) -> KeyringSnapshot:
        taken_ms = self._return.taken_ms
        lab_seed, network_seed = self._things.vault.keys()
        tasks = [(key, value, task_of(value)) for key, value in _all(self._things.tables, TASKS)]
        ours = [(key, value, task) for key, value, task in tasks if _is_ours(task, taken_ms)]
        self._ended = frozenset(task.task for _, _, task in ours if task.state in TASK_ENDS)
        rows = [SnapshotRow(TASKS, key, value) for key, value, _ in ours]
        rows += [
            SnapshotRow(table, key, value)
            for table in (ESTATES, PEOPLE, FORGOTTEN)
            for key, value in _all(self._things.tables, table)
        ]
        left_out = [task for _, _, task in tasks if not _is_ours(task, taken_ms)]
        objects = tuple(self._objects_without(left_out, [task for _, _, task in ours]))
        names = self._things.vault.names()
        return KeyringSnapshot(
            self._things.wall_ms(), objects, tuple(rows), lab_seed, network_seed, names
        )

    def _objects_without(
        self, tasks: Sequence[TaskRecord], ours: Sequence[TaskRecord]
    ) -> Iterator[tuple[bytes, bytes]]:
        """What belongs to them alone would be freed wherever the copy is brought back."""
        if not tasks:
            yield from self._things.keyring.dump()
            return
        gone = {task.task for task in tasks}
        inputs = {address for task in tasks for address in inputs_of(task)}
        inputs -= {address for task in ours for address in inputs_of(task)}
        for address, raw in self._things.keyring.dump():
            row = self._things.keyring.get(Address(address))
            is_input = row is not None and row.kind == ObjectKind.INPUT and address in inputs
            if row is None or not (is_input or row.task in gone):
                yield address, raw


def _is_ours(task: TaskRecord, taken_ms: int) -> bool:
    """Not what we guard for others, nor what another machine of ours may have taken over."""
    is_after = task.submitted_ms > taken_ms or task.after_taken_ms >= taken_ms
    return not task.owner and is_after


def _matters(event: TaskChanged) -> bool:
    return event.fact in _FACTS or event.state in TASK_ENDS


def _all(tables: Tables, table: str) -> list[tuple[bytes, bytes]]:
    pairs: list[tuple[bytes, bytes]] = []
    while more := tables.scan(table, after=pairs[-1][0] if pairs else None):
        pairs += more
    return pairs


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), PIECE_BYTES):
        yield data[at : at + PIECE_BYTES]
