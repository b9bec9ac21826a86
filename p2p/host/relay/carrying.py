"""The relay's part: members ask for circuits to other members, and their bytes are handed on.

Both ends are members, as the connections in use are those of admitted peers; a removed one's
circuits end with its connection. No connection is opened for anybody, nothing is carried for
whoever is reached by relay itself, and nothing is known of what is carried but how much it is.
"""

from collections import Counter
from collections.abc import Callable

import trio

from p2p.buckets import Buckets
from p2p.errors import LinkClosedError, StreamLimitError, StreamResetError, WireError
from p2p.host.peers.config import RelayConfig
from p2p.host.peers.framing import check_answer
from p2p.host.peers.peer import PeerConn
from p2p.host.port import CarriedTotals
from p2p.host.relay.limits import (
    CIRCUIT_BULK_WINDOW_BYTES,
    CIRCUIT_REQUESTS_BURST,
    CIRCUIT_REQUESTS_PER_S,
    CIRCUIT_WINDOW_BYTES,
)
from p2p.host.relay.messages import CircuitOffered, CircuitOpened, CircuitRefused, CircuitWanted
from p2p.host.relay.rules import REFUSALS, Circuit, meaning_of, why_full
from p2p.host.relay.splice import RateCap, splice
from p2p.host.relay.talk import hear, say
from p2p.ids import PeerId
from p2p.link.agreement import opening
from p2p.link.stream import LinkStream
from p2p.link.yamux import frames as yamux

_HEAR_WITHIN_S = 5.0
"""The wish comes with what opens the stream."""


class Carrying:
    """The circuits of one relay."""

    def __init__(
        self,
        me: PeerId,
        protocol: str,
        config: RelayConfig,
        live_conn: Callable[[PeerId], PeerConn | None],
    ) -> None:
        """`protocol` is what circuits are offered by; `live_conn` a peer's first connection."""
        self._me, self._protocol, self._config = me, protocol, config
        self._live_conn = live_conn
        self._cap = RateCap(config.bytes_per_s)
        self._asked = Buckets(CIRCUIT_REQUESTS_BURST, CIRCUIT_REQUESTS_PER_S)
        self._circuits: dict[Circuit, None] = {}
        """Those that are carried or about to be, oldest first; bounded by `rules.why_full`."""
        self._total = Counter[str]()
        """What is over: circuits, bytes, and refused ones."""

    def carried(self) -> CarriedTotals:
        """What it is now."""
        running = sum(circuit.carried_bytes for circuit in self._circuits)
        total = self._total
        return CarriedTotals(
            len(self._circuits), total["circuits"], total["bytes"] + running, total["refused"]
        )

    async def serve(self, conn: PeerConn, stream: LinkStream) -> None:
        """A peer asks for a circuit, and has it for as long as both ends keep it."""
        try:
            with trio.fail_after(_HEAR_WITHIN_S):
                wish = await hear(stream)
            if not isinstance(wish, CircuitWanted):
                raise WireError(f"{type(wish).__name__} instead of CircuitWanted")
            await self._answer(conn, stream, wish)
        except WireError as exc:
            conn.link.close(f"the peer broke the protocol: {exc}", yamux.PROTOCOL_ERROR)
        except (StreamResetError, LinkClosedError, trio.TooSlowError):
            stream.reset()

    async def _answer(self, conn: PeerConn, stream: LinkStream, wish: CircuitWanted) -> None:
        circuit = Circuit(conn.peer, wish.target, wish.is_bulk)
        code = self._why_not(conn, circuit)
        if code is not None:
            await self._refuse(stream, code)
            return
        self._circuits[circuit] = None
        try:
            await self._carry(stream, circuit)
        finally:
            del self._circuits[circuit]
            self._total["bytes"] += circuit.carried_bytes

    def _why_not(self, conn: PeerConn, circuit: Circuit) -> str | None:
        if not self._config.carries:
            return "off"
        if not self._asked.take(conn.peer, 1, trio.current_time()):
            return "busy"
        if conn.relay is not None or conn.is_bulk:
            return "relayed"
        if circuit.target in (self._me, conn.peer):
            return "self"
        other = self._live_conn(circuit.target)
        if other is None or other.relay is not None:
            return "absent"
        return why_full(self._circuits, circuit)

    async def _refuse(self, stream: LinkStream, code: str) -> None:
        self._total["refused"] += 1
        await say(stream, CircuitRefused(code, REFUSALS[code]))
        stream.finish()

    async def _carry(self, near: LinkStream, circuit: Circuit) -> None:
        far, code = await self._offer(circuit)
        if far is None:
            await self._refuse(near, code)
            return
        try:
            window = CIRCUIT_BULK_WINDOW_BYTES if circuit.is_bulk else CIRCUIT_WINDOW_BYTES
            near.limit_window(window)
            await say(near, CircuitOpened())
            self._total["circuits"] += 1
            await splice(circuit, near, far, self._cap)
        finally:
            far.reset()

    async def _offer(self, circuit: Circuit) -> tuple[LinkStream | None, str]:
        """A stream to the other end that it takes for this circuit, or why there is none."""
        other = self._live_conn(circuit.target)
        if other is None:
            return None, "absent"
        window = CIRCUIT_BULK_WINDOW_BYTES if circuit.is_bulk else CIRCUIT_WINDOW_BYTES
        try:
            far = other.link.open_stream(window)
        except (LinkClosedError, StreamLimitError):
            return None, "absent"
        code = "silent"
        try:
            with trio.move_on_after(self._config.answer_within_s):
                code = await self._agree(far, circuit)
        except WireError as exc:
            code = "declined"
            other.link.close(f"the peer broke the protocol: {exc}", yamux.PROTOCOL_ERROR)
        except (StreamResetError, LinkClosedError):
            code = "declined"
        finally:
            if code:
                far.reset()
        return (None, code) if code else (far, "")

    async def _agree(self, far: LinkStream, circuit: Circuit) -> str:
        """Offer it; empty once the other end has taken it, else why not."""
        offer = CircuitOffered(circuit.source, circuit.is_bulk)
        await say(far, offer, opening(self._protocol))
        try:
            await check_answer(far, self._protocol)
        except WireError:  # a node of a version without circuits
            return "declined"
        match await hear(far):
            case CircuitOpened():
                return ""
            case CircuitRefused(code):
                return code if meaning_of(code) == REFUSALS.get(code) else "declined"
            case other:
                raise WireError(f"{type(other).__name__} instead of CircuitOpened")
