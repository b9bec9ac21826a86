"""One message on a stream that becomes a circuit: not a byte more of it may be read."""

from p2p.errors import WireError
from p2p.host.relay.limits import CIRCUIT_MESSAGE_BYTES_MAX
from p2p.link.stream import LinkStream
from p2p.wire.codec import Message, decode, encode
from p2p.wire.frames import frame

_PREFIX_BYTES = 4


async def say(stream: LinkStream, message: Message, before: bytes = b"") -> None:
    """Send one message, in one piece with what opens the stream."""
    await stream.write(before + frame(encode(message)))


async def hear(stream: LinkStream) -> Message:
    """The one message that comes. WireError for anything else."""
    size = int.from_bytes(await _exactly(stream, _PREFIX_BYTES))
    if size > CIRCUIT_MESSAGE_BYTES_MAX:
        raise WireError(f"a message of {size} bytes where {CIRCUIT_MESSAGE_BYTES_MAX} are enough")
    return decode(await _exactly(stream, size), CIRCUIT_MESSAGE_BYTES_MAX)


async def _exactly(stream: LinkStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await stream.read(size - len(data))
        if not part:
            raise WireError("the stream ended within a message")
        data += part
    return data
