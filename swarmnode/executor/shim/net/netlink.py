"""Messages to the kernel's network, assembled here: no `ip` and no `nft` program is needed.

Layouts: linux/netlink.h, rtnetlink.h, if_addr.h, netfilter/nfnetlink.h, netfilter/nf_tables.h. What
belongs to nf_tables is big endian, all else as the machine has it. Shim-side: imports little.
"""

import _socket
import errno
import os
import struct

_NETLINK_ROUTE, _NETLINK_NETFILTER = 0, 12
_ERROR = 2  # NLMSG_ERROR, which is the acknowledgement as well
_REQUEST, _ACK, _CREATE, _APPEND = 1, 4, 0x400, 0x800
_NESTED = 0x8000
_SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = 0, 3, 6
_IPV4 = _socket.AF_INET
_ACCEPT, _OUTPUT, _BEFORE_ROUTING = 1, 3, -100
_REPLY_BYTES = 8192


def set_up(address: str, port: int) -> None:
    """Of this process's fresh namespace: all that is not its own leads to that port.

    `address` is what the namespace has besides its loopback. Raises OSError, which says of what.
    """
    own = _socket.inet_aton(address)
    _ask(_NETLINK_ROUTE, _of_loopback(own), "its loopback")
    _ask(_NETLINK_NETFILTER, redirect_batch(own, port), "nf_tables")


def _of_loopback(own: bytes) -> "list[bytes]":
    """Up, with an address more, and all the world is there (as `ip route add local default`)."""
    up = struct.pack("=BxHiII", 0, 0, 1, 1, 1)  # struct ifinfomsg: device 1, IFF_UP
    with_address = struct.pack("=BBBBI", _IPV4, 32, 0, 254, 1) + _attribute(2, own)  # IFA_LOCAL
    route = struct.pack("=BBBBBBBBI", _IPV4, 0, 0, 0, 255, 4, 254, 2, 0)  # RTN_LOCAL, table local
    route += _attribute(4, struct.pack("=I", 1)) + _attribute(7, own)  # RTA_OIF, RTA_PREFSRC
    return [
        _message(16, _REQUEST | _ACK, up),  # RTM_NEWLINK
        _message(20, _REQUEST | _ACK | _CREATE, with_address),  # RTM_NEWADDR
        _message(24, _REQUEST | _ACK | _CREATE, route),  # RTM_NEWROUTE
    ]


def redirect_batch(own: bytes, port: int) -> "list[bytes]":
    """`ip daddr != 127.0.0.0/8 ip daddr != OWN meta l4proto tcp redirect to :PORT`."""
    table = _text(1, "swarm")
    hook = _number(1, _OUTPUT) + _number(2, _BEFORE_ROUTING & 0xFFFFFFFF)
    chain = table + _text(3, "out") + _nested(4, hook) + _text(7, "nat") + _number(5, _ACCEPT)
    rule = table + _text(2, "out") + _nested(4, _expressions(own, port))
    return [
        _message(_BATCH_BEGIN, _REQUEST, struct.pack(">BBH", 0, 0, 10)),
        _of_tables(_NEW_TABLE, table),
        _of_tables(_NEW_CHAIN, chain),
        _of_tables(_NEW_RULE, rule),
        _message(_BATCH_END, _REQUEST, struct.pack(">BBH", 0, 0, 10)),
    ]


def _expressions(own: bytes, port: int) -> bytes:
    """The rule as the little program that nf_tables runs; `1` is the register they all use."""
    destination = 16  # in a header of IPv4
    return b"".join(
        _nested(1, _text(1, name) + _nested(2, body))
        for name, body in (
            ("payload", _loaded(destination, 1)),
            ("cmp", _compared(1, b"\x7f")),
            ("payload", _loaded(destination, 4)),
            ("cmp", _compared(1, own)),
            ("meta", _number(1, 1) + _number(2, 16)),  # NFT_META_L4PROTO
            ("cmp", _compared(0, bytes([_socket.IPPROTO_TCP]))),
            ("immediate", _number(1, 1) + _nested(2, _attribute(1, struct.pack(">H", port)))),
            ("redir", _number(1, 1) + _number(3, 2)),  # to that port, as it is
        )
    )


def _loaded(offset: int, length: int) -> bytes:
    """NFT_PAYLOAD_NETWORK_HEADER, into register 1."""
    return _number(1, 1) + _number(2, 1) + _number(3, offset) + _number(4, length)


def _compared(how: int, value: bytes) -> bytes:
    """0: equal, 1: not."""
    return _number(1, 1) + _number(2, how) + _nested(3, _attribute(1, value))


def _of_tables(kind: int, attributes: bytes) -> bytes:
    head = struct.pack(">BBH", _IPV4, 0, 0)
    return _message(_SUBSYSTEM | kind, _REQUEST | _ACK | _CREATE | _APPEND, head + attributes)


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 0, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _nested(kind: int, inside: bytes) -> bytes:
    return _attribute(kind | _NESTED, inside)


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack(">I", value))


def _text(kind: int, text: str) -> bytes:
    return _attribute(kind, text.encode() + b"\0")


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
