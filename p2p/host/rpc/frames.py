"""Frames: how one is read, and how those that are not of a body wait to leave."""

from collections import deque
from typing import Final, TypeAlias, cast

from p2p.errors import WireError
from p2p.host.rpc.calls import OutgoingCall, OutgoingState
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


_LEFT: Final = OutgoingState.LEFT
"""Members of an enum are slow to look up."""


SmallFrame: TypeAlias = tuple[bytes, OutgoingCall | None]
"""One that is not of a body, and the call of ours that it begins, if it does."""


class SmallFrames:
    """Those of one channel, in the order in which they leave."""

    def __init__(self) -> None:
        self.waiting: deque[SmallFrame] = deque()
        """With questions whose callers have left, until these would be the most of it."""
        self.cancels: deque[bytes] = deque()
        """Of calls whose questions have left: nothing that waits here must go before them."""
        self._questions = 0
        """How many of them begin a call of ours."""
        self._in_vain = 0
        """How many of those nobody waits for any more."""

    @property
    def answers(self) -> int:
        """How many the peer has made us say: all but our questions and their Cancels."""
        return len(self.waiting) - self._questions

    def put(self, frame: bytes) -> None:
        """Say this."""
        self.waiting.append((frame, None))

    def ask(self, frame: bytes, call: OutgoingCall) -> None:
        """Say this, unless the caller has left by then."""
        self.waiting.append((frame, call))
        self._questions += 1

    def cancel(self, frame: bytes) -> None:
        """Say this of a call whose question has left: it frees the peer, so it leaves first."""
        self.cancels.append(frame)

    def was_left(self) -> None:
        """The caller of a question that waits here has left: what was to be said may go."""
        self._in_vain += 1
        if 2 * self._in_vain > len(self.waiting):
            kept = [
                (f, call) for f, call in self.waiting if call is None or call.state is not _LEFT
            ]
            self._questions -= self._in_vain
            self.waiting, self._in_vain = deque(kept), 0

    def take(self) -> SmallFrame | None:
        """The next that is to be said."""
        if self.cancels:
            return self.cancels.popleft(), None
        while self.waiting:
            small = self.waiting.popleft()
            call = small[1]
            if call is None:
                return small
            self._questions -= 1
            if call.state is not _LEFT:
                return small
            self._in_vain -= 1
        return None

    def clear(self) -> None:
        """Nothing of it is said any more."""
        self.waiting.clear()
        self.cancels.clear()
        self._questions = self._in_vain = 0

    def check_invariants(self) -> None:
        """What must hold after each step. Raises AssertionError."""
        calls = [call for _, call in self.waiting if call is not None]
        assert self._questions == len(calls), "questions are miscounted"
        in_vain = sum(call.state is _LEFT for call in calls)
        assert self._in_vain == in_vain, "questions in vain are miscounted"


def decode_frame(frame: bytes) -> Frame:
    """What a frame says. Raises WireError."""
    number = number_in(frame)
    kind = _KINDS.get(number)
    if kind is None:
        raise WireError(f"no frame has the number {number}")
    bytes_max = DATA_FRAME_BYTES_MAX if kind is Chunk else CONTROL_FRAME_BYTES_MAX
    return cast("Frame", decode_as(kind, frame, bytes_max))  # as the table says
