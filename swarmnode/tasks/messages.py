"""Messages about tasks under way: numbers 150-169. Signed ones carry a sealed record.

Both sides beat while a job lives: the seller says State, the buyer answers with Renew. The lease
runs on the seller's clock from the State that was answered, so a Renew that was long on its way
gives no more time than the buyer meant; whoever hears of a fence that is no longer current says
Cancel.
"""

from enum import IntEnum
from typing import Final

from p2p.ids import PeerId
from p2p.wire.codec import Message, Record
from p2p.wire.envelope import Signed
from swarmnode.tasks.checkpoint import CheckpointRecord, StoredFile
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import JobState
from swarmnode.tasks.records import Outcome

RESULT_DOMAIN: Final = "swarm/task/result/1"
RECEIPT_DOMAIN: Final = "swarm/task/receipt/1"


class Phase(IntEnum):
    """A job in a State message."""

    UNKNOWN = 0
    LEASED = 1
    RUNNING = 2
    STOPPING = 3
    REPORTING = 4


PHASE_OF: Final = {
    JobState.LEASED: Phase.LEASED,
    JobState.RUNNING: Phase.RUNNING,
    JobState.STOPPING: Phase.STOPPING,
    JobState.REPORTING: Phase.REPORTING,
}
"""How a job's state is told; one that is settled is unknown."""


class ResultTerms(Record, frozen=True):
    """How one attempt ended, signed by its provider."""

    task: TaskId
    fence: int
    buyer: PeerId
    outcome: Outcome
    checkpoint: CheckpointRecord | None = None


class ReceiptTerms(Record, frozen=True):
    """The buyer has written the result down, signed; price is 0 inside a network."""

    task: TaskId
    fence: int
    seller: PeerId
    price_microcredits: int = 0


class Result(Message, frozen=True, tag=150):
    """Seller to buyer, again and again until a receipt or ten minutes: sealed ResultTerms."""

    sealed: Signed


class ResultReceipt(Message, frozen=True, tag=151):
    """Buyer to seller: sealed ReceiptTerms. The seller may forget the job."""

    sealed: Signed


class CancelJob(Message, frozen=True, tag=152):
    """Buyer to seller: stop that attempt; its result is not wanted."""

    task: TaskId
    fence: int
    reason: str


class Query(Message, frozen=True, tag=153):
    """Buyer to seller, after a restart: do you have that attempt? Answered by State."""

    task: TaskId
    fence: int


class State(Message, frozen=True, tag=154):
    """Seller to buyer, every few seconds and when asked; numbered, see Renew."""

    task: TaskId
    fence: int
    phase: Phase
    checkpoint_step: int = 0
    beat: int = 0
    """Number of this word; a Renew that says it again extends the lease from when it was said."""
    node_died_ms: int = 0
    """The seller's node process died when the job had run for so long; 0: it did not, or later
    than two minutes after the start. Leaving in order, sleep and loss of power are no deaths."""
    note: str = ""
    """Why the newest checkpoint is not kept; empty while all is well."""


class Renew(Message, frozen=True, tag=155):
    """Buyer to seller: the attempt is still wanted.

    It names the newest State heard, and the lease runs from when that was said.
    """

    task: TaskId
    fence: int
    checkpoint_step: int = 0
    """Newest step the buyer has; the seller repeats a checkpoint that it lacks."""
    beat: int = 0
    """Of the newest State heard: however late this comes, it promises nothing twice. 0: none."""
    checkpoint_ms: int = 0
    """When that was taken: one that was taken again is another."""


class PreemptNotice(Message, frozen=True, tag=156):
    """Seller to buyer: its owner wants the machine back, the job ends within `grace_ms`."""

    task: TaskId
    fence: int
    grace_ms: int


class Checkpointed(Message, frozen=True, tag=157):
    """Seller to buyer: progress was stored."""

    task: TaskId
    fence: int
    checkpoint: CheckpointRecord


class PushLog(Message, frozen=True, tag=158):
    """Call from seller to buyer; the body is what `stream` holds from `offset` of this attempt."""

    task: TaskId
    fence: int
    stream: str
    offset: int


class LogTaken(Message, frozen=True, tag=159):
    """Reply: bytes of this attempt's stream that are stored, where the next push goes on."""

    have: int
    followed: bool
    """Somebody is reading along: send small pieces at once."""


class GiveSignal(Message, frozen=True, tag=166):
    """Call from buyer to seller: the programs of a job that runs are to hear a signal."""

    task: TaskId
    fence: int
    signal: str
    """One of swarmnode.tasks.choices.JobSignal; another is refused."""


class SignalGiven(Message, frozen=True, tag=167):
    """Reply: who watches over the job has it, and hands it on once a program can hear it."""


class AskFiles(Message, frozen=True, tag=168):
    """Call from buyer to seller: store what there is now of the outputs of a job that runs."""

    task: TaskId
    fence: int


class FilesTold(Message, frozen=True, tag=169):
    """Reply: what was stored, until the job ends or the next such call; and what could not be."""

    files: tuple[StoredFile, ...]
    fault: str = ""
