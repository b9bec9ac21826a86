"""Our Noise session and Yamux in libp2p's clothes, so that its upgrader can put them on.

libp2p does the multistream talk and the Noise XX handshake; then `Noise` takes the two keys out
of its session and `Muxer` puts our Connection on top. libp2p's protocols (identify, ping,
Kademlia) see ordinary muxed streams.
"""

from collections.abc import Callable
from typing import Self

import trio
from libp2p.abc import IMuxedConn, IMuxedStream, IRawConnection, ISecureConn, ISecureTransport
from libp2p.connection_types import ConnectionType
from libp2p.crypto.keys import PrivateKey, PublicKey
from libp2p.custom_types import TProtocol
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.noise.io import NoiseTransportReadWriter
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
from libp2p.security.noise.transport import Transport
from libp2p.security.secure_session import SecureSession
from libp2p.security.security_multistream import SecurityMultistream
from libp2p.stream_muxer.exceptions import (
    MuxedConnUnavailable,
    MuxedStreamEOF,
    MuxedStreamReset,
)
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_ID
from multiaddr import Multiaddr
from trio.socket import SocketType

from p2p.errors import LinkClosedError, StreamLimitError, StreamResetError, WireError
from p2p.host.libp2p.handshake_socket import HeardStream, check_asked
from p2p.limits import (
    MULTISTREAM_LINE_BYTES_MAX,
    NODE_UNREAD_BYTES_MAX,
    NODE_WINDOWS_BYTES_MAX,
    STREAMS_OPENED_BURST,
    STREAMS_OPENED_PER_S,
)
from p2p.link.channel import SecureChannel
from p2p.link.config import LinkConfig
from p2p.link.connection import Connection
from p2p.link.memory import UnreadMemory
from p2p.link.noise import NoiseSession
from p2p.link.stream import LinkStream


class SecureLink(ISecureConn):
    """A connection after the Noise handshake, as the muxer's multistream talk reads it."""

    def __init__(self, stock: ISecureConn) -> None:
        assert isinstance(stock, SecureSession), f"Noise made a {type(stock).__name__}"
        assert isinstance(stock.conn, NoiseTransportReadWriter)
        self._stock = stock
        self.is_initiator: bool = stock.is_initiator
        raw = stock.conn.read_writer.read_write_closer
        assert isinstance(raw, RawConnection)
        socket = raw.stream
        if not isinstance(socket, TrioTCPStream):
            raise TypeError(f"the transport under Noise is a {type(socket).__name__}")
        under = socket.stream
        self.socket = under.socket if isinstance(under, trio.SocketStream) else None
        """Under it all; None of a connection by relay."""
        session = _session_of(stock.conn)
        self.channel = SecureChannel(socket.stream, session)
        early = socket.take_unread() if isinstance(socket, HeardStream) else b""
        self._plain = bytearray().join(session.open(early))

    async def read(self, n: int | None = None) -> bytes:
        """1 to n bytes; ConnectionClosedError at the end, WireError for a name without end."""
        check_asked(n, MULTISTREAM_LINE_BYTES_MAX)
        while not self._plain:
            try:
                plaintexts = await self.channel.receive()
            except (LinkClosedError, WireError) as exc:
                raise ConnectionClosedError(str(exc)) from exc
            if not plaintexts:
                raise ConnectionClosedError("the peer closed the connection")
            self._plain += b"".join(plaintexts)
        data = bytes(self._plain[:n])
        del self._plain[: len(data)]
        return data

    async def write(self, data: bytes) -> None:
        """Send at once: nothing is multiplexed yet."""
        try:
            await self.channel.send(data)
        except LinkClosedError as exc:
            raise ConnectionClosedError(str(exc)) from exc

    async def close(self) -> None:
        """Close the socket."""
        await self.channel.aclose()

    def take_unread(self) -> bytes:
        """Plaintext that arrived behind the last byte read: the muxer's first frames."""
        data, self._plain = bytes(self._plain), bytearray()
        return data

    def get_local_peer(self) -> ID:
        """Our own id."""
        return self._stock.get_local_peer()

    def get_local_private_key(self) -> PrivateKey:
        """Our own key."""
        return self._stock.get_local_private_key()

    def get_remote_peer(self) -> ID:
        """The id the peer proved."""
        return self._stock.get_remote_peer()

    def get_remote_public_key(self) -> PublicKey:
        """The key the peer proved."""
        return self._stock.get_remote_public_key()

    def get_remote_address(self) -> tuple[str, int] | None:
        """Host and port of the other end."""
        return self._stock.get_remote_address()

    def get_transport_addresses(self) -> list[Multiaddr]:
        """The other end as a multiaddr."""
        return self._stock.get_transport_addresses()

    def get_connection_type(self) -> ConnectionType:
        """As libp2p takes it: how a peer is reached is ours to know (`PeerConn.relay`)."""
        return self._stock.get_connection_type()


