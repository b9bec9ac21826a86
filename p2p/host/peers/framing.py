"""Our own protocols over one stream: which protocol, then length-prefixed frames.

Opening costs no round trip: the multistream header, the protocol and the first frames leave
together, and the peer's answer to the first two is checked when it comes.
Source: https://github.com/multiformats/multistream-select
"""

from collections import deque

from p2p.errors import AdmissionError, LinkClosedError, StreamResetError, WireError
from p2p.limits import ADMIT_FRAME_BYTES_MAX
from p2p.link.agreement import opening
from p2p.link.stream import LinkStream
from p2p.wire.frames import FrameReader, frame


async def check_answer(stream: LinkStream, protocol: str) -> None:
    """Read the peer's half of `opening`; WireError when it does not speak the protocol."""
    wanted = opening(protocol)
    heard = b""
    while len(heard) < len(wanted):
        data = await stream.read(len(wanted) - len(heard))
        heard += data
        if not data or not wanted.startswith(heard):
            raise WireError(f"the peer does not speak {protocol}")


class FrameTalk:
    """Whole frames both ways on one stream: the AdmitStream of admission, and the verdict."""

    def __init__(self, stream: LinkStream, unchecked: str | None = None) -> None:
        """`unchecked` is the protocol whose answer is still to be read from the stream."""
        self._stream = stream
        self._unchecked = unchecked
        self._reader = FrameReader(ADMIT_FRAME_BYTES_MAX)
        self._frames: deque[bytes] = deque()

    async def send(self, payload: bytes) -> None:
        """Send one frame; AdmissionError when the link ended."""
        if len(payload) > ADMIT_FRAME_BYTES_MAX:
            raise ValueError(f"admission frame of {len(payload)} bytes")
        try:
            await self._stream.write(frame(payload))
        except (LinkClosedError, StreamResetError) as exc:
            raise self._ended(exc) from exc

    async def receive(self) -> bytes:
        """The next frame; AdmissionError when the link ended, WireError when it is too long."""
        while not self._frames:
            try:
                await self.agreed()
                data = await self._stream.read()
            except (LinkClosedError, StreamResetError) as exc:
                raise self._ended(exc) from exc
            if not data:
                raise AdmissionError("closed", "the peer ended the conversation while joining")
            self._frames.extend(self._reader.feed(data))
        return self._frames.popleft()

    async def agreed(self) -> None:
        """Return once the peer has agreed to speak the protocol; AdmissionError if it does not."""
        if self._unchecked is None:
            return
        try:
            await check_answer(self._stream, self._unchecked)
        except WireError as exc:
            raise _foreign() from exc
        except (LinkClosedError, StreamResetError) as exc:
            raise self._ended(exc) from exc
        self._unchecked = None

    def _ended(self, why: LinkClosedError | StreamResetError) -> AdmissionError:
        """A stream reset before the answer is one: its "no" may be lost with the reset."""
        if isinstance(why, StreamResetError) and self._unchecked is not None:
            return _foreign()
        return AdmissionError("closed", f"the peer went away while joining: {why}")


def _foreign() -> AdmissionError:
    return AdmissionError("network", "the machine there is in another network, or is no Swarm node")
