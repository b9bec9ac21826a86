"""A network in one process, on trio's clock: delays, lost casts, broken and cut connections.

It behaves as TCP does: frames of one class arrive in order or not at all, and a frame is lost
only together with its connection, except casts when `cast_loss` says so. Everything that will
happen lies on one heap that one task serves, so a frame costs a push and a pop. All chance comes
from the dice given: one seed, one run.
"""

import heapq
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import trio

from p2p.effects import Rng
from p2p.errors import AdmissionError, DialError, WireError
from p2p.host.memory.links import MemoryDial, MemoryLink, Pair, Port, pair_of
from p2p.host.peers.config import RelayConfig
from p2p.ids import PeerId, TrafficClass
from p2p.limits import DIAL_DEADLINE_S

_RELAYING = RelayConfig()
"""When a relay is asked, and when the direct way is tried again: as on a node."""


@dataclass(frozen=True, slots=True)
class LinkModel:
    """How every connection behaves; change `MemoryNetwork.model` to change it for all."""

    delay_s: float = 0.01
    """One way."""
    jitter_s: float = 0.0
    """Up to this much is added to each frame; it never reorders a class."""
    cast_loss: float = 0.0
    """Share of casts that vanish silently."""
    cast_twice: float = 0.0
    """Share of casts that arrive once more, up to a second later and out of order."""
    break_rate: float = 0.0
    """Share of sends after which the connection breaks, the frame lost with it."""
    bytes_per_s: float = math.inf
    """Bandwidth of each direction of each connection."""
    detect_s: float = 10.0
    """How long a silent peer (cut off, or dead without a word) goes unnoticed."""
    backlog_s: float = 0.1
    """A send waits while this much is queued before it; casts are dropped at ten times as much."""


