"""What proves who a machine is to those that never met it: its token travels with its presence.

See docs/decisions/proved-presences.md for why.
"""

from typing import Protocol

from p2p.identity.caller import Caller
from p2p.ids import PeerId


class Proofs(Protocol):
    """`p2p.host.proofs.TokenProofs` on a node; simulations know who is who."""

    def token(self) -> bytes:
        """What we show; empty where it is too long to travel with a presence."""
        ...

    def me(self) -> Caller:
        """Who we are."""
        ...

    def whose(self, peer: PeerId, token: bytes) -> Caller | None:
        """Who a peer that shows this is; None when that proves nothing now.

        Without a token: who it was when it was last admitted here. Raises WireError for a token
        that never was good.
        """
        ...
