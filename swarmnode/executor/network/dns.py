"""Questions of DNS and our answers, as bytes (RFC 1035). Decides only.

One question a message, as every resolver asks; no compression in it; answers fit 512 bytes.
"""

import struct
from typing import Final

import msgspec

TYPE_A: Final = 1
CLASS_IN: Final = 1
NO_ERROR, MALFORMED, FAILED, NO_SUCH_NAME = 0, 1, 2, 3
_TTL_S: Final = 600
"""An address means the same for as long as the job lives; programs may ask again, though."""
_QUERY_BYTES_MAX: Final = 4096
_HEAD_BYTES: Final = 12


class Question(msgspec.Struct, frozen=True):
    """What somebody wants to know."""

    number: int
    name: str
    """In lower case, without the dot at its end."""
    kind: int
    text: bytes
    """The question as it came, which an answer repeats."""
    wants_recursion: bool

    def reply(self, code: int, address: bytes = b"") -> bytes:
        """An answer; without an address it says that there is none of that kind."""
        flags = 0x8080 | (0x0100 if self.wants_recursion else 0) | code
        head = struct.pack(">HHHHHH", self.number, flags, 1, bool(address), 0, 0)
        if not address:
            return head + self.text
        where = struct.pack(">HHHIH", 0xC00C, TYPE_A, CLASS_IN, _TTL_S, len(address))
        return head + self.text + where + address


def read(data: bytes) -> Question | None:
    """None for what is no question, or not one that anybody would ask."""
    if not _HEAD_BYTES < len(data) <= _QUERY_BYTES_MAX:
        return None
    number, flags, questions = struct.unpack_from(">HHH", data)
    if flags & 0xF800 or questions != 1:  # an answer, or another operation than to ask
        return None
    labels, at = _labels(data)
    if labels is None or len(data) < at + 4:
        return None
    kind, kind_of_net = struct.unpack_from(">HH", data, at)
    if kind_of_net != CLASS_IN:
        return None
    name = b".".join(labels).decode("latin-1").lower()
    return Question(number, name, kind, data[_HEAD_BYTES : at + 4], bool(flags & 0x0100))


def _labels(data: bytes) -> tuple[list[bytes] | None, int]:
    """The parts of the name, and where they end."""
    labels, at = list[bytes](), _HEAD_BYTES
    while at < len(data):
        length = data[at]
        at += 1
        if length == 0:
            return labels, at
        if length > 63 or at + length > len(data) or at - _HEAD_BYTES > 255:
            break
        labels.append(data[at : at + length])
        at += length
    return None, at
