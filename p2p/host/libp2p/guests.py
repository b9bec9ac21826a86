"""Peers of other libp2p software, let in by an open network without admission: few, and slowly.

A peer that asks for a protocol offered to guests before it asks to be admitted is a guest for as
long as its connection lives: libp2p's protocols see it, frames never do. Guests pay for what they
make us do out of a purse each and one of all together; an empty purse is not an error, we just
read no faster. Without offers (the rule on private networks) nobody becomes a guest.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import msgspec
import trio
from libp2p.custom_types import StreamHandlerFn
from libp2p.network.stream.net_stream import NetStream

from p2p.errors import StreamLimitError
from p2p.host.libp2p.bridge import MuxedStream
from p2p.host.peers.peer import PeerConn
from p2p.ids import PeerId
from p2p.limits import (
    GUEST_UNREAD_BYTES_MAX,
    GUEST_WORK_BURST,
    GUEST_WORK_PER_S,
    GUESTS_MAX,
    GUESTS_WORK_BURST,
    GUESTS_WORK_PER_S,
)

_OPENING_WORK: Final = 5.0
_READ_WORK: Final = 1.0
_KIB: Final = 1024


class Offer(msgspec.Struct, frozen=True):
    """How much of one protocol guests may have."""

    each_max: int = 4
    """Streams of one guest at once."""
    all_max: int = 4 * GUESTS_MAX
    """Streams of all guests at once."""
    within_s: float = math.inf
    """After so long a stream is reset."""
    work_per_kib: float = 1.0
    """What reading 1 KiB costs: more where a handler checks signatures, less where it copies."""


_PLAIN: Final = Offer()
"""Identify and ping, which everybody may have."""


@dataclass(slots=True)
class Purse:
    """Work that may be asked for: full at first, refilled as time goes by."""

    per_s: float
    most: float
    _left: float = field(init=False)
    _since_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._left = self.most
        self._since_s = trio.current_time()

    def wait_s(self, work: float) -> float:
        """Take out `work`; how long to wait until it was really there."""
        now_s = trio.current_time()
        self._left = min(self.most, self._left + (now_s - self._since_s) * self.per_s) - work
        self._since_s = now_s
        return max(0.0, -self._left / self.per_s)


class _Guest(msgspec.Struct, eq=False):
    purse: Purse
    serving: dict[str, int] = msgspec.field(default_factory=dict)


class PacedStream(MuxedStream):
    """A guest's stream: reading it is paid for, so that its window closes when it asks too much."""

    def __init__(self, stream: MuxedStream, guests: "Guests", conn: PeerConn, offer: Offer) -> None:
        super().__init__(stream.muxed_conn, stream.stream)
        self._guests, self._conn, self._offer = guests, conn, offer

    async def read(self, n: int | None = None) -> bytes:
        """1 to n bytes, when the guest can afford them; MuxedStreamEOF at the end."""
        data = await super().read(n)
        work = _READ_WORK + len(data) / _KIB * self._offer.work_per_kib
        await self._guests.pay(self._conn, work)
        return data


class Guests:
    """Who is here without being a member, and what they are given."""

    def __init__(self) -> None:
        self._offers: dict[str, Offer] = {}
        self._here: dict[PeerConn, _Guest] = {}
        self._serving: dict[str, int] = {}
        self._purse: Purse | None = None

    def __len__(self) -> int:
        return len(self._here)

    def offer(self, protocol: str, offer: Offer) -> None:
        """Let guests have `protocol`; its handler is registered with libp2p as usual."""
        self._offers[protocol] = offer

    def welcome(self, conn: PeerConn, protocol: str) -> bool:
        """Whether a peer may speak `protocol` as a guest; the first time makes it one.

        Only who was dialled can have guests, and a peer that began to be admitted is none. When
        there are too many, the one that has been here longest gives way.
        """
        if protocol not in self._offers or conn.link.is_closing:
            return False
        if conn.knock.is_guest:
            return True
        if conn.carrier.is_initiator or conn.knock.stream is not None or conn.decided.is_set():
            return False
        self._let_in(conn)
        return True

    def _let_in(self, conn: PeerConn) -> None:
        if len(self._here) >= GUESTS_MAX:
            oldest = next(iter(self._here))
            del self._here[oldest]
            oldest.link.close("another guest takes this place")
        self._here[conn] = _Guest(Purse(GUEST_WORK_PER_S, GUEST_WORK_BURST))
        conn.link.core.windows.unread_bytes_max = GUEST_UNREAD_BYTES_MAX
        conn.knock.be_guest()

    def has(self, peer: PeerId) -> bool:
        """Whether a guest of that id is here."""
        return any(conn.peer == peer for conn in self._here)

    def left(self, conn: PeerConn) -> None:
        """The connection is gone."""
        self._here.pop(conn, None)

    async def pay(self, conn: PeerConn, work: float = _OPENING_WORK) -> None:
        """Wait until a guest can afford what it asks for; others pay nothing."""
        guest = self._here.get(conn)
        if guest is None:
            return
        if self._purse is None:
            self._purse = Purse(GUESTS_WORK_PER_S, GUESTS_WORK_BURST)
        wait_s = max(guest.purse.wait_s(work), self._purse.wait_s(work))
        if wait_s > 0:
            await trio.sleep(wait_s)

    async def attend(
        self, conn: PeerConn, stream: NetStream, protocol: str, handler: StreamHandlerFn
    ) -> None:
        """Run a handler on a guest's stream. Raises StreamLimitError when it has too many,
        TooSlowError when its time is up, and whatever the handler raises."""
        offer = self._offers.get(protocol, _PLAIN)
        with self._counted(conn, protocol, offer), trio.fail_after(offer.within_s):
            assert isinstance(stream.muxed_stream, MuxedStream)
            stream.muxed_stream = PacedStream(stream.muxed_stream, self, conn, offer)
            await handler(stream)

    @contextmanager
    def _counted(self, conn: PeerConn, protocol: str, offer: Offer) -> Iterator[None]:
        guest = self._here.get(conn)
        if guest is None:
            raise StreamLimitError("the guest has left")
        mine, everybodys = guest.serving.get(protocol, 0), self._serving.get(protocol, 0)
        if mine >= offer.each_max or everybodys >= offer.all_max:
            raise StreamLimitError(f"guests have as many streams of {protocol} as they may")
        guest.serving[protocol], self._serving[protocol] = mine + 1, everybodys + 1
        try:
            yield
        finally:
            guest.serving[protocol] -= 1
            self._serving[protocol] -= 1
