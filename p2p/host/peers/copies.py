"""Keys that dial in anew while their connection lives: two machines run with one of them.

A process never dials a peer that it is connected to. Two processes may dial each other at once,
which settles within a round trip; so a connection that has been in use for long and still answers
is somebody else's.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
import trio

from p2p.errors import DialError
from p2p.host.peers.peer import PeerBox, PeerConn
from p2p.ids import PeerId

SETTLED_S: Final = 10.0
"""Dials at once have settled by then: a dial takes no longer."""

NAMED_S: Final = 120.0
"""How long they are named: a dial that failed is tried again within a minute."""

SELF_SETTLES_S: Final = 3.0
"""How long whoever is told that its peer has another connection with it waits to see that one."""

IS_COPY: Final = (
    "it is connected to another machine with this machine's key: a copied home runs twice; stop "
    "one of them, and let the copy join anew from an empty SWARM_HOME"
)


class ClonedKeys(msgspec.Struct):
    """Those that were noticed, our own among them."""

    me: PeerId
    _seen: dict[PeerId, tuple[float, tuple[str, ...]]] = msgspec.field(default_factory=dict)
    """When that was last, and the hosts of the two as far as known; forgotten after NAMED_S."""

    def refused(self, conn: PeerConn, other: PeerConn) -> None:
        """`conn` was dialled to us, and gives way to `other`, which is in use and answers."""
        now_s = trio.current_time()
        if now_s - other.joined_s < SETTLED_S:
            return
        hosts = {
            where[0] for rival in (conn, other) if (where := rival.carrier.get_remote_address())
        }
        self._seen[conn.peer] = (now_s, tuple(sorted(hosts)))

    async def settled(self, box: PeerBox, address: str) -> None:
        """The peer says that another connection is in use: return once we hear so there, too.

        Raises DialError when there is none: then it is another machine's. That is remembered,
        whatever becomes of the dial: it may have been one that nobody asks about.
        """
        with trio.move_on_after(SELF_SETTLES_S):
            while box.conn is None:
                await box.changed.park()
        if box.conn is None:
            self._seen[self.me] = (trio.current_time(), ())
            raise DialError(address, "peer", IS_COPY)

    def now(self) -> Mapping[PeerId, tuple[str, ...]]:
        """Keys that two machines have, and the hosts they call from where those are known."""
        latest_s = trio.current_time() - NAMED_S
        self._seen = {peer: seen for peer, seen in self._seen.items() if seen[0] >= latest_s}
        return {peer: self._seen[peer][1] for peer in sorted(self._seen)}
