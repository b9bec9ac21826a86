"""The rules of mutable names: who holds one, what a holder grants, what a quorum means.

A name is a register with compare-and-set on a few holders, by CASPaxos (D. Rystsov 2018,
https://arxiv.org/abs/1802.07000): a write prepares a ballot, learns the present record from a
quorum, and has its own accepted by a majority. The fence is the leading digit of the ballot.

What holds. While the holder set stands still: any number of writers and readers, crashes, lost and
late messages give one linearizable history, and once a majority has promised a fence no lower one
is ever accepted. A dead member goes on counting as a holder for `down_after_s`, so deaths and
partitions shorter than that leave the set as it is, but for one case: where most members live, and
those who are dead are too few to decide anything about a name by themselves, not even what was
begun before they died, they stop counting for it after `given_up_after_s`. A pool that loses
machines one by one would else stop to write names until a quarter of an hour after the last loss.
Nobody misses what is decided then: of all who count the dead as well, those alive are among the
holders without them. When dead ones return, and are so many that a quorum with them may miss what
the others decided, whoever had given them up waits RETURNED_S, in which they are told what they
missed. A node that has just started knows nothing of that, and may read an older value until it is
told within a look of the others.

When members come or are given up, everybody computes the new set from its own view. A prepare asks
SPARES members beyond the voters and waits for so many answers that it meets every majority among
all of them: a node that has learned of up to SPARES newcomers sees whatever was decided without
them. The old holders then hand the record over to the new ones. Where the dead were given up a
decision is at two machines at least, and a reader believes one only there.

What does not hold. A node that has not yet heard of newcomers may miss a write they helped to
decide (membership spreads in about a second); until records have been handed over, a minute after a
death at the earliest, who gave the dead member up may miss a write that only it and less than a
majority besides had when it died; and if a partition lasts longer
than `down_after_s`, both sides may accept writes. Then the higher ballot, that is first of all the
higher fence, wins everywhere. With two members no majority survives a loss, so a dead one stops
counting at once and the other goes on. Machines that were enrolled within the smaller part of a
pool that fell apart may make it look like the larger one.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache, partial
from typing import Final

import msgspec
from blake3 import blake3
from msgspec.structs import replace

from p2p.ids import PeerId
from p2p.membership.view import Liveness, View
from p2p.wire.envelope import Signed
from storage.limits import NAME_HOLDERS_MAX, NAME_JOIN_S, NAME_NUMBER_MAX, NAME_SPARES
from storage.records.names.messages import Ballot, NameHeld, NameState

NOTHING = NameState()
RANKS_CACHED: Final = 4096
"""A hand-over ranks the same members for one name once for each pool of before."""


def name_key(owner: str, name: str) -> bytes:
    """Under which holders keep a name (32 bytes)."""
    packed = f"{len(owner)}:{owner}{name}".encode()
    return blake3(b"swarm name\0" + packed).digest()


class Holders(msgspec.Struct, frozen=True):
    """Where a name lives."""

    voters: tuple[PeerId, ...]
    """An odd number; a majority of them decides."""
    asked: tuple[PeerId, ...]
    """The voters and the spares behind them, in rendezvous order."""
    is_smaller: bool = False
    """Dead ones count no more: then even one of two voters is not enough."""

    @property
    def majority(self) -> int:
        """Voters that must accept a record."""
        return len(self.voters) // 2 + 1

    @property
    def kept_at(self) -> int:
        """Machines at least that have what was decided."""
        return max(self.majority, min(2, len(self.asked))) if self.is_smaller else self.majority

    @property
    def quorum(self) -> int:
        """Answers that meet every majority of voters drawn from those asked."""
        return len(self.asked) - self.majority + 1


def counted_members(view: View, now_s: float, down_after_s: float) -> tuple[PeerId, ...]:
    """Members among whom names are spread, in the view's order; ourselves always."""
    present = [m for m in view.members if m.liveness is not Liveness.LEFT or m.peer == view.me]
    patience_s = 0.0 if len(present) <= 2 else down_after_s
    counted = [
        m.peer
        for m in present
        if m.peer == view.me or m.liveness is not Liveness.DEAD or now_s - m.since_s < patience_s
    ]
    return tuple(counted) if view.me in counted else (*counted, view.me)


