"""What proves who a machine is to those that never met it: its token travels along.

With its presence (docs/decisions/proved-presences.md says why), with rights that it gives, and with
word of what it gave up: one fact, one check.
"""

from typing import Protocol

from p2p.errors import WireError
from p2p.identity.caller import Caller
from p2p.ids import LabId, PeerId, PersonId
from p2p.limits import PRESENCE_TOKEN_BYTES_MAX


class Proofs(Protocol):
    """`p2p.host.admission.proofs.TokenProofs` on a node; simulations know who is who."""

    def token(self) -> bytes:
        """Our certificates, whole."""
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


def token_for_presence(proofs: Proofs | None) -> bytes:
    """What travels with a presence: nothing where it is too long, or nobody has certificates."""
    token = b"" if proofs is None else proofs.token()
    return token if len(token) <= PRESENCE_TOKEN_BYTES_MAX else b""


def owner_of(proofs: Proofs | None, peer: PeerId, token: bytes) -> tuple[PersonId, LabId] | None:
    """Whose machine a token proves a peer to be, connected or not; None: it proves nothing."""
    if proofs is None or not token:
        return None
    try:
        who = proofs.whose(peer, token)
    except WireError:
        return None
    return None if who is None else (who.person, who.lab)
