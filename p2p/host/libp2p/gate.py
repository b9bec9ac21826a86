"""What a peer may ask for on a new stream, and the fence around whatever answers.

Strangers get identify, ping and admission; everything else waits until the connection is in use,
or is for `guests` where there are any.
libp2p's own handlers raise on bytes they dislike, and a stock host dies of the first such
exception (or of a protocol id that is not UTF-8); here it costs the peer one stream.
"""

from collections.abc import Callable
from typing import Final

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import StreamHandlerFn, TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.host.ping import ID as PING_ID
from libp2p.identity.identify.identify import ID as IDENTIFY_ID
from libp2p.io.abc import ReadWriteCloser
from libp2p.network.stream.net_stream import NetStream
from libp2p.protocol_muxer.multiselect import MULTISELECT_PROTOCOL_ID, is_valid_handshake
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator

from p2p.errors import WireError
from p2p.host.libp2p.bridge import MuxedLink, MuxedStream
from p2p.host.libp2p.guests import Guests
from p2p.host.libp2p.handshake_socket import check_asked
from p2p.host.peers.peer import PeerConn
from p2p.limits import MULTISTREAM_LINE_BYTES_MAX
from p2p.link.agreement import opening
from p2p.link.stream import LinkStream

_NEGOTIATE_WITHIN_S: Final = 10.0
_PROPOSALS_MAX: Final = 16
_OPEN_TO_STRANGERS: Final = (str(IDENTIFY_ID), str(PING_ID))

TakeStream = Callable[[PeerConn, LinkStream], None]


class Gate:
    """Serves every stream that peers open with us."""

    def __init__(self, host: BasicHost, conn_of: Callable[[MuxedLink], PeerConn | None]) -> None:
        self._host = host
        self._conn_of = conn_of
        self._ours: dict[str, TakeStream] = {}
        self._for_strangers = set(_OPEN_TO_STRANGERS)
        self.guests = Guests()
        self.faults = 0

    def take(self, protocol: str, take: TakeStream, *, from_strangers: bool = False) -> None:
        """Hand streams of one of our own protocols to `take`, negotiated and otherwise unread."""
        self._ours[protocol] = take
        if from_strangers:
            self._for_strangers.add(protocol)

    def take_ours(self, conn: PeerConn, stream: LinkStream) -> bool:
        """Take a new stream that begins with one of our protocols, if the peer may have it now.

        A peer of ours sends the whole opening at once: no task, no round trip, nothing of libp2p
        is needed to answer it. Everything else goes the way of `serve`.
        """
        for protocol, take in self._ours.items():
            may_have = conn.is_live or protocol in self._for_strangers
            if may_have and stream.take_prefix(opening(protocol)):
                stream.write_some(opening(protocol))
                take(conn, stream)
                return True
        return False

    async def serve(self, stream: INetStream) -> None:
        """Negotiate and answer one stream; libp2p calls this for each."""
        try:
            conn, _ = self._parts(stream)
            await self.guests.pay(conn)
            with trio.fail_after(_NEGOTIATE_WITHIN_S):
                protocol = await self._negotiate(stream)
            await self._hand_over(stream, protocol)
        except Exception:
            # The fence: libp2p's handlers raise anything, and none of it may end the host. What
            # is ours does not run in here (`_hand_over` only queues it), so our bugs still show.
            self.faults += 1
            await stream.reset()

    async def _hand_over(self, stream: INetStream, protocol: str) -> None:
        conn, link_stream = self._parts(stream)
        if protocol in self._ours:
            self._ours[protocol](conn, link_stream)
            return
        stream.set_protocol(TProtocol(protocol))
        handler = self._handler(protocol)
        assert handler is not None
        if conn.knock.is_guest:
            assert isinstance(stream, NetStream)
            await self.guests.attend(conn, stream, protocol, handler)
            return
        await handler(stream)

    async def _negotiate(self, stream: INetStream) -> str:
        talk = MultiselectCommunicator(_Lines(stream))
        await talk.write(MULTISELECT_PROTOCOL_ID)
        if not is_valid_handshake(await talk.read()):
            raise WireError("the stream does not begin with multistream")
        for _ in range(_PROPOSALS_MAX):
            wanted = await talk.read()
            if await self._is_served(stream, wanted):
                await talk.write(wanted)
                return wanted
            await talk.write("na")
        raise WireError("the peer asks for protocols without end")

    async def _is_served(self, stream: INetStream, protocol: str) -> bool:
        if protocol not in self._ours and self._handler(protocol) is None:
            return False
        if protocol not in self._for_strangers:
            conn, _ = self._parts(stream)
            if self.guests.welcome(conn, protocol):
                return True
            await conn.decided.wait()
            return conn.joined.is_set()
        return True

    def _handler(self, protocol: str) -> StreamHandlerFn | None:
        return self._host.multiselect.handlers.get(TProtocol(protocol))

    def _parts(self, stream: INetStream) -> tuple[PeerConn, LinkStream]:
        assert isinstance(stream, NetStream)
        assert isinstance(stream.muxed_stream, MuxedStream)
        conn = self._conn_of(stream.muxed_stream.muxed_conn)
        if conn is None:
            raise WireError("the connection is already gone")
        return conn, stream.muxed_stream.stream


class _Lines(ReadWriteCloser):
    """A stream while its protocol is agreed on: no line may be longer than a name."""

    def __init__(self, stream: INetStream) -> None:
        self._stream = stream

    async def read(self, n: int | None = None) -> bytes:
        """1 to n bytes. WireError for a line without end."""
        check_asked(n, MULTISTREAM_LINE_BYTES_MAX)
        return await self._stream.read(n)

    async def write(self, data: bytes) -> None:
        """Send it."""
        await self._stream.write(data)

    async def close(self) -> None:
        """The stream outlives the talk: nothing."""

    def get_remote_address(self) -> tuple[str, int] | None:
        """Host and port of the other end."""
        return self._stream.get_remote_address()
