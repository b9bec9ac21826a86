"""What every service of a node is given: its peers, its name among them, its dice and its clock."""

from collections.abc import Callable

import msgspec

from p2p.effects import Rng
from p2p.gossip.port import ItemBoard
from p2p.host.rpc.service import Rpc
from p2p.identity.proofs import Proofs
from p2p.ids import NetworkId, PeerId
from p2p.membership.port import Members
from p2p.wire.envelope import Signer


class Mesh(msgspec.Struct, frozen=True):
    """One for a node; the services above p2p take it as one argument."""

    rpc: Rpc
    members: Members
    gossip: ItemBoard
    signer: Signer
    network: NetworkId
    rng: Rng
    """Dice for timing and choices, not for keys."""
    entropy: Callable[[int], bytes]
    """So many bytes that nobody can guess: for ids and keys."""
    wall_ms: Callable[[], int]
    """Milliseconds since 1970, by this machine's clock."""
    proofs: Proofs | None = None
    """Whose machine another is, where there are certificates."""

    @property
    def me(self) -> PeerId:
        """This machine."""
        return self.rpc.peer_id
