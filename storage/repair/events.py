"""What the repair core is told, and what it asks for."""

from dataclasses import dataclass
from typing import TypeAlias

from p2p.ids import PeerId
from p2p.membership.view import Liveness
from storage.ids import Address
from storage.records.holding import Rows

PageKey: TypeAlias = tuple[Address, int]
"""An object's address and the page of its manifest: what a holder record is about."""


@dataclass(frozen=True, slots=True)
class MemberIs:
    """How a member stands, since when (monotonic, on our clock)."""

    peer: PeerId
    liveness: Liveness
    since_s: float


@dataclass(frozen=True, slots=True)
class PageIs:
    """The newest holder record of a page, and how the page is coded."""

    page: PageKey
    sequence: int
    k: int
    shard_bytes: int
    rows: Rows
    is_small: bool = False
    """Of an object that is kept as whole copies wherever it is put."""


@dataclass(frozen=True, slots=True)
class PageGone:
    """The object was given up here."""

    page: PageKey


@dataclass(frozen=True, slots=True)
class HomesAre:
    """Machines that live and lend."""

    peers: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A job is over; a record that changed was told before."""

    page: PageKey
    is_done: bool


@dataclass(frozen=True, slots=True)
class LookDue:
    """Time to see what is due."""


Event: TypeAlias = MemberIs | PageIs | PageGone | HomesAre | JobEnded | LookDue


@dataclass(frozen=True, slots=True)
class Mend:
    """Make these shards of a page, worst segment first: (segment, its lost shards).

    Numbers beyond the width of the record are shards to be added.
    """

    page: PageKey
    sequence: int
    segments: tuple[tuple[int, tuple[int, ...]], ...]
