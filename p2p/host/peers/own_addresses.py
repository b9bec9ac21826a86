"""Where a host listens, and what others are told of it: as it is now, not as it was at the start.

A wildcard address stands for whatever addresses this machine has. They are looked at again every
two seconds: a laptop moves. The one on the way to the world comes first, as invites hold four.
"""

import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import Final

import msgspec
import psutil
import trio

from p2p.errors import ListenError
from p2p.host.addresses import (
    ANYWHERE,
    Address,
    address_of,
    as_announced,
    as_listened,
    lacks_family,
)

OWN_ADDRESSES_EVERY_S: Final = 2.0
"""How often our own addresses are looked at: about a millisecond of work."""

_REMEDIES: Final = {
    errno.EADDRINUSE: "the port is in use: stop the program that has it, or choose another port "
    "(swarmnode up --listen /ip4/0.0.0.0/tcp/PORT; for good: listen.addresses in config.toml)",
    errno.EADDRNOTAVAIL: "this machine has no such address: see `ip address`",
    errno.EACCES: "ports below 1024 need a privilege: choose a higher one",
}

_OUTWARD: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses of the world, for asking which of ours leads there (RFC 5737, RFC 3849)."""


def parse_listen(text: str) -> Address:
    """A listen address; ListenError when it cannot be one."""
    try:
        return as_listened(text)
    except ValueError as exc:
        raise ListenError(f"cannot listen on {text[:80]}: {exc}") from exc


def parse_announce(text: str) -> str:
    """An address to tell others, without a peer id; ListenError when it is none."""
    try:
        return as_announced(text)
    except ValueError as exc:
        raise ListenError(f"cannot announce: {exc}") from exc


async def open_listeners(addresses: Sequence[Address]) -> list[trio.SocketListener]:
    """Bind all addresses or none; ListenError names the address and the remedy.

    A wildcard of a family that this machine does not have is passed over while another is bound.
    """
    listeners: list[trio.SocketListener] = []
    passed_over: list[tuple[Address, OSError]] = []
    for address in addresses:
        try:
            listeners += await trio.open_tcp_listeners(address.port, host=address.host)
        except OSError as exc:
            if lacks_family(address.host, exc):
                passed_over.append((address, exc))
                continue
            for listener in listeners:
                await trio.aclose_forcefully(listener)
            raise _cannot(address, exc) from exc
    if passed_over and not listeners:
        raise _cannot(*passed_over[0])
    return listeners


def _cannot(address: Address, why: OSError) -> ListenError:
    remedy = _REMEDIES.get(why.errno or 0, str(why))
    return ListenError(f"cannot listen on {address}: {remedy}")


def is_loopback(host: str) -> bool:
    """Whether an IP address leads to the machine that dials it."""
    return not host.startswith(("/", "dns")) and ipaddress.ip_address(host).is_loopback


class Own(msgspec.Struct, frozen=True):
    """This machine's addresses, best first."""

    hosts: tuple[str, ...]

    @classmethod
    def now(cls) -> "Own":
        """Look at the interfaces that are up."""
        up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
        hosts = [
            entry.address.partition("%")[0]
            for name, entries in sorted(psutil.net_if_addrs().items())
            if name in up
            for entry in entries
            if entry.family in (socket.AF_INET, socket.AF_INET6)
        ]
        outward = [host for family, far in _OUTWARD if (host := _towards(family, far))]
        return cls(best_first(hosts, outward))


def best_first(hosts: Sequence[str], outward: Sequence[str]) -> tuple[str, ...]:
    """Those on the way to the world, then the others; loopback last, link-local never."""
    known = dict.fromkeys([*(host for host in outward if host in hosts), *hosts])
    usable = [host for host in known if not ipaddress.ip_address(host).is_link_local]
    return tuple(sorted(usable, key=is_loopback))


def _towards(family: socket.AddressFamily, far: str) -> str:
    """Our address on the way there, or empty: connecting a UDP socket sends nothing."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


class Entrance:
    """Where a host listens, and what others are told of it."""

    def __init__(self, listen: Sequence[str], announce: Sequence[str]) -> None:
        """`announce` replaces what was bound. ListenError for an address that cannot be one."""
        self._listen = [parse_listen(text) for text in listen]
        self._announce = tuple(parse_announce(text) for text in announce)
        self._bound: list[tuple[str, int]] = []
        """(host, port) as bound; empty before `open`."""
        self.own = Own(())
        """This machine's, as of the last look."""

    async def open(self) -> list[trio.SocketListener]:
        """Bind all addresses or none; ListenError names the address and the remedy."""
        listeners = await open_listeners(self._listen)
        self._bound = [listener.socket.getsockname()[:2] for listener in listeners]
        self.look()
        return listeners

    def look(self) -> bool:
        """See which addresses this machine has now; True when they have changed."""
        before, self.own = self.own, Own.now()
        return before != self.own

    def addresses(self, *, with_loopback: bool = True) -> tuple[str, ...]:
        """Where others may dial us, without a peer id; none are known before `open`.

        Loopback is told only where there is nothing else, and to nobody when it is not wanted.
        """
        if self._announce:
            return self._announce
        reachable = [(host, port) for host, port in self._reachable() if not is_loopback(host)]
        if not reachable and with_loopback:
            reachable = self._reachable()
        return tuple(dict.fromkeys(str(address_of(host, port)) for host, port in reachable))

    def _reachable(self) -> list[tuple[str, int]]:
        """Bound addresses, wildcards spelt out, in the order of `own`."""
        spelt_out = [
            (own, port)
            for own in self.own.hosts
            for host, port in self._bound
            if host in ANYWHERE and (":" in own) == (":" in host)
        ]
        return spelt_out + [(host, port) for host, port in self._bound if host not in ANYWHERE]
