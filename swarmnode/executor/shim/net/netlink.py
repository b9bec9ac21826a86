"""Messages to the kernel's network, assembled here: no `ip` and no `nft` program is needed.

Layouts: linux/netlink.h, rtnetlink.h, if_addr.h, netfilter/nfnetlink.h; numbers are as the machine
has them, but for those of nf_tables. Shim-side: imports little.
"""

import _socket
import errno
import os
import struct

from swarmnode.executor.shim.net import rules
from swarmnode.executor.shim.net.rules import attribute

_NETLINK_ROUTE, _NETLINK_NETFILTER = 0, 12
_ERROR = 2  # NLMSG_ERROR, which is the acknowledgement as well
_REQUEST, _ACK, _CREATE, _APPEND = 1, 4, 0x400, 0x800
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_IPV4 = _socket.AF_INET
_REPLY_BYTES = 8192


def set_up(address: str, port: int) -> None:
    """Of this process's fresh namespace: all that is not its own leads to that port.

    `address` is what the namespace has besides its loopback. Raises OSError, which says of what.
    """
    own = _socket.inet_aton(address)
    _ask(_NETLINK_ROUTE, _of_loopback(own), "its loopback")
    _ask(_NETLINK_NETFILTER, _of_tables(own, port), "nf_tables")


def come_up() -> None:
    """The loopback of this process's fresh namespace, and nothing else. Raises OSError."""
    _ask(_NETLINK_ROUTE, [_up()], "its loopback")


def _up() -> bytes:
    device = struct.pack("=BxHiII", 0, 0, 1, 1, 1)  # struct ifinfomsg: device 1, IFF_UP
    return _message(16, _REQUEST | _ACK, device)  # RTM_NEWLINK


def _of_loopback(own: bytes) -> "list[bytes]":
    """Up, with an address more, and all the world is there (as `ip route add local default`)."""
    with_address = struct.pack("=BBBBI", _IPV4, 32, 0, 254, 1) + attribute(2, own)  # IFA_LOCAL
    route = struct.pack("=BBBBBBBBI", _IPV4, 0, 0, 0, 255, 4, 254, 2, 0)  # RTN_LOCAL, table local
    route += attribute(4, struct.pack("=I", 1)) + attribute(7, own)  # RTA_OIF, RTA_PREFSRC
    return [
        _up(),
        _message(20, _REQUEST | _ACK | _CREATE, with_address),  # RTM_NEWADDR
        _message(24, _REQUEST | _ACK | _CREATE, route),  # RTM_NEWROUTE
    ]


def _of_tables(own: bytes, port: int) -> "list[bytes]":
    """All of the rules, or none."""
    edge = struct.pack(">BBH", 0, 0, 10)
    flags = _REQUEST | _ACK | _CREATE | _APPEND
    return [
        _message(_BATCH_BEGIN, _REQUEST, edge),
        *(
            _message(rules.SUBSYSTEM | kind, flags, body)
            for kind, body in rules.messages(own, port)
        ),
        _message(_BATCH_END, _REQUEST, edge),
    ]


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body


def _ask(family: int, messages: "list[bytes]", what: str) -> None:
    """Send them at once and take an answer to each that wants one. Raises OSError."""
    try:
        sock = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, family)
        try:
            sock.send(b"".join(messages))
            _hear_all(sock, sum(bool(message[6] & _ACK) for message in messages))
        finally:
            sock.close()
    except OSError as exc:
        raise OSError(exc.errno, f"{what}: {exc.strerror}") from exc


def _hear_all(sock: "_socket.socket", count: int) -> None:
    """Of a batch of which something fails the kernel says so, and takes nothing."""
    while count > 0:
        answer = sock.recv(_REPLY_BYTES)
        while answer:
            length, kind = struct.unpack_from("=IH", answer)
            if kind == _ERROR:
                (code,) = struct.unpack_from("=i", answer, 16)
                if code:
                    raise OSError(-code, os.strerror(-code))
                count -= 1
            if length < 16:
                raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
            answer = answer[length + (-length % 4) :]
