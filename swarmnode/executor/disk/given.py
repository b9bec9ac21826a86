"""What tasks were given takes room of this machine, too, beside what they may write.

Nobody knows the size of an input before it comes, so this is counted as it comes and bounded for
all jobs together: nobody can fill the machine's disk by inputs.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias

import trio

from swarmnode.errors import ExecutorUnavailableError
from swarmnode.executor.disk import disk_use, work_use
from swarmnode.executor.port import JobId
from swarmnode.limits import WALKED_ENTRIES_MAX

_MIB: Final = 1024 * 1024
Take: TypeAlias = Callable[[int], Awaitable[None]]
"""Asked for room before so many bytes come in; raises ExecutorUnavailableError."""
Shrink: TypeAlias = Callable[[int], Awaitable[None]]
"""Makes what is kept no more than so many bytes; they are free once it returns."""


def given_bytes(work: Path) -> int:
    """What lies in the work folder of a job that has not begun; 0 when that is too many files."""
    with suppress(disk_use.TooManyEntriesError):
        return disk_use.disk_use(str(work), WALKED_ENTRIES_MAX)
    return 0


async def free_of_charge(_size: int) -> None:
    """What comes into the folder of a job that runs is its own disk's."""


class GivenRoom:
    """How much of it is taken, by job."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._folder = str(folder)
        self._bytes_max = bytes_max
        """For all jobs together."""
        self._taken: dict[JobId, int] = {}
        """Bytes in each folder here; what would bring their sum above the bound is refused."""
        self._kept: Callable[[], int] = lambda: 0
        self._shrink: Shrink = free_of_charge
        """What is kept of datasets has the rest of the room, and makes way."""
        self._turn = trio.Lock()
        """One makes room at a time: another would not count what this one is about to take."""

    def share(self, kept: Callable[[], int], shrink: Shrink) -> None:
        """Somebody keeps things here while nobody else needs the room: told how much, and to make
        it no more than so many bytes."""
        self._kept, self._shrink = kept, shrink

    def left_to_keep(self) -> int:
        """Bytes that may be kept in the rest of the room, those included that are."""
        lent = self._bytes_max - sum(self._taken.values())
        return min(lent, self._kept() + work_use.host_room(self._folder))

    def note(self, job: JobId, size: int) -> None:
        """A job that a node before us gave so much."""
        self._taken[job] = size

    def drop(self, job: JobId) -> None:
        """Its folder is gone."""
        self._taken.pop(job, None)

    @contextmanager
    def taking(self, job: JobId) -> Iterator[Take]:
        """One file or folder on its way in; what breaks off is not counted: it comes again."""
        taken = 0

        async def take(size: int) -> None:
            nonlocal taken
            await self._check(size)
            self._taken[job] = self._taken.get(job, 0) + size
            taken += size

        try:
            yield take
        except BaseException:
            self._taken[job] = max(0, self._taken.get(job, 0) - taken)
            raise

    def _is_short(self, size: int) -> bool:
        taken = sum(self._taken.values())
        is_over = taken + size + self._kept() > self._bytes_max
        return is_over or work_use.host_room(self._folder) < size

    async def _check(self, size: int) -> None:
        """Raises ExecutorUnavailableError."""
        if self._kept() and self._is_short(size):
            async with self._turn:
                await self._shrink(self._bytes_max - sum(self._taken.values()) - size)
                if work_use.host_room(self._folder) < size:
                    await self._shrink(self._kept() - size)
        taken = sum(self._taken.values())  # others may have come in between
        if taken + size > self._bytes_max:
            raise ExecutorUnavailableError(
                f"the inputs of all tasks here would take more than {self._bytes_max // _MIB} MiB, "
                "as much as this machine lends for work folders (compute.disk_gib)"
            )
        if work_use.host_room(self._folder) < size:
            raise ExecutorUnavailableError("this machine's disk has no room for the task's inputs")
