"""From a socket or a circuit to an encrypted, multiplexed connection, by libp2p's upgrader."""

from collections.abc import Callable

import trio
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.noise.exceptions import PeerIDMismatchesPubkey
from libp2p.transport.upgrader import TransportUpgrader

from p2p.errors import P2PError
from p2p.host.libp2p.bridge import MuxedLink
from p2p.host.libp2p.handshake_socket import HeardStream, Transport


class UpgradeError(P2PError):
    """The other end did not complete the handshake; `heard` is how its first bytes looked."""

    def __init__(self, why: str, heard: bytes, *, is_other_peer: bool) -> None:
        super().__init__(why)
        self.heard = heard
        self.is_other_peer = is_other_peer


def _nothing() -> None:
    pass


def _failure(exc: Exception, heard: bytes) -> UpgradeError:
    is_other_peer = any(isinstance(cause, PeerIDMismatchesPubkey) for cause in _causes(exc))
    return UpgradeError(f"{type(exc).__name__}: {exc}", heard, is_other_peer=is_other_peer)


async def upgrade(
    upgrader: TransportUpgrader,
    socket: Transport,
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
        raise _failure(exc, stream.heard) from exc
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
