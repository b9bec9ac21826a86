"""Connections from this machine to a host: to the address that was checked, and to no other.

Addresses are tried one after another, the next one also when the one before does not answer soon
(RFC 8305), no more than two at once. What comes back is a plain socket that does not block.
"""

import errno
import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import Final

import trio

from swarmnode.executor.network.core import SocketPlace
from swarmnode.executor.network.limits import ATTEMPTS_MAX

_NOT_OURS: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_NEXT_S: Final = 0.25
CONNECT_S: Final = 30.0
"""A host that has not answered by then will not: programs give up sooner, most of them."""


def is_own(address: str) -> bool:
    """Whether it is an address of this machine, which then can be bound; also if in doubt."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.bind((address, 0))
    except OSError as exc:
        return exc.errno not in _NOT_OURS
    return True


async def dial(places: Sequence[SocketPlace]) -> socket.socket:
    """Raises OSError: of the last one that failed, or ETIMEDOUT."""
    with trio.move_on_after(CONNECT_S):
        if len(places) == 1:
            return await _connected(places[0])
        return await _AddressRace().run(places)
    raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


async def _connected(place: SocketPlace) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.address else socket.AF_INET
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await sock.connect(place)
    except BaseException:
        sock.close()
        raise
    return socket.socket(fileno=sock.detach())


class _AddressRace:
    """Several addresses of one host tried for one connection; the first that answers wins."""

    def __init__(self) -> None:
        self._won: socket.socket | None = None
        """The first that came about."""
        self._failure: OSError = ConnectionRefusedError(errno.ECONNREFUSED, "it has no address")
        """The newest."""
        self._under_way: deque[trio.CancelScope] = deque()

    async def run(self, places: Sequence[SocketPlace]) -> socket.socket:
        try:
            await self._try_all(places)
        except BaseException:
            if self._won is not None:
                self._won.close()
            raise
        if self._won is None:
            raise self._failure
        return self._won

    async def _try_all(self, places: Sequence[SocketPlace]) -> None:
        async with trio.open_nursery() as nursery:
            for place in places:
                if len(self._under_way) == ATTEMPTS_MAX:
                    self._under_way.popleft().cancel()
                self._under_way.append(own := trio.CancelScope())
                failed = trio.Event()
                nursery.start_soon(self._try_one, place, failed, own, nursery.cancel_scope)
                with trio.move_on_after(_NEXT_S):
                    await failed.wait()

    async def _try_one(
        self,
        place: SocketPlace,
        failed: trio.Event,
        own: trio.CancelScope,
        others: trio.CancelScope,
    ) -> None:
        with own:
            try:
                sock = await _connected(place)
            except OSError as exc:
                self._under_way.remove(own)  # others need not give way for it
                self._failure = exc
                failed.set()
                return
            if self._won is not None:
                sock.close()
                return
            self._won = sock
            others.cancel()
