"""What the gossip core is told, asks to be reminded of and gives notice of."""

from typing import TypeAlias

import msgspec

from p2p import effects
from p2p.gossip.items import Item
from p2p.gossip.messages import GossipMessage
from p2p.ids import PeerId


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
    message: GossipMessage


class MemberUp(msgspec.Struct, frozen=True):
    """A member is new, or back from the dead."""

    peer: PeerId


class Accepted(msgspec.Struct, frozen=True):
    """Notification: a new item, ours or another's."""

    item: Item


class ReconcileDue(msgspec.Struct, frozen=True):
    """Timer: compare digests with somebody, drop what is over."""


Event: TypeAlias = GossipBegan | Publish | GossipHeard | MemberUp | ReconcileDue
Effect: TypeAlias = effects.Effect[Event, Accepted]
