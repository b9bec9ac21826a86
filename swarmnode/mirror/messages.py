"""Messages about what mirrors keep: numbers 172-173."""

from p2p.wire.codec import Message


class ReadMirrored(Message, frozen=True, tag=172):
    """Call to machines of one's own lab: give me some bytes of that file of the internet."""

    name: str
    """Its digest, as `sha256-HEX` or `git-HEX`."""
    start: int
    count: int
    """0: do you have it, and how long is it?"""


class MirroredPiece(Message, frozen=True, tag=173):
    """Reply: how long the whole file is. The bytes are the body."""

    size: int
