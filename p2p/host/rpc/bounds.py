"""What all peers together, and each by itself, may have this node hold for calls.

Whoever has it hold the most makes room for others. Calls of this node to itself are counted as any
peer's; their bodies are not.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from p2p.ids import PeerId, TrafficClass
from p2p.limits import BODIES_BYTES_MAX, CALLS_INBOUND_MAX


class RpcConfig(msgspec.Struct, frozen=True):
    """Bounds of one node's calls."""

    calls_inbound_max: int = CALLS_INBOUND_MAX
    bodies_bytes_max: int = BODIES_BYTES_MAX


class Burden(Protocol):
    """What one channel has us hold."""

    @property
    def calls(self) -> int:
        """Of theirs, that have not ended."""

    @property
    def body_bytes(self) -> int:
        """Of bodies that the peer may have us hold now: its questions', and our answers'."""


class CallBounds:
    """Says whether one more call, or one more body, is let in."""

    def __init__(self, own: PeerId, config: RpcConfig) -> None:
        self._own = own
        self._config = config
        self._burdens: dict[PeerId, dict[TrafficClass, Burden]] = {}
        """Of all channels that are open, by peer and class."""

    def opened(self, peer: PeerId, traffic_class: TrafficClass, burden: Burden) -> None:
        """Count what a new channel holds, too."""
        self._burdens.setdefault(peer, {})[traffic_class] = burden

    def closed(self, peer: PeerId, traffic_class: TrafficClass) -> None:
        """That channel holds nothing any more."""
        of_peer = self._burdens[peer]
        del of_peer[traffic_class]
        if not of_peer:
            del self._burdens[peer]

    def has_place_for(self, peer: PeerId) -> bool:
        """Whether that peer may have one more call open."""
        open_now = sum(burden.calls for burden in self._of(peer))
        return open_now < self._config.calls_inbound_max

    def has_memory_for(self, peer: PeerId, size: int) -> bool:
        """Whether a body may be kept for a peer, if there is nobody who holds more."""
        if not size or peer == self._own:
            return True
        return sum(self._held().values()) + size <= self._config.bodies_bytes_max

    def greedier_than(self, peer: PeerId, size: int) -> PeerId | None:
        """Who has more held than a peer would with a body of that size: it makes room."""
        held = self._held()
        greediest = max(held, key=lambda other: held[other])
        return greediest if held.get(peer, 0) + size < held[greediest] else None

    def _held(self) -> Mapping[PeerId, int]:
        return {
            peer: sum(burden.body_bytes for burden in self._of(peer))
            for peer in self._burdens
            if peer != self._own
        }

    def _of(self, peer: PeerId) -> Iterable[Burden]:
        return self._burdens.get(peer, {}).values()
