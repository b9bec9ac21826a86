"""A connection carried between two of the kernel's: each end is told to the other as it was."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from swarmnode.executor.network.conduit import Conduit, Pace
from swarmnode.executor.network.limits import BUFFER_BYTES

RESET = bytes([1, 0, 0, 0]) + bytes(4)


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    return one, other


@asynccontextmanager
async def carried(
    conduit: Conduit,
) -> AsyncIterator[tuple[trio.socket.SocketType, trio.socket.SocketType, trio.Event]]:
    """Program and server with the conduit between them, and whether it is over."""
    program, near = connected()
    far, server = connected()
    over = trio.Event()

    async def carry() -> None:
        await conduit.carry(near, far)
        over.set()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry)
            ends = [trio.socket.from_stdlib_socket(sock) for sock in (program, server)]
            yield ends[0], ends[1], over
            for end in ends:
                end.close()


def plain() -> Conduit:
    return Conduit(Pace(), Pace())


async def everything(sock: trio.socket.SocketType) -> bytes:
    data = bytearray()
    while piece := await sock.recv(65536):
        data += piece
    return bytes(data)


async def test_an_end_is_an_end_and_the_answer_still_comes() -> None:
    async with carried(plain()) as (program, server, over):
        await program.send(b"question")
        program.shutdown(socket.SHUT_WR)
        assert await everything(server) == b"question"
        await server.send(b"answer")
        server.shutdown(socket.SHUT_WR)
        assert await everything(program) == b"answer"
        await over.wait()


@pytest.mark.parametrize("who", ["program", "server"])
async def test_a_reset_is_a_reset(who: str) -> None:
    async with carried(plain()) as (program, server, over):
        one, other = (program, server) if who == "program" else (server, program)
        await one.send(b"x")
        assert await other.recv(1) == b"x"
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        one.close()
        with pytest.raises(ConnectionResetError):
            await other.recv(1)
        await over.wait()


async def test_a_reset_after_half_an_end_is_a_reset() -> None:
    async with carried(plain()) as (program, server, over):
        program.shutdown(socket.SHUT_WR)
        assert await server.recv(1) == b""
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        server.close()
        with pytest.raises(ConnectionResetError):
            await program.recv(1)
        await over.wait()


async def test_nothing_is_lost_before_a_slow_reader_and_little_waits_here() -> None:
    data = bytes(range(256)) * (64 * 1024)
    conduit = plain()
    async with carried(conduit) as (program, server, _), trio.open_nursery() as nursery:

        async def send() -> None:
            view = memoryview(data)
            while view:
                view = view[await program.send(view) :]
            program.shutdown(socket.SHUT_WR)

        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert conduit.up.count < len(data)
        assert await everything(server) == data
    assert conduit.up.count == len(data)


async def test_many_connections_have_less_each_on_the_way() -> None:
    conduit = plain()
    conduit._carried = 1000
    one, other = connected()
    with one, other:
        other.sendall(bytes(100_000))
        assert len(conduit.into(one, conduit.down)) <= BUFFER_BYTES / 1000


async def test_what_a_task_may_take_a_second_is_kept() -> None:
    conduit = Conduit(Pace(), Pace(400_000))
    async with carried(conduit) as (program, server, _):
        began_s = trio.current_time()
        await server.send(bytes(200_000))
        server.shutdown(socket.SHUT_WR)
        assert len(await everything(program)) == 200_000
        assert 0.1 < trio.current_time() - began_s < 5


async def test_a_node_that_goes_leaves_no_end_that_looks_like_one() -> None:
    """Who read half of an answer must not take it for the whole."""
    program, near = connected()
    far, server = connected()
    reader = trio.socket.from_stdlib_socket(program)
    with reader, server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(plain().carry, near, far)
            server.sendall(b"half")
            assert await reader.recv(4) == b"half"
            nursery.cancel_scope.cancel()
        with pytest.raises(ConnectionResetError):
            await reader.recv(1)
