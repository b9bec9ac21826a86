"""Yamux frames: 12 bytes of header, and behind a data frame's as many bytes as it says.

A header is version 0, type, flags, stream id and length; the length of a window update is how
much more may be sent, that of a ping any number, that of a goodbye its reason.
"""

import struct
from typing import Final

from p2p.link.noise import PLAIN_BYTES_MAX

HEADER: Final = struct.Struct("!BBHII")
DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
NORMAL, PROTOCOL_ERROR, INTERNAL_ERROR = range(3)

header: Final = HEADER.pack
"""Version, type, flags, stream id, length as bytes. Bound here, once, as it is made per frame."""

header_at: Final = HEADER.unpack_from
"""The same five of the bytes that begin at a place."""

DATA_BYTES_MAX: Final = PLAIN_BYTES_MAX - HEADER.size
"""Data we put in one frame: with its header it fills one Noise message exactly."""

UINT32_MAX: Final = 2**32 - 1
"""The largest id of a stream, and the largest window."""