def _session_of(conn: NoiseTransportReadWriter) -> NoiseSession:
    """Our session with the two keys of a handshake."""
    noise = conn.noise_state.noise_protocol
    seals, opens = noise.cipher_state_encrypt, noise.cipher_state_decrypt
    return NoiseSession(
        send_key=seals.k, receive_key=opens.k, send_nonce=seals.n, receive_nonce=opens.n
    )


class Noise(Transport):
    """libp2p's Noise handshake, our session."""

    async def secure_inbound(self, conn: IRawConnection) -> ISecureConn:
        """Answer a handshake."""
        return SecureLink(await super().secure_inbound(conn))

    async def secure_outbound(self, conn: IRawConnection, peer_id: ID) -> ISecureConn:
        """Begin a handshake with a peer whose id is known."""
        return SecureLink(await super().secure_outbound(conn, peer_id))


class Security(SecurityMultistream):
    """Offers Noise alone; a dialler does not wait to hear that it is taken."""

    async def select_transport_and_protocol(
        self, conn: IRawConnection, is_initiator: bool
    ) -> tuple[TProtocol, ISecureTransport]:
        """Agree on Noise over a socket."""
        if not is_initiator:
            return await super().select_transport_and_protocol(conn, is_initiator)
        assert isinstance(conn, RawConnection)
        assert isinstance(conn.stream, HeardStream)
        conn.stream.agree_ahead(NOISE_ID)
        return NOISE_ID, self.transports[NOISE_ID]


class MuxedStream(IMuxedStream):
    """A LinkStream for libp2p's own protocols."""

    def __init__(self, muxed_conn: "MuxedLink", stream: LinkStream) -> None:
        self.muxed_conn: MuxedLink = muxed_conn
        self.stream = stream

    async def read(self, n: int | None = None) -> bytes:
        """1 to n bytes; MuxedStreamEOF at the end."""
        try:
            data = await (self.stream.read() if n is None or n < 0 else self.stream.read(n))
        except (StreamResetError, LinkClosedError) as exc:
            raise MuxedStreamReset(str(exc)) from exc
        if not data and n != 0:
            raise MuxedStreamEOF("the peer has finished")
        return data

    async def write(self, data: bytes) -> None:
        """Queue all bytes."""
        try:
            await self.stream.write(data)
        except (StreamResetError, LinkClosedError) as exc:
            raise MuxedStreamReset(str(exc)) from exc

    async def close(self) -> None:
        """Send no more."""
        self.stream.finish()
        await trio.lowlevel.checkpoint_if_cancelled()

    async def reset(self) -> None:
        """Give the stream up."""
        self.stream.reset()
        await trio.lowlevel.checkpoint_if_cancelled()

    def set_deadline(self, ttl: int) -> None:
        """Not offered: cancel scopes do that."""
        raise NotImplementedError

    def get_remote_address(self) -> tuple[str, int] | None:
        """Host and port of the other end."""
        return self.muxed_conn.get_remote_address()

    async def __aenter__(self) -> Self:
        return self


