"""From a connected socket to an encrypted, multiplexed connection, by libp2p's upgrader."""

from collections.abc import Callable

import trio
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.noise.exceptions import PeerIDMismatchesPubkey
from libp2p.transport.upgrader import TransportUpgrader

from p2p.errors import P2PError, WireError
from p2p.host.libp2p.bridge import MuxedLink

_FIRST_BYTES = b"\x13/multistream/1.0.0\n"
_TELLING_BYTES = len(b"HTTP/")


class UpgradeError(P2PError):
    """The other end did not complete the handshake; `heard` is how its first bytes looked."""

    def __init__(self, why: str, heard: bytes, *, is_other_peer: bool) -> None:
        super().__init__(why)
        self.heard = heard
        self.is_other_peer = is_other_peer


def is_multistream(heard: bytes) -> bool:
    """True while what was heard can be how a libp2p peer begins."""
    return _FIRST_BYTES.startswith(heard[: len(_FIRST_BYTES)])


class HeardStream(TrioTCPStream):
    """A socket that remembers the first bytes, says when they came, and stops at wrong ones."""

    def __init__(self, stream: trio.SocketStream, on_first: Callable[[], None]) -> None:
        super().__init__(stream)
        self.heard = b""
        self._on_first = on_first

    async def read(self, n: int | None = None) -> bytes:
        """1 to n bytes, b"" at the end; WireError when no libp2p peer would begin like that."""
        data = await super().read(n)
        if data and not self.heard:
            self._on_first()
        if len(self.heard) < len(_FIRST_BYTES):
            self.heard += data
            if len(self.heard) >= _TELLING_BYTES and not is_multistream(self.heard):
                raise WireError("the other end does not begin as a libp2p peer does")
        return data


def _nothing() -> None:
    pass


async def upgrade(
    upgrader: TransportUpgrader,
    socket: trio.SocketStream,
    peer: ID | None,
    on_first: Callable[[], None] = _nothing,
) -> MuxedLink:
    """Shake hands as the dialler of `peer`, or as the acceptor when that is None.

    The socket belongs to the connection returned; on any failure it is closed. Raises
    UpgradeError. The caller sets the deadline.
    """
    stream = HeardStream(socket, on_first)
    raw = RawConnection(stream, peer is not None)
    try:
        secure = await upgrader.upgrade_security(raw, peer is not None, peer)
        muxed = await upgrader.upgrade_connection(secure, secure.get_remote_peer())
    except Exception as exc:
        # libp2p, the Noise library and protobuf raise almost anything on bytes they dislike.
        await trio.aclose_forcefully(socket)
        is_other_peer = any(isinstance(cause, PeerIDMismatchesPubkey) for cause in _causes(exc))
        raise UpgradeError(
            f"{type(exc).__name__}: {exc}", stream.heard, is_other_peer=is_other_peer
        ) from exc
    except BaseException:
        await trio.aclose_forcefully(socket)
        raise
    assert isinstance(muxed, MuxedLink), "the upgrader's muxer is ours"
    return muxed


def _causes(exc: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while exc is not None and len(chain) < 10:
        chain.append(exc)
        exc = exc.__cause__
    return chain
