"""What the repair core is told, and what it asks for."""

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from p2p import effects
from p2p.ids import PeerId
from p2p.membership.view import Liveness
from storage.ids import Address
from storage.records.holding import Rows

PageKey: TypeAlias = tuple[Address, int]
"""An object's address and the page of its manifest: what a holder record is about."""


def objects_of(pages: Iterable[PageKey]) -> tuple[Address, ...]:
    """The objects that these are pages of, each once."""
    return tuple(dict.fromkeys(address for address, _ in pages))


class MemberIs(msgspec.Struct, frozen=True):
    """How a member stands, since when (monotonic, on our clock)."""

    peer: PeerId
    liveness: Liveness
    since_s: float


class RemovedAre(msgspec.Struct, frozen=True):
    """These machines, and no others, were removed from the network: none of them comes back."""

    peers: frozenset[PeerId]


class Remembered(msgspec.Struct, frozen=True):
    """Machines that lent when this node ended last; membership may never tell of those dead now."""

    peers: tuple[PeerId, ...]


class PageIs(msgspec.Struct, frozen=True):
    """The newest holder record of a page, and how the page is coded."""

    page: PageKey
    sequence: int
    k: int
    shard_bytes: int
    rows: Rows
    is_small: bool = False
    """Of an object that is kept as whole copies wherever it is put."""


class PageGone(msgspec.Struct, frozen=True):
    """The object was given up here."""

    page: PageKey


class HomesAre(msgspec.Struct, frozen=True):
    """Machines that live and lend."""

    peers: tuple[PeerId, ...]


class JobEnded(msgspec.Struct, frozen=True):
    """A job is over; a record that changed was told before."""

    page: PageKey
    is_done: bool


class LookDue(msgspec.Struct, frozen=True):
    """Time to see what is due."""


Event: TypeAlias = (
    MemberIs | RemovedAre | Remembered | PageIs | PageGone | HomesAre | JobEnded | LookDue
)


class Mend(msgspec.Struct, frozen=True):
    """Make these shards of a page, worst segment first: (segment, its lost shards).

    Numbers beyond the width of the record are shards to be added.
    """

    page: PageKey
    sequence: int
    segments: tuple[tuple[int, tuple[int, ...]], ...]


Effect: TypeAlias = effects.Effect[Event, Mend]
