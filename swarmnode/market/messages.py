"""Messages of the auction: numbers 100-105. An award carries a sealed record, the rest is plain."""

from enum import IntEnum
from typing import Final

from p2p.ids import PeerId
from p2p.wire.codec import Message, Record
from p2p.wire.envelope import Signed
from storage.rights import Right
from swarmnode.tasks.checkpoint import CheckpointRecord
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.spec import PriorityClass, Shape, TaskSpec

AWARD_DOMAIN: Final = "swarm/market/award/1"


class BidKind(IntEnum):
    """What a machine answers to a call."""

    HELD = 1  # room is set aside until the hold's time is over
    QUEUED = 2  # busy now; it will offer itself when there is room
    REFUSED = 3  # it will not run this, asking again is no use


class CallForBids(Message, frozen=True, tag=100):
    """Buyer to a few machines: who can run this? `auction` is the buyer's number for the round."""

    auction: int
    shape: Shape
    env: str
    enforce: tuple[str, ...]
    priority_class: PriorityClass
    priority: int
    hold_ms: int
    """How long the buyer would like room to be held; sellers have a limit of their own."""
    net: tuple[str, ...] = ()
    """What of the network the task may talk to, as its spec has it."""
    machine: str = ""
    """The kind of machine that the environment is for; empty for any."""
    environment_bytes: int = 0
    """Of an environment that was built for the pool: what is to be brought where it is not."""
    secrets: bool = False
    """The task is to be given some."""


class Bid(Message, frozen=True, tag=101):
    """The answer. Numbers that do not belong to its kind are 0."""

    auction: int
    bid: int
    kind: BidKind
    hold_ms: int = 0
    eta_ms: int = 0
    """Until the task would start."""
    price_microcredits: int = 0
    waste_micro: int = 0
    """Millionths of the machine's scarcest part that would be left over and of little use."""
    reason: str = ""
    """Stable code: paused, capacity, environment, limit, network, admission, quota, owner,
    secrets."""
    detail: str = ""
    alone_ms: int = 0
    """How long a job goes on here after its lease was renewed last; 0 from who does not say."""
    bring_bytes: int = 0
    """What of the environment is not here and would be brought first."""


class AwardTerms(Record, frozen=True):
    """A lease on the room held for `bid`, for one attempt of one task, signed by the buyer."""

    task: TaskId
    fence: int
    seller: PeerId
    bid: int
    spec: TaskSpec
    restore: CheckpointRecord | None = None
    names_grant: Signed | None = None
    """By the task's key: the seller may write the task's names under this fence; and proof that
    the award is the task's own, as the id is made from that key."""
    state_key: bytes = b""
    """By which the task's state is encrypted."""
    right: Right | None = None
    """The seller may put what the task leaves in its owner's name."""


class Award(Message, frozen=True, tag=102):
    """Buyer to seller: sealed AwardTerms. Repeated until acknowledged; idempotent."""

    sealed: Signed


class Accept(Message, frozen=True, tag=103):
    """Seller to buyer: written down, the lease runs."""

    task: TaskId
    fence: int


class Decline(Message, frozen=True, tag=104):
    """Seller to buyer: no; `reason` is expired, stale, paused or shape."""

    task: TaskId
    fence: int
    reason: str


class Release(Message, frozen=True, tag=105):
    """Buyer to every other machine it asked: the room held or the place kept is not needed."""

    auction: int
