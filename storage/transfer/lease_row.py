"""One lease as it is kept: whose, since whose word, until when."""

from collections.abc import Callable
from typing import Final

import msgspec

from p2p.ids import LabId, MemberId, PeerId
from p2p.wire.codec import Record, encode
from storage.engine.port import ReadView, WriteView
from storage.engine.stored import stored
from storage.ids import LeaseId
from storage.transfer.shares import NOBODY, Payer

LEASES: Final = "leases"
"""lease -> LeaseRow"""


class LeaseRow(Record, frozen=True):
    """One lease: whose, and until when."""

    owner: MemberId
    lab: LabId
    putter: PeerId
    """The machine that put the object; of old repairs the one that mended it."""
    storage_class: int
    until_ms: int
    is_hold: bool
    payer: Payer = NOBODY
    """Whose machine brought it, and of which lab that is: it counts to their share."""
    is_proved: bool = False
    """The putter is a machine of the owner, or showed a right; else who mended only named it."""


def renewed(
    view: WriteView,
    lease: LeaseId,
    until_ms: int,
    least_ms: Callable[[int], int],
    lab: LabId | None,
) -> bool:
    """Until then, or by our own clock as long as a lease of its class is taken for."""
    row = row_of(view, lease)
    if row is None or (lab is not None and row.lab != lab):
        return False
    until_ms = max(until_ms, least_ms(row.storage_class))
    if until_ms > row.until_ms or row.is_hold:
        until_ms = max(until_ms, row.until_ms)
        kept = msgspec.structs.replace(row, until_ms=until_ms, is_hold=False)
        view.put(LEASES, lease, encode(kept))
    return True


def held_on(view: WriteView, lease: LeaseId, until_ms: int, putter: PeerId) -> bool:
    """Prolong a hold of that machine; what has been committed needs none."""
    row = row_of(view, lease)
    if row is None or row.putter != putter:
        return False
    if row.is_hold:
        view.put(LEASES, lease, encode(msgspec.structs.replace(row, until_ms=until_ms)))
    return True


def row_of(view: ReadView, lease: LeaseId) -> LeaseRow | None:
    data = view.get(LEASES, lease)
    return None if data is None else stored(LeaseRow, data, "store.lmdb")
