"""Keeps the copy of this machine's keyring in the pool as new as it can be.

a put, task or checkpoint -> a moment of rest -> snapshot put -> its place under the person's name
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Final

import trio

from p2p.ids import PeerId
from storage.errors import StorageError
from swarmnode.errors import SnapshotError
from swarmnode.market.explain import EventsMissed
from swarmnode.recovery.copies.place import Place
from swarmnode.recovery.copies.pointers import Taken
from swarmnode.recovery.copying import CopyMaker
from swarmnode.recovery.finding import Finder
from swarmnode.recovery.retrieval import Retrieval
from swarmnode.recovery.returned import Return
from swarmnode.recovery.things import EndedLogs, Things
from swarmnode.tasks.ledger import TaskChanged
from swarmnode.tasks.lifecycle import TASK_ENDS
from swarmnode.tasks.records import TaskRecord

REST_S: Final = 2.0
"""Changes come in bursts: a loop of submits is one copy."""
EVERY_S: Final = 5.0
"""At least so long between two copies."""
COPIES_BYTES_PER_S: Final = 256 * 1024
"""Copies of a long keyring come more rarely, so that they are no more than this on average. How
long one took says nothing: a holder that does not answer made the next one minutes late."""
COPY_AGAIN_S: Final = 10.0
"""After the pool could not take or give a copy."""
MEET_S: Final = 1.0
"""Between two looks for others, and for the copies, after a start."""
SIBLINGS_LOOK_S: Final = 15.0
"""Between two looks at which machines of the person are gone."""
_FACTS: Final = frozenset({"submitted", "checkpointed", "taken over", "taken up"})


class RecoveryService:
    """One person's keyring, from this machine to the pool and back."""

    def __init__(
        self,
        things: Things,
        place: Place,
        waits_for_others: Callable[[], bool],
        logs: EndedLogs,
        leave: Callable[[Sequence[TaskRecord]], Awaitable[None]],
        *,
        retrieval: Retrieval | None = None,
        finder: Finder | None = None,
    ) -> None:
        """`leave` takes off it what belongs to tasks. The last two where the person's key lies."""
        self._things, self._logs, self._waits_for_others = things, logs, waits_for_others
        self._retrieval, self._finder = retrieval, finder
        self._news = trio.Event()
        """The pool lacks something; replaced when a copy begins, set again when that fails."""
        self._brought = trio.Event()
        """Set once nothing has to be brought back any more."""
        self._is_copying = False
        """A copy is on its way."""
        self._return = Return(things.own_machines.hand_over, leave, waits_for_others, self._stir)
        self._maker = CopyMaker(things, place, self._return)
        self.waiting: tuple[PeerId, ...] = ()
        """Machines of the person that are gone, whose things nobody took over."""
        things.keyring.on_change(self._stir)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bring back what is to be, then keep the copy until cancelled."""
        self._things.tasks.keep_copies(self._stir)
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
                if not await self._renew():
                    self._news.set()
                    await trio.sleep(COPY_AGAIN_S)
                moved_s = self._maker.size_bytes / COPIES_BYTES_PER_S
                await trio.sleep(max(EVERY_S - REST_S, moved_s))

    async def _renew(self) -> bool:
        """Whether the pool has what we have now; whoever remembers ends is told of them then."""
        tasks = self._things.tasks
        ended = await self._logs.settled(tasks.uncopied())
        self._is_copying, self._news = True, trio.Event()
        is_done = not self._waits_for_others() and await self._maker.renew()
        self._is_copying = False
        if is_done:
            tasks.copied(ended & self._maker.ended)
            await self._logs.copied()
        return is_done

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
                await trio.sleep(SIBLINGS_LOOK_S)
            else:
                with trio.move_on_after(SIBLINGS_LOOK_S):
                    await self._brought.wait()

    @property
    def warning(self) -> str:
        """Why things are not back, or the copy in the pool is not kept; for status."""
        return (self._retrieval.warning if self._retrieval else "") or self._maker.trouble

    @property
    def taken_over(self) -> Taken | None:
        """Who took this machine over while it was thought gone; for a while after its return."""
        return self._return.told(self._things.wall_ms())

    @property
    def taken_ms(self) -> int:
        """When another machine took this one over, as far as is known; 0: none did."""
        return self._return.taken_ms

    @property
    def is_behind(self) -> bool:
        """Whether the pool lacks something that this machine knows."""
        return self._news.is_set() or self._is_copying

    def _stir(self) -> None:
        self._news.set()

    async def _follow(self) -> None:
        async with aclosing(self._things.tasks.events()) as events:
            async for event in events:
                if isinstance(event, EventsMissed) or _matters(event):
                    self._stir()


def _matters(event: TaskChanged) -> bool:
    return event.fact in _FACTS or event.state in TASK_ENDS
