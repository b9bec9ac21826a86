"""Where a host is: by the machine's own resolver, or from a table in tests."""

import socket
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import trio

from swarmnode.executor.network.core import SocketPlace

_THREADS: Final = 64
"""A name server that does not answer holds one for seconds; nobody else's threads are taken."""


class Resolver(Protocol):
    """Asked anew for each connection."""

    async def places(self, host: str, port: int) -> Sequence[SocketPlace]:
        """The best first. Raises OSError, as getaddrinfo does."""
        ...


class HostResolver:
    """getaddrinfo of this machine: its hosts file, its name servers."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(_THREADS)

    async def places(self, host: str, port: int) -> Sequence[SocketPlace]:
        """IPv6 among them where this machine has it."""
        found = await trio.to_thread.run_sync(
            lambda: socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM),
            limiter=self._limiter,
            abandon_on_cancel=True,
        )
        return [SocketPlace(str(entry[4][0]), int(entry[4][1])) for entry in found]


class TableResolver:
    """Answers from a table of addresses by name, of which a test may change the rows."""

    def __init__(
        self, table: Mapping[str, Sequence[str]], ports: Mapping[int, int] | None = None
    ) -> None:
        """`ports`: where somebody listens who is not allowed to at a port of the standard."""
        self.table, self._ports = dict(table), ports or {}
        self.asked: list[str] = []
        """Names, in order."""

    async def places(self, host: str, port: int) -> Sequence[SocketPlace]:
        """As the table has them."""
        await trio.lowlevel.checkpoint()
        self.asked.append(host)
        if host not in self.table:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [SocketPlace(address, self._ports.get(port, port)) for address in self.table[host]]
