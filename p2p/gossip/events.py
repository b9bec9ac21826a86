"""What the gossip core is told, and what it asks to be reminded of."""

import msgspec

from p2p.gossip.items import Item
from p2p.ids import PeerId
from p2p.wire.codec import Message


class GossipBegan(msgspec.Struct, frozen=True):
    """Start to reconcile with others."""


class Publish(msgspec.Struct, frozen=True):
    """Our own newest word of a kind."""

    kind: int
    body: bytes
    ttl_s: float


class GossipHeard(msgspec.Struct, frozen=True):
    """A peer sent a message."""

    peer: PeerId
    message: Message


class MemberUp(msgspec.Struct, frozen=True):
    """A member is new, or back from the dead."""

    peer: PeerId


class Accepted(msgspec.Struct, frozen=True):
    """Notification: a new item, ours or another's."""

    item: Item


class ReconcileDue(msgspec.Struct, frozen=True):
    """Timer: compare digests with somebody, drop what is over."""
