"""Who has to go when the owner of a machine wants room on it for a task of their own.

`class = "owner"` is for the person in the machine's certificate, on their own machines only. Guests
that are in the way get a short notice and move, the newest first: they lose the least.
"""

from collections.abc import Sequence
from typing import Final

from swarmnode.market.seller.room import CapacityBook
from swarmnode.tasks.lifecycle import JobState
from swarmnode.tasks.records import JobRecord
from swarmnode.tasks.spec import Shape

_LIVING: Final = frozenset({JobState.LEASED, JobState.RUNNING, JobState.STOPPING})


def in_the_way(
    room: CapacityBook, shape: Shape, records: Sequence[JobRecord], tasks_max: int
) -> tuple[str, ...]:
    """Names of the jobs to be stopped, so that there is room for the shape.

    `records`: all jobs, the oldest first. Nobody, when all guests together would not make enough.
    """
    records = [record for record in records if record.grant.cpu_millis and record.state in _LIVING]
    leaving = [record.job for record in records if record.state is JobState.STOPPING]
    guests = [record.job for record in reversed(records) if _is_guest(record)]
    chosen: list[str] = []
    while True:
        gone = [*leaving, *chosen]
        if room.would_fit(shape, gone) and len(records) - len(gone) < tasks_max:
            return tuple(chosen)
        if not guests:
            return ()
        chosen.append(guests.pop(0))


def _is_guest(record: JobRecord) -> bool:
    return not record.is_owners and record.state in (JobState.LEASED, JobState.RUNNING)
