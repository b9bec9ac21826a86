"""How many leases each person and lab may have here: nobody fills the tables for all others.

A lease is charged to the machine that brought it, as its certificate names it, whoever it names as
owner: so nothing is won by naming somebody else.
"""

from collections import Counter
from contextlib import AbstractContextManager
from typing import Final

import msgspec

from p2p.errors import RefusalError
from p2p.ids import LabId, PersonId
from p2p.wire.codec import Record
from storage.coming import EVERYTHING, Coming
from storage.limits import LEASES_HELD_MAX, LEASES_PER_LAB_MAX, LEASES_PER_PERSON_MAX


class LeasePayer(Record, frozen=True):
    """To whom a lease is charged."""

    person: PersonId
    lab: LabId


NOBODY: Final = LeasePayer(PersonId(""), LabId(""))
"""Of leases that were taken before shares were counted."""


class LeaseShares(msgspec.Struct):
    """Who has how many leases here."""

    held: int = 0
    """Leases kept here."""
    _persons: Counter[PersonId] = msgspec.field(default_factory=Counter)
    """Leases by person; of NOBODY none is counted."""
    _labs: Counter[LabId] = msgspec.field(default_factory=Counter)
    """The same by lab."""

    _coming: Coming = msgspec.field(default_factory=Coming)
    """Leases under which something is just being put."""

    def coming(self, payer: LeasePayer, lease: bytes) -> AbstractContextManager[None]:
        """Count a lease while something is put under it, whether or not it turns out to be new."""
        return self._coming.of([(payer.person, 0), (payer.lab,), EVERYTHING], lease)

    def check(self, payer: LeasePayer) -> None:
        """Raise RefusalError unless one more may be kept for this payer."""
        theirs = self._persons[payer.person] + self._coming.with_one((payer.person, 0))
        if theirs > LEASES_PER_PERSON_MAX:
            raise RefusalError("full", f"one person may have {LEASES_PER_PERSON_MAX} leases here")
        if self._labs[payer.lab] + self._coming.with_one((payer.lab,)) > LEASES_PER_LAB_MAX:
            raise RefusalError("full", f"one lab may have {LEASES_PER_LAB_MAX} leases here")
        if self.held + self._coming.with_one(EVERYTHING) > LEASES_HELD_MAX:
            raise RefusalError("full", "no room for another lease here")

    def add(self, payer: LeasePayer, count: int = 1) -> None:
        """Charge a lease; with `count` -1 give it back."""
        self.held += count
        if payer != NOBODY:
            self._persons[payer.person] += count
            self._labs[payer.lab] += count


class Charged:
    """A lease on its way into the table: it counts once that is certain."""

    def __init__(self, shares: LeaseShares) -> None:
        self._shares = shares
        self._payer: LeasePayer | None = None
        """Who pays for it; None where the lease was here before."""

    def now(self, payer: LeasePayer | None) -> None:
        self._payer = payer

    def keep(self) -> None:
        if self._payer is not None:
            self._shares.add(self._payer)
