"""What the kernel knows of a TCP connection, and the few things it can be told (Linux).

Elsewhere nothing is known and nothing can be told: `tcp_facts` gives None, the rest does nothing.
Source: include/uapi/linux/tcp.h (struct tcp_info), tcp(7).
"""

import socket
import struct
import sys
from typing import Final, Protocol

import msgspec

_IS_LINUX: Final = sys.platform == "linux"
_TCP_INFO, _TCP_CONGESTION = 11, 13
_SO_MAX_PACING_RATE: Final = 47
_INFO_BYTES: Final = 232
_UNLIMITED: Final = 2**32 - 1
"""32 bits without end: the kernel takes it as no limit on every architecture."""
_SLOWEST: Final = 16 * 1024
"""The kernel decides when the next packets may go as it sends some, and hears of a higher rate only
with the next acknowledgement: at a byte a second nothing would go for half an hour. At this rate
two packets, the least it sends at once, hold up what follows for 0.2 s."""

DSCP_EF: Final = 46
"""Expedited forwarding, for what somebody waits for (RFC 3246)."""
DSCP_CS1: Final = 8
"""Lower effort, for bulk (RFC 3662)."""


class Socket(Protocol):
    """The part of a socket that this needs: `socket.socket` and trio's have it."""

    @property
    def family(self) -> int: ...
    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...
    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None: ...


class TcpFacts(msgspec.Struct, frozen=True):
    """One connection now."""

    rtt_s: float
    """Smoothed."""
    rtt_min_s: float
    """Of the last five minutes."""
    acked_bytes: int
    """Since it was opened, in order."""
    delivered_bytes: int
    """The same in any order, in whole segments."""
    unsent_bytes: int
    retransmits: int


def tcp_facts(sock: Socket | None) -> TcpFacts | None:
    """What the kernel knows, or None where it does not say. OSError when the socket is closed.

    A connection by relay has no socket of its own: nothing is known of it, or can be told here.
    """
    if not _IS_LINUX or sock is None:
        return None
    info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _INFO_BYTES)
    if len(info) < 196:
        return None
    return TcpFacts(
        rtt_s=_u32(info, 68) / 1e6,
        rtt_min_s=_u32(info, 148) / 1e6,
        acked_bytes=_u64(info, 120),
        delivered_bytes=_u32(info, 192) * _u32(info, 16),
        unsent_bytes=_u32(info, 144),
        retransmits=_u32(info, 100),
    )


def _u32(info: bytes, at: int) -> int:
    return int.from_bytes(info[at : at + 4], sys.byteorder)


def _u64(info: bytes, at: int) -> int:
    return int.from_bytes(info[at : at + 8], sys.byteorder)


def pace(sock: Socket | None, bytes_per_s: float | None) -> None:
    """Let the kernel send no faster; None ends that. Works without the fq discipline.

    However slow it should be, what is sent later at a higher rate is not held up by it for long.
    """
    if _IS_LINUX and sock is not None:
        wanted = _UNLIMITED if bytes_per_s is None else int(min(bytes_per_s, _UNLIMITED))
        rate = max(_SLOWEST, wanted)
        sock.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, struct.pack("=I", rate))


def use_congestion_control(sock: Socket | None, wanted: tuple[str, ...]) -> str | None:
    """Use the first of these that the kernel has; None when it has none of them."""
    if not _IS_LINUX or sock is None:
        return None
    for name in wanted:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_CONGESTION, name.encode())
        except (FileNotFoundError, PermissionError):
            continue
        return name
    return None


def mark(sock: Socket | None, dscp: int) -> None:
    """Mark every packet for routers that care."""
    if sock is None:
        return
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
