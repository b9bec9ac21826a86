"""What was given up here lately: whatever of it is late is refused. Not on disk."""

from p2p.identity.caller import Caller
from p2p.ids import LabId, PeerId, PersonId
from storage.holder.leases.row import LeaseRow
from storage.ids import LeaseId
from storage.limits import DROPPED_LEASES_KEPT

EVERYBODY = PeerId("")
"""Whose late puts are refused under a lease that its owner gave up here."""

Given = tuple[LeaseId, PersonId, LabId, PeerId]
"""Of whom nothing is taken any more under an id, and who would have to bring it."""


class GivenUp:
    """Remembers the newest of those leases."""

    def __init__(self) -> None:
        self._given: dict[Given, LeaseRow | None] = {}
        """Whose each is, where it was here; at most DROPPED_LEASES_KEPT, the oldest goes."""

    def rows(self, lease: LeaseId) -> list[LeaseRow]:
        """What was kept under an id."""
        return [row for given, row in self._given.items() if given[0] == lease and row]

    def has(self, lease: LeaseId, owner: PersonId, lab: LabId, putter: PeerId) -> bool:
        """Whether nothing of an owner's is taken under an id from that machine."""
        return any((lease, owner, lab, peer) in self._given for peer in (EVERYBODY, putter))

    def refuse(self, lease: LeaseId, row: LeaseRow | Caller, peer: PeerId = EVERYBODY) -> None:
        """Take nothing more of an owner's under an id for a while, if that machine brings it."""
        owner = row.owner if isinstance(row, LeaseRow) else row.person
        given = (lease, owner, row.lab, peer)
        kept = row if isinstance(row, LeaseRow) else self._given.get(given)
        self._given.pop(given, None)
        self._given[given] = kept
        if len(self._given) > DROPPED_LEASES_KEPT:
            del self._given[next(iter(self._given))]
