"""Agreeing on a protocol without waiting for the answer.

By multistream-select the side that opens names a protocol and waits for the other side to repeat
it. Whoever accepts one protocol only need not wait: the name goes out in front of the first bytes
in that protocol, and the answer is checked when it comes.
Source: https://github.com/multiformats/multistream-select
"""

from typing import Final

from p2p.errors import WireError

_MULTISTREAM: Final = "/multistream/1.0.0"


def _line(text: str) -> bytes:
    line = text.encode() + b"\n"
    assert len(line) < 128, "one length byte"
    return bytes((len(line),)) + line


def opening(protocol: str) -> bytes:
    """What both sides send first on a stream that speaks `protocol`."""
    return _line(_MULTISTREAM) + _line(protocol)


class Agreement:
    """What is still to be said and to be heard; nothing at all when there is no protocol."""

    def __init__(self, protocol: str = "") -> None:
        self._protocol = protocol
        self._unsaid = self._unheard = opening(protocol) if protocol else b""

    @property
    def is_open(self) -> bool:
        """False once all has been said and heard."""
        return bool(self._unheard or self._unsaid)

    def before(self) -> bytes:
        """What goes in front of the next bytes to be sent."""
        unsaid, self._unsaid = self._unsaid, b""
        return unsaid

    def behind(self, data: bytes) -> bytes:
        """What is left of bytes that came; WireError when the other side does not agree."""
        size = min(len(data), len(self._unheard))
        if data[:size] != self._unheard[:size]:
            raise WireError(f"the other end does not speak {self._protocol}")
        self._unheard = self._unheard[size:]
        return data[size:]
