"""What one node holds of every other: the rules by which knowledge replaces knowledge.

    incarnation        only ever grows, and only the machine itself can sign a higher one
    same incarnation   ALIVE -> SUSPECT -> DEAD, never back
    higher incarnation ALIVE or LEFT, whatever was thought before

So any two tables that have heard the same facts, in any order, hold the same.
"""

from bisect import bisect_left, insort
from collections import Counter
from hashlib import blake2b
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from p2p.errors import WireError
from p2p.identity.caller import Caller
from p2p.ids import LabId, PeerId, PersonId
from p2p.limits import (
    ADDRESS_CHARS_MAX,
    ADDRESSES_PER_PEER_MAX,
    INCARNATION_MAX,
    NAME_CHARS_MAX,
    PRESENCE_BYTES_MAX,
    PRESENCE_TOKEN_BYTES_MAX,
    VIEW_MACHINES_PER_PERSON_MAX,
)
from p2p.membership.lives import Lives
from p2p.membership.messages import PRESENCE_DOMAIN, News, Opinion, Presence
from p2p.membership.ourselves import Ourselves
from p2p.membership.view import GONE, Liveness, Member, MemberChanged
from p2p.wire.codec import encode
from p2p.wire.envelope import Signed, open_signed

_WhoT = TypeVar("_WhoT", PersonId, LabId)


class MemberRow(msgspec.Struct, eq=False):
    """One machine: its newest signed presence and what we think of it."""

    member: Member
    """As the view shows it; its incarnation is that of `sealed`, its liveness our own judgement."""
    sealed: Signed
    """The presence as it came, to be passed on."""
    size: int
    """Bytes of `sealed` on the wire."""
    accusers: list[PeerId] = msgspec.field(default_factory=list)
    """Who has called this incarnation suspect, first one first."""
    suspect_since_s: float = 0.0
    """When the first of them came, on our clock; counts while the member is SUSPECT."""
    confirmations_wanted: int = 0
    """Accusers beyond the first that shorten its time; there are never more."""

    def check_invariants(self) -> None:
        """The member is what `sealed` says it is, and a suspect has its accusers."""
        member, sealed = self.member, self.sealed
        said = (sealed.sender, sealed.sequence)
        assert (member.peer, member.incarnation) == said, f"{member.peer} did not say that"
        if member.liveness is Liveness.SUSPECT:
            accusers = len(set(self.accusers))
            assert accusers == len(self.accusers), f"{member.peer} is accused twice by one"
            most = self.confirmations_wanted + 1
            assert 0 < accusers <= most, f"{accusers} accusers of {member.peer}"


