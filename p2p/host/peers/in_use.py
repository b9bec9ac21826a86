"""Connections that count: each from its admission on, until it ends or another takes its place.

    Joining -> use: the peer is up, frames flow | for bulk, beside its first one -> down

What the host tells whoever listens (`FrameSink`) of peers that come and go, it tells here.
"""

import math
from collections.abc import Callable

import trio

from p2p.host.peers.address_book import AddressBook
from p2p.host.peers.bulk import BulkLinks, Connect
from p2p.host.peers.config import HostConfig
from p2p.host.peers.lanes import Lanes
from p2p.host.peers.outboxes import Boxes
from p2p.host.peers.peer import PeerBox, PeerConn
from p2p.host.peers.takeover import Takeovers
from p2p.ids import PeerId
from p2p.qos.pump import Pump


def _nothing() -> None:
    """Nobody wants a second connection."""


class InUse:
    """Those of one host, to all its peers."""

    def __init__(
        self,
        boxes: Boxes,
        lanes: Lanes,
        book: AddressBook,
        connect_bulk: Connect,
        on_first: Callable[[PeerConn], None],
        config: HostConfig,
    ) -> None:
        """`connect_bulk`: see BulkLinks. `on_first` is told of each that is a peer's first now."""
        self._boxes, self._lanes, self._book = boxes, lanes, book
        self.bulk = BulkLinks(boxes, lanes, connect_bulk, config.bulk)
        """The second ones."""
        self.takeovers = Takeovers(boxes, lanes, self._lead_to)
        """Direct ones where one by relay was."""
        self._on_first = on_first
        self._unread_bytes_max = config.link.yamux.unread_bytes_max

    def use(self, conn: PeerConn) -> None:
        """The connection is admitted and counts: tell everybody, and let frames flow."""
        if conn.is_bulk:
            self.bulk.use(conn)
            return
        self._end_former(conn.peer)
        box = self._boxes.of(conn.peer)
        box.conn = conn
        box.pump = Pump(box.scheduler, self._lanes.out(conn, box.pump_now), box.wake_all)
        assert self._lanes.sink is not None
        self._lanes.sink.on_up(conn.who)
        self._lead_to(box, conn)
        box.wake_all()
        box.pump_now()

    def down(self, conn: PeerConn) -> None:
        """It has ended, in use or not; may be said again."""
        if conn.is_bulk:
            self.bulk.down(conn)
        if self.takeovers.down(conn) or conn.is_bulk:
            return
        box = self._boxes.get(conn.peer)
        if box is None or box.conn is not conn:
            return
        conn.link.out.fill_by(None)
        for beside in (box.bulk, box.retired, *box.left):
            if beside is not None:
                beside.link.close(f"the connection beside it ended: {conn.link.reason}")
        self._boxes.close(conn.peer)
        assert self._lanes.sink is not None
        self._lanes.sink.on_down(conn.peer, conn.link.reason)

    def _end_former(self, peer: PeerId) -> None:
        box = self._boxes.get(peer)
        if box is not None and box.conn is not None:
            box.conn.link.close("a newer connection to this peer replaces it")
            self.down(box.conn)

    def _lead_to(self, box: PeerBox, conn: PeerConn) -> None:
        """This connection is a peer's first: much may come by it, and it is looked after."""
        self._book.reached(conn.peer)
        conn.link.out.fill_by(box.pump_now)
        conn.link.core.windows.unread_bytes_max = self._unread_bytes_max
        conn.joined.set()
        conn.joined_s = trio.current_time()
        box.want_bulk, box.bulk_bytes_quiet = _nothing, math.inf
        self.bulk.watch(box, conn)
        self._on_first(conn)
