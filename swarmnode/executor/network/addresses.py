"""Which addresses a task may be led to, whatever name they came by. Decides only."""

import ipaddress
from collections.abc import Iterable
from typing import Final

from swarmnode import reach

_PUBLIC_6: Final = ipaddress.IPv6Network("2000::/3")
_TRICKS: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # of protocols; Oracle's metadata service; not in every version's list
        "192.88.99.0/24",  # to a relay of 6to4
        "198.18.0.0/15",  # ours, see names.py
        "100.64.0.0/10",  # of the provider's own network; metadata services lie there, too
        "168.63.129.16/32",  # the host of a virtual machine at Azure, by a public address
        "2001::/23",  # Teredo and other IPv4 in disguise
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation (RFC 9637), which older lists do not know
        "5f00::/16",
    )
)  # fmt: skip
"""What leads elsewhere than it says, besides what `is_global` knows (IANA's special purposes)."""


def is_open(text: str) -> bool:
    """Whether it lies in the internet: no host that only this machine's side reaches has it."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:  # with a zone, among others
        return False
    if isinstance(address, ipaddress.IPv6Address) and address not in _PUBLIC_6:
        return False  # also IPv4 in IPv6, and what is translated (64:ff9b::/96)
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not any(address in network for network in _TRICKS)


def is_let(private: Iterable[tuple[str, int]], host: str, port: int) -> bool:
    """Whether the owner lets tasks reach a private host, by its name or by an address of it."""
    return any(reach.matches(pattern, host) and only in (0, port) for pattern, only in private)
