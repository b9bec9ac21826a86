"""The network as the rest of the node sees it: frames to and from admitted peers.

A Host carries opaque frames, ordered per (peer, class), between peers that have admitted each
other. Bodies: `p2p.host.libp2p` on a node, `p2p.host.memory.host` in a simulation; both pass
tests/contract/host. Nobody but `p2p.host.rpc.service` sees frames.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
import trio

from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass
from p2p.qos.scheduler import ClassStats


class CarriedTotals(msgspec.Struct, frozen=True):
    """What a machine carries for others, and has carried."""

    circuits: int = 0
    """Now, those for bulk included."""
    circuits_total: int = 0
    bytes_total: int = 0
    """Both ways added."""
    refused_total: int = 0


class FrameSink(Protocol):
    """What a Host tells its one listener. Calls are synchronous and must not block."""

    def on_frame(self, peer: PeerId, traffic_class: TrafficClass, frame: bytes) -> None:
        """A frame arrived, after `on_up` of that peer and before `on_down`.

        Raising WireError makes the host close that peer's connection.
        """

    def on_up(self, caller: Caller) -> None:
        """That peer is connected and admitted, as whom it proved to be; frames may follow."""

    def on_down(self, peer: PeerId, reason: str) -> None:
        """The last connection to the peer is gone; frames in flight are lost."""


class Host(Protocol):
    """One machine's place in the network."""

    @property
    def peer_id(self) -> PeerId: ...

    @property
    def me(self) -> Caller:
        """Who we are, as our own certificates say: `is_me` is true."""
        ...

    def attach(self, sink: FrameSink) -> None:
        """Set the listener; once, before run."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and serve until cancelled; started once the addresses are known."""

    def addresses(self) -> tuple[str, ...]:
        """Multiaddrs at which others may reach us, `/p2p/<peer id>` included."""

    def learn(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """Remember where a peer may be dialled; the newest list replaces the older one."""

    def note_relay(self, peer: PeerId, *, carries: bool) -> None:
        """A member says whether it carries circuits: who cannot be dialled is reached by it."""

    def relay_of(self, peer: PeerId) -> PeerId | None:
        """By which relay a peer is connected; None when directly, or not at all."""

    def carried(self) -> CarriedTotals:
        """What this machine carries for others."""
        ...

    async def dial(self, address: str, *others: str) -> PeerId:
        """Connect to a full multiaddr, or another one of the same peer, and be admitted.

        Raises DialError within 10 s, naming the cause for each address and relay that was tried
        (dns, port, proxy, clock, token, peer, relay, full).
        """
        ...

    async def send(
        self, peer: PeerId, traffic_class: TrafficClass, frame: bytes, expires_s: float = math.inf
    ) -> None:
        """Queue one frame, waiting while that class's outbox is full; dials when needed.

        A frame that has not begun to leave by `expires_s` (trio's clock) is dropped.
        Raises PeerUnreachableError when there is no way to the peer.
        """

    def cast(self, peer: PeerId, traffic_class: TrafficClass, frame: bytes) -> None:
        """Queue one frame without waiting; dials in the background; may be dropped."""

    def peers(self) -> tuple[PeerId, ...]:
        """Peers connected now, in a stable order."""

    def stats(self) -> tuple[ClassStats, ...]:
        """Per class: what waits now, and what happened since the start."""
        ...

    def rtt_s(self, peer: PeerId) -> float | None:
        """Smoothed round-trip time, or None before the first measurement."""

    def copies(self) -> Mapping[PeerId, tuple[str, ...]]:
        """Keys that two machines have, ours among them, and their hosts where known."""
        ...

    async def disconnect(self, peer: PeerId, reason: str) -> None:
        """Close the connection to a peer."""


class Index(Protocol):
    """A hint store shared by the network (Kademlia on a node): never an authority."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started after the host."""

    async def announce(self, key: bytes) -> None:
        """Say that this machine has something under `key`; repeated by the caller."""

    async def find(self, key: bytes, limit: int) -> list[tuple[PeerId, tuple[str, ...]]]:
        """Peers that announced `key`, with addresses; possibly stale, possibly empty."""
        ...
