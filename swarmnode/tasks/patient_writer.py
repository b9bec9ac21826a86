"""How the decisions of a core that keeps tables come onto the disk."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import trio

from p2p.effects import Persist
from storage.engine.port import WriteView
from storage.errors import StoreFullError

FULL_DISK_AGAIN_S: Final = 1.0
"""Between two attempts to write to a full disk: somebody has to make room first."""
GIVE_UP_S: Final = 2 * FULL_DISK_AGAIN_S
"""Room may just have been made."""


class PatientWriter:
    """Writes until there is room: nothing else is decided before, and nothing said."""

    def __init__(self, write: Callable[[Callable[[WriteView], None]], Awaitable[None]]) -> None:
        """`write`: `Tables.transact`, or `Tables.free` for what may use the room set aside."""
        self._write = write
        self.full = trio.Event()
        """Set while the disk is full; another one from when there was room again."""
        self.waits = 0
        """How often it was found full, since the start."""

    @property
    def is_waiting(self) -> bool:
        """The disk is full now."""
        return self.full.is_set()

    async def unless_full(self, done: Callable[[], Awaitable[None]]) -> bool:
        """Whether what is to be written was; on a full disk it is not waited for: it comes later.

        `done` returns once it was; to give it up undoes nothing.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._give_up, nursery.cancel_scope)
            await done()
            nursery.cancel_scope.cancel()
            return True
        return False

    async def _give_up(self, waits: trio.CancelScope) -> None:
        await self.full.wait()
        await trio.sleep(GIVE_UP_S)
        waits.cancel()

    async def persist(self, writes: Sequence[Persist]) -> None:
        """Return once a whole batch is durable."""
        while True:
            try:
                await self._write(partial(_put_all, writes))
            except StoreFullError:
                self.full.set()
                self.waits += 1
                await trio.sleep(FULL_DISK_AGAIN_S)
            else:
                if self.is_waiting:
                    self.full = trio.Event()
                return


def _put_all(writes: Sequence[Persist], view: WriteView) -> None:
    for write in writes:
        if write.value is None:
            view.delete(write.table, write.key)
        else:
            view.put(write.table, write.key, write.value)
