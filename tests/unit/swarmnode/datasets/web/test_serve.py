"""HTTP to datasets on the wire: by real sockets, and whatever bytes come."""

import random
import socket
from contextlib import suppress

import pytest
import trio

from swarmnode.datasets.limits import DATA_WEB_CONNECTIONS_MAX
from swarmnode.datasets.web import serve
from swarmnode.datasets.web.core import DataWeb, WebDataset
from swarmnode.fuse.inodes import ContentPlace, Inodes, file_inode
from swarmnode.fuse.serve import ContentFailedError, Pieces
from tests.data_lab import Numbered, numbered

SIZE = 3 << 20
WEB = DataWeb([WebDataset("/d", Inodes(file_inode(0o644, SIZE, ContentPlace())), "t")])


class Breaks(Numbered):
    """Has the first MiB alone."""

    async def read(self, place: ContentPlace, size: int) -> Pieces:
        if place.offset:
            raise ContentFailedError
        return await super().read(place, size)


async def served(nursery: trio.Nursery, content: Numbered | None = None) -> int:
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    nursery.start_soon(serve.run, listener, WEB, [content or Numbered()], "t.1")
    return port


async def said(stream: trio.SocketStream) -> bytes:
    """To the end."""
    got = b""
    async with stream:
        with trio.fail_after(10):
            async for piece in stream:
                got += piece
    return got


async def test_requests_follow_one_another_and_may_come_at_once(nursery: trio.Nursery) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", await served(nursery))
    one = b"GET /d HTTP/1.1\r\nHost: x\r\nRange: bytes=%d-%d\r\n%s\r\n"
    asked = one % (0, 9, b"") + one % (16, 31, b"") + one % (0, 1 << 20, b"Connection: close\r\n")
    await stream.send_all(asked)
    got = await said(stream)
    bodies = [part.partition(b"\r\n\r\n")[2] for part in got.split(b"HTTP/1.1 206 ")[1:]]
    assert bodies == [numbered(0, 10), numbered(16, 16), numbered(0, (1 << 20) + 1)]


async def test_a_file_that_ends_early_breaks_the_connection(nursery: trio.Nursery) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", await served(nursery, Breaks()))
    await stream.send_all(b"GET /d HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = (await said(stream)).partition(b"\r\n\r\n")
    assert b"content-length: %d" % SIZE in head
    assert len(body) == 1 << 20


async def test_whoever_comes_when_all_places_are_taken_waits_for_one(
    nursery: trio.Nursery,
) -> None:
    port = await served(nursery)
    ask = b"GET /d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    idle = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(DATA_WEB_CONNECTIONS_MAX)]
    last = await trio.open_tcp_stream("127.0.0.1", port)
    await last.send_all(ask)
    with trio.move_on_after(0.2) as waited:
        await last.receive_some()
    assert waited.cancelled_caught
    for stream in idle:
        await stream.aclose()
    assert len(await said(last)) > SIZE


@pytest.mark.parametrize("seed", range(3))
async def test_no_bytes_whatever_end_more_than_their_connection(
    nursery: trio.Nursery, seed: int
) -> None:
    dice, port = random.Random(seed), await served(nursery)
    begins = [
        b"",
        b"GET /d HTTP/1.1\r\n",
        b"GET /d HTTP/1.1\r\nHost: x\r\n",
        b"HEAD ",
        b"CONNECT x",
    ]
    for _ in range(100):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(dice.choice(begins) + dice.randbytes(dice.randrange(300)))
                await stream.send_eof()
                await said(stream)
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.send_all(b"GET /d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert len(await said(stream)) > SIZE


async def test_more_at_once_than_there_are_places_are_answered_though_each_would_stay(
    nursery: trio.Nursery,
) -> None:
    """Clients ask on a hundred connections (aiohttp's limit) and leave each open for the next."""
    port, done = await served(nursery), 0

    async def one(asking: trio.Nursery) -> None:
        nonlocal done
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET /d HTTP/1.1\r\nHost: x\r\nRange: bytes=0-9\r\n\r\n")
            got = b""
            while not got.endswith(numbered(0, 10)):
                piece = await stream.receive_some()
                assert piece
                got += piece
            done += 1
            if done == 3 * DATA_WEB_CONNECTIONS_MAX:
                asking.cancel_scope.cancel()
            await trio.sleep_forever()  # with the connection open

    with trio.fail_after(20):
        async with trio.open_nursery() as asking:
            for _ in range(3 * DATA_WEB_CONNECTIONS_MAX):
                asking.start_soon(one, asking)
    assert done == 3 * DATA_WEB_CONNECTIONS_MAX


async def test_a_name_that_is_not_escaped_is_told_how(nursery: trio.Nursery) -> None:
    """curl sends what it is given."""
    stream = await trio.open_tcp_stream("127.0.0.1", await served(nursery))
    await stream.send_all("GET /ü HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    got = await said(stream)
    assert got.startswith(b"HTTP/1.1 400")
    assert b"written as %XX" in got
