"""One lease as it is kept: whose, since whose word, until when."""

from p2p.ids import LabId, MemberId, PeerId
from p2p.wire.codec import Record
from storage.transfer.shares import NOBODY, Payer


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
