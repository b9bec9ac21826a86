"""Multiaddr texts as we dial and listen on them: `/ip4/10.0.0.7/tcp/4001/p2p/12D3KooW...`.

Only TCP over IPv4, IPv6 or a DNS name; anything else is an address we cannot use.
Source: https://github.com/multiformats/multiaddr
"""

import errno
import ipaddress
from typing import Final

import msgspec

from p2p.ids import PeerId
from p2p.limits import MULTIADDR_CHARS_MAX

ANYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
_HOST_KINDS: Final = ("ip4", "ip6", "dns", "dns4", "dns6")
_NO_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)
"""How binding to a wildcard fails on a machine without that kind of address."""


class Address(msgspec.Struct, frozen=True):
    """Where a peer listens; `peer` is None in a listen address."""

    kind: str
    host: str
    port: int
    peer: PeerId | None = None

    def __str__(self) -> str:
        text = f"/{self.kind}/{self.host}/tcp/{self.port}"
        return text if self.peer is None else f"{text}/p2p/{self.peer}"

    @property
    def is_name(self) -> bool:
        """True when the host has to be resolved."""
        return self.kind.startswith("dns")


def parse_address(text: str) -> Address:
    """Read `/ip4|ip6|dns|dns4|dns6/HOST/tcp/PORT[/p2p/PEER]`; ValueError says what is wrong."""
    parts = text.split("/")
    if len(text) > MULTIADDR_CHARS_MAX or len(parts) not in (5, 7) or parts[0]:
        raise ValueError(f"{text[:80]!r} is not like /ip4/10.0.0.7/tcp/4001[/p2p/12D3Koo...]")
    _, kind, host, transport, port_text, *rest = parts
    if kind not in _HOST_KINDS or transport != "tcp" or (rest and rest[0] != "p2p"):
        raise ValueError(f"{text!r} is not a TCP address of ip4, ip6 or dns")
    if not port_text.isascii() or not port_text.isdigit() or int(port_text) > 65535:
        raise ValueError(f"{port_text!r} in {text!r} is not a port")
    _check_host(kind, host, text)
    return Address(kind, host, int(port_text), PeerId(rest[1]) if rest else None)


def as_listened(text: str) -> Address:
    """An address to listen on; ValueError says why it cannot be one."""
    address = parse_address(text)
    if address.is_name or address.peer is not None:
        raise ValueError(f"{text!r} is not the address of an interface, like /ip4/0.0.0.0/tcp/4001")
    return address


def as_announced(text: str) -> str:
    """An address to tell others, without a peer id; ValueError says why it is none."""
    address = parse_address(text)
    return str(Address(address.kind, address.host, address.port))


def lacks_family(host: str, error: OSError) -> bool:
    """Whether a wildcard could not be bound as this machine has no address of that kind."""
    return host in ANYWHERE and error.errno in _NO_FAMILY


def _check_host(kind: str, host: str, text: str) -> None:
    if kind.startswith("dns"):
        if not host or not host.isprintable() or " " in host:
            raise ValueError(f"{text!r} has no host name")
        return
    try:
        version = ipaddress.ip_address(host.partition("%")[0]).version
    except ValueError:
        raise ValueError(f"{host!r} in {text!r} is not an IP address") from None
    if kind != f"ip{version}":
        raise ValueError(f"{host!r} in {text!r} is IPv{version}")


def address_of(host: str, port: int, peer: PeerId | None = None) -> Address:
    """The address of an IP host."""
    return Address(f"ip{ipaddress.ip_address(host.partition('%')[0]).version}", host, port, peer)
