"""Wire messages of gossip: numbers 40-49, all of them casts in class CONTROL.

An item is signed by its origin under a domain that names its kind, so that a duplicate or an old
word is recognised from the envelope, before the signature is checked or the payload decoded.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

from p2p.limits import GOSSIP_KINDS_MAX
from p2p.wire.codec import Message, Record
from p2p.wire.envelope import Signed

_DOMAIN = "swarm/gossip/"

DOMAINS: Final[Mapping[int, str]] = {
    kind: f"{_DOMAIN}{kind}" for kind in range(1, GOSSIP_KINDS_MAX + 1)
}
"""What an item of each kind is signed for."""

KINDS: Final[Mapping[str, int]] = {domain: kind for kind, domain in DOMAINS.items()}


class ItemFact(Record, frozen=True):
    """The signed part. The envelope's `sequence` grows with every word of an origin and kind."""

    ttl_ms: int
    body: bytes


class Carried(Record, frozen=True):
    """An item on its way, with the life its carrier knows to be left of it."""

    left_ms: int
    sealed: Signed


class Push(Message, frozen=True, tag=40):
    """Items for the receiver, who passes on what is new to it while `hops` are left."""

    hops: int
    items: tuple[Carried, ...]


class Digest(Message, frozen=True, tag=41):
    """All live items of the sender whose keys lie in low..high; answered by Push and Want."""

    low: int
    high: int
    entries: bytes
    """For each item its key and sequence, 8 bytes each, big-endian."""


class Want(Message, frozen=True, tag=42):
    """Please send the items with these keys: 8 bytes each, big-endian."""

    keys: bytes


GossipMessage: TypeAlias = Push | Digest | Want
"""Everything that members say to each other about items."""
