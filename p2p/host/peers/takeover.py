"""A direct connection takes over from one by relay: no frame is lost, and nobody above notices.

Whoever says which connection counts says so (`Verdict.TAKE_OVER`), so that both ends do the same.
Every class goes on as its next lane, on the direct connection, once its frame has ended; a lane is
read once the one before it has been. When both have read all that was on the former connections,
one of them closes these. If any breaks before that, frames are lost, and the peer is down.
"""

from collections.abc import Callable, Mapping

from p2p.errors import AdmissionError, StreamLimitError
from p2p.host.peers.lanes import Lanes
from p2p.host.peers.peer import PeerBox, PeerConn
from p2p.ids import PeerId, TrafficClass

_REASON = "a direct connection took over"


class Takeovers:
    """Of all peers of one host."""

    def __init__(
        self,
        boxes: Mapping[PeerId, PeerBox],
        lanes: Lanes,
        lead: Callable[[PeerBox, PeerConn], None],
    ) -> None:
        """`lead` sets up the new first connection of a peer, its lanes apart."""
        self._boxes, self._lanes, self._lead = boxes, lanes, lead
        lanes.on_turned = self._turned

    def may(self, conn: PeerConn) -> bool:
        """Whether this connection can take over from the one in use."""
        box = self._boxes.get(conn.peer)
        former = None if box is None else box.conn
        if box is None or former is None or box.left or not former.is_live:
            return False
        return former.relay is not None and conn.relay is None and former.who == conn.who

    def begin(self, conn: PeerConn) -> None:
        """From now on frames to the peer leave by this one. AdmissionError when they cannot."""
        if conn.link.is_closing or not self.may(conn):
            raise AdmissionError("closed", "the connection to take over from is gone")
        box = self._boxes[conn.peer]
        former = box.conn
        assert former is not None
        box.left = tuple(old for old in (former, box.bulk, box.retired) if old is not None)
        box.conn, box.bulk, box.retired = conn, None, None
        conn.lanes.turns = former.lanes.turns
        self._lead(box, conn)
        self._move(box, conn)

    def _move(self, box: PeerBox, conn: PeerConn) -> None:
        assert box.pump is not None
        ours = self._lanes.out(conn, box.pump_now)
        try:
            for traffic_class in TrafficClass:
                ours[traffic_class].opened()
                box.pump.move(traffic_class, ours[traffic_class])
        except StreamLimitError as exc:
            conn.link.close(f"no lane can be opened: {exc}")
        else:
            box.pump_now()

    def _turned(self, conn: PeerConn) -> None:
        """Close the former connections once nothing is unread on them, at either end."""
        box = self._boxes.get(conn.peer)
        if box is None or box.conn is None or not box.left:
            return
        is_heard = box.conn.lanes.have_all_begun
        if is_heard and not any(old.lanes.unread for old in box.left):
            left, box.left = box.left, ()
            for old in left:
                old.link.close(_REASON)

    def down(self, conn: PeerConn) -> bool:
        """A connection ended: True when it was a former one, and no more is to be done about it.

        Unless the peer has closed it, which it does when it has read all, frames are lost.
        """
        box = self._boxes.get(conn.peer)
        if box is None or conn not in box.left:
            return False
        box.left = tuple(old for old in box.left if old is not conn)
        if box.conn is not None and not conn.link.was_left:
            box.conn.link.close(f"the connection it took over from ended: {conn.link.reason}")
        return True
