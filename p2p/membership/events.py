"""What the membership core is told, and what it asks to be reminded of."""

from dataclasses import dataclass

from p2p.ids import PeerId
from p2p.wire.codec import Message


@dataclass(frozen=True, slots=True)
class MembershipBegan:
    """Start probing; others may reach us at these addresses."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Readdressed:
    """Others may reach us elsewhere now."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MembershipHeard:
    """A peer sent a message."""

    peer: PeerId
    message: Message


@dataclass(frozen=True, slots=True)
class Expelled:
    """These machines, and no others, are out for good: removed, or come with a used invite."""

    peers: frozenset[PeerId]


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A connection to a peer stands."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class PeerDown:
    """The connection to a peer has ended: a hint, not a death."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Join:
    """Exchange views with a peer."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Leave:
    """Say goodbye to everybody."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Notification: a peer's whole view has been taken in."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class FarewellHeard:
    """Notification: somebody has taken note that we leave."""


@dataclass(frozen=True, slots=True)
class ProbeDue:
    """Timer: ping the next member."""


@dataclass(frozen=True, slots=True)
class PingLate:
    """Timer: no answer to a ping yet: ask helpers."""

    sequence: int


@dataclass(frozen=True, slots=True)
class ProbeOver:
    """Timer: no answer by any way."""

    sequence: int


@dataclass(frozen=True, slots=True)
class RelayOver:
    """Timer: the target did not answer us in somebody's place."""

    sequence: int


@dataclass(frozen=True, slots=True)
class SuspicionOver:
    """Timer: a suspect had the time to object."""

    peer: PeerId
    incarnation: int


@dataclass(frozen=True, slots=True)
class SpreadDue:
    """Timer: fresh news must go out now."""


@dataclass(frozen=True, slots=True)
class SyncDue:
    """Timer: compare views with somebody, forget those long gone."""


@dataclass(frozen=True, slots=True)
class RecontactDue:
    """Timer: try one of the dead."""
