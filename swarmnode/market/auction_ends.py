"""Ends of attempts as their providers tell them."""

from p2p.ids import PeerId
from swarmnode.tasks.records import AttemptRecord, TaskRecord


def attempt_of(record: TaskRecord, peer: PeerId, fence: int) -> AttemptRecord | None:
    """The attempt of that provider under that fence, if it is still on the record."""
    found = (one for one in record.attempts if (one.provider, one.fence) == (peer, fence))
    return next(found, None)
