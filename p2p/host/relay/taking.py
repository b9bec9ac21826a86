"""The other end's part: a relay offers a circuit from a member, which then proves who it is."""

from collections import Counter
from collections.abc import Awaitable, Callable

import trio

from p2p.buckets import Buckets
from p2p.errors import LinkClosedError, StreamResetError, WireError
from p2p.host.peers.peer import PeerConn
from p2p.host.relay.limits import (
    CIRCUIT_REQUESTS_BURST,
    CIRCUIT_REQUESTS_PER_S,
    CIRCUITS_ARRIVING_MAX,
)
from p2p.host.relay.messages import CircuitOffered, CircuitOpened, CircuitRefused
from p2p.host.relay.relayed_stream import RelayedStream
from p2p.host.relay.rules import REFUSALS
from p2p.host.relay.talk import hear, say
from p2p.ids import PeerId
from p2p.link.stream import LinkStream
from p2p.link.yamux import frames as yamux

_HEAR_WITHIN_S = 5.0
"""The offer comes with what opens the stream."""

Welcome = Callable[[RelayedStream, PeerId, Callable[[], None]], Awaitable[None]]
"""Carries an inbound connection over a circuit; the peer it must be; what to call once decided."""


class Taking:
    """Circuits that relays offer us."""

    def __init__(self, me: PeerId, welcome: Welcome) -> None:
        self._me, self._welcome = me, welcome
        self._asked = Buckets(CIRCUIT_REQUESTS_BURST, CIRCUIT_REQUESTS_PER_S)
        self._arriving = Counter[PeerId]()
        """By relay: circuits whose far ends are not admitted yet, at most CIRCUITS_ARRIVING_MAX."""

    async def serve(self, conn: PeerConn, stream: LinkStream) -> None:
        """A relay offers a circuit; runs until that is over."""
        try:
            with trio.fail_after(_HEAR_WITHIN_S):
                offer = await hear(stream)
            if not isinstance(offer, CircuitOffered):
                raise WireError(f"{type(offer).__name__} instead of CircuitOffered")
            code = self._why_not(conn, offer)
            if code is not None:
                await say(stream, CircuitRefused(code, REFUSALS[code]))
                stream.finish()
                return
            await say(stream, CircuitOpened())
        except WireError as exc:
            conn.link.close(f"the peer broke the protocol: {exc}", yamux.PROTOCOL_ERROR)
            return
        except (StreamResetError, LinkClosedError, trio.TooSlowError):
            stream.reset()
            return
        await self._take(conn.peer, stream, offer)

    def _why_not(self, conn: PeerConn, offer: CircuitOffered) -> str | None:
        if conn.relay is not None or conn.is_bulk:
            return "relayed"
        if offer.source in (self._me, conn.peer):
            return "self"
        if self._arriving[conn.peer] >= CIRCUITS_ARRIVING_MAX:
            return "busy"
        return None if self._asked.take(conn.peer, 1, trio.current_time()) else "busy"

    async def _take(self, relay: PeerId, stream: LinkStream, offer: CircuitOffered) -> None:
        arriving = [relay]

        def decided() -> None:
            while arriving:
                self._arriving[arriving.pop()] -= 1

        self._arriving[relay] += 1
        transport = RelayedStream(stream, relay, is_bulk=offer.is_bulk)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transport.see_out)
                await self._welcome(transport, offer.source, decided)
                await transport.aclose()
        finally:
            decided()
            self._arriving += Counter()  # of those that have none it keeps nothing
