"""One lease as it is kept: whose, since whose word, until when."""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from p2p.identity.caller import Caller
from p2p.ids import LabId, PeerId, PersonId
from p2p.wire.codec import Record, encode
from storage.config import StorageClass, StorageConfig
from storage.engine.port import ReadView, WriteView
from storage.engine.stored import stored
from storage.holder.leases.shares import NOBODY, LeasePayer
from storage.ids import LeaseKey
from storage.messages import LeaseTerms

LEASES: Final = "leases"
"""key of a lease (storage.holder.leases.keys) -> LeaseRow"""


class LeaseRow(Record, frozen=True):
    """One lease: whose, and until when."""

    owner: PersonId
    lab: LabId
    putter: PeerId
    """The machine that put the object; of old repairs the one that mended it."""
    storage_class: int
    until_ms: int
    is_hold: bool
    payer: LeasePayer = NOBODY
    """Whose machine brought it, and of which lab that is: it counts to their share."""
    is_proved: bool = False
    """The putter is a machine of the owner, or showed a right; else who mended only named it."""


def by_our_clock(terms: LeaseTerms, config: StorageConfig, now_ms: int) -> LeaseTerms:
    """The same terms, ending by the clock that will end them: the putter's may be wrong.

    A hold ends a while after the last word of its put, and what is put is kept as long as its
    class says; who mends gives the end that others keep it until.
    """
    until_ms = min(terms.until_ms, now_ms + 2 * int(config.lease_s * 1000))
    if terms.is_hold:
        until_ms = now_ms + int(config.hold_s * 1000)
    elif not terms.putter:
        until_ms = max(until_ms, config.lease_ms(terms.storage_class, now_ms))
    return replace(terms, until_ms=until_ms)


def renewed(
    view: WriteView,
    rows: Sequence[tuple[LeaseKey, LeaseRow]],
    until_ms: int,
    least_ms: Callable[[int], int],
    asker: Caller,
) -> bool:
    """Until then, or by our own clock as long as a lease of its class is taken for.

    Of several rows under one id, such as others brought and only hold become leases if there is
    nothing else.
    """
    theirs = [(key, row) for key, row in rows if _may_renew(asker, row)]
    kept = [(key, row) for key, row in theirs if row.is_proved or not row.is_hold] or theirs
    for key, row in kept:
        ends_ms = max(until_ms, least_ms(row.storage_class))
        if ends_ms > row.until_ms or row.is_hold:
            ends_ms = max(ends_ms, row.until_ms)
            view.put(LEASES, key, encode(replace(row, until_ms=ends_ms, is_hold=False)))
    return bool(theirs)


def _may_renew(asker: Caller, row: LeaseRow) -> bool:
    """Machines of its lab; and of its owner, who may be of another lab since."""
    return asker.is_me or asker.lab == row.lab or asker.person == row.owner


def held_on(
    view: WriteView, rows: Sequence[tuple[LeaseKey, LeaseRow]], until_ms: int, putter: PeerId
) -> bool:
    """Prolong holds of that machine; what has been committed needs none."""
    theirs = [(key, row) for key, row in rows if row.putter == putter]
    for key, row in theirs:
        if row.is_hold:
            view.put(LEASES, key, encode(replace(row, until_ms=until_ms)))
    return bool(theirs)


def as_hold(terms: LeaseTerms, config: StorageConfig, now_ms: int) -> LeaseTerms:
    """The same terms, for a moment only: until what makes it a lease has come."""
    until_ms = min(now_ms + int(config.hold_s * 1000), terms.until_ms)
    return replace(terms, is_hold=True, until_ms=until_ms)


def is_over(row: LeaseRow, config: StorageConfig, now_ms: int) -> bool:
    """Whether a lease has ended; a committed object has its time in the trash besides."""
    is_soft = not row.is_hold and row.storage_class != StorageClass.SCRATCH
    kept_ms = int(config.trash_s * 1000) if is_soft else 0
    return now_ms >= row.until_ms + kept_ms


def row_of(view: ReadView, key: LeaseKey) -> LeaseRow | None:
    """The lease of that key."""
    data = view.get(LEASES, key)
    return None if data is None else read_row(data)


def read_row(data: bytes) -> LeaseRow:
    """What the table has. Raises RecordCorruptError."""
    return stored(LeaseRow, data, "store.lmdb")
