"""The rules of nf_tables for a job's network, as messages. Shim-side: imports little.

    chain bound { type filter hook output priority -300;
        meta l4proto != tcp notrack
        ip daddr 127.0.0.0/8 notrack accept
        ip saddr OWN ip daddr OWN notrack accept
        tcp flags & (syn | ack) == syn limit rate over 1000/second burst 4000 packets drop
    }
    chain out { type nat hook output priority -100;
        ip daddr != 127.0.0.0/8 ip daddr != OWN meta l4proto tcp redirect to :PORT
    }

What is redirected is tracked by the kernel, in memory that no control group counts: so nothing else
is, and no more than so many connections are begun. What is dropped is tried again by the kernel.
Layout: linux/netfilter/nf_tables.h; all numbers are big endian.
"""

import struct

SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = 0, 3, 6
_IPV4 = 2
_TCP = 6
_OUTPUT, _ACCEPT, _DROP = 3, 1, 0
_BEFORE_TRACKING, _BEFORE_ROUTING = -300, -100
_NETWORK, _TRANSPORT = 1, 2
_SOURCE, _DESTINATION, _FLAGS = 12, 16, 13
"""Offsets in the headers of IPv4 and of TCP."""
_SYN, _SYN_ACK = b"\x02", b"\x12"
_EQUAL, _NOT = 0, 1
_NEW_PER_S, _BURST = 1000, 4000
_NESTED = 0x8000
_LOOPBACK = b"\x7f"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Expression: TypeAlias = tuple[str, bytes]


def messages(own: bytes, port: int) -> "list[tuple[int, bytes]]":
    """Kind and body of each, in order."""
    to_loopback = _field(_NETWORK, _DESTINATION, _LOOPBACK)
    within = [*_field(_NETWORK, _SOURCE, own), *_field(_NETWORK, _DESTINATION, own)]
    leaves = [
        *_field(_NETWORK, _DESTINATION, _LOOPBACK, _NOT),
        *_field(_NETWORK, _DESTINATION, own, _NOT),
        *_protocol(_EQUAL),
    ]
    return [
        (_NEW_TABLE, _of_table()),
        (_NEW_CHAIN, _chain("bound", "filter", _BEFORE_TRACKING)),
        (_NEW_RULE, _rule("bound", [*_protocol(_NOT), ("notrack", b"")])),
        (_NEW_RULE, _rule("bound", [*to_loopback, ("notrack", b""), _verdict(_ACCEPT)])),
        (_NEW_RULE, _rule("bound", [*within, ("notrack", b""), _verdict(_ACCEPT)])),
        (_NEW_RULE, _rule("bound", [*_protocol(_EQUAL), *_begins(), _over(), _verdict(_DROP)])),
        (_NEW_CHAIN, _chain("out", "nat", _BEFORE_ROUTING)),
        (_NEW_RULE, _rule("out", [*leaves, *_redirect(port)])),
    ]


def _of_table() -> bytes:
    return struct.pack(">BBH", _IPV4, 0, 0) + text(1, "swarm")


def _chain(name: str, kind: str, priority: int) -> bytes:
    hook = number(1, _OUTPUT) + number(2, priority & 0xFFFFFFFF)
    return _of_table() + text(3, name) + nested(4, hook) + text(7, kind) + number(5, _ACCEPT)


def _rule(chain: str, expressions: "list[Expression]") -> bytes:
    """The little program that nf_tables runs; all of its expressions use register 1."""
    inside = b"".join(
        nested(1, text(1, name) + (nested(2, body) if body else b"")) for name, body in expressions
    )
    return _of_table() + text(2, chain) + nested(4, inside)


def _field(header: int, offset: int, value: bytes, how: int = _EQUAL) -> "list[Expression]":
    """A field of a header is that, or is not."""
    return [_loaded(header, offset, len(value)), _compared(how, value)]


def _protocol(how: int) -> "list[Expression]":
    return [("meta", number(1, 1) + number(2, 16)), _compared(how, bytes([_TCP]))]


def _begins() -> "list[Expression]":
    """The first packet of a connection."""
    mask = nested(4, attribute(1, _SYN_ACK)) + nested(5, attribute(1, b"\0"))
    masked = number(1, 1) + number(2, 1) + number(3, 1) + mask
    return [_loaded(_TRANSPORT, _FLAGS, 1), ("bitwise", masked), _compared(_EQUAL, _SYN)]


def _over() -> "Expression":
    rate = attribute(1, struct.pack(">Q", _NEW_PER_S)) + attribute(2, struct.pack(">Q", 1))
    return ("limit", rate + number(3, _BURST) + number(4, 0) + number(5, 1))


def _redirect(port: int) -> "list[Expression]":
    """To that port, as it is."""
    to_port = number(1, 1) + nested(2, attribute(1, struct.pack(">H", port)))
    return [("immediate", to_port), ("redir", number(1, 1) + number(3, 2))]


def _verdict(code: int) -> "Expression":
    return ("immediate", number(1, 0) + nested(2, nested(2, number(1, code))))


def _loaded(header: int, offset: int, length: int) -> "Expression":
    return ("payload", number(1, 1) + number(2, header) + number(3, offset) + number(4, length))


def _compared(how: int, value: bytes) -> "Expression":
    return ("cmp", number(1, 1) + number(2, how) + nested(3, attribute(1, value)))


def attribute(kind: int, value: bytes) -> bytes:
    """Any of netlink's; `kind` and length are as the machine has them."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, inside: bytes) -> bytes:
    """One that holds others."""
    return attribute(kind | _NESTED, inside)


def number(kind: int, value: int) -> bytes:
    """One of 32 bits."""
    return attribute(kind, struct.pack(">I", value))


def text(kind: int, value: str) -> bytes:
    """One of a text."""
    return attribute(kind, value.encode() + b"\0")
