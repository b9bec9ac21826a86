"""What a keeper does for one task, as a table, and what it knows of the other keepers."""

from collections.abc import Mapping
from enum import StrEnum
from math import inf
from typing import Final

import msgspec

from p2p.ids import PeerId
from swarmnode.market.counting import is_near
from swarmnode.market.guardians.records import GuardRecord


class Post(StrEnum):
    """What a keeper does for a task."""

    KEEPS = "keeps"
    STANDS = "stands"  # has asked for votes
    ACTS = "acts"


class Turn(StrEnum):
    """What happens to a keeper."""

    SILENT = "silent"  # nobody acts, as far as it heard
    GAVE_WAY = "gave way"  # gave its vote to another, and waits who wins
    WON = "won"
    OUTRANKED = "outranked"  # heard of a higher term


STEPS: Final[Mapping[tuple[Post, Turn], Post]] = {
    (Post.KEEPS, Turn.SILENT): Post.STANDS,
    (Post.KEEPS, Turn.GAVE_WAY): Post.KEEPS,
    (Post.KEEPS, Turn.OUTRANKED): Post.KEEPS,
    (Post.STANDS, Turn.SILENT): Post.STANDS,  # again, under a higher term
    (Post.STANDS, Turn.GAVE_WAY): Post.KEEPS,
    (Post.STANDS, Turn.OUTRANKED): Post.KEEPS,
    (Post.STANDS, Turn.WON): Post.ACTS,
    (Post.ACTS, Turn.GAVE_WAY): Post.KEEPS,
    (Post.ACTS, Turn.OUTRANKED): Post.KEEPS,
}

IN_VAIN_S: Final = 600.0
IN_VAIN_MAX: Final = 10
"""Where nobody keeps a task but us the pauses between calls for votes grow to ten minutes. It is
not dropped: its submitter may have lost its disk, and be about to recover."""
HOPELESS_CALLS: Final = 8
"""Calls in a row after which the submitter goes on without keepers: 9 to 13 minutes, in which a
machine that acts for it brings it the task, and one of its owner's says what that has for its own.
"""
_NOBODY: Final = PeerId("")


class Copies(msgspec.Struct):
    """What we know, while we act, of the record at its other keepers."""

    has: dict[PeerId, tuple[int, int]] = msgspec.field(default_factory=dict)
    """Version that each said it holds."""
    heard_by: dict[PeerId, float] = msgspec.field(default_factory=dict)
    """When we said what each has answered last, in this term."""
    carried_s: dict[PeerId, tuple[tuple[int, int], float]] = msgspec.field(default_factory=dict)
    """Version that is on its way to each, and since when."""
    firm: tuple[int, int] = (0, 0)
    """Version from which on the keepers it names can do without those before them."""

    def at(self, version: tuple[int, int]) -> set[PeerId]:
        """Who said that it holds just that one."""
        return {peer for peer, has in self.has.items() if has == version}

    def begin(self, heard_by: dict[PeerId, float]) -> None:
        """A turn of ours begins: nobody has said yet what it holds of it."""
        self.has, self.carried_s, self.heard_by = {}, {}, heard_by

    def forget(self) -> None:
        """We do not act any more."""
        self.has.clear()
        self.heard_by.clear()

    def note(self, peer: PeerId, version: tuple[int, int], said_s: float, *, in_turn: bool) -> None:
        """What a keeper holds, and, in this turn, when we said what it has answered."""
        self.has[peer] = version
        carried, carried_s = self.carried_s.get(peer, ((0, 0), -inf))
        if carried == version:
            said_s = max(said_s, carried_s)
        if in_turn:
            self.heard_by[peer] = max(said_s, self.heard_by.get(peer, -inf))


