"""The boxes of all peers, and what was sent to all of them."""

from p2p.host.peers.peer import PeerBox, PeerConn
from p2p.ids import PeerId, TrafficClass
from p2p.qos.scheduler import ClassStats, Scheduler, SchedulerConfig


class Boxes(dict[PeerId, PeerBox]):
    """By peer."""

    def __init__(self, config: SchedulerConfig, peers_max: int) -> None:
        super().__init__()
        self._config, self._peers_max = config, peers_max
        self._gone = (ClassStats(),) * len(TrafficClass)
        """Per class: what happened in boxes that are closed by now."""

    def of(self, peer: PeerId) -> PeerBox:
        """A peer's box, made if need be."""
        box = self.get(peer)
        if box is None:
            box = self[peer] = PeerBox(peer, Scheduler(self._config))
        return box

    def close(self, peer: PeerId) -> None:
        """The peer is gone: what waits in its box is lost, who waits is told."""
        box = self.pop(peer)
        box.close()
        self._gone = _added(self._gone, box.scheduler.stats())

    def close_if_down(self, peer: PeerId) -> None:
        """The same, if nothing connects us to the peer."""
        box = self.get(peer)
        if box is not None and box.conn is None:
            self.close(peer)

    def live_conn(self, peer: PeerId) -> PeerConn | None:
        """The peer's first connection, when it is in use and not closing."""
        box = self.get(peer)
        return box.conn if box is not None and box.conn is not None and box.conn.is_live else None

    def connected(self) -> tuple[PeerId, ...]:
        """Peers that are up, sorted."""
        return tuple(sorted(peer for peer, box in self.items() if box.conn is not None))

    def has_place(self, peer: PeerId) -> bool:
        """Whether that peer may be one of so many: its own connection, even a closing one, gives
        way to its next, so that only the others count."""
        if len(self) < self._peers_max:
            return True
        others = sum(box.conn is not None for other, box in self.items() if other != peer)
        return others < self._peers_max

    def stats(self) -> tuple[ClassStats, ...]:
        """Per class: what waits now, and what happened since the start."""
        total = self._gone
        for box in self.values():
            total = _added(total, box.scheduler.stats())
        return total


def _added(some: tuple[ClassStats, ...], more: tuple[ClassStats, ...]) -> tuple[ClassStats, ...]:
    return tuple(stats + other for stats, other in zip(some, more, strict=True))
