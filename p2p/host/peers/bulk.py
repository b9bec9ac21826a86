"""Second connections: bulk leaves the one that somebody waits on, and keeps queues short.

    enough bulk passed -> the side that dialled dials again -> Joining -> bulk lanes move over
    every tick: what TCP knows of each bulk connection -> UplinkPacer -> SO_MAX_PACING_RATE
    no bulk for a minute -> that side's lanes move back, then the other's -> it is closed

A peer is up as long as both connections are: what either loses is lost to the peer.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
import trio

from p2p.errors import DialError, StreamLimitError
from p2p.host.peers.lanes import Lanes
from p2p.host.peers.peer import PeerBox, PeerConn
from p2p.ids import BULK, PeerId, TrafficClass
from p2p.limits import BULK_BEGINS_BYTES, SLOW_LINE_BACKLOG_BYTES
from p2p.qos import tcp
from p2p.qos.losses import LossWatch
from p2p.qos.pacer import PacerConfig, PathSample, UplinkPacer

_CONGESTION: Final = ("cubic", "reno")
_LOSSY_CONGESTION: Final = ("bbr", "cubic", "reno")
"""For bulk where packets are lost for no reason (`p2p.qos.losses`)."""


class BulkConfig(msgspec.Struct, frozen=True):
    """When a second connection is opened, and how its rate is steered."""

    begins_bytes: int = BULK_BEGINS_BYTES
    dial_within_s: float = 10.0
    # A peer that could not be reached again: a firewall that let one connection through.
    retry_s: float = 60.0
    # A transfer that goes on by fits and starts keeps its connection, a peer at rest has one.
    quiet_for_s: float = 60.0
    tick_s: float = 0.025
    rest_s: float = 0.25
    # Nothing interactive for so long, and bulk gets the whole line.
    urgent_for_s: float = 2.0
    # Below this a frame's own length is felt: less of it is bound to the socket ahead of time.
    slow_line_bytes_per_s: float = 12.5e6
    pacer: PacerConfig = msgspec.field(default_factory=PacerConfig)

    def __post_init__(self) -> None:
        if not 0 < self.tick_s <= self.rest_s:
            raise ValueError("tick_s must be positive and at most rest_s")


Connect = Callable[[PeerConn], Awaitable[PeerConn]]


class _Seen(msgspec.Struct):
    """What was seen of one second connection."""

    losses: LossWatch = msgspec.field(default_factory=LossWatch)
    passed_bytes: int = -1
    """Bulk of its peer so far."""
    quiet_since_s: float = 0.0
    """Since when it is so many."""


class BulkLinks:
    """Opens, uses and paces the second connections of all peers."""

    def __init__(
        self,
        boxes: Mapping[PeerId, PeerBox],
        lanes: Lanes,
        connect: Connect,
        config: BulkConfig,
    ) -> None:
        """`connect` dials for bulk the peer of a first connection, on the same way; it returns a
        connection that is in use."""
        self._boxes = boxes
        self._lanes = lanes
        self._connect = connect
        self._config = config
        lanes.on_ended(self._lane_ended)
        self._pacer: UplinkPacer[PeerId] = UplinkPacer(config.pacer)
        self._wake = trio.Event()
        """Set when a second connection comes into use: there is something to steer."""
        self._seen: dict[PeerConn, _Seen] = {}
        """By second connection, until it ends."""
        self._interactive_bytes = 0
        """Sent to all peers there are, as of the last tick."""
        self._interactive_s = -math.inf
        """When that was last another number."""
        self.nursery: trio.Nursery | None = None
        """The host's, while it runs."""

    # Their life

    def watch(self, box: PeerBox, conn: PeerConn) -> None:
        """A peer's first connection is in use: set it up, and see whether it gets busy."""
        if conn.link.is_closing:  # its socket may be gone
            return
        tcp.use_congestion_control(conn.socket, _CONGESTION)
        tcp.mark(conn.socket, tcp.DSCP_EF)
        if conn.carrier.is_initiator:
            box.want_bulk = lambda: self._start(box, conn)
            box.bulk_bytes_quiet = self._config.begins_bytes

    def is_wanted(self, conn: PeerConn) -> bool:
        """True when a connection offered for bulk has a first one to stand beside."""
        box = self._boxes.get(conn.peer)
        main = None if box is None else box.conn
        if box is None or main is None or box.bulk is not None or box.retired is not None:
            return False
        is_alike = main.carrier.is_initiator == conn.carrier.is_initiator
        return main.is_live and is_alike and main.relay == conn.relay

    def use(self, conn: PeerConn) -> None:
        """A second connection is admitted: bulk moves over to it."""
        box = self._boxes.get(conn.peer)
        is_late = conn.link.is_closing or not self.is_wanted(conn)
        if is_late or box is None or box.conn is None or box.pump is None:
            conn.link.close("the connection it stood beside is gone")
            return
        box.bulk = conn
        self._seen[conn] = _Seen()
        self._lead_to(box, conn, box.conn)
        conn.joined.set()
        self._move(box, conn)
        self._wake.set()

    def _lead_to(self, box: PeerBox, conn: PeerConn, main: PeerConn) -> None:
        """Let bulk pass by this connection, beside `main` and after it in the router's queues."""
        conn.main, conn.lanes.turns = main, main.lanes.turns
        tcp.use_congestion_control(conn.socket, _CONGESTION)
        tcp.mark(conn.socket, tcp.DSCP_CS1)
        conn.link.out.fill_by(box.pump_now)
        conn.link.core.windows.unread_bytes_max = main.link.core.windows.unread_bytes_max

    def down(self, conn: PeerConn) -> None:
        """A second connection ended: the frames it lost end the first as well."""
        box = self._boxes.get(conn.peer)
        conn.link.out.fill_by(None)
        self._seen.pop(conn, None)
        if box is None or box.conn is None or conn not in (box.bulk, box.retired):
            return
        box.bulk = box.retired = None
        if not conn.lanes.has_bulk_ended:
            box.conn.link.close(f"its connection for bulk ended: {conn.link.reason}")
        elif box.conn.carrier.is_initiator:
            box.bulk_bytes_quiet = box.bulk_bytes() + self._config.begins_bytes

    def _move(self, box: PeerBox, conn: PeerConn) -> None:
        """Bulk to this peer leaves by this connection from its next frames on."""
        assert box.pump is not None
        lanes = self._lanes.out(conn, box.pump_now)
        try:
            for traffic_class in BULK:
                lanes[traffic_class].opened()
                box.pump.move(traffic_class, lanes[traffic_class])
        except StreamLimitError as exc:
            conn.link.close(f"the peer has never ended its side of lanes: {exc}")
        else:
            box.pump_now()

    def _retire(self, box: PeerBox) -> None:
        """Bulk moves back to the first connection."""
        assert box.conn is not None
        box.bulk, box.retired = None, box.bulk
        self._move(box, box.conn)

    def _lane_ended(self, conn: PeerConn) -> None:
        """The peer ended a lane: once it has ended all of a second connection, so do we."""
        conn.lanes.ended += 1
        box = self._boxes.get(conn.peer)
        if not conn.is_bulk or not conn.lanes.has_bulk_ended or box is None or conn in box.left:
            return
        if box.bulk is conn:
            self._retire(box)
        if conn.carrier.is_initiator:
            conn.link.close("bulk has ended")

    def _start(self, box: PeerBox, conn: PeerConn) -> None:
        if self.nursery is not None:
            self.nursery.start_soon(self._open, box, conn)

    async def _open(self, box: PeerBox, main: PeerConn) -> None:
        try:
            with trio.fail_after(self._config.dial_within_s):
                await self._connect(main)
        except (DialError, trio.TooSlowError):
            # One connection does as well, only slower; the peer may be reachable again later.
            await trio.sleep(self._config.retry_s)
            if box.conn is main and box.bulk is None:
                box.bulk_bytes_quiet = box.bulk_bytes() + self._config.begins_bytes

    # Their rates

    async def run(self) -> None:
        """Steer the rates until cancelled."""
        while True:
            if not any(box.bulk for box in self._boxes.values()):
                self._wake = trio.Event()
                await self._wake.wait()
            is_busy = self._tick(trio.current_time())
            await trio.sleep(self._config.tick_s if is_busy else self._config.rest_s)

    def _tick(self, now_s: float) -> bool:
        """One look at every bulk connection; True when any of them has something to do."""
        samples = {}
        for peer, box in self._boxes.items():
            if box.bulk is None or box.conn is None or not (box.bulk.is_live and box.conn.is_live):
                continue
            if box.conn.carrier.is_initiator and self._is_quiet(box, box.bulk, now_s):
                self._retire(box)
                continue
            sample = self._look_at(box, box.bulk, box.conn, now_s)
            if sample is not None:
                samples[peer] = sample
        rates = self._pacer.tick(samples, now_s, is_urgent=self._is_urgent(now_s))
        for peer, rate in rates.items():
            self._set_rate(self._boxes[peer], rate)
        return any(sample.is_backlogged for sample in samples.values())

    def _look_at(
        self, box: PeerBox, bulk: PeerConn, main: PeerConn, now_s: float
    ) -> PathSample | None:
        """What TCP knows of both, where it tells; who loses without a queue changes its ways."""
        facts, beside = tcp.tcp_facts(bulk.socket), tcp.tcp_facts(main.socket)
        if facts is None or beside is None:
            return None
        sample = _sample(box, facts, beside)
        if self._seen[bulk].losses.look(facts.retransmits, sample.queue_s, now_s):
            tcp.use_congestion_control(bulk.socket, _LOSSY_CONGESTION)
            self._pacer.renew()
        return sample

    def _set_rate(self, box: PeerBox, rate: float | None) -> None:
        assert box.bulk is not None
        assert box.conn is not None
        tcp.pace(box.bulk.socket, rate)
        line = self._pacer.line_rate
        is_slow = line is not None and line < self._config.slow_line_bytes_per_s
        box.scheduler.line_bytes_per_s = line if is_slow and line is not None else 0.0
        for conn in (box.conn, box.bulk):
            normal = conn.link.config.backlog_bytes
            conn.link.out.backlog_bytes = SLOW_LINE_BACKLOG_BYTES if is_slow else normal
        box.pump_now()

    def _is_quiet(self, box: PeerBox, bulk: PeerConn, now_s: float) -> bool:
        """True once no bulk has passed for long, and none waits."""
        seen = self._seen[bulk]
        if seen.passed_bytes != box.bulk_bytes():
            seen.passed_bytes, seen.quiet_since_s = box.bulk_bytes(), now_s
        return not _is_waiting(box) and now_s - seen.quiet_since_s >= self._config.quiet_for_s

    def _is_urgent(self, now_s: float) -> bool:
        """True while something interactive left this node not long ago.

        Control does not count: heartbeats never pause, and bear a queue better than bulk bears
        to leave a tenth of the line unused for ever.
        """
        sent = sum(
            box.scheduler.sent_bytes(TrafficClass.INTERACTIVE) for box in self._boxes.values()
        )
        if sent != self._interactive_bytes:
            self._interactive_bytes, self._interactive_s = sent, now_s
        return now_s - self._interactive_s <= self._config.urgent_for_s


def _sample(box: PeerBox, bulk: tcp.TcpFacts, main: tcp.TcpFacts) -> PathSample:
    return PathSample(
        rtt_s=bulk.rtt_s,
        rtt_min_s=min(bulk.rtt_min_s, main.rtt_min_s),
        acked_bytes=bulk.delivered_bytes,
        is_backlogged=bulk.unsent_bytes > 0 or _is_waiting(box),
        beside_bytes=main.acked_bytes,
    )


def _is_waiting(box: PeerBox) -> bool:
    """Whether bulk for that peer has not left the queue yet."""
    return any(box.scheduler.waiting(traffic_class) for traffic_class in BULK)
