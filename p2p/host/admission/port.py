"""Who may join: the question a Host asks about every new connection before it is used.

Right after the handshake, when both sides have proved their keys, the side that dialled opens one
stream and both sides run `admit` over it. A connection serves nothing but libp2p's identify and
ping until both have returned.
"""

from typing import Protocol

from p2p.identity.caller import Caller, uncertified
from p2p.ids import PeerId


class AdmitStream(Protocol):
    """Whole frames to and from the peer that is being admitted."""

    async def send(self, frame: bytes) -> None:
        """Send up to ADMIT_FRAME_BYTES_MAX bytes as one frame; AdmissionError if the link ends."""

    async def receive(self) -> bytes:
        """The peer's next frame; AdmissionError if the link ends, WireError if it is too long."""
        ...


class Admission(Protocol):
    """Decides, with the peer, whether it belongs to this network."""

    def our_caller(self, own: PeerId) -> Caller:
        """Who our calls to ourselves come from; `own` is the host's peer id."""
        ...

    async def admit(self, peer: PeerId, stream: AdmitStream, initiator: bool) -> Caller:
        """Who the peer proved to be, once both sides agree.

        Raises AdmissionError to refuse, or when refused.

        The host gives this ADMIT_DEADLINE_S and then closes the connection. Whoever refuses tells
        the peer why (a frame of its own) before it raises: what was sent is flushed before the
        connection is closed. The exchange must end with neither side owing the other a frame.
        """
        ...


class OpenAdmission:
    """Everybody may join: for tests and for open networks that check elsewhere."""

    def our_caller(self, own: PeerId) -> Caller:
        """A person and a lab of our own."""
        return uncertified(own, is_me=True)

    async def admit(self, peer: PeerId, stream: AdmitStream, initiator: bool) -> Caller:
        """Agree without a word: the peer is a person and a lab of its own."""
        return uncertified(peer)
