"""What the local API needs of the node; `swarmnode.node.Node` satisfies it."""

from typing import Protocol

from p2p.ids import PeerId
from storage.facade import Names, Objects
from swarmnode.api.schema import PeerLine, Status
from swarmnode.market.service import MarketService


class NodeFace(Protocol):
    """The node, as far as its owner may steer it through the API."""

    @property
    def objects(self) -> Objects: ...

    @property
    def names(self) -> Names: ...

    @property
    def market(self) -> MarketService: ...

    def status(self) -> Status: ...

    def not_ready(self) -> tuple[str, ...]:
        """Reasons why /readyz says no; empty when the node is ready."""
        ...

    def peer_lines(self) -> tuple[PeerLine, ...]: ...

    async def ping(self, peer: PeerId, count: int) -> tuple[float, ...]:
        """Round trips in milliseconds. Raises PeerUnreachableError, CallTimeoutError."""
        ...

    async def join_through(self, address: str) -> PeerId:
        """Raises DialError naming what failed."""
        ...
