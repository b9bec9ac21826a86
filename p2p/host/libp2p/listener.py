"""Listening sockets and the door behind them.

The stock listener sets SO_REUSEPORT, so that two nodes can silently share a port, and keeps
hundreds of silent sockets waiting. Here a port has one owner and the accept guard (p2p.link.guard)
decides who may wait.
"""

import errno
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import psutil
import trio

from p2p.accepting import accept_forever
from p2p.errors import ListenError
from p2p.host.addresses import Address, address_of, parse_address
from p2p.link.guard import AcceptGuard

_ANYWHERE = {"0.0.0.0", "::"}  # noqa: S104 - compared with, not bound to
_REMEDIES = {
    errno.EADDRINUSE: "the port is in use: stop the program that has it, or choose another port",
    errno.EADDRNOTAVAIL: "this machine has no such address: see `ip address`",
    errno.EACCES: "ports below 1024 need a privilege: choose a higher one",
}


def parse_listen(text: str) -> Address:
    """A listen address; ListenError when it cannot be one."""
    try:
        address = parse_address(text)
    except ValueError as exc:
        raise ListenError(f"cannot listen: {exc}") from exc
    if address.is_name or address.peer is not None:
        raise ListenError(
            f"cannot listen on {text}: give an IP address, like /ip4/0.0.0.0/tcp/4001"
        )
    return address


def parse_announce(text: str) -> str:
    """An address to tell others, without a peer id; ListenError when it is none."""
    try:
        address = parse_address(text)
    except ValueError as exc:
        raise ListenError(f"cannot announce: {exc}") from exc
    return str(Address(address.kind, address.host, address.port))


async def open_listeners(addresses: Sequence[Address]) -> list[trio.SocketListener]:
    """Bind all addresses or none; ListenError names the address and the remedy."""
    listeners: list[trio.SocketListener] = []
    for address in addresses:
        try:
            listeners += await trio.open_tcp_listeners(address.port, host=address.host)
        except OSError as exc:
            for listener in listeners:
                await trio.aclose_forcefully(listener)
            remedy = _REMEDIES.get(exc.errno or 0, str(exc))
            raise ListenError(f"cannot listen on {address}: {remedy}") from exc
    return listeners


class Entrance:
    """Where a host listens, and what others are told of it."""

    def __init__(self, listen: Sequence[str], announce: Sequence[str]) -> None:
        """`announce` replaces what was bound. ListenError for an address that cannot be one."""
        self._listen = [parse_listen(text) for text in listen]
        self._announce = tuple(parse_announce(text) for text in announce)
        self._bound: tuple[str, ...] = ()

    async def open(self) -> list[trio.SocketListener]:
        """Bind all addresses or none; ListenError names the address and the remedy."""
        listeners = await open_listeners(self._listen)
        self._bound = reachable_addresses(listeners)
        return listeners

    def addresses(self) -> tuple[str, ...]:
        """Where others may dial us, without a peer id; none are known before `open`."""
        return self._announce or self._bound


def reachable_addresses(listeners: Sequence[trio.SocketListener]) -> tuple[str, ...]:
    """Bound addresses, with `any address` spelt out."""
    found: list[str] = []
    for listener in listeners:
        host, port = listener.socket.getsockname()[:2]
        hosts = _own_hosts(is_ipv6=":" in host) if host in _ANYWHERE else [host]
        found += [str(address_of(one, port, None)) for one in hosts]
    return tuple(dict.fromkeys(found))


def _own_hosts(*, is_ipv6: bool) -> list[str]:
    """Addresses of interfaces that are up; loopback only when there is nothing else."""
    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    hosts = [
        entry.address
        for name, entries in sorted(psutil.net_if_addrs().items())
        if name in up
        for entry in entries
        if (":" in entry.address) == is_ipv6 and entry.family.name.startswith("AF_INET")
    ]
    usable = [host for host in hosts if not host.startswith("fe80:")]
    outside = [host for host in usable if not host.startswith("127.") and host != "::1"]
    return outside or usable


@dataclass(slots=True)
class Pending:
    """A socket on its way in; `drop` ends it when it has to make room."""

    number: int
    drop: Callable[[], None] = lambda: None


class Door:
    """Lets sockets in while the guard agrees."""

    def __init__(
        self,
        guard: AcceptGuard,
        welcome: Callable[[trio.SocketStream, Pending], Awaitable[None]],
        is_known: Callable[[str], bool],
    ) -> None:
        self._guard = guard
        self._welcome = welcome
        self._is_known = is_known
        self._pending: dict[int, Pending] = {}
        self._count = 0

    async def serve(
        self,
        listeners: list[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept until cancelled."""
        accept = partial(accept_forever, serve=self._on_socket, what="connections of peers")
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                await nursery.start(accept, listener)
            task_status.started()

    async def _on_socket(self, socket: trio.SocketStream) -> None:
        try:
            host = str(socket.socket.getpeername()[0])
        except OSError:  # gone before we looked
            return
        self._count += 1
        pending = self._pending[self._count] = Pending(self._count)
        is_known = self._is_known(host)
        victims = self._guard.arrived(pending.number, host, is_known=is_known)
        for victim in victims:
            self._pending.pop(victim).drop()
        if pending.number in victims:
            await trio.aclose_forcefully(socket)
            return
        try:
            await self._welcome(socket, pending)
        finally:
            self.passed(pending)

    def spoke(self, pending: Pending) -> None:
        """The socket sent its first bytes."""
        self._guard.spoke(pending.number)

    def proved(self, pending: Pending, *, is_known: bool) -> None:
        """The handshake is done, by a key of a peer that is known or not."""
        self._guard.proved(pending.number, is_known=is_known)

    def passed(self, pending: Pending) -> None:
        """The socket is admitted, or gone."""
        self._pending.pop(pending.number, None)
        self._guard.left(pending.number)
