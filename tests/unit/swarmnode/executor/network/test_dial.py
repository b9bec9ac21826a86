"""Connections of this machine for its tasks: to what was checked, whichever answers first."""

import errno
import socket
from collections.abc import AsyncIterator

import pytest
import trio

from swarmnode.executor.network.core import SocketPlace
from swarmnode.executor.network.dial import dial, is_own


@pytest.fixture
async def port() -> AsyncIterator[int]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        yield listener.socket.getsockname()[1]


def nobody() -> SocketPlace:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return SocketPlace("127.0.0.1", listener.getsockname()[1])


async def test_the_next_address_is_tried_when_one_does_not_answer(port: int) -> None:
    with await dial([nobody(), SocketPlace("127.0.0.1", port)]) as sock:
        assert sock.getpeername() == ("127.0.0.1", port)


async def test_one_address_is_dialled_and_no_other(port: int) -> None:
    with await dial([SocketPlace("127.0.0.1", port)]) as sock:
        assert sock.getpeername() == ("127.0.0.1", port)


@pytest.mark.parametrize("count", [1, 2])
async def test_a_host_that_does_not_listen_is_told_as_that(count: int) -> None:
    with pytest.raises(OSError) as raised:  # noqa: PT011 - by its number
        await dial([nobody()] * count)
    assert raised.value.errno == errno.ECONNREFUSED


async def test_a_host_that_never_answers_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        place = SocketPlace(*full.getsockname())
        held = []
        for _ in range(4):  # its queue is full: nobody more is answered
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(place)
            held.append(sock)
        with pytest.raises(TimeoutError):
            await dial([place])
        for sock in held:
            sock.close()


def test_a_machine_knows_its_own_addresses() -> None:
    assert is_own("127.0.0.1")
    assert not is_own("8.8.8.8")
    assert not is_own("2606:4700::1111")
