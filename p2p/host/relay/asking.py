"""Who wants to be carried: a circuit to a peer by the first relay that has one."""

from collections.abc import Callable, Sequence
from typing import Final

import trio

from p2p.errors import (
    CAUSE_RELAY,
    DialError,
    LinkClosedError,
    StreamLimitError,
    StreamResetError,
    WireError,
)
from p2p.host.peers.config import RelayConfig
from p2p.host.peers.framing import check_answer
from p2p.host.peers.peer import PeerConn
from p2p.host.relay.limits import RELAYS_KNOWN_MAX
from p2p.host.relay.messages import CircuitOpened, CircuitRefused, CircuitWanted
from p2p.host.relay.rules import circuit_text, in_order, meaning_of
from p2p.host.relay.talk import hear, say
from p2p.ids import PeerId
from p2p.link.agreement import opening
from p2p.link.stream import LinkStream
from p2p.link.yamux import frames as yamux

_NO_RELAYS: Final = "it carries nothing for others: it is of a version without circuits"


class Asking:
    """Relays that are known, and the circuits asked of them."""

    def __init__(
        self,
        me: PeerId,
        protocol: str,
        config: RelayConfig,
        live_conn: Callable[[PeerId], PeerConn | None],
        connected: Callable[[], Sequence[PeerId]],
    ) -> None:
        self._me, self._protocol, self._config = me, protocol, config
        self._live_conn, self._connected = live_conn, connected
        self._relays: dict[PeerId, None] = {}
        """Members that say they carry circuits, the one heard of last at the end; bounded."""

    def note(self, peer: PeerId, *, carries: bool) -> None:
        """A member says whether it carries circuits."""
        self._relays.pop(peer, None)
        if carries:
            self._relays[peer] = None
            if len(self._relays) > RELAYS_KNOWN_MAX:
                del self._relays[next(iter(self._relays))]

    def relays_to(self, peer: PeerId) -> list[PeerId]:
        """Whom to ask for a circuit to a peer, first to ask first: connected to us directly."""
        relays = (relay for relay in self._connected() if self._may_carry(relay))
        return in_order(self._me, peer, (relay for relay in relays if relay != peer))

    def _may_carry(self, relay: PeerId) -> bool:
        conn = self._live_conn(relay) if relay in self._relays else None
        return conn is not None and conn.relay is None

    async def open(self, relay: PeerId, peer: PeerId, *, is_bulk: bool) -> LinkStream:
        """A circuit to a peer by one relay; DialError says what it, or the peer, answered."""
        where = circuit_text(relay, peer)
        conn = self._live_conn(relay)
        if conn is None or conn.relay is not None:
            raise DialError(where, CAUSE_RELAY, "there is no direct connection to that relay")
        try:
            stream = conn.link.open_stream()
        except (LinkClosedError, StreamLimitError) as exc:
            raise DialError(where, CAUSE_RELAY, f"the relay cannot be asked: {exc}") from exc
        why = f"the relay did not answer within {1.5 * self._config.answer_within_s:g} s"
        try:
            # The relay waits as long for the other end, and says so when that is silent.
            with trio.move_on_after(1.5 * self._config.answer_within_s):
                why = await self._ask(stream, CircuitWanted(peer, is_bulk))
        except WireError as exc:
            why = f"the relay broke the protocol: {exc}"
            conn.link.close(why, yamux.PROTOCOL_ERROR)
        except (LinkClosedError, StreamResetError) as exc:
            why = f"the relay went away: {exc}"
        finally:
            if why:
                stream.reset()
        if why:
            raise DialError(where, CAUSE_RELAY, why)
        return stream

    async def _ask(self, stream: LinkStream, wish: CircuitWanted) -> str:
        """Empty once the stream is a circuit, else why it is not."""
        await say(stream, wish, opening(self._protocol))
        try:
            await check_answer(stream, self._protocol)
        except WireError:
            return _NO_RELAYS
        match await hear(stream):
            case CircuitOpened():
                return ""
            case CircuitRefused(code):
                return f"the relay refuses: {meaning_of(code)}"
            case other:
                raise WireError(f"{type(other).__name__} instead of CircuitOpened")
