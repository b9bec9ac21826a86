"""A connection over real sockets: full buffers, giving up in the middle, ends that vanish."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from p2p.errors import LinkClosedError, StreamResetError
from p2p.link.channel import SecureChannel
from p2p.link.config import LinkConfig
from p2p.link.connection import Connection
from p2p.link.noise import NoiseSession
from p2p.link.stream import LinkStream

ONE, OTHER = bytes(32), bytes([1]) * 32
BODY = bytes(range(256)) * 8192
SMALL_BUFFER = 4096
"""Asked of the kernel, which rounds up: every large send is cut in pieces."""


def tcp_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Both ends of a loopback connection with small buffers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.socket()
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            near.setsockopt(socket.SOL_SOCKET, option, SMALL_BUFFER)
        near.connect(server.getsockname())
        far, _ = server.accept()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
    ends = []
    for end in (near, far):
        end.setblocking(False)
        ends.append(trio.SocketStream(trio.socket.from_stdlib_socket(end)))
    return ends[0], ends[1]


def channels() -> tuple[SecureChannel, SecureChannel]:
    near, far = tcp_pair()
    return (
        SecureChannel(near, NoiseSession(send_key=ONE, receive_key=OTHER)),
        SecureChannel(far, NoiseSession(send_key=OTHER, receive_key=ONE)),
    )


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Connection, Connection]]:
    """Alice and bob, connected and running."""
    near, far = channels()
    alice, bob = Connection(near, is_initiator=True), Connection(far, is_initiator=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(alice.run)
        await nursery.start(bob.run)
        with trio.fail_after(60):
            yield alice, bob
        nursery.cancel_scope.cancel()


async def read_exactly(stream: LinkStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.read(size - len(data))
    return data


async def echo_forever(bob: Connection) -> None:
    """Answer on every stream until it is reset."""

    async def echo(stream: LinkStream) -> None:
        try:
            while data := await stream.read():
                await stream.write(data)
        except (StreamResetError, LinkClosedError):
            return

    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(echo, await bob.accept_stream())


async def test_megabytes_go_both_ways_through_buffers_of_kilobytes() -> None:
    async with linked() as (alice, bob), trio.open_nursery() as nursery:
        nursery.start_soon(echo_forever, bob)
        stream = alice.open_stream()
        nursery.start_soon(stream.write, BODY)
        assert await read_exactly(stream, len(BODY)) == BODY
        nursery.cancel_scope.cancel()


async def test_thousands_that_give_up_in_the_middle_leave_the_link_alive() -> None:
    async with linked() as (alice, bob), trio.open_nursery() as nursery:
        nursery.start_soon(echo_forever, bob)

        async def give_up_often(worker: int) -> None:
            for turn in range(250):
                stream = alice.open_stream()
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as inner:
                        inner.start_soon(stream.write, BODY[: (100, 3000, 200_000)[turn % 3]])
                        inner.start_soon(stream.read)
                        for _ in range((turn * 7 + worker) % 11):
                            await trio.lowlevel.checkpoint()
                        scope.cancel()
                stream.reset()

        async with trio.open_nursery() as workers:
            for worker in range(8):
                workers.start_soon(give_up_often, worker)
        last = alice.open_stream()
        await last.write(b"still there?")
        assert await last.read() == b"still there?"
        assert not alice.is_closing
        nursery.cancel_scope.cancel()


async def test_a_reader_that_stalls_for_long_gets_everything_in_the_end() -> None:
    async with linked() as (alice, bob), trio.open_nursery() as nursery:
        stream = alice.open_stream()
        nursery.start_soon(stream.write, BODY)
        far = await bob.accept_stream()
        await trio.testing.wait_all_tasks_blocked(0.05)  # the window and both buffers are full
        assert await read_exactly(far, len(BODY)) == BODY
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_writing", [False, True], ids=["idle", "in the middle of a write"])
async def test_a_frozen_peer_is_found_out_and_its_socket_closed(
    autojump_clock: MockClock, is_writing: bool
) -> None:
    near, far = tcp_pair()
    channel = SecureChannel(near, NoiseSession(send_key=ONE, receive_key=OTHER))
    link = Connection(channel, is_initiator=True)
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        if is_writing:

            async def write() -> None:
                with pytest.raises(LinkClosedError, match="silent for 15 s"):
                    await link.open_stream().write(BODY)

            nursery.start_soon(write)
        await link.closed.wait()
    assert link.reason == "the peer was silent for 15 s"
    assert trio.current_time() - began_s <= 16
    assert near.socket.fileno() == -1
    await far.aclose()


async def test_an_end_that_vanishes_fails_writers_that_wait() -> None:
    near, far = tcp_pair()
    channel = SecureChannel(near, NoiseSession(send_key=ONE, receive_key=OTHER))
    link = Connection(channel, is_initiator=True)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)

            async def write() -> None:
                with pytest.raises(LinkClosedError):
                    await link.open_stream().write(BODY)

            nursery.start_soon(write)
            await trio.testing.wait_all_tasks_blocked()
            await far.aclose()


async def test_a_channel_that_was_closed_says_so() -> None:
    near, far = channels()
    await near.aclose()
    for attempt in (near.receive, lambda: near.send(b"x")):
        with pytest.raises(LinkClosedError):
            await attempt()
    with pytest.raises(LinkClosedError):
        near.send_now(near.seal(b"x"))
    await far.aclose()


async def test_what_the_socket_does_not_take_at_once_is_sent_later_and_in_order() -> None:
    near, far = channels()
    sealed = near.seal(BODY)
    sent = near.send_now(sealed)
    assert 0 < sent < len(sealed)
    received = b""
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.send_sealed, sealed[sent:])
            while len(received) < len(BODY):
                received += b"".join(await far.receive())
    assert received == BODY
    await near.aclose()
    await far.aclose()


def test_a_link_that_pings_less_often_than_it_gives_up_is_refused() -> None:
    with pytest.raises(ValueError, match="dead_after_s"):
        LinkConfig(ping_every_s=20)
