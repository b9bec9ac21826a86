"""What storage is given by the rest of the node, as far as it uses it."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from p2p.gossip.items import Item
from p2p.ids import PeerId
from p2p.membership.view import MemberChanged, View

ResultT = TypeVar("ResultT")


class Workers(Protocol):
    """Where CPU-bound stretches run: threads on a node, inline in a simulation."""

    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Run `work` off the event loop; its result or error is the caller's."""
        ...


class Members(Protocol):
    """`p2p.membership.service.MembershipService` satisfies this."""

    def view(self) -> View: ...

    def on_change(self, listener: Callable[[MemberChanged], None]) -> None: ...


class Gossip(Protocol):
    """`p2p.gossip.service.GossipService` satisfies this."""

    def publish(self, kind: int, body: bytes, *, ttl_s: float) -> None: ...

    def items(self, kind: int) -> Mapping[PeerId, Item]: ...

    def on_item(self, kind: int, listener: Callable[[Item], None]) -> None: ...
