"""What gossip carries: small signed facts a machine states about itself, each with an end."""

from typing import Final

import msgspec

from p2p.ids import PeerId

RESOURCES: Final = 1
"""Kind: what a machine lends to tasks (swarmnode.resources.advert)."""

STORAGE: Final = 2
"""Kind: what a machine keeps for others (storage.placement.advert)."""


class Item(msgspec.Struct, frozen=True):
    """The newest word of one machine of one kind; verified, and live when it was handed out."""

    origin: PeerId
    kind: int
    sequence: int
    """Grows with every word of this origin and kind, across restarts too."""
    expires_ms: int
    """Wall clock, milliseconds since 1970."""
    body: bytes