class MemberTable:
    """All rows, ourselves included, by peer id."""

    def __init__(self, us: Ourselves, members_max: int) -> None:
        """Without proofs names and labs are taken as claimed: there are no certificates."""
        self._us = us
        self._members_max = members_max
        """Rows at most, ourselves included."""
        self._order: list[PeerId] = []
        """The keys of `rows`, sorted."""
        self.rows: dict[PeerId, MemberRow] = {}
        """By peer id; nobody else adds or drops any."""
        self.lives = Lives()
        """Runs of each of them, which tell a copied home."""
        self.refused = 0
        """Presences with a wrong signature, token or content, since the start."""
        self.unproven = 0
        """Presences whose token proved nothing when they came, or had none."""
        self._persons: Counter[PersonId] = Counter()
        """Rows of each person, those of gone machines included; nobody without any."""
        self._labs: Counter[LabId] = Counter()
        """The same of each lab."""

    def in_order(self) -> list[MemberRow]:
        """All rows by peer id."""
        return [self.rows[peer] for peer in self._order]

    def meet(self, sealed: Signed, now_s: float) -> MemberChanged | None:
        """Take a machine's word about itself, if it is newer than what we have."""
        old = self.rows.get(sealed.sender)
        if not self.is_newer(sealed):
            return None
        size = len(encode(sealed))
        presence = self._open(sealed) if size <= PRESENCE_BYTES_MAX else None
        if presence is None or (old is None and presence.has_left):
            return None  # whoever left before we knew it need not be known
        who = self._whose(sealed.sender, presence)
        if who is None or (old is None and not self._has_room(who)):
            return None
        before = None if old is None else old.member
        member = _member(sealed, presence, who, now_s, before)
        self.lives.heard(member.peer, presence.life, presence.addresses, now_s)
        self._put(MemberRow(member, sealed, size), before)
        return MemberChanged(member, None if before is None else before.liveness)

    def _put(self, row: MemberRow, before: Member | None) -> None:
        """A new row, or one instead of another of the same machine."""
        if before is None:
            insort(self._order, row.member.peer)
        else:
            self._count(before, -1)
        self._count(row.member, 1)
        self.rows[row.member.peer] = row

    def suspect(
        self, opinion: Opinion, now_s: float, confirmations_wanted: int
    ) -> MemberChanged | None:
        """Take an accusation; a change when it is the first of this incarnation."""
        row = self._accused(opinion)
        if row is None:
            return None
        if row.member.liveness is Liveness.ALIVE:
            row.accusers = [opinion.accuser]
            row.suspect_since_s = now_s
            row.confirmations_wanted = confirmations_wanted
            return self._mark(row, Liveness.SUSPECT, now_s)
        return None

    def confirm(self, opinion: Opinion) -> bool:
        """Count another accuser of a suspect, up to those wanted; True when it is a new one."""
        row = self._accused(opinion)
        if row is None or row.member.liveness is not Liveness.SUSPECT:
            return False
        is_enough = len(row.accusers) > row.confirmations_wanted
        if is_enough or opinion.accuser in row.accusers:
            return False
        row.accusers.append(opinion.accuser)
        return True

    def bury(self, opinion: Opinion, now_s: float) -> MemberChanged | None:
        """Hold this incarnation for dead."""
        row = self._accused(opinion)
        return None if row is None else self._mark(row, Liveness.DEAD, now_s)

    def forget(self, before_s: float) -> bool:
        """Drop those that have been gone since before a time; True when there were any."""
        gone = [row.member for row in self.in_order() if row.member.liveness in GONE]
        old = [member.peer for member in gone if member.since_s < before_s]
        for peer in old:
            self._drop(peer)
        return bool(old)

    def is_newer(self, sealed: Signed) -> bool:
        """Whether it would tell us something, were it true."""
        old = self.rows.get(sealed.sender)
        return old is None or sealed.sequence > old.member.incarnation

    def heard_of_us(self, sealed: Signed, now_s: float) -> bool:
        """Whether a presence of our own key that we did not make is in order; its run is noted."""
        presence = self._open(sealed)
        if presence is None:
            return False
        self.lives.heard(sealed.sender, presence.life, presence.addresses, now_s)
        return True

    def digest(self) -> bytes:
        """Equal in two tables that hold the same incarnations of the same peers for alive."""
        hashed = blake2b(digest_size=16)
        for row in self.in_order():
            if row.member.liveness not in GONE:
                hashed.update(f"{row.member.peer} {row.member.incarnation}\n".encode())
        return hashed.digest()

    def between(self, low: PeerId, high: PeerId) -> list[MemberRow]:
        """Rows with low < id <= high; an empty `high` is no bound."""
        start = bisect_left(self._order, low)
        rows = (self.rows[peer] for peer in self._order[start:])
        return [r for r in rows if low < r.member.peer and (not high or r.member.peer <= high)]

    def better_than(self, news: News, low: PeerId, high: PeerId) -> list[MemberRow]:
        """Rows of a range of which the author of `news` knows nothing, or something older."""
        told = {sealed.sender: sealed.sequence for sealed in news.presences}
        doubted = {(o.peer, o.incarnation): o.liveness for o in news.opinions}
        return [row for row in self.between(low, high) if _is_news_to(row, told, doubted)]

    def _accused(self, opinion: Opinion) -> MemberRow | None:
        row = self.rows.get(opinion.peer)
        if row is None or row.member.liveness in GONE:
            return None
        return row if row.member.incarnation == opinion.incarnation else None

    def _mark(self, row: MemberRow, liveness: Liveness, now_s: float) -> MemberChanged:
        before = row.member
        row.member = replace(before, liveness=liveness, since_s=now_s)
        return MemberChanged(row.member, before.liveness)

    def _open(self, sealed: Signed) -> Presence | None:
        signer, network = self._us.signer, self._us.network
        try:
            presence = open_signed(signer, network, PRESENCE_DOMAIN, Presence, sealed)
        except WireError:
            presence = None
        if presence is None or not is_sound(presence) or not 0 <= sealed.sequence < INCARNATION_MAX:
            self.refused += 1
            return None
        return presence

    def _whose(self, peer: PeerId, presence: Presence) -> Caller | None:
        """Who its certificates prove it to be; None when nothing does."""
        if self._us.proofs is None:
            claimed = (presence.name, presence.lab, presence.site)
            name, lab, site = claimed
            return Caller(peer, PersonId(""), lab, name=name, site=site)
        if peer == self._us.peer:
            return self._us.proofs.me()
        try:
            who = self._us.proofs.whose(peer, presence.token)
        except WireError:
            self.refused += 1
            return None
        self.unproven += who is None
        return who

    def _has_room(self, who: Caller) -> bool:
        """Whether there is room for one more, and for one more of this person and lab."""
        if self._us.proofs is not None and who.peer != self._us.peer:
            if self._persons[who.person] >= VIEW_MACHINES_PER_PERSON_MAX:
                return False
            if self._labs[who.lab] >= max(1, self._members_max // 2):
                return False
        return self._make_room()

    def _count(self, member: Member, by: int) -> None:
        _add(self._persons, member.person, by)
        _add(self._labs, member.lab, by)

    def _make_room(self) -> bool:
        if len(self.rows) < self._members_max:
            return True
        gone = [row.member for row in self.in_order() if row.member.liveness in GONE]
        if not gone:
            return False
        self._drop(min(gone, key=lambda member: member.since_s).peer)
        return True

    def _drop(self, peer: PeerId) -> None:
        self._count(self.rows.pop(peer).member, -1)
        self.lives.forget(peer)
        del self._order[bisect_left(self._order, peer)]

    def check_invariants(self) -> None:
        """Between two events: the rows, their order and what is counted of them agree."""
        assert self._order == sorted(self.rows), "the order is not that of the rows"
        assert len(self.rows) <= self._members_max, "more rows than there is room for"
        for peer, row in self.rows.items():
            assert peer == row.member.peer, f"the row of {peer} is another's"
            row.check_invariants()
        members = [row.member for row in self.rows.values()]
        assert self._persons == Counter(m.person for m in members), "persons are miscounted"
        assert self._labs == Counter(m.lab for m in members), "labs are miscounted"
        assert all((*self._persons.values(), *self._labs.values())), "who has nothing is counted"


def is_sound(presence: Presence) -> bool:
    """Whether everything in it has an acceptable length."""
    texts = (presence.name, presence.site)
    return (
        len(presence.addresses) <= ADDRESSES_PER_PEER_MAX
        and all(len(address) <= ADDRESS_CHARS_MAX for address in presence.addresses)
        and all(len(text) <= NAME_CHARS_MAX for text in texts)
        and len(presence.lab) <= ADDRESS_CHARS_MAX
        and len(presence.token) <= PRESENCE_TOKEN_BYTES_MAX
    )


def _member(
    sealed: Signed, presence: Presence, who: Caller, now_s: float, old: Member | None
) -> Member:
    liveness = Liveness.LEFT if presence.has_left else Liveness.ALIVE
    since_s = old.since_s if old is not None and old.liveness is liveness else now_s
    return Member(
        sealed.sender,
        liveness,
        sealed.sequence,
        presence.addresses,
        who.name,
        who.lab,
        who.site,
        since_s,
        who.person,
        who.roles,
        who.lab_name,
        presence.relays,
    )


def _add(counts: Counter[_WhoT], who: _WhoT, by: int) -> None:
    """Whoever has nothing is forgotten: a machine may show another person in each presence."""
    counts[who] += by
    if not counts[who]:
        del counts[who]


def _is_news_to(
    row: MemberRow, told: dict[PeerId, int], doubted: dict[tuple[PeerId, int], int]
) -> bool:
    member = row.member
    theirs = told.get(member.peer)
    if theirs is None:
        return member.liveness not in GONE
    if theirs == member.incarnation:
        doubt = doubted.get((member.peer, member.incarnation), Liveness.ALIVE)
        return doubt < member.liveness <= Liveness.DEAD
    return theirs < member.incarnation