class NamePool(msgspec.Struct, frozen=True):
    """Among whom names are spread."""

    members: tuple[PeerId, ...]
    """All that count, the dead and those given up included."""
    dead: frozenset[PeerId] = frozenset()
    """Those of them that are held for dead."""
    given_up: frozenset[PeerId] = frozenset()
    """Of the dead, those that need not count where the others can decide nothing."""

    @property
    def living(self) -> tuple[PeerId, ...]:
        """All but those that are given up."""
        return tuple(peer for peer in self.members if peer not in self.given_up)

    @property
    def decides(self) -> tuple[frozenset[PeerId], frozenset[PeerId], frozenset[PeerId]]:
        """While this is the same, so are the holders of every name."""
        dead = self.dead if self.given_up else frozenset[PeerId]()
        return frozenset(self.members), self.given_up, dead

    def holders(self, key: bytes) -> Holders:
        """Who holds a name."""
        everybody = holders_of(key, self.members)
        away = sum(peer in self.dead for peer in everybody.asked)
        voting = sum(peer in self.dead for peer in everybody.voters)
        if not self.given_up or away >= everybody.quorum or voting >= everybody.majority:
            return everybody
        return replace(holders_of(key, self.living), is_smaller=True)

    def may_miss(self, key: bytes, returned: Collection[PeerId]) -> bool:
        """Whether those who return are so many that what the others decided may not be heard."""
        now = self.holders(key) if returned else None
        if now is None or not any(peer in returned for peer in now.asked):
            return False
        stayed = [peer for peer in self.living if peer not in returned]
        before = replace(holders_of(key, stayed), is_smaller=True)
        silent = len(now.asked) - now.quorum
        votes_unheard = silent + len(set(before.voters) - set(now.asked))
        copies_unheard = silent + len(set(before.asked) - set(now.asked))
        return before.majority <= votes_unheard and before.kept_at <= copies_unheard


def pool_of(
    members: Sequence[PeerId],
    view: View,
    now_s: float,
    given_up_after_s: float,
    started_s: float,
) -> NamePool:
    """Among those who count by `counted_members`: whom most others may give up sooner.

    Who is remembered, and unknown to the view, counts as dead since our start: nobody tells a node
    that has just started of members that were dead before.
    """
    standing = {m.peer: m for m in view.members if m.liveness is not Liveness.DEAD}
    since_s = {m.peer: m.since_s for m in view.members}
    dead = {
        peer: now_s - since_s.get(peer, started_s)
        for peer in members
        if peer != view.me and peer not in standing
    }
    long_dead = frozenset(peer for peer, dead_s in dead.items() if dead_s >= given_up_after_s)
    most_live = 2 * (len(members) - len(dead)) > len(members)
    return NamePool(tuple(members), frozenset(dead), long_dead if most_live else frozenset())


def with_remembered(
    counted: Sequence[PeerId],
    view: View,
    remembered: Sequence[PeerId],
    running_s: float,
    down_after_s: float,
) -> tuple[PeerId, ...]:
    """Those counted, and those remembered from before our restart whom the view does not know yet.

    Otherwise a node that has just started would take itself for the only holder of everything.
    """
    known = {member.peer for member in view.members}
    missed = [peer for peer in remembered if peer not in known and peer not in counted]
    is_pair = len(counted) + len(missed) <= 2
    patience_s = min(down_after_s, NAME_JOIN_S) if is_pair else down_after_s
    return (*counted, *missed) if running_s < patience_s else tuple(counted)


def holders_of(key: bytes, members: Sequence[PeerId]) -> Holders:
    """The first of the members by rendezvous hashing (Thaler, Ravishankar 1998)."""
    ranked = sorted(members, key=partial(_rank, key))
    voters = min(NAME_HOLDERS_MAX, len(ranked) - 1 + len(ranked) % 2)
    return Holders(tuple(ranked[:voters]), tuple(ranked[: voters + NAME_SPARES]))


