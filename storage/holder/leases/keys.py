"""Under which key a lease is kept: its id alone does not say whose it is.

Holders are told the ids of what they hold, so anybody may bring something under any of them, and be
first. So what several people bring under one id, or for several objects, is kept apart:

    lease                              as it was kept before; goes on for whom it was taken
    lease + tag(owner, lab)            brought by a machine of the owner, or with a right
    lease + tag(owner, lab, address)   brought by whoever mends that object
    lease + tag(owner, lab, UNSAID)    by one that does not say which object it mends (before)

A message names an id; it reaches those of its rows that its sender has a say in.
"""

from typing import Final

from blake3 import blake3

from p2p.errors import RefusalError
from p2p.identity.caller import Caller
from p2p.ids import LabId, PersonId
from storage.coding.merkle import HASH_BYTES
from storage.engine.port import ReadView
from storage.holder.leases.row import LEASES, LeaseRow, read_row, row_of
from storage.holder.leases.shares import LeasePayer
from storage.ids import Address, LeaseId, LeaseKey
from storage.limits import LEASE_ID_BYTES, LEASE_TAG_BYTES, ROWS_OF_ONE_LEASE_MAX
from storage.messages import LeaseTerms

LEASE_MANIFESTS: Final = "lease_manifests"
"""key + part -> address of the object"""

UNSAID: Final = Address(b"?")
_OWNERS: Final = Address(b"")


def lease_of(key: bytes) -> LeaseId:
    """The id in a key."""
    return LeaseId(key[:LEASE_ID_BYTES])


def key_of(lease: LeaseId, owner: PersonId, lab: LabId, address: Address = _OWNERS) -> LeaseKey:
    """The key of what is kept for that owner; with `address` of what others brought of it."""
    whose = f"{len(owner)} {len(lab)} {owner}{lab}".encode()
    return LeaseKey(lease + blake3(whose + address).digest(LEASE_TAG_BYTES))


def key_for(
    view: ReadView, terms: LeaseTerms, address: Address | None, *, is_proved: bool
) -> LeaseKey:
    """Where something is kept that comes under these terms, of that object if it is said."""
    lease, owner, lab = terms.lease, terms.owner, terms.lab
    before = LeaseKey(lease)
    row = row_of(view, before)
    is_whose = row is not None and (row.owner, row.lab) == (owner, lab)
    if is_whose and (address is None or bound_to(view, before) in (None, address)):
        return before
    owners = key_of(lease, owner, lab)
    if is_proved:
        return owners
    bound = bound_to(view, owners)
    if bound is not None and address in (None, bound):
        return owners  # a late shard of it, or a repair
    unsaid = key_of(lease, owner, lab, UNSAID)
    if address is None:
        return unsaid
    named = key_of(lease, owner, lab, address)
    has_shards = row_of(view, unsaid) is not None and row_of(view, named) is None
    return unsaid if has_shards and bound_to(view, unsaid) in (None, address) else named


def rows_of(view: ReadView, lease: bytes) -> list[tuple[LeaseKey, LeaseRow]]:
    """All that is kept under an id, or under one key."""
    kept = pairs(view, LEASES, lease)
    return [(LeaseKey(key), read_row(data)) for key, data in kept]


def keys_of(view: ReadView, lease: LeaseId, address: Address) -> list[LeaseKey]:
    """All of one object that is kept under an id."""
    return [
        key
        for key, row in rows_of(view, lease)
        if key == key_of(lease, row.owner, row.lab, address) or bound_to(view, key) == address
    ]


def bound_to(view: ReadView, key: LeaseKey) -> Address | None:
    """The object whose manifest, or a page of it, was the first to be kept under a key."""
    parts = exactly(view, LEASE_MANIFESTS, key)
    return Address(parts[0][1]) if parts else None


def payer_of(putter: Caller, terms: LeaseTerms) -> LeasePayer:
    """Whoever proved to put for somebody else puts on their account."""
    if terms.right is not None:
        return LeasePayer(terms.owner, terms.lab)
    return LeasePayer(putter.person, putter.lab)


def check_rows(view: ReadView, lease: LeaseId, payer: LeasePayer) -> None:
    """Raise RefusalError unless that person may have one row more under one id."""
    theirs = sum(row.payer.person == payer.person for _, row in rows_of(view, lease))
    if theirs >= ROWS_OF_ONE_LEASE_MAX:
        raise RefusalError("full", f"one person may use an id {ROWS_OF_ONE_LEASE_MAX} times here")


def exactly(view: ReadView, table: str, key: LeaseKey) -> list[tuple[bytes, bytes]]:
    """Pairs of a table whose keys are that of a lease and a hash: none of a longer key."""
    length = len(key) + HASH_BYTES
    return [pair for pair in pairs(view, table, key) if len(pair[0]) == length]


def pairs(view: ReadView, table: str, prefix: bytes) -> list[tuple[bytes, bytes]]:
    """All pairs of a table whose keys begin so."""
    entries: list[tuple[bytes, bytes]] = []
    while more := view.scan(table, prefix, after=entries[-1][0] if entries else None):
        entries += more
    return entries
