"""A listener outlives whatever accept(2) says, and leaves the last descriptors to others."""

import errno
import os
import resource
import socket
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from p2p.accepting import accept_forever, is_reserved


class Moody(trio.abc.Listener[trio.SocketStream]):
    """A listener whose first accepts fail."""

    def __init__(self, sock: trio.socket.SocketType, moods: list[int]) -> None:
        self.socket = sock
        self.moods = moods
        self._calm = trio.SocketListener(sock)

    async def aclose(self) -> None:
        await self._calm.aclose()

    async def accept(self) -> trio.SocketStream:
        if self.moods:
            await trio.lowlevel.checkpoint()
            number = self.moods.pop(0)
            raise OSError(number, os.strerror(number))
        return await self._calm.accept()


async def listener(moods: list[int]) -> Moody:
    sock = trio.socket.socket()
    await sock.bind(("127.0.0.1", 0))
    sock.listen()
    return Moody(sock, moods)


async def answer(stream: trio.SocketStream) -> None:
    await stream.send_all(b"here")


async def hold(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def ask(port: int) -> bytes:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        return bytes(await stream.receive_some())


async def test_a_lack_of_descriptors_is_waited_for_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    moods = [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ECONNABORTED, errno.EPERM]
    moody = await listener(moods)
    port = moody.socket.getsockname()[1]
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(accept_forever, moody, answer)
            assert await ask(port) == b"here"
            nursery.cancel_scope.cancel()
    assert moods == []
    assert len([one for one in caplog.records if "too many files are open" in one.message]) == 1


async def test_another_error_of_a_listener_is_loud() -> None:
    moody = await listener([errno.EBADF])
    with trio.fail_after(20), pytest.RaisesGroup(OSError):
        await accept_forever(moody, answer)


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    newest = os.open("/dev/null", os.O_RDONLY)
    os.close(newest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (newest + 80, hard))
    yield newest + 80
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_the_last_descriptors_are_no_connections(few_descriptors: int) -> None:
    assert is_reserved(few_descriptors - 1)
    assert not is_reserved(3)
    calm = await listener([])
    clients: list[socket.socket] = []
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(accept_forever, calm, hold)
            where = calm.socket.getsockname()
            clients.extend(socket.create_connection(where) for _ in range(8))
            # One that came too late is hung up on.
            await trio.lowlevel.wait_readable(clients[-1])
            assert clients[-1].recv(1) == b""
            nursery.cancel_scope.cancel()
    for client in clients:
        client.close()


async def test_nothing_is_accepted_before_there_is_a_place() -> None:
    class Places:
        def __init__(self) -> None:
            self.opened = trio.Event()

        async def free(self) -> None:
            await self.opened.wait()

    places = Places()
    calm = await listener([])
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(accept_forever, calm, answer, places)
            with socket.create_connection(calm.socket.getsockname()) as client:
                await trio.testing.wait_all_tasks_blocked(0.05)
                client.setblocking(False)
                with pytest.raises(BlockingIOError):
                    client.recv(4)
                places.opened.set()
                await trio.lowlevel.wait_readable(client)
                assert client.recv(4) == b"here"
            nursery.cancel_scope.cancel()
