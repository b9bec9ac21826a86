"""How many names each person and lab may have kept here: nobody fills the table for all others.

A name is charged to the machine that had it kept, as its certificate names it: whose it is and
which lab it is of. What a machine writes with a grant (for the task of somebody else) is charged
apart, so that no task can use up what its provider's owner needs for names of their own.
"""

from collections import Counter
from contextlib import AbstractContextManager
from typing import TypeVar

import msgspec

from p2p.errors import RefusalError
from p2p.ids import LabId, PersonId
from p2p.wire.codec import Record
from storage.coming import EVERYTHING, Coming
from storage.limits import (
    NAMES_HELD_MAX,
    NAMES_PENDING_MAX,
    NAMES_PER_LAB_MAX,
    NAMES_PER_PERSON_MAX,
)

KeyT = TypeVar("KeyT")


class NamePayer(Record, frozen=True):
    """To whom a name is charged."""

    person: PersonId
    lab: LabId
    is_grant: bool
    """Written by somebody else's leave."""


class Accounts(msgspec.Struct):
    """Who has how many names here."""

    held: int = 0
    """Names kept here."""
    _persons: Counter[tuple[PersonId, bool]] = msgspec.field(default_factory=Counter)
    """Names by person, those written with grants apart."""
    _labs: Counter[LabId] = msgspec.field(default_factory=Counter)
    """Names by lab, all of them."""
    _pending: Counter[tuple[PersonId, bool]] = msgspec.field(default_factory=Counter)
    """Names without a record."""

    _coming: Coming = msgspec.field(default_factory=Coming)
    """Names that are just being written."""

    def coming(self, payer: NamePayer, key: bytes) -> AbstractContextManager[None]:
        """Count a name while it is written, whether or not it turns out to be new."""
        return self._coming.of([(payer.person, payer.is_grant), (payer.lab,), EVERYTHING], key)

    def check(self, payer: NamePayer) -> None:
        """Raise RefusalError unless one more may be kept for this payer."""
        account = payer.person, payer.is_grant
        here = self._coming.with_one(account)
        if self._pending[account] + here > NAMES_PENDING_MAX:
            raise RefusalError("full", f"{NAMES_PENDING_MAX} names of yours were never written")
        if self._persons[account] + here > NAMES_PER_PERSON_MAX:
            raise RefusalError("full", f"one person may have {NAMES_PER_PERSON_MAX} names here")
        if self._labs[payer.lab] + self._coming.with_one((payer.lab,)) > NAMES_PER_LAB_MAX:
            raise RefusalError("full", f"one lab may have {NAMES_PER_LAB_MAX} names here")
        if self.held + self._coming.with_one(EVERYTHING) > NAMES_HELD_MAX:
            raise RefusalError("full", "no room for another name here")

    def add(self, payer: NamePayer, *, is_pending: bool, count: int = 1) -> None:
        """Charge a name; with `count` -1 give it back."""
        account = payer.person, payer.is_grant
        self.held += count
        _count(self._persons, account, count)
        _count(self._labs, payer.lab, count)
        if is_pending:
            _count(self._pending, account, count)

    def written(self, payer: NamePayer) -> None:
        """A name got its first record."""
        _count(self._pending, (payer.person, payer.is_grant), -1)

    def __len__(self) -> int:
        """Accounts that are open: only of those who have something here."""
        return len(self._persons) + len(self._labs) + len(self._pending)


def _count(counts: Counter[KeyT], key: KeyT, by: int) -> None:
    counts[key] += by
    if not counts[key]:
        del counts[key]
