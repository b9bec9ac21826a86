"""Every error the p2p package raises, and what the caller should do about it."""

import errno
from typing import Final

from p2p.ids import PeerId

DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""How the system says that there is no room on a disk, or in a quota of it."""


class P2PError(Exception):
    """Base of all errors in this package."""


class WireError(P2PError):
    """The remote sent bytes we refuse: end that connection."""


class PeerUnreachableError(P2PError):
    """No connection could be opened or kept: try another peer, or later."""

    def __init__(self, peer: PeerId, why: str) -> None:
        super().__init__(f"peer {peer} is unreachable: {why}")
        self.peer, self.why = peer, why


CAUSE_FULL: Final = "full"
"""The cause of a DialError for which neither the peer nor the way to it is to be blamed."""


CAUSE_RELAY: Final = "relay"
"""The cause of a DialError of a way by relay: no address of the peer was tried."""


class DialError(P2PError):
    """An address could not be reached; `cause` is one of dns, port, proxy, clock, token, peer,
    relay (no circuit) and full, which is ours alone: this machine keeps no more connections than
    it has.

    `tried` holds (address, cause, detail) of every address that was, this one included.
    """

    def __init__(
        self,
        address: str,
        cause: str,
        detail: str,
        tried: tuple[tuple[str, str, str], ...] = (),
    ) -> None:
        super().__init__(f"cannot join through {address}: {detail}")
        self.address, self.cause, self.detail = address, cause, detail
        self.tried = tried or ((address, cause, detail),)


class CallTimeoutError(P2PError):
    """The peer did not answer before the deadline: it may still act on the request."""

    def __init__(self, peer: PeerId, request: str, timeout_s: float) -> None:
        super().__init__(f"{request} to {peer} had no answer within {timeout_s:.1f} s")
        self.peer, self.request, self.timeout_s = peer, request, timeout_s


class RemoteRefusalError(P2PError):
    """The peer understood and said no: `code` is stable, `detail` is for people."""

    def __init__(self, peer: PeerId, code: str, detail: str) -> None:
        super().__init__(f"{peer} refused: {detail} ({code})")
        self.peer, self.code, self.detail = peer, code, detail


class UnsayableError(RemoteRefusalError):
    """What was to be asked fits no message: nothing was sent, and no later try does better.

    Of the peer's refusals, so that whoever asks has to foresee this one, too: what a request is
    made of may have come from others.
    """

    def __init__(self, peer: PeerId, detail: str) -> None:
        super().__init__(peer, "too-long", detail)


class RefusalError(P2PError):
    """Raised by a handler to refuse a call; the caller gets RemoteRefusalError."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{detail} ({code})")
        self.code, self.detail = code, detail


class IdentityError(P2PError):
    """A key, token or certificate on this machine cannot be used: the text names the remedy."""


class NotEntitledError(IdentityError):
    """The key that may do it is not on this machine, or may not: the text says who may."""


class UnsafeFileError(IdentityError):
    """A private file or folder is another user's, or open to others: the text says what to do."""


class DamagedKeyError(IdentityError):
    """The file of a key holds none of ours: the text names it."""


class UnwritableFileError(IdentityError):
    """A private file or folder cannot be written: free the disk, or choose another SWARM_HOME."""


class AdmissionError(P2PError):
    """A peer was refused, by us or by the peer; `code` says what is wrong, mostly with its token.

    Codes: expired, signature, network, clock, revoked, used (an invite, before); malformed,
    version, busy (asked too often), full (as many peers as there is room for), closed (gone before
    it was decided).
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{detail} ({code})")
        self.code, self.detail = code, detail


class InviteError(IdentityError):
    """An invite cannot be used: `part` is format, truncated, checksum, content or expired."""

    def __init__(self, part: str, detail: str) -> None:
        super().__init__(detail)
        self.part, self.detail = part, detail


class LinkClosedError(P2PError):
    """The connection under a stream has ended: whatever was in flight is lost."""


class StreamResetError(P2PError):
    """One side gave the stream up: bytes in flight are lost, the connection lives on."""


class StreamLimitError(P2PError):
    """The connection has no room for another stream: close one first."""


class ListenError(P2PError):
    """We cannot listen where we were told to: the text names the address and the remedy."""
