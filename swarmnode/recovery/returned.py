"""This machine was thought gone, another one of its person took it over, and it is back."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import trio

from p2p.ids import PeerId
from storage.errors import StoreFullError
from swarmnode.recovery.copies.pointers import Taken
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.records import TaskRecord

TAKER_LOOK_S: Final = 15.0
"""Between two looks at what the taker has."""
HAND_OVER_S: Final = 600.0
"""Who took this machine over brings things back there within this: what it has not by then is in
the copies of this one again."""
TOLD_S: Final = 86_400.0
"""Status says so long after it was learnt that this machine was taken over ..."""
TOLD_MS: Final = 30 * 86_400_000
"""... unless that was so long ago: each start learns it anew."""
LEFT_AT_ONCE: Final = 16
"""Tasks whose things are left in one look at the keyring; none of them should end meanwhile."""
RARELY_S: Final = 60.0
"""Between two looks after that: what its guardians tell the taker comes later."""

log = logging.getLogger("swarm.recovery")


class Moved(Protocol):
    """The part of HandOver that is needed here."""

    async def gone_on(self, taken_over_ms: int) -> Sequence[TaskRecord]:
        """What of ours goes on elsewhere since this machine was taken over then, and where."""
        ...

    async def let_go(self, task: TaskId, by: PeerId) -> None:
        """A task that goes on at that machine is not ours any more."""
        ...


class Return:
    """Lets go of what the taker has; what that does not have is ours, after a while."""

    def __init__(
        self,
        moved: Moved,
        leave: Callable[[Sequence[TaskRecord]], Awaitable[None]],
        waits_for_others: Callable[[], bool],
        on_change: Callable[[], None],
    ) -> None:
        """`leave` takes what belongs to tasks off our keyring; `on_change`: more is ours now."""
        self._moved, self._leave = moved, leave
        self._waits_for_others, self._on_change = waits_for_others, on_change
        self._taken: Taken | None = None
        """Who took this machine over, as the pool said last; None: nobody."""
        self._is_news = trio.Event()
        """Set when `_taken` has become another; replaced before it is acted upon."""
        self._is_over = False
        """HAND_OVER_S have passed since: what is still here is ours."""
        self._told_until_s = 0.0
        """Until then status tells of it."""

    def note(self, taken: Taken | None) -> Taken | None:
        """What the pool says of who took this machine over."""
        if taken is not None and taken != self._taken:
            log.warning(
                "this machine was thought gone, and another one of yours, %s, took over what was "
                "here: tasks of before go on there; what is put here since then has a copy again",
                taken.by,
            )
        if taken != self._taken:
            self._taken, self._is_over = taken, False
            self._told_until_s = trio.current_time() + TOLD_S
            self._is_news.set()
        return taken

    def told(self, now_ms: int) -> Taken | None:
        """Who took this machine over, while its owner should be told."""
        taken = self._taken
        is_old = taken is None or now_ms - taken.at_ms >= TOLD_MS
        return None if is_old or trio.current_time() >= self._told_until_s else taken

    @property
    def taken_ms(self) -> int:
        """When this machine was taken over; 0: it was not."""
        return 0 if self._taken is None else self._taken.at_ms

    @property
    def taken_over_ms(self) -> int:
        """What was here before this may be the taker's; 0: all that is here is ours."""
        return 0 if self._taken is None or self._is_over else self._taken.at_ms

    async def run(self) -> None:
        """Ask until cancelled: the taker may only just be bringing things back there."""
        while True:
            await self._is_news.wait()
            self._is_news = trio.Event()
            until_s = trio.current_time() + HAND_OVER_S
            while self._taken and not self._is_news.is_set():
                if not self._waits_for_others():
                    await self._hand_over(self._taken)
                if not self._is_over and trio.current_time() >= until_s:
                    self._is_over = True
                    self._on_change()
                with trio.move_on_after(RARELY_S if self._is_over else TAKER_LOOK_S):
                    await self._is_news.wait()

    async def _hand_over(self, taken: Taken) -> None:
        records = await self._moved.gone_on(taken.at_ms)
        for at in range(0, len(records), LEFT_AT_ONCE):
            some = records[at : at + LEFT_AT_ONCE]
            try:
                await self._leave(some)  # first: what is nobody's here would be freed for all
            except StoreFullError:
                return  # at the next look
            for record in some:
                await self._moved.let_go(record.task, record.submitter)
                log.info(
                    "task %s goes on at another machine of yours, %s", record.task, record.submitter
                )