class Candidacy(msgspec.Struct):
    """Our standing for a task's turn, as far as it has come."""

    term: int = 0
    """That we stand for, or stood for last."""
    asked_s: float = 0.0
    """When we called for votes last."""
    votes: set[PeerId] = msgspec.field(default_factory=set)
    """Who gave us theirs for `term`, ourselves included; they count while the task STANDS."""
    strangers: set[PeerId] = msgspec.field(default_factory=set)
    """Who has answered that it does not keep the task."""
    in_vain: int = 0
    """Calls for votes in a row that everybody answered like that."""

    def begin(self, term: int, me: PeerId, now_s: float, *, in_vain: bool) -> None:
        """Call for votes; whether the call before was answered by strangers alone."""
        self.term, self.asked_s, self.votes = term, now_s, {me}
        self.in_vain = min(self.in_vain + 1, IN_VAIN_MAX) if in_vain else 0
        self.strangers.clear()

    @property
    def is_hopeless(self) -> bool:
        """For so long only strangers answered that whoever knew more would have been heard."""
        return self.in_vain >= HOPELESS_CALLS

    def again_s(self, vote_s: float) -> float:
        """When to call again; ever later while only strangers answer."""
        return self.asked_s + min(vote_s * (1 << self.in_vain), max(vote_s, IN_VAIN_S))

    def rest(self) -> None:
        """Somebody acts: there are no strangers alone."""
        self.in_vain = 0
        self.strangers.clear()


class Kept(msgspec.Struct):
    """One task at this keeper."""

    record: GuardRecord
    """The newest one here; who changes it writes it down in the same step."""
    post: Post
    """What we do for it: after a start KEEPS or ACTS, by what the record says."""
    heard_s: float
    """When who acts was last heard; of ours while we act: never."""
    copies: Copies = msgspec.field(default_factory=Copies)
    """Of the others, while we act; what they hold is forgotten with a new turn."""
    candidacy: Candidacy = msgspec.field(default_factory=Candidacy)
    """Of ours; its term is never below one that we stood for."""
    known_term: int = 0
    """The highest one heard of."""
    is_copied: bool = False
    """The copy of its owner's keyring in the pool has its end."""
    bringer: PeerId = _NOBODY
    """Who brought it first; its submitter where that is not known any more."""
    size: int = 0
    """Bytes of the record as it came last."""

    @property
    def known(self) -> int:
        """The highest term that we stand for, have voted for, or heard of."""
        return max(self.record.term, self.record.promised, self.known_term, self.candidacy.term)

    def may_become(self, record: GuardRecord) -> bool:
        """Whether honest keepers could have come from what we keep to that.

        Whoever has the task's key can write any record, but takes the task from nobody's counting,
        nor makes another task of it.
        """
        ours = self.record.task_record
        theirs = record.task_record
        is_counted = is_near(record.term, self.known) and is_near(theirs.fence, ours.fence)
        return is_counted and theirs.spec == ours.spec


class Guarded(msgspec.Struct, frozen=True):
    """Who would go on with a task of ours, were this machine to go away now."""

    holders: tuple[PeerId, ...] = ()
    """Guardians that have it on their disks."""
    wanted: int = 0
    """How many should; 0: there is nobody else."""
    has_ended: bool = False
    has_secrets: bool = False
    """So that machines of other labs do not keep it."""

    @property
    def is_enough(self) -> bool:
        """Nothing is to be waited for."""
        return self.has_ended or len(self.holders) >= self.wanted

    @property
    def note(self) -> str:
        """What to know before this machine is switched off; empty: it may be."""
        if self.has_ended:
            return ""
        if not self.wanted and self.has_secrets:
            return (
                "kept by this machine alone: a task with secrets is kept in its own lab, where no "
                "other machine that knows secrets is up, so none could go on with it while this "
                "one is off"
            )
        if not self.wanted:
            return "kept by this machine alone: no other could go on with it while this one is off"
        if self.is_enough:
            return ""
        count = f"{len(self.holders)} of {self.wanted}"
        return f"{count} guardians hold it so far: leave this machine on for a while"
