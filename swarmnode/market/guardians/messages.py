"""Messages among the keepers of a task, to its worker and its submitter: numbers 110-126."""

from typing import Final, TypeAlias

from p2p.ids import PeerId
from p2p.wire.codec import Message, Record
from p2p.wire.envelope import Signed
from swarmnode.tasks.ids import TaskId

CLAIM_DOMAIN: Final = "swarm/market/claim/1"
HOME_DOMAIN: Final = "swarm/market/home/1"
FOUND_DOMAIN: Final = "swarm/market/found/1"
TASK_ORDER_DOMAIN: Final = "swarm/market/order/1"


class GuardLine(Record, frozen=True):
    """How far somebody's record of one task is; 0, 0 where there is none."""

    task: TaskId
    term: int
    seq: int


class GuardBeat(Message, frozen=True, tag=110):
    """From who acts to a keeper, every few seconds: I still do."""

    number: int
    """Repeated in the answer, so that a late one proves nothing about now."""
    lines: tuple[GuardLine, ...]


class GuardHeard(Message, frozen=True, tag=111):
    """A keeper's answer: what it holds, or a higher term that it has given its vote to."""

    number: int
    """0 when it answers no beat."""
    lines: tuple[GuardLine, ...]


class KeepTask(Message, frozen=True, tag=112):
    """Call to a keeper: hold this; the body is a GuardRecord. What it holds then it casts."""

    task: TaskId


class KeepTaken(Message, frozen=True, tag=113):
    """Reply: it has come."""


class AskVote(Message, frozen=True, tag=114):
    """From a keeper that has heard nothing of who acts, or from the submitter on its return."""

    task: TaskId
    term: int
    seen_term: int
    seen_seq: int


class Vote(Message, frozen=True, tag=115):
    """The answer; a refusal names the highest term known."""

    task: TaskId
    term: int
    granted: bool
    known_term: int


class ClaimTerms(Record, frozen=True):
    """Who acts for a task now, signed by the task's key."""

    task: TaskId
    fence: int
    """Of the attempt that is claimed."""
    machine: PeerId
    term: int


class Claim(Message, frozen=True, tag=116):
    """To the worker from who acts now: sealed ClaimTerms. Answered by State."""

    sealed: Signed


class Relieve(Message, frozen=True, tag=117):
    """To a keeper: forget it; another keeps it, or it has ended and its submitter has everything.
    Said also with the answer to AskVote of a guardian that is none any more. The submitter does not
    heed it before the task has ended there.
    """

    task: TaskId
    is_over: bool


class HomeTerms(Record, frozen=True):
    """Where the owner of a task is now, signed by the task's key."""

    task: TaskId
    machine: PeerId


class ComeHome(Message, frozen=True, tag=120):
    """To every member from a machine that its owner has recovered: sealed HomeTerms."""

    sealed: Signed


class ReadKeptLog(Message, frozen=True, tag=118):
    """Call from its submitter to who acted or acts: what did the task print, from there on?"""

    task: TaskId
    stream: str
    fence: int
    """The attempt that the submitter has something of."""
    offset: int
    """Bytes of that attempt's stream it has."""


class KeptLog(Message, frozen=True, tag=119):
    """Reply; the body is the next piece."""

    fence: int
    """The attempt the piece belongs to; 0 when there is nothing more."""
    offset: int
    """Where it belongs."""


class TaskOrder(Record, frozen=True):
    """Cancel a task of somebody of our lab: signed by the lab's key."""

    task: TaskId
    machine: PeerId
    """Who may bring it: it is answered with the task's record."""
    reason: str


class FindTask(Message, frozen=True, tag=121):
    """Call from another machine of a task's owner: how does it stand? Refusal: unknown."""

    task: TaskId
    cancel: bool = False
    """End it first, if it was submitted to you or you act for it."""
    order: Signed | None = None
    """From the lab's key, for the task of another person: a sealed TaskOrder that has not ended."""
    is_taken: bool = False
    """Only whether you took it over from the machine that asks: nothing else of it is told."""
    forget: bool = False
    """Of one that has ended where you have it for your own: it is no more, and nothing is told."""


class FoundTerms(Record, frozen=True):
    """What a keeper says of a task, signed by the task's key."""

    task: TaskId
    machine: PeerId
    """Whom it tells."""
    is_newest: bool
    """It acts for the task, or did when that ended: nobody can know more of it."""
    digest: bytes
    """BLAKE3 of the body."""


class TaskFound(Message, frozen=True, tag=122):
    """Reply: sealed FoundTerms; the body is the task's record without its key."""

    sealed: Signed


class ReadKept(Message, frozen=True, tag=123):
    """Call from a machine that takes over for another of its person: what do you keep for that?"""

    machine: PeerId
    after: TaskId
    """Tasks come in the order of their ids, from that one on; empty: from the first."""


class KeptTold(Message, frozen=True, tag=124):
    """Reply; the body is a KeptPage."""


class CopyLog(Message, frozen=True, tag=125):
    """Call from who acts to another keeper: keep this piece of a task's log; the body is the piece.

    Without a body, and then of attempt 0: how far have you it?
    """

    task: TaskId
    stream: str
    fence: int
    """The attempt that printed it."""
    offset: int
    """Where it begins in that attempt's stream."""


class LogCopied(Message, frozen=True, tag=126):
    """Reply: the newest attempt of which there is some of that stream, and how much."""

    fence: int
    have: int


KeeperMessage: TypeAlias = GuardBeat | GuardHeard | AskVote | Vote | Relieve
"""What keepers of a task cast to each other."""
