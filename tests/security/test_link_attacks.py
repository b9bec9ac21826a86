"""Hostile bytes before and during the handshake: each costs the attacker its connection at most."""

from contextlib import suppress

import pytest
import trio

from p2p.errors import (
    StreamResetError,
)
from p2p.host.rpc.service import Rpc
from p2p.limits import (
    PENDING_PER_ADDRESS_MAX,
    UPGRADE_DEADLINE_S,
)
from testnet.attack.eve import connected
from testnet.lone_peer import lone_host
from tests.link_attack_lab import MULTISTREAM, scene


async def is_closed(socket: trio.SocketStream, within_s: float = 8.0) -> None:
    """The other end gives up on us."""
    with trio.fail_after(within_s):
        try:
            while await socket.receive_some(65536):
                pass
        except trio.BrokenResourceError:
            return


NOISE = MULTISTREAM + b"\x07/noise\n"


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 4096,
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",  # a varint of many bytes
        MULTISTREAM + b"\x05\xff\xfe\xfd\xfc\n",
        NOISE + b"\xff\xff" + bytes(65535),
        NOISE + b"\x00\x00",
        NOISE + b"\x00\x20" + bytes(32),
    ],
)
async def test_garbage_instead_of_a_handshake_ends_that_socket(garbage: bytes) -> None:
    async with scene() as here, await trio.open_tcp_stream(*here.address) as socket:
        await socket.send_all(garbage)
        await socket.send_eof()
        await is_closed(socket)


ENDLESS = b"\xff\xff\xff\xff\xff\x1f"
"""A line of 2^40 - 1 bytes is announced."""


@pytest.mark.parametrize("before", [b"", MULTISTREAM, NOISE[:-8]], ids=["first", "second", "third"])
async def test_a_name_without_end_is_not_collected(before: bytes) -> None:
    """libp2p's multistream believes any length; ours must not (advisory on unbounded reads)."""
    async with scene() as here, await trio.open_tcp_stream(*here.address) as socket:
        sent = 0
        with trio.fail_after(UPGRADE_DEADLINE_S / 2), suppress(trio.BrokenResourceError):
            await socket.send_all(before + ENDLESS)
            while True:
                await socket.send_all(bytes(65536))
                sent += 65536
        assert sent < 16 * 1024 * 1024  # what the kernel's buffers take


@pytest.mark.parametrize("before", [b"", MULTISTREAM], ids=["first", "second"])
async def test_a_name_without_end_on_a_stream_ends_that_stream(before: bytes) -> None:
    async with scene() as here, connected(here.bob.addresses()[0]) as eve:
        await eve.join()
        stream = await eve.stream(before + ENDLESS)
        with trio.fail_after(5), suppress(StreamResetError):
            while await stream.read():
                pass
        assert not eve.link.is_closing


async def test_every_beginning_of_a_handshake_that_ends_there_is_survived() -> None:
    whole = NOISE + b"\x00\x20" + bytes(range(32))
    async with scene() as here:
        for length in range(0, len(whole), 3):
            socket = await trio.open_tcp_stream(*here.address)
            await socket.send_all(whole[:length])
            await socket.aclose()


async def test_two_hundred_silent_sockets_do_not_lock_the_others_out() -> None:
    async with scene() as here:
        silent = [await trio.open_tcp_stream(*here.address) for _ in range(200)]
        await here.still_serves()
        for socket in silent[: 200 - PENDING_PER_ADDRESS_MAX - 1]:
            await is_closed(socket)
        for socket in silent:
            await socket.aclose()


async def test_a_socket_that_says_nothing_hears_nothing_until_its_time_is_up() -> None:
    async with scene() as here, await trio.open_tcp_stream(*here.address) as socket:
        began_s = trio.current_time()
        with trio.fail_after(UPGRADE_DEADLINE_S + 1):
            assert await socket.receive_some(1) == b""
        assert trio.current_time() - began_s >= UPGRADE_DEADLINE_S - 0.5


async def test_a_lab_behind_one_address_comes_back_at_once_beside_silent_sockets() -> None:
    async with scene() as here:
        silent = [await trio.open_tcp_stream(*here.address) for _ in range(100)]
        hosts = [lone_host(f"member {n}") for n in range(2 * PENDING_PER_ADDRESS_MAX)]
        async with trio.open_nursery() as nursery:
            for host in hosts:
                Rpc(host)
                await nursery.start(host.run)
            async with trio.open_nursery() as dials:
                for host in hosts:
                    dials.start_soon(host.dial, here.bob.addresses()[0])
            nursery.cancel_scope.cancel()
        for socket in silent:
            await socket.aclose()