class MuxedLink(IMuxedConn):
    """A Connection for libp2p's Swarm."""

    def __init__(
        self,
        conn: ISecureConn,
        peer_id: ID,
        config: LinkConfig | None = None,
        memory: UnreadMemory | None = None,
    ) -> None:
        assert isinstance(conn, SecureLink)
        self.secured_conn = conn
        self.peer_id = peer_id
        self.event_started = trio.Event()
        self.link = Connection(
            conn.channel, is_initiator=conn.is_initiator, config=config, memory=memory
        )
        self._streams_paid_s = 0.0
        """When the streams opened so far have been earned, at STREAMS_OPENED_PER_S."""
        self.take_ours: Callable[[LinkStream], bool] = lambda _: False
        """Takes a stream that asks for one of our own protocols, without libp2p's negotiation."""
        self.link.feed_first(conn.take_unread())

    @property
    def is_initiator(self) -> bool:
        """True when we dialled."""
        return self.secured_conn.is_initiator

    @property
    def socket(self) -> SocketType | None:
        """Under it all; None of a connection by relay."""
        return self.secured_conn.socket

    @property
    def is_established(self) -> bool:
        """True while streams can be opened."""
        return self.event_started.is_set() and not self.is_closed

    @property
    def is_closed(self) -> bool:
        """True once every stream has failed."""
        return self.link.closed.is_set()

    async def start(self) -> None:
        """Carry streams until closed."""
        self.event_started.set()
        await self.link.run()

    async def close(self) -> None:
        """Say goodbye and wait until the socket is closed."""
        self.link.close("closed by us")
        await self.link.closed.wait()

    async def open_stream(self) -> MuxedStream:
        """A new stream to the peer."""
        try:
            return MuxedStream(self, self.link.open_stream())
        except (LinkClosedError, StreamLimitError) as exc:
            raise MuxedConnUnavailable(str(exc)) from exc

    async def accept_stream(self) -> MuxedStream:
        """The next stream for libp2p's protocols, no sooner than the peer may open another."""
        while True:
            await self._next_may_come()
            try:
                stream = await self.link.accept_stream()
            except LinkClosedError as exc:
                raise MuxedConnUnavailable(str(exc)) from exc
            if not self.take_ours(stream):
                return MuxedStream(self, stream)

    async def _next_may_come(self) -> None:
        self._streams_paid_s = max(self._streams_paid_s, trio.current_time())
        self._streams_paid_s += 1 / STREAMS_OPENED_PER_S
        await trio.sleep_until(self._streams_paid_s - STREAMS_OPENED_BURST / STREAMS_OPENED_PER_S)

    def get_remote_address(self) -> tuple[str, int] | None:
        """Host and port of the other end."""
        return self.secured_conn.get_remote_address()

    def get_transport_addresses(self) -> list[Multiaddr]:
        """The other end as a multiaddr."""
        return self.secured_conn.get_transport_addresses()

    def get_connection_type(self) -> ConnectionType:
        """As libp2p takes it: how a peer is reached is ours to know (`PeerConn.relay`)."""
        return self.secured_conn.get_connection_type()


class Muxer(MuxerMultistream):
    """Negotiates Yamux and answers with ours; stock libp2p would insist on its own."""

    def __init__(self, config: LinkConfig) -> None:
        super().__init__({TProtocol(YAMUX_ID): MuxedLink})
        self._config = config
        self.memory = UnreadMemory(NODE_UNREAD_BYTES_MAX, NODE_WINDOWS_BYTES_MAX)
        """Shared by all connections of the node."""

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        """Agree on Yamux over a secured connection; a dialler does not wait for the answer."""
        protocol = TProtocol(YAMUX_ID)
        if conn.is_initiator:
            assert isinstance(conn, SecureLink)
            conn.channel.agree_ahead(YAMUX_ID)
        else:
            protocol, _ = await self._selector.select(conn, False, self.negotiate_timeout)
        muxed = MuxedLink(conn, peer_id, self._config, self.memory)
        return self._annotate_connection(muxed, conn, protocol)