class MemoryNetwork:
    """Joins any number of MemoryHosts. `run` must be running for anything to happen."""

    def __init__(
        self,
        rng: Rng,
        model: LinkModel = LinkModel(),
        *,
        delay_s: Callable[[PeerId, PeerId], float] | None = None,
        admit: Callable[[PeerId, PeerId], None] | None = None,
        trace: Callable[[float, PeerId, PeerId, TrafficClass, bytes], None] | None = None,
    ) -> None:
        """`admit(caller, callee)` may raise AdmissionError; `trace` sees each delivered frame."""
        self.model = model
        self.frames_delivered = 0
        self._rng = rng
        self._delay_s = delay_s
        self._admit = admit
        self.trace = trace
        self._ports: dict[PeerId, Port] = {}
        self._links: dict[Pair, MemoryLink] = {}
        """Those that stand: one for each pair."""
        self._dials: dict[Pair, MemoryDial] = {}
        """Those under way, by caller and called."""
        self._cuts: dict[Pair, int] = {}
        self.reaches: Callable[[PeerId, PeerId], bool] = lambda caller, called: True
        """Whether a dial gets through; one that does not hangs, as behind a firewall that drops."""
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        """(when, number, what): of what is due at once the older comes first."""
        self._count = 0
        self._scope = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Deliver until cancelled. What a handler raises is a bug and escapes."""
        task_status.started()
        while True:
            next_s = self._heap[0][0] if self._heap else math.inf
            with trio.CancelScope(deadline=next_s) as self._scope:
                await trio.sleep_forever()
            now_s = trio.current_time()
            while self._heap and self._heap[0][0] <= now_s:
                heapq.heappop(self._heap)[2]()

    # -- faults

    def cut(self, left: Iterable[PeerId], right: Iterable[PeerId]) -> None:
        """Frames between the two groups get stuck; connections end after `detect_s`."""
        others = list(right)
        for a in left:
            for b in others:
                if a != b and pair_of(a, b) not in self._cuts:
                    self._cut_pair(pair_of(a, b))

    def heal(self) -> None:
        """End all cuts; what got stuck in connections that still live arrives now."""
        healed, self._cuts = self._cuts, {}
        by_relay = [link for link in self._links.values() if link.relay is not None]
        for link in (*map(self._links.get, healed), *by_relay):
            if link is not None:
                stalled, link.stalled = link.stalled, []
                for to, traffic_class, frame in stalled:
                    self._fly(link, to, traffic_class, frame)

    def break_connection(self, a: PeerId, b: PeerId) -> None:
        """Reset the connection between two peers; frames on their way are lost."""
        link = self._links.get(pair_of(a, b))
        if link is not None:
            self._end(link, "the connection was reset")

    def crash(self, peer: PeerId, *, silent: bool = False) -> None:
        """End a machine: others notice at once, or (silent: power cut) after `detect_s`."""
        port = self._ports.get(peer)
        if port is not None:
            self.close(port, silent=silent)

    def is_connected(self, a: PeerId, b: PeerId) -> bool:
        """True while a connection between the two exists, cut or not."""
        return pair_of(a, b) in self._links

    # -- what MemoryHost uses

    def open(self, port: Port) -> None:
        """Accept connections for this port; it replaces an older one of the same peer."""
        older = self._ports.get(port.peer)
        if older is not None and older is not port:
            self.close(older)
        self._ports[port.peer] = port
        port.is_open = True

    def close(self, port: Port, *, silent: bool = False) -> None:
        """The machine is gone; its peers learn it as the network would tell them."""
        if not port.is_open:
            return
        port.is_open = False
        for link in list(self._links.values()):
            if port in link.ends:
                wait_s = self.model.detect_s if silent else self._one_way_s(link.ends)
                self._later(wait_s, partial(self._end, link, "the peer is gone"))

    def link(self, port: Port, peer: PeerId) -> MemoryLink | None:
        """The live connection between this port and a peer."""
        link = self._links.get(pair_of(port.peer, peer))
        return link if link is not None and port in link.ends and port.is_open else None

    def links_of(self, port: Port) -> list[PeerId]:
        """Peers connected to this port, oldest connection first."""
        return [link.other(port).peer for link in self._links.values() if port in link.ends]

    def disconnect(self, port: Port, peer: PeerId, reason: str) -> None:
        """Close a connection from our side."""
        link = self.link(port, peer)
        if link is not None:
            self._end(link, reason)

    def backlog_s(self, port: Port, link: MemoryLink) -> float:
        """How long a frame sent now would wait before it leaves."""
        return link.free_s.get(port.peer, 0.0) - trio.current_time()

    def transmit(
        self,
        port: Port,
        link: MemoryLink,
        traffic_class: TrafficClass,
        frame: bytes,
        *,
        is_cast: bool,
    ) -> None:
        """Put one frame on its way."""
        if is_cast and self._chance(self.model.cast_loss):
            return
        if not is_cast and self._chance(self.model.break_rate):
            self._later(0.0, lambda: self._end(link, "the connection was reset"))
            return
        to = link.other(port)
        if is_cast and self._chance(self.model.cast_twice):
            again = partial(self._arrive, link, to, traffic_class, frame)
            self._later(self._rng.random(), again)
        self._fly(link, to, traffic_class, frame)

    def dial(
        self, port: Port, peer: PeerId, address: str, relays: tuple[PeerId, ...] = ()
    ) -> MemoryDial:
        """Open a connection, by one of `relays` at need, or join the attempt that is under way."""
        dial = self._dials.get((port.peer, peer))
        if dial is not None and dial.caller is port:
            return dial
        dial = self._dials[port.peer, peer] = MemoryDial(port, peer, address, relays)
        wait_s = 2 * self._pair_delay_s(port.peer, peer)
        if not self._is_direct(dial):
            relay = self._relay_for(dial)
            hangs_s = _RELAYING.relayed_after_s if address else wait_s
            wait_s = DIAL_DEADLINE_S if relay is None else hangs_s
        self._later(wait_s, lambda: self._end_dial(dial))
        return dial

    def has_relay(self, port: Port, peer: PeerId, relays: tuple[PeerId, ...]) -> bool:
        """Whether one of these leads to a peer now."""
        return bool(relays) and self._relay_for(MemoryDial(port, peer, "", relays)) is not None

    def rtt_s(self, port: Port, peer: PeerId) -> float:
        """Two delays and the mean jitter."""
        return 2 * self._pair_delay_s(port.peer, peer) + self.model.jitter_s

    # -- inside

    def _chance(self, share: float) -> bool:
        return share > 0 and self._rng.random() < share

    def _pair_delay_s(self, a: PeerId, b: PeerId) -> float:
        return self.model.delay_s if self._delay_s is None else self._delay_s(a, b)

    def _one_way_s(self, ends: tuple[Port, Port]) -> float:
        jitter_s = self.model.jitter_s
        extra_s = self._rng.random() * jitter_s if jitter_s else 0.0
        return self._pair_delay_s(ends[0].peer, ends[1].peer) + extra_s

    def _way_s(self, link: MemoryLink) -> float:
        if link.relay is None:
            return self._one_way_s(link.ends)
        return sum(self._one_way_s((link.relay, end)) for end in link.ends)

    def _later(self, wait_s: float, act: Callable[[], None]) -> None:
        self._at(trio.current_time() + wait_s, act)

    def _at(self, at_s: float, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (at_s, self._count, act))
        if at_s < self._scope.deadline:
            self._scope.deadline = at_s

    def _cut_pair(self, pair: Pair) -> None:
        self._count += 1
        token = self._cuts[pair] = self._count
        link = self._links.get(pair)
        if link is not None:
            self._later(self.model.detect_s, lambda: self._detect(pair, link, token))

    def _detect(self, pair: Pair, link: MemoryLink, token: int) -> None:
        if self._cuts.get(pair) == token:
            self._end(link, "no answer for too long")

    def _fly(self, link: MemoryLink, to: Port, traffic_class: TrafficClass, frame: bytes) -> None:
        now_s = trio.current_time()
        sender = link.other(to).peer
        leaves_s = max(now_s, link.free_s.get(sender, 0.0)) + len(frame) / self.model.bytes_per_s
        link.free_s[sender] = leaves_s
        key = (to.peer, traffic_class)
        if link.relay is not None:
            link.relay.carried_bytes += len(frame)
        arrives_s = max(leaves_s + self._way_s(link), link.arrives_s.get(key, 0.0))
        link.arrives_s[key] = arrives_s
        self._at(arrives_s, lambda: self._arrive(link, to, traffic_class, frame))

    def _arrive(
        self, link: MemoryLink, to: Port, traffic_class: TrafficClass, frame: bytes
    ) -> None:
        if not link.is_open or not to.is_open or to.sink is None:
            return
        sender = link.other(to).peer
        if self._cuts and any(pair in self._cuts for pair in link.hops()):
            link.stalled.append((to, traffic_class, frame))
            return
        self.frames_delivered += 1
        if self.trace is not None:
            self.trace(trio.current_time(), sender, to.peer, traffic_class, frame)
        try:
            to.sink.on_frame(sender, traffic_class, frame)
        except WireError as error:
            self._end(link, str(error))

    def _end(self, link: MemoryLink, reason: str) -> None:
        if not link.is_open:
            return
        link.is_open = False
        del self._links[pair_of(link.ends[0].peer, link.ends[1].peer)]
        if link.relay is not None:
            link.relay.circuits -= 1
        else:
            self._end_circuits(link)
        for port in link.ends:
            if port.is_open and port.sink is not None:
                port.sink.on_down(link.other(port).peer, reason)

    def _end_dial(self, dial: MemoryDial) -> None:
        if dial.done.is_set():
            return  # the other side's attempt came first and served both
        dial.failure = self._connect(dial) if dial.caller.is_open else _gone(dial)
        link = self.link(dial.caller, dial.peer)
        self._release(dial, link)
        back = self._dials.get((dial.peer, dial.caller.peer))
        if link is not None and back is not None and back.caller is link.other(dial.caller):
            self._release(back, link)

    def _release(self, dial: MemoryDial, link: MemoryLink | None) -> None:
        if self._dials.get((dial.caller.peer, dial.peer)) is dial:
            del self._dials[dial.caller.peer, dial.peer]
        dial.done.set()
        if link is not None:
            for traffic_class, frame in dial.frames:
                self._fly(link, link.other(dial.caller), traffic_class, frame)

    def _connect(self, dial: MemoryDial) -> DialError | None:
        pair = pair_of(dial.caller.peer, dial.peer)
        is_direct = self._is_direct(dial)
        relay = None if is_direct else self._relay_for(dial)
        if not is_direct and relay is None:
            return DialError(dial.address, "port", "no answer")
        port = self._ports.get(dial.peer)
        if port is None or not port.is_open:
            return DialError(dial.address, "port", "nobody listens there")
        older = self._links.get(pair)
        if older is not None and port in older.ends and dial.caller in older.ends:
            return None  # the other side dialled us meanwhile
        refusal = self._refusal(dial)
        if refusal is None:
            if older is not None:  # left over from an earlier life of one of the two
                self._end(older, "replaced by a new connection")
            self._join(dial.caller, port, relay)
        return refusal

    def _refusal(self, dial: MemoryDial) -> DialError | None:
        """Why the other side does not admit the caller, if it does not."""
        try:
            if self._admit is not None:
                self._admit(dial.caller.peer, dial.peer)
        except AdmissionError as error:
            cause = "clock" if error.code == "clock" else "token"
            return DialError(dial.address, cause, error.detail)
        return None

    def _join(self, caller: Port, called: Port, relay: Port | None) -> None:
        link = MemoryLink((caller, called), relay)
        self._links[pair_of(caller.peer, called.peer)] = link
        if relay is not None:
            relay.circuits += 1
            relay.circuits_total += 1
            self._try_directly(link, _RELAYING.direct_first_s)
        for port, other in ((caller, called), (called, caller)):
            if port.sink is not None:
                port.sink.on_up(other.who)

    # -- by relay

    def _gets_through(self, caller: PeerId, called: PeerId) -> bool:
        return pair_of(caller, called) not in self._cuts and self.reaches(caller, called)

    def _is_direct(self, dial: MemoryDial) -> bool:
        return bool(dial.address) and self._gets_through(dial.caller.peer, dial.peer)

    def _relay_for(self, dial: MemoryDial) -> Port | None:
        """The first of its relays that has direct, uncut connections to both."""
        for relay in dial.relays:
            port = self._ports.get(relay)
            hops = [pair_of(relay, end) for end in (dial.caller.peer, dial.peer)]
            links = [self._links.get(hop) for hop in hops]
            is_direct = all(link is not None and link.relay is None for link in links)
            is_cut = any(hop in self._cuts for hop in hops)
            if port is not None and port.is_open and port.carries and is_direct and not is_cut:
                return port
        return None

    def _end_circuits(self, hop: MemoryLink) -> None:
        """A connection of a relay has ended, and with it what it carried by that."""
        for link in list(self._links.values()):
            if link.relay in hop.ends and hop.other(link.relay) in link.ends:
                self._end(link, f"the way by relay {link.relay.peer} ended")

    def _try_directly(self, link: MemoryLink, after_s: float) -> None:
        def again() -> None:
            caller, called = (port.peer for port in link.ends)
            if not link.is_open or link.relay is None:
                return
            if self._gets_through(caller, called) or self._gets_through(called, caller):
                link.relay.circuits -= 1
                link.relay = None
            else:
                self._try_directly(link, min(2 * after_s, _RELAYING.direct_most_s))

        self._later(after_s, again)


def _gone(dial: MemoryDial) -> DialError:
    return DialError(dial.address, "port", "this host has stopped")
