"""What the membership core is told, asks to be reminded of and gives notice of."""

from typing import TypeAlias

import msgspec

from p2p import effects
from p2p.ids import PeerId
from p2p.membership.messages import MembershipMessage
from p2p.membership.view import MemberChanged


class MembershipBegan(msgspec.Struct, frozen=True):
    """Start probing; others may reach us at these addresses."""

    addresses: tuple[str, ...]


class Readdressed(msgspec.Struct, frozen=True):
    """Others may reach us elsewhere now."""

    addresses: tuple[str, ...]


class MembershipHeard(msgspec.Struct, frozen=True):
    """A peer sent a message."""

    peer: PeerId
    message: MembershipMessage


class Expelled(msgspec.Struct, frozen=True):
    """These machines, and no others, are out for good: removed, or come with a used invite."""

    peers: frozenset[PeerId]


class PeerUp(msgspec.Struct, frozen=True):
    """A connection to a peer stands."""

    peer: PeerId


class PeerDown(msgspec.Struct, frozen=True):
    """The connection to a peer has ended: a hint, not a death."""

    peer: PeerId


class Join(msgspec.Struct, frozen=True):
    """Exchange views with a peer."""

    peer: PeerId


class Leave(msgspec.Struct, frozen=True):
    """Say goodbye to everybody."""


class Joined(msgspec.Struct, frozen=True):
    """Notification: a peer's whole view has been taken in."""

    peer: PeerId


class FarewellHeard(msgspec.Struct, frozen=True):
    """Notification: somebody has taken note that we leave."""


class ProbeDue(msgspec.Struct, frozen=True):
    """Timer: ping the next member."""


class PingLate(msgspec.Struct, frozen=True):
    """Timer: no answer to a ping yet: ask helpers."""

    sequence: int


class ProbeOver(msgspec.Struct, frozen=True):
    """Timer: no answer by any way."""

    sequence: int


class RelayOver(msgspec.Struct, frozen=True):
    """Timer: the target did not answer us in somebody's place."""

    sequence: int


class SuspicionOver(msgspec.Struct, frozen=True):
    """Timer: a suspect had the time to object."""

    peer: PeerId
    incarnation: int


class SpreadDue(msgspec.Struct, frozen=True):
    """Timer: fresh news must go out now."""


class SyncDue(msgspec.Struct, frozen=True):
    """Timer: compare views with somebody, forget those long gone."""


class RecontactDue(msgspec.Struct, frozen=True):
    """Timer: try one of the dead."""


Told: TypeAlias = MembershipBegan | Readdressed | Expelled | PeerUp | PeerDown | Join | Leave
"""By our own side."""
Event: TypeAlias = (
    Told
    | MembershipHeard
    | ProbeDue
    | PingLate
    | ProbeOver
    | RelayOver
    | SuspicionOver
    | SpreadDue
    | SyncDue
    | RecontactDue
)
Notice: TypeAlias = MemberChanged | Joined | FarewellHeard
Effect: TypeAlias = effects.Effect[Event, Notice]
