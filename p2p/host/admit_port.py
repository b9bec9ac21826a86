"""Who may join: the question a Host asks about every new connection before it is used.

Right after the handshake, when both sides have proved their keys, the side that dialled opens one
stream and both sides run `admit` over it. A connection serves nothing but libp2p's identify and
ping until both have returned.
"""

from typing import Protocol

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

    async def admit(self, peer: PeerId, stream: AdmitStream, initiator: bool) -> None:
        """Return once both sides agree; raise AdmissionError to refuse, or when refused.

        The host gives this ADMIT_DEADLINE_S and then closes the connection. Whoever refuses tells
        the peer why (a frame of its own) before it raises: what was sent is flushed before the
        connection is closed. The exchange must end with neither side owing the other a frame.
        """


class OpenAdmission:
    """Everybody may join: for tests and for open networks that check elsewhere."""

    async def admit(self, peer: PeerId, stream: AdmitStream, initiator: bool) -> None:
        """Agree without a word."""
