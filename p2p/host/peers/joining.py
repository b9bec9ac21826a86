"""Admission and settlement: what happens between the handshake and the first frame.

    dialler                                   acceptor
      |---- admit stream, Admission.admit ------>|      both prove that they belong
      |<--- Verdict (from the higher peer id) ---|      which connection counts
      |==== frames, Kademlia, gossip ===========>|

When two peers dial each other at once, two connections are admitted. The side with the higher
peer id keeps the first that is alive and refuses the other, so that both use the same one and no
frame is ever sent on a connection that loses. A direct connection takes over from a relayed one.
Neither side uses more than it has room for.

A second connection for bulk is admitted like the first. Only the side that dialled the first one
dials it, so it is the other side that says whether it is wanted.
"""

import trio

from p2p.errors import AdmissionError, LinkClosedError, StreamResetError, WireError
from p2p.host.admission.messages import Refusal
from p2p.host.admission.port import Admission
from p2p.host.peers.copies import ClonedKeys
from p2p.host.peers.framing import FrameTalk
from p2p.host.peers.in_use import InUse
from p2p.host.peers.outboxes import Boxes
from p2p.host.peers.peer import NoPlaceError, PeerConn, Verdict
from p2p.identity.caller import Caller
from p2p.ids import PeerId
from p2p.link.agreement import opening
from p2p.link.yamux import frames as yamux
from p2p.wire.codec import encode

_USED = (Verdict.USE, Verdict.TAKE_OVER)

_ALIVE_WITHIN_S = 1.0
"""A connection that answers no ping for so long gives way to a newer one."""


class Joining:
    """Takes connections from the handshake to use, or to their end."""

    def __init__(
        self,
        own: PeerId,
        protocol: str,
        admission: Admission,
        deadline_s: float,
        boxes: Boxes,
        in_use: InUse,
    ) -> None:
        """`protocol` and `protocol` + "/bulk" are what a dialler opens its admission with."""
        self._own = own
        self._protocol = protocol
        self._admission = admission
        self._deadline_s = deadline_s
        self._boxes, self._in_use = boxes, in_use
        self.copies = ClonedKeys(own)

    @property
    def me(self) -> Caller:
        """Who we are, as our own certificates say."""
        return self._admission.our_caller(self._own)

    async def join(self, conn: PeerConn) -> None:
        """Admit and settle; afterwards `conn` is in use, a guest's or closing, and `decided`."""
        try:
            with trio.fail_after(self._deadline_s):
                await self._admit(conn)
        except AdmissionError as exc:
            conn.refuse(exc)
        except WireError as exc:
            conn.refusal = AdmissionError("malformed", str(exc))
            conn.link.close(f"the peer broke the protocol: {exc}", yamux.PROTOCOL_ERROR)
        except trio.TooSlowError:
            conn.refuse(AdmissionError("closed", f"no admission within {self._deadline_s:g} s"))
        finally:
            conn.decided.set()

    async def _admit(self, conn: PeerConn) -> None:
        talk = await self._open_talk(conn)
        if talk is None:  # a guest
            return
        is_first = conn.carrier.is_initiator
        if not self._is_judge(conn) and not self._may_use(conn):
            refusal = NoPlaceError()
            await talk.send(encode(Refusal(refusal.code, refusal.detail)))
            raise refusal
        conn.caller = await self._admission.admit(conn.peer, talk, is_first)
        await self._settle(conn, talk)

    async def _open_talk(self, conn: PeerConn) -> FrameTalk | None:
        if not conn.carrier.is_initiator:
            knock = conn.knock
            await knock.is_over.wait()
            if knock.is_guest:
                return None
            if knock.stream is None:
                raise AdmissionError("closed", f"the peer went away: {conn.link.reason}")
            return FrameTalk(knock.stream)
        try:
            stream = conn.knock.stream = conn.link.open_stream()
            await stream.write(opening(self.protocol_of(conn)))
        except (LinkClosedError, StreamResetError) as exc:
            raise AdmissionError("closed", f"the peer went away while joining: {exc}") from exc
        return FrameTalk(stream, unchecked=self.protocol_of(conn))

    def protocol_of(self, conn: PeerConn) -> str:
        """What admission of this connection is asked for by."""
        return f"{self._protocol}/bulk" if conn.is_bulk else self._protocol

    async def _settle(self, conn: PeerConn, talk: FrameTalk) -> None:
        is_judge = self._is_judge(conn)
        if is_judge:
            await talk.agreed()
            verdict = await self._judge(conn)
        else:
            verdict = _verdict_in(await talk.receive())
            if verdict in _USED and not self._may_use(conn):
                raise NoPlaceError  # others have come meanwhile
        if verdict is Verdict.USE:
            self._in_use.use(conn)
        elif verdict is Verdict.TAKE_OVER:
            self._in_use.takeovers.begin(conn)
        if is_judge:
            await talk.send(bytes([verdict]))
        match verdict:
            case Verdict.DUPLICATE:
                conn.is_duplicate = True
                conn.link.close("another connection to this peer is in use")
            case Verdict.FULL:
                raise NoPlaceError if is_judge else _full_there()

    def _is_judge(self, conn: PeerConn) -> bool:
        """Whether it is we who say which connection counts."""
        return not conn.carrier.is_initiator if conn.is_bulk else self._own > conn.peer

    def _may_use(self, conn: PeerConn) -> bool:
        """Whether there is room for it, whatever the peer says: one instead of another has some."""
        return conn.is_bulk or self._boxes.has_place(conn.peer)

    async def _judge(self, conn: PeerConn) -> Verdict:
        if conn.is_bulk:
            return Verdict.USE if self._in_use.bulk.is_wanted(conn) else Verdict.DUPLICATE
        while (other := self._boxes.live_conn(conn.peer)) is not None:
            if self._in_use.takeovers.may(conn):
                return Verdict.TAKE_OVER
            if other.relay is not None and conn.relay is None:
                await self._replace(other)
                continue
            if conn.carrier.is_initiator:
                return Verdict.DUPLICATE
            if await self._is_alive(other):
                self.copies.refused(conn, other)
                return Verdict.DUPLICATE
            await self._replace(other)
        return Verdict.USE if self._boxes.has_place(conn.peer) else Verdict.FULL

    async def _replace(self, other: PeerConn) -> None:
        other.link.close("a newer connection to this peer replaces it")
        await other.link.closed.wait()
        await trio.lowlevel.checkpoint()

    async def _is_alive(self, conn: PeerConn) -> bool:
        with trio.move_on_after(_ALIVE_WITHIN_S):
            return await conn.link.pulse.answers()
        return False


def _full_there() -> AdmissionError:
    return AdmissionError("full", "the peer has as many connections as it can keep")


def _verdict_in(frame: bytes) -> Verdict:
    try:
        return Verdict(int.from_bytes(frame))
    except ValueError as exc:
        raise WireError(f"{frame[:8].hex()} is not a verdict") from exc
