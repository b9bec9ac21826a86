"""One peer: the frames that wait for it, and the connection that carries them.

A box exists from the first cast or connection until the last connection is gone; it holds a
scheduler whether or not there is a connection yet. A conn is one connection on its way from
admission to use: both sides admit, then the side with the higher peer id says which connection
counts (`Verdict`), so that simultaneous dials settle on one before any frame is sent.
"""

import math
from collections.abc import Callable
from enum import IntEnum
from typing import Final, Protocol

import msgspec
import trio
from trio.socket import SocketType

from p2p.errors import CAUSE_FULL, AdmissionError, DialError
from p2p.host.peers.knock import Knock
from p2p.identity.caller import Caller
from p2p.ids import BULK, PeerId, TrafficClass
from p2p.link.connection import Connection
from p2p.link.stream import LinkStream
from p2p.qos.pump import Pump
from p2p.qos.scheduler import Scheduler

_CAUSES: Final = {
    "clock": "clock",
    "closed": "peer",
    "full": "peer",
    "busy": "peer",
    "version": "peer",
}
"""What the peer's refusal, or ours, is to be blamed on, when that is not our token."""


class NoPlaceError(AdmissionError):
    """It is we who keep no more connections: nothing is wrong with the peer."""

    def __init__(self) -> None:
        super().__init__("full", "this machine has as many connections as it can keep")


class Verdict(IntEnum):
    """What the side with the higher peer id says about an admitted connection; one byte."""

    USE = 1
    DUPLICATE = 2
    FULL = 3
    TAKE_OVER = 4
    """Like USE, and what was on the relayed one goes on here (`takeover`)."""


class LaneTurns(msgspec.Struct, eq=False):
    """The lanes of one peer, numbered per class: each is read to its end before the next.

    A class that moves to another connection goes on there as the next lane of the class.
    """

    opened: list[int] = msgspec.field(default_factory=lambda: [0] * len(TrafficClass))
    """Lanes we opened."""
    begun: list[int] = msgspec.field(default_factory=lambda: [0] * len(TrafficClass))
    ended: list[int] = msgspec.field(default_factory=lambda: [0] * len(TrafficClass))
    """Lanes of the peer's that we began to read, and that have ended."""
    changed: trio.lowlevel.ParkingLot = msgspec.field(default_factory=trio.lowlevel.ParkingLot)
    """Parked here: whoever waits for the turn of a lane."""
    bulk_heard: int = 0
    """Bytes of bulk that came."""


class ConnLanes(msgspec.Struct, eq=False):
    """The lanes on one connection: how far both sides have read them."""

    turns: LaneTurns = msgspec.field(default_factory=LaneTurns)
    """Shared by the connections of one peer."""
    ended: int = 0
    """Lanes of the peer's that were read to their end."""
    begun: frozenset[TrafficClass] = frozenset()
    """Classes of which the peer has a lane here, with all that went before it read."""
    unread: int = 0
    """Lanes of ours that the peer has not read to their end."""

    @property
    def have_all_begun(self) -> bool:
        """All that the peer sent on connections before this one was read."""
        return len(self.begun) == len(TrafficClass)

    @property
    def has_bulk_ended(self) -> bool:
        """The peer has ended all of a second connection."""
        return self.ended >= len(BULK)


class Carrier(Protocol):
    """A connection as the host made it, which may carry a library's streams beside ours."""

    @property
    def link(self) -> Connection: ...

    @property
    def is_initiator(self) -> bool: ...

    @property
    def socket(self) -> SocketType | None: ...

    def get_remote_address(self) -> tuple[str, int] | None: ...

    async def start(self) -> None: ...


