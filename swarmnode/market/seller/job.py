"""One attempt at its provider, with what is not written down of it."""

from typing import Final

import msgspec

from p2p.effects import Persist
from p2p.wire.codec import encode
from storage.rights import named_in
from swarmnode.market.seller import events as e
from swarmnode.tasks.records import JobRecord
from swarmnode.tasks.store import JOBS, job_key

_BEATS_KEPT: Final = 8
"""An answer to an older word than that says nothing about now."""


class SellerJob(msgspec.Struct):
    """A job that is not settled."""

    record: JobRecord
    """As it is written down: every change is persisted in its own step."""
    lease_until_s: float
    """So long its buyer's word holds; orphan_grace_s later the job is over. Only grows."""
    started_s: float
    """When it was accepted, or this node began: its end is guessed from that."""
    has_room: bool
    """A process of it may live."""
    beats: dict[int, float] = msgspec.field(default_factory=dict)
    """The newest States, by number, and when they were said."""
    look_s: float = 0.0
    """When its lease is looked at next."""
    logs_delivered: bool = False
    """Its buyer of now has the whole log: only then is the result said."""
    node_died_ms: int = 0
    """See State."""
    note: str = ""
    """What its buyer should know besides: why a checkpoint is not kept."""
    result_again_s: float = 0.0
    """Until the next repetition; 0 while none is due."""
    keep_until_s: float = 0.0
    """Once it has ended: when nobody will ask for its result any more."""
    keep_last_s: float = 0.0
    """It is not kept beyond that."""

    def note_beat(self, number: int, now_s: float) -> None:
        """That State was said just now."""
        self.beats[number] = now_s
        if len(self.beats) > _BEATS_KEPT:
            del self.beats[next(iter(self.beats))]


def written(record: JobRecord) -> Persist:
    """Write the record down."""
    return Persist(JOBS, job_key(record.task, record.fence), encode(record))


def is_for(record: JobRecord, removed: e.BuyersRemoved) -> bool:
    """Whether a job is of somebody who was removed, whoever acts for it now."""
    if record.buyer in removed.buyers:
        return True
    return record.right is not None and named_in(record.right).owner in removed.people
