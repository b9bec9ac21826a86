"""Where we and our peers are: addresses that follow this machine, and loopback that stays on it.

Loopback leads to whoever dials it. It is told to others, and taken from them, only while nobody is
connected from elsewhere: a swarm on one machine needs no network, any other never hears of it.
"""

from collections.abc import Callable, Iterable, Sequence

import trio

from p2p.errors import DialError
from p2p.host.addresses import Address, parse_address
from p2p.host.peers.own_addresses import OWN_ADDRESSES_EVERY_S, Entrance, is_loopback
from p2p.host.peers.peer import PeerConn
from p2p.ids import PeerId


class Whereabouts:
    """Of one host."""

    def __init__(self, entrance: Entrance, conns: Callable[[], Iterable[PeerConn]]) -> None:
        self.entrance, self._conns = entrance, conns
        self.me = PeerId("")
        """Our own id, once it is known."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow this machine's addresses; end connections from one that it no longer has."""
        task_status.started()
        while True:
            await trio.sleep(OWN_ADDRESSES_EVERY_S)
            if self.entrance.look():
                for conn in list(self._conns()):
                    local = _local_host(conn)
                    if local and local not in self.entrance.own.hosts and not is_loopback(local):
                        conn.link.close(f"this machine no longer has the address {local}")

    def addresses(self) -> tuple[str, ...]:
        """Multiaddrs with our peer id; empty before run when the port is chosen by the system."""
        return tuple(f"{text}/p2p/{self.me}" for text in self.bare())

    def bare(self) -> tuple[str, ...]:
        """The same without our peer id."""
        return self.entrance.addresses(with_loopback=not self._has_outside_peer())

    def usable(self, addresses: Sequence[str]) -> list[str]:
        """What a peer says of itself, without loopback unless it may be on this machine."""
        outside = [text for text in addresses if not _leads_here(text)]
        return outside if outside or self._has_outside_peer() else list(addresses)

    def to_dial(self, address: str, *others: str) -> tuple[PeerId, list[Address], list[DialError]]:
        """A peer by its full multiaddrs, these read; and why others cannot be dialled.

        Raises DialError when none can.
        """
        readable, errors = self._read_all((address, *others))
        if not readable:
            raise together(errors[0], errors)
        peer = readable[0].peer
        if peer is None or any(where.peer != peer for where in readable):
            raise DialError(address, "peer", "the addresses are not of one peer")
        return peer, readable, errors

    def _read_all(self, texts: Iterable[str]) -> tuple[list[Address], list[DialError]]:
        readable: list[Address] = []
        errors: list[DialError] = []
        for text in texts:
            try:
                readable.append(self._read(text))
            except DialError as exc:
                errors.append(exc)
        return readable, errors

    def _read(self, text: str) -> Address:
        try:
            where = parse_address(text)
            if where.peer is None:
                raise ValueError(f"{text} does not end in /p2p/<peer id>")
        except ValueError as exc:
            raise DialError(text, "peer", f"{exc}") from exc
        if where.peer == self.me:
            raise DialError(text, "peer", "that is this node's own address")
        if not where.port:
            raise DialError(text, "port", "port 0 is nobody's")
        return where

    def _has_outside_peer(self) -> bool:
        """Whether somebody is connected who is not on this machine."""
        here = self.entrance.own.hosts
        admitted = (c for c in self._conns() if c.caller is not None and not c.link.is_closing)
        hosts = [_remote_host(conn) for conn in admitted]
        return any(host and host not in here and not is_loopback(host) for host in hosts)


def together(worst: DialError, errors: Iterable[DialError]) -> DialError:
    """One error that tells of all of them."""
    tried = tuple(failure for error in errors for failure in error.tried)
    return DialError(worst.address, worst.cause, worst.detail, tried)


def _leads_here(text: str) -> bool:
    try:
        where = parse_address(text)
    except ValueError:
        return False
    return not where.is_name and is_loopback(where.host.partition("%")[0])


def _local_host(conn: PeerConn) -> str:
    try:
        return "" if conn.socket is None else _host_of(conn.socket.getsockname())
    except OSError:
        return ""


def _remote_host(conn: PeerConn) -> str:
    try:
        return "" if conn.socket is None else _host_of(conn.socket.getpeername())
    except OSError:
        return ""


def _host_of(name: tuple[object, ...]) -> str:
    return str(name[0]).partition("%")[0]
