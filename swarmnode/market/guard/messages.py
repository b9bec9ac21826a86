"""Messages among the keepers of a task, and from them to its worker: numbers 110-119."""

from typing import Final

from p2p.ids import PeerId
from p2p.wire.codec import Message, Record
from p2p.wire.envelope import Signed
from swarmnode.tasks.ids import TaskId

CLAIM_DOMAIN: Final = "swarm/market/claim/1"
HOME_DOMAIN: Final = "swarm/market/home/1"


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
    """From a keeper that has not heard from the one who acts, or from the owner on its return."""

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
    """To a keeper: forget it; another keeps it, or it has ended and its owner has everything."""

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
    """Call from the owner to who acted meanwhile: what did the task print, from there on?"""

    task: TaskId
    stream: str
    fence: int
    """The attempt the owner has something of."""
    offset: int
    """Bytes of that attempt's stream it has."""


class KeptLog(Message, frozen=True, tag=119):
    """Reply; the body is the next piece."""

    fence: int
    """The attempt the piece belongs to; 0 when there is nothing more."""
    offset: int
    """Where it belongs."""
