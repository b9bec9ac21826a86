"""What addresses a host has: by the machine's own resolver, or from a table in tests."""

import socket
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import trio

_THREADS: Final = 16
"""A name server that does not answer holds one for seconds; nobody else's threads are taken."""


class Resolver(Protocol):
    """Asked anew for each connection."""

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """The best first. Raises OSError, as getaddrinfo does."""
        ...


class HostResolver:
    """getaddrinfo of this machine: its hosts file, its name servers."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(_THREADS)

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """IPv6 among them where this machine has it."""
        found = await trio.to_thread.run_sync(
            lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM),
            limiter=self._limiter,
            abandon_on_cancel=True,
        )
        return [str(entry[4][0]) for entry in found]


class TableResolver:
    """Answers from a table, of which a test may change the rows."""

    def __init__(self, table: Mapping[str, Sequence[str]]) -> None:
        self.table = dict(table)

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """As the table has them."""
        await trio.lowlevel.checkpoint()
        if host not in self.table:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.table[host]
