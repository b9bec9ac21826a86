"""Connections of this machine for its tasks: to what was checked, whichever answers first."""

import errno
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import trio

from swarmnode.executor.network import dial as dialling
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


@contextmanager
def silent() -> Iterator[SocketPlace]:
    """Where nobody answers: its queue is full."""
    with ExitStack() as held:
        full = held.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        place = SocketPlace(*full.getsockname())
        for _ in range(4):
            sock = held.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(place)
        yield place


def open_sockets() -> int:
    """Of this process."""
    found = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    return sum("socket:" in name for name in found)


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
    with silent() as place, pytest.raises(TimeoutError):
        await dial([place])


async def test_one_that_has_failed_makes_no_other_give_way(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SocketPlace("127.0.0.1", port)
    answers = trio.Event()
    plain = dialling._connected

    async def connected(place: SocketPlace) -> socket.socket:
        if place == slow:
            await answers.wait()
        return await plain(place)

    monkeypatch.setattr(dialling, "_connected", connected)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_after_a_while, answers)
        with await dial([nobody(), slow, nobody(), nobody()]) as sock:
            assert sock.getpeername() == ("127.0.0.1", port)


async def _after_a_while(event: trio.Event) -> None:
    await trio.sleep(0.6)
    event.set()


async def test_no_more_than_two_addresses_are_being_tried_at_once(port: int) -> None:
    with silent() as place:
        before, seen = open_sockets(), 0
        async with trio.open_nursery() as nursery:

            async def look() -> None:
                nonlocal seen
                while True:
                    seen = max(seen, open_sockets() - before)
                    await trio.sleep(0.01)

            nursery.start_soon(look)
            with await dial([place] * 4 + [SocketPlace("127.0.0.1", port)]) as sock:
                assert sock.getpeername() == ("127.0.0.1", port)
            nursery.cancel_scope.cancel()
    assert 1 <= seen <= 3, "two on their way, and for a moment the one that gives way"


def test_a_machine_knows_its_own_addresses() -> None:
    assert is_own("127.0.0.1")
    assert not is_own("8.8.8.8")
    assert not is_own("2606:4700::1111")
