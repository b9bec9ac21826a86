"""What the gossip core is told, and what it asks to be reminded of."""

from dataclasses import dataclass

from p2p.gossip.items import Item
from p2p.ids import PeerId
from p2p.wire.codec import Message


@dataclass(frozen=True, slots=True)
class GossipBegan:
    """Start to reconcile with others."""


@dataclass(frozen=True, slots=True)
class Publish:
    """Our own newest word of a kind."""

    kind: int
    body: bytes
    ttl_s: float


@dataclass(frozen=True, slots=True)
class GossipHeard:
    """A peer sent a message."""

    peer: PeerId
    message: Message


@dataclass(frozen=True, slots=True)
class MemberUp:
    """A member is new, or back from the dead."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Accepted:
    """Notification: a new item, ours or another's."""

    item: Item


@dataclass(frozen=True, slots=True)
class ReconcileDue:
    """Timer: compare digests with somebody, drop what is over."""
