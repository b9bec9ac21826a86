"""Messages of the services above, as payloads of frames."""

from typing import Final

from p2p.limits import PAYLOAD_BYTES_MAX
from p2p.wire.codec import Message, encode

UNSAYABLE: Final = (ValueError, OverflowError)
"""What `packed` raises: too long, a number that no message has, a text that is no UTF-8."""


def packed(message: Message) -> bytes:
    """A message as the payload of a frame. Raises one of UNSAYABLE."""
    payload = encode(message)
    if len(payload) > PAYLOAD_BYTES_MAX:
        size = f"{len(payload)} bytes, limit {PAYLOAD_BYTES_MAX}"
        raise ValueError(f"{type(message).__name__} of {size}: send it as a body")
    return payload
