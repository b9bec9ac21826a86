"""Frames: how one is read, and how one waits to leave."""

from typing import Final, NamedTuple, TypeAlias, cast

from p2p.errors import WireError
from p2p.host.rpc.calls import OutgoingCall
from p2p.host.rpc.messages import Call, Cancel, Cast, ChannelOpened, Chunk, Credit, Refused, Reply
from p2p.limits import CONTROL_FRAME_BYTES_MAX, DATA_FRAME_BYTES_MAX
from p2p.wire.codec import Message, decode_as, number_in, number_of

ChannelFrame: TypeAlias = ChannelOpened | Call | Reply | Refused | Cancel | Chunk | Credit
"""Those that belong to a channel."""

Frame: TypeAlias = ChannelFrame | Cast

_KINDS: Final[dict[int, type[Message]]] = {
    number_of(kind): kind
    for kind in (ChannelOpened, Call, Reply, Refused, Cancel, Chunk, Credit, Cast)
}


class SmallFrame(NamedTuple):
    """One that is not of a body: these go first."""

    frame: bytes
    call: OutgoingCall | None = None
    """The call of ours that it begins, if it does: it stays here when its caller has left."""


def decode_frame(frame: bytes) -> Frame:
    """What a frame says. Raises WireError."""
    number = number_in(frame)
    kind = _KINDS.get(number)
    if kind is None:
        raise WireError(f"no frame has the number {number}")
    bytes_max = DATA_FRAME_BYTES_MAX if kind is Chunk else CONTROL_FRAME_BYTES_MAX
    return cast("Frame", decode_as(kind, frame, bytes_max))  # as the table says
