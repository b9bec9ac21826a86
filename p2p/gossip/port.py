"""What the rest of the node asks of gossip; `GossipService` has it, and fakes of tests."""

from collections.abc import Callable, Mapping
from typing import Protocol

from p2p.gossip.items import Item
from p2p.ids import PeerId


class ItemSink(Protocol):
    """Where a machine tells everybody something of itself."""

    def publish(self, kind: int, body: bytes, *, ttl_s: float) -> None:
        """Replace what we told of that kind before."""
        ...


class ItemSource(Protocol):
    """What others have told of themselves."""

    def items(self, kind: int) -> Mapping[PeerId, Item]:
        """The newest of each machine."""
        ...

    def on_item(self, kind: int, listener: Callable[[Item], None]) -> None:
        """Be told of each newer one; must not block."""
        ...


class ItemBoard(ItemSource, ItemSink, Protocol):
    """Both."""
