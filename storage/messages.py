"""Wire messages of objects: numbers 60-84, all of them calls. Mutable names have 85-99.

Shard and manifest bytes travel as bodies. Every store is durable before its reply leaves.
"""

from typing import Final

from p2p.ids import LabId, PeerId, PersonId
from p2p.wire.codec import Message, Record
from p2p.wire.envelope import Signed
from storage.ids import Address, LeaseId, ShardRoot
from storage.rights import Right

RECEIPT_DOMAIN: Final = "swarm/shard-receipt"
DROP_DOMAIN: Final = "swarm/lease/drop"
REMOVED: Final = "removed"
"""Refusal: what was asked for was here once, and was removed."""


class LeaseTerms(Record, frozen=True):
    """Under which lease something is kept: for whom, how and until when."""

    lease: LeaseId
    owner: PersonId
    lab: LabId
    storage_class: int
    until_ms: int
    """Wall clock. A hold is short and ends by itself unless its manifest comes."""
    is_hold: bool
    """True while the object's manifest is not committed."""
    right: Right | None = None
    """Why the putter may put for `owner`, when it is not a machine of theirs."""
    putter: PeerId = PeerId("")
    """From who mends: the machine that put the object."""
    address: Address = Address(b"")
    """From who mends: the object. What is brought of different ones is never mixed up."""


class ShardReceiptTerms(Record, frozen=True):
    """Signed by a holder once a shard is on its disk; the envelope names the holder."""

    root: ShardRoot
    length: int
    lease: LeaseId
    until_ms: int


class PutShard(Message, frozen=True, tag=60):
    """Keep the body. Refusals: not-lending, full, corrupt, busy."""

    root: ShardRoot
    length: int
    terms: LeaseTerms


class ShardStored(Message, frozen=True, tag=61):
    """It is durable; `receipt` holds sealed ShardReceiptTerms."""

    receipt: Signed


class GetShard(Message, frozen=True, tag=62):
    """Send the whole shard, or with `leaves` > 0 so many leaves from `first_leaf` on.

    Refusals: missing, range.
    """

    root: ShardRoot
    first_leaf: int = 0
    leaves: int = 0


class ShardBytes(Message, frozen=True, tag=63):
    """The body is the shard, or the leaves asked for, each with its Merkle path."""

    length: int
    """Of the whole shard."""
    paths: tuple[bytes, ...] = ()
    """Per leaf: its sibling hashes from the leaf up, one after another."""


class PutManifest(Message, frozen=True, tag=64):
    """Keep the body: the manifest when `part` is `address`, else one of its pages.

    In the same transaction the holder records are kept and every lease of the same id here takes
    the terms given. Refusals: not-lending, full, corrupt.
    """

    address: Address
    part: Address
    terms: LeaseTerms
    holders: tuple[Signed, ...] = ()


class ManifestStored(Message, frozen=True, tag=65):
    """It is durable."""


class GetManifest(Message, frozen=True, tag=66):
    """Send a manifest or page. Refusals: missing, removed (and by whom, as it was told)."""

    part: Address


class ManifestBytes(Message, frozen=True, tag=67):
    """The body is what was asked for; `holders` is the record of page 0 where it is known."""

    holders: tuple[Signed, ...] = ()


class PutHolders(Message, frozen=True, tag=68):
    """Keep a newer holder record. Refusals: corrupt, not-lending."""

    record: Signed


class HoldersStored(Message, frozen=True, tag=69):
    """The newest record known here now, the one just sent or a newer one; it is durable."""

    record: Signed


class GetHolders(Message, frozen=True, tag=70):
    """Send the newest holder record of a page of an object."""

    address: Address
    page: int


class HoldersFound(Message, frozen=True, tag=71):
    """One record, or none."""

    records: tuple[Signed, ...]


class HaveShards(Message, frozen=True, tag=72):
    """Which of these are on your disk? Roots of 32 bytes, one after another."""

    roots: bytes


class ShardsHeld(Message, frozen=True, tag=73):
    """One byte per root: 1 when it is here."""

    held: bytes


class DropOrder(Record, frozen=True):
    """Give up this lease: signed by its owner's key, or by the key of its lab."""

    lease: LeaseId


class DropLease(Message, frozen=True, tag=74):
    """Give up a lease: what no other lease keeps is freed. Refusal: not-yours.

    From a machine of the lease's owner, or from anybody with an order.
    """

    lease: LeaseId
    order: Signed | None = None
    """A sealed DropOrder that has not expired."""
    tombstone: Signed | None = None
    """When a holder could not be reached: keep it, and tell it to who asks."""


class LeaseDropped(Message, frozen=True, tag=75):
    """Bytes that were freed."""

    freed_bytes: int


class RenewLeases(Message, frozen=True, tag=76):
    """Keep these leases (16 bytes each, one after another) until then; they are no holds."""

    leases: bytes
    until_ms: int


class AskDropped(Message, frozen=True, tag=78):
    """Which of these leases (16 bytes each, one after another) do you know to be given up?"""

    leases: bytes


class LeasesDropped(Message, frozen=True, tag=79):
    """The signed tombstones of those that were, as many as fit."""

    tombstones: tuple[Signed, ...]


class LeasesRenewed(Message, frozen=True, tag=77):
    """One byte per lease: 1 when it is known here and yours."""

    known: bytes


class AskClock(Message, frozen=True, tag=80):
    """What time is it with you? Answered by ClockIs."""


class ClockIs(Message, frozen=True, tag=81):
    """The wall clock of the sender, milliseconds since 1970."""

    wall_ms: int


class HoldLeases(Message, frozen=True, tag=82):
    """A put goes on: keep these holds (16 bytes each) a while longer. Answered by LeasesRenewed."""

    leases: bytes