class PeerConn(msgspec.Struct, eq=False):
    """One connection to a peer, from handshake to goodbye."""

    carrier: Carrier
    peer: PeerId
    address: str
    """As it was dialled; of an inbound one only words."""
    relay: PeerId | None = None
    """The member that carries it; None of a direct one (`p2p.host.relay`)."""
    knock: Knock = msgspec.field(default_factory=Knock)
    """How the peer asks to be let in."""
    joined: trio.Event = msgspec.field(default_factory=trio.Event)
    """Set when the connection is in use."""
    joined_s: float = 0.0
    """When that was."""
    decided: trio.Event = msgspec.field(default_factory=trio.Event)
    """Set when it is in use, or never will be."""
    caller: Caller | None = None
    """Who the peer proved to be; None before it is admitted."""
    refusal: AdmissionError | None = None
    is_duplicate: bool = False
    """One of the two has said that another connection counts."""
    main: "PeerConn | None" = None
    """The connection beside which this one carries bulk; None for a peer's first."""
    is_bulk: bool = False
    """Meant for bulk only, beside a first connection."""
    lanes: ConnLanes = msgspec.field(default_factory=ConnLanes)
    """Those on it."""

    @property
    def link(self) -> Connection:
        """The connection itself."""
        return self.carrier.link

    @property
    def who(self) -> Caller:
        """Who the peer proved to be; only of a connection that was admitted."""
        assert self.caller is not None, "used before it was admitted"
        return self.caller

    @property
    def is_live(self) -> bool:
        """True while it is in use and not closing."""
        return self.joined.is_set() and not self.link.is_closing

    @property
    def socket(self) -> SocketType | None:
        """Under it all; None of a connection by relay."""
        return self.carrier.socket

    def refuse(self, refusal: AdmissionError) -> None:
        """Remember why this connection is not used, and close it."""
        self.refusal = refusal
        self.link.close(str(refusal))

    def offer_admission(self, stream: LinkStream) -> None:
        """The peer asks to be admitted."""
        self.knock.offer(stream)

    def offer_bulk(self, stream: LinkStream) -> None:
        """The same, and the peer wants to use this connection for bulk only."""
        self.is_bulk = self.is_bulk or self.knock.stream is None
        self.knock.offer(stream)

    async def give_up_when_closed(self) -> None:
        """Let whoever waits for the admission stream know that it will not come."""
        await self.link.closed.wait()
        self.knock.give_up()

    def dial_error(self) -> DialError:
        """Why the dial that made this connection failed, as its caller should read it."""
        if self.refusal is None:
            return DialError(self.address, "peer", f"the connection ended: {self.link.reason}")
        if isinstance(self.refusal, NoPlaceError):
            return no_place(self.address)
        cause = _CAUSES.get(self.refusal.code, "token")
        return DialError(self.address, cause, str(self.refusal))


def no_place(address: str) -> DialError:
    """Why a full machine does not dial, or not to the end."""
    return DialError(address, CAUSE_FULL, str(NoPlaceError()))


class PeerBox(msgspec.Struct, eq=False):
    """What waits for one peer, and how it gets there."""

    peer: PeerId
    scheduler: Scheduler
    conn: PeerConn | None = None
    """The one in use, or None."""
    pump: Pump | None = None
    """From `scheduler` to `conn`; there is one whenever there is a connection."""
    bulk: PeerConn | None = None
    """A second connection, once the peer was busy."""
    retired: PeerConn | None = None
    """A second connection that is no longer needed, until both have read what is on it."""
    left: tuple[PeerConn, ...] = ()
    """Connections by relay that a direct one has taken over from, as long (`takeover`)."""
    want_bulk: Callable[[], None] = lambda: None
    """Opens a second connection, on the side that dialled the first; else it does nothing."""
    bulk_bytes_quiet: float = math.inf
    """Beyond so many bytes of bulk, `want_bulk` is called."""
    changed: trio.lowlevel.ParkingLot = msgspec.field(default_factory=trio.lowlevel.ParkingLot)
    """Parked here: senders that wait for room, and whoever waits for the peer to come up."""

    def pump_now(self) -> None:
        """Move what the link takes."""
        if self.pump is not None:
            self.pump.run_once()
            self.watch_bulk()

    def watch_bulk(self) -> None:
        """Ask for a second connection once enough bulk has passed."""
        if self.bulk_bytes_quiet != math.inf and self.bulk_bytes() > self.bulk_bytes_quiet:
            self.bulk_bytes_quiet = math.inf
            self.want_bulk()

    def bulk_bytes(self) -> int:
        """Bulk sent and heard so far."""
        heard = 0 if self.conn is None else self.conn.lanes.turns.bulk_heard
        return heard + sum(self.scheduler.sent_bytes(traffic_class) for traffic_class in BULK)

    def wake_all(self) -> None:
        """There is room, or the peer came up, or it is gone: whoever waits should look again."""
        self.changed.unpark_all()

    def close(self) -> None:
        """The peer is gone: what waits is lost, who waits is told."""
        if self.conn is not None:
            self.conn.lanes.turns.changed.unpark_all()
        self.conn = self.pump = self.bulk = self.retired = None
        self.left = ()
        self.want_bulk = lambda: None
        self.scheduler.clear()
        self.wake_all()