@lru_cache(maxsize=RANKS_CACHED)
def _rank(key: bytes, peer: PeerId) -> bytes:
    return blake3(key + peer.encode()).digest()


# -- what is believed


def is_sane(ballot: Ballot) -> bool:
    """Whether an honest node may have come so far; a higher one would end up beyond 64 bits."""
    numbers = (ballot.fence, ballot.counter, ballot.nonce)
    return all(0 <= number <= NAME_NUMBER_MAX for number in numbers) and len(ballot.peer) <= 128


# -- one holder


def promise(state: NameState, ballot: Ballot, claim: Signed | None = None) -> NameState | None:
    """The state after promising `ballot`, or None when a higher one was promised."""
    if state.promised is not None and ballot < state.promised:
        return None
    kept = None if ballot == state.accepted else claim
    return NameState(ballot, state.accepted, state.sealed, kept, state.accept_claim)


def accept(state: NameState, proposal: NameState) -> NameState | None:
    """The state after accepting `proposal.sealed`, or None when a higher ballot was promised.

    Repeating an accept, by whomever, is harmless: one ballot carries one record.
    """
    ballot = proposal.accepted
    assert ballot is not None
    if state.promised is not None and ballot < state.promised:
        return None
    return NameState(ballot, ballot, proposal.sealed, None, proposal.accept_claim)


# -- many holders


class Poll(msgspec.Struct):
    """Answers of the holders to one question."""

    key: bytes
    holders: Holders
    answers: dict[PeerId, NameHeld] = msgspec.field(default_factory=dict)
    """What was told in time, and can be trusted."""
    waiting: int = 0
    """Of how many nothing is known yet, neither an answer nor a failure."""

    @property
    def granted(self) -> list[PeerId]:
        """Who said yes."""
        return [peer for peer, held in self.answers.items() if held.done]

    @property
    def has_quorum(self) -> bool:
        """Whether enough said yes to know of every record a majority may have accepted."""
        return len(self.granted) >= self.holders.quorum

    @property
    def has_majority(self) -> bool:
        """Whether a majority of the voters said yes."""
        voters = self.holders.voters
        return sum(peer in voters for peer in self.granted) >= self.holders.majority

    @property
    def is_kept_twice(self) -> bool:
        """A majority, and more than one machine where there are more."""
        return self.has_majority and len(self.granted) >= min(2, len(self.holders.asked))

    @property
    def is_decided(self) -> bool:
        """Whether a record that those took stays, whatever one of them does next."""
        return self.is_kept_twice if self.holders.is_smaller else self.has_majority

    @property
    def newest(self) -> NameState:
        """The state accepted under the highest ballot."""
        states = [held.state for held in self.answers.values() if held.state.accepted is not None]
        return max(states, key=_accepted, default=NOTHING)

    @property
    def is_settled(self) -> bool:
        """Whether the newest record is known to be decided: no second round is needed."""
        if not self.has_quorum:
            return False
        newest = self.newest.accepted
        if newest is None:
            return True
        voters = [self.answers[peer] for peer in self.holders.voters if peer in self.answers]
        agreed = sum(held.state.accepted == newest for held in voters)
        copies = sum(held.state.accepted == newest for held in self.answers.values())
        return agreed >= self.holders.majority and copies >= self.holders.kept_at

    def highest_ballot(self) -> Ballot | None:
        """The highest ballot any of them has heard of."""
        return max(_ballots(held.state for held in self.answers.values()), default=None)


def _ballots(states: Iterable[NameState]) -> list[Ballot]:
    return [b for s in states for b in (s.promised, s.accepted) if b is not None]


def _accepted(state: NameState) -> tuple[int, int, str, int]:
    ballot = state.accepted
    assert ballot is not None
    return ballot.fence, ballot.counter, ballot.peer, ballot.nonce
