"""The socket under a handshake: what is received ahead is neither lost nor read twice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from p2p.errors import WireError
from p2p.host.libp2p.handshake_socket import HeardStream
from p2p.limits import HANDSHAKE_READ_BYTES_MAX

from libp2p.io.exceptions import ConnectionClosedError  # isort: skip
from libp2p.utils.varint import read_delim  # isort: skip

HELLO = b"\x13/multistream/1.0.0\n"


@asynccontextmanager
async def heard() -> AsyncIterator[tuple[HeardStream, trio.SocketStream, list[int]]]:
    near, far = (trio.SocketStream(end) for end in trio.socket.socketpair())
    firsts: list[int] = []
    async with near, far:
        with trio.fail_after(10):
            yield HeardStream(near, lambda: firsts.append(1)), far, firsts


async def test_one_receive_serves_many_reads_and_the_rest_is_handed_on() -> None:
    async with heard() as (stream, far, firsts):
        await far.send_all(HELLO + b"and what comes next")
        assert await stream.read(1) == HELLO[:1]
        assert await stream.read(len(HELLO) - 1) == HELLO[1:]
        assert await stream.read(4) == b"and "
        assert stream.take_unread() == b"what comes next"
        await far.send_all(b"x")
        assert await stream.read() == b"x"
        await far.send_eof()
        assert await stream.read(1) == b""
        assert (stream.heard, firsts) == (HELLO, [1])


async def test_a_read_of_nothing_waits_for_nothing() -> None:
    async with heard() as (stream, _, _):
        assert await stream.read(0) == b""


@pytest.mark.parametrize("first", [b"HTTP/1.1 200", HELLO[:7] + b"stranger than this"])
async def test_a_wrong_beginning_is_noticed_at_once(first: bytes) -> None:
    async with heard() as (stream, far, _):
        await far.send_all(first)
        with pytest.raises(WireError):
            await stream.read(1)
        assert first.startswith(stream.heard)


async def test_a_closed_socket_is_said_to_be_closed() -> None:
    async with heard() as (stream, _, _):
        await stream.stream.aclose()
        with pytest.raises(ConnectionClosedError):
            await stream.read(1)
        with pytest.raises(ConnectionClosedError):
            await stream.write(HELLO)


async def test_more_than_any_message_of_a_handshake_is_not_collected() -> None:
    async with heard() as (stream, far, _):
        await far.send_all(HELLO + b"\xff\xff\xff\xff\x0f" + bytes(1000))
        assert await read_delim(stream) == HELLO[1:-1]
        with pytest.raises(WireError, match="announces 4294967295 bytes"):
            await read_delim(stream)
        with pytest.raises(WireError):
            await stream.read(HANDSHAKE_READ_BYTES_MAX + 1)
