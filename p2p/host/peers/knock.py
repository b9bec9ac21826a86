"""How the peer of one connection asks to be let in: to be admitted, as a guest, or not at all."""

import msgspec
import trio

from p2p.link.stream import LinkStream


class Knock(msgspec.Struct, eq=False):
    """The stream on which both sides admit, and who waits for it."""

    stream: LinkStream | None = None
    """None until it is opened."""
    is_guest: bool = False
    """A libp2p peer that is no member and asks for no admission (`guests`)."""
    is_over: trio.Event = msgspec.field(default_factory=trio.Event)
    """Set when the peer opened that stream, or never will."""

    def offer(self, stream: LinkStream) -> None:
        """The peer opened the stream: the first counts, another is reset."""
        if self.stream is not None or self.is_guest:
            stream.reset()
            return
        self.stream = stream
        self.is_over.set()

    def be_guest(self) -> None:
        """There will be no admission: whoever waits for it goes on without."""
        self.is_guest = True
        self.is_over.set()

    def give_up(self) -> None:
        """The connection ended: who waits for the stream need wait no more."""
        self.is_over.set()
