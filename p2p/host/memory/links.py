"""Machines, connections and dials of a network in memory, as it sees them."""

from dataclasses import dataclass, field

import trio

from p2p.errors import DialError
from p2p.host.port import FrameSink
from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass

Frame = tuple[TrafficClass, bytes]
Pair = tuple[PeerId, PeerId]


def pair_of(a: PeerId, b: PeerId) -> Pair:
    """Two machines, whichever is named first."""
    return (a, b) if a < b else (b, a)


@dataclass(slots=True, eq=False)
class Port:
    """One machine's socket, as the network sees it."""

    who: Caller
    """What its certificates prove to the others."""
    sink: FrameSink | None = None
    is_open: bool = False
    """Its host runs."""
    carries: bool = False
    """Others may talk by it (`p2p.host.relay`)."""
    circuits: int = 0
    circuits_total: int = 0
    carried_bytes: int = 0
    """Connections that go by it now, all there were, and what they carried."""

    @property
    def peer(self) -> PeerId:
        return self.who.peer


@dataclass(slots=True, eq=False)
class MemoryLink:
    """A connection between two ports."""

    ends: tuple[Port, Port]
    relay: Port | None = None
    """The machine it goes by; None of a direct one."""
    is_open: bool = True
    stalled: list[tuple[Port, TrafficClass, bytes]] = field(default_factory=list)
    """Frames that arrive once a cut has healed, and to whom."""
    arrives_s: dict[tuple[PeerId, TrafficClass], float] = field(default_factory=dict)
    """When the last frame to a peer, in a class, arrives: none overtakes it."""
    free_s: dict[PeerId, float] = field(default_factory=dict)
    """When what a peer has sent will have left its end."""

    def hops(self) -> tuple[Pair, ...]:
        """The pairs of machines that it takes to be uncut."""
        one, other = (port.peer for port in self.ends)
        if self.relay is None:
            return (pair_of(one, other),)
        return (pair_of(one, self.relay.peer), pair_of(self.relay.peer, other))

    def other(self, port: Port) -> Port:
        return self.ends[1] if self.ends[0] is port else self.ends[0]


@dataclass(slots=True, eq=False)
class MemoryDial:
    """A connection being opened; frames wait for it."""

    caller: Port
    peer: PeerId
    address: str
    """Empty where none is known: then only a relay leads there."""
    relays: tuple[PeerId, ...] = ()
    """Whom to go by where there is no direct way, first to try first."""
    done: trio.Event = field(default_factory=trio.Event)
    failure: DialError | None = None
    frames: list[Frame] = field(default_factory=list)
    """What to send once it stands, in order."""
