"""The pool as storage sees it: which machines live, and which of them may be given something."""

from collections.abc import Callable, Mapping

from p2p.errors import WireError
from p2p.gossip.items import STORAGE, Item
from p2p.gossip.port import ItemBoard
from p2p.ids import LabId, PeerId, PersonId
from p2p.membership import view as roles
from p2p.membership.port import Members
from p2p.membership.view import Liveness, Member
from p2p.wire.codec import decode_as
from storage.placement.advert import StorageAdvert
from storage.placement.rendezvous import Candidate


class Pool:
    """Membership and storage adverts put together; ourselves included, by our own word."""

    def __init__(
        self,
        members: Members,
        gossip: ItemBoard,
        me: PeerId,
        own_advert: Callable[[], StorageAdvert],
    ) -> None:
        self._members = members
        self._gossip = gossip
        self.me = me
        self._own_advert = own_advert
        self.removed: frozenset[PeerId] = frozenset()
        """Machines that were removed from the network, as told last: none comes back."""
        self._decoded: dict[PeerId, tuple[int, StorageAdvert | None]] = {}
        """By peer: its newest advert read, and the sequence of that item."""
        self._usable: tuple[Candidate, ...] = ()
        """What `usable` gave last ..."""
        self._usable_by: tuple[object, object, StorageAdvert] | None = None
        """... and from which items, view and own advert."""

    def usable(self) -> tuple[Candidate, ...]:
        """Living machines that lend storage, sorted by peer id."""
        items, view, own = self._gossip.items(STORAGE), self._members.view(), self._own_advert()
        by = self._usable_by
        if by is not None and by[0] is items and by[1] is view and by[2] == own:
            return self._usable
        candidates = []
        for member in view.alive():
            advert = own if member.peer == self.me else self._advert_of(items, member.peer)
            if advert is not None and advert.lends and member.may_offer(roles.STORAGE):
                candidates.append(_candidate(member, advert))
        self._usable, self._usable_by = tuple(candidates), (items, view, own)
        return self._usable

    def alive(self) -> tuple[PeerId, ...]:
        """Living machines, ourselves included, sorted by peer id."""
        return tuple(member.peer for member in self._members.view().alive())

    def is_alive(self, peer: PeerId) -> bool:
        """Whether a machine lives as far as we know; a suspect counts as silent, not as lost."""
        member = self._members.view().find(peer)
        return member is not None and member.liveness is Liveness.ALIVE

    def silent_since_s(self, peer: PeerId) -> float | None:
        """Since when a machine is not alive, on our clock; None where it lives or is not known."""
        member = self._members.view().find(peer)
        return None if member is None or member.liveness is Liveness.ALIVE else member.since_s

    def has_left(self, peer: PeerId) -> bool:
        """Whether a machine has said goodbye, and is not waited for."""
        member = self._members.view().find(peer)
        return member is not None and member.liveness is Liveness.LEFT

    def candidate(self, peer: PeerId) -> Candidate | None:
        """What we know of a machine, living or not, for judging how far holders are apart."""
        member = self._members.view().find(peer)
        if member is None:
            return None
        return Candidate(peer, member.lab, member.site, 0, 0, member.person)

    def person(self, peer: PeerId) -> str:
        """Whose machine it is by its certificate; one that is not known is its own."""
        candidate = self.candidate(peer)
        return peer if candidate is None else candidate.person

    def lab_of(self, peer: PeerId) -> LabId | None:
        """The lab in a machine's certificate."""
        member = self._members.view().find(peer)
        return None if member is None else member.lab

    def machines_of(self, person: PersonId) -> list[PeerId]:
        """That person's machines, living or not, as far as they are known; not ourselves."""
        members = self._members.view().members
        return [
            member.peer for member in members if member.person == person and member.peer != self.me
        ]

    def _advert_of(self, items: Mapping[PeerId, Item], peer: PeerId) -> StorageAdvert | None:
        item = items.get(peer)
        if item is None:
            self._decoded.pop(peer, None)
            return None
        known = self._decoded.get(peer)
        if known is None or known[0] != item.sequence:
            known = self._decoded[peer] = (item.sequence, _decoded(item.body))
        return known[1]


def _decoded(body: bytes) -> StorageAdvert | None:
    try:
        return decode_as(StorageAdvert, body)
    except WireError:
        return None  # of another version: it is given nothing until we understand it


def _candidate(member: Member, advert: StorageAdvert) -> Candidate:
    return Candidate(
        member.peer, member.lab, member.site, advert.quota_bytes, max(0, advert.free_bytes),
        member.person,
    )  # fmt: skip
