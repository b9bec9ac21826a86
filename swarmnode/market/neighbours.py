"""What the buyer needs of membership and gossip."""

from collections.abc import Callable, Mapping
from typing import Protocol

from p2p.gossip.items import Item
from p2p.ids import PeerId
from p2p.membership.view import MemberChanged, View


class Members(Protocol):
    """The part of the membership service that the market needs."""

    def view(self) -> View: ...

    def on_change(self, listener: Callable[[MemberChanged], None]) -> None: ...


class Adverts(Protocol):
    """The part of the gossip service that the market needs."""

    def items(self, kind: int) -> Mapping[PeerId, Item]: ...

    def on_item(self, kind: int, listener: Callable[[Item], None]) -> None: ...
