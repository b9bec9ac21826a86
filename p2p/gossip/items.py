"""What gossip carries: small signed facts a machine states about itself, each with an end."""

from dataclasses import dataclass
from typing import Final

from p2p.ids import PeerId

RESOURCES: Final = 1
"""Kind: what a machine lends to tasks (swarmnode.resources.advert)."""

STORAGE: Final = 2
"""Kind: what a machine keeps for others (storage.placement.advert)."""


@dataclass(frozen=True, slots=True)
class Item:
    """The newest word of one machine of one kind; verified, and live when it was handed out."""

    origin: PeerId
    kind: int
    sequence: int
    """Grows with every word of this origin and kind, across restarts too."""
    expires_ms: int
    """Wall clock, milliseconds since 1970."""
    body: bytes
