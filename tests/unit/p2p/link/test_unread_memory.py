"""The node's bound on unread bytes: who holds most goes, and everybody else stays."""

import pytest
import trio
from trio.testing import memory_stream_pair

from p2p.errors import StreamResetError
from p2p.link.channel import SecureChannel
from p2p.link.connection import Connection
from p2p.link.memory import UnreadMemory
from p2p.link.noise import NoiseSession

ONE, OTHER = bytes(32), bytes([1]) * 32


class Sink:
    """A connection of the test."""

    def __init__(self, held_bytes: int) -> None:
        self.held_bytes = held_bytes
        self.is_evicted = False

    def evict(self) -> None:
        self.is_evicted = True


def test_who_holds_most_is_evicted_once() -> None:
    memory = UnreadMemory(100)
    small, large = Sink(10), Sink(80)
    for sink in (small, large):
        memory.join(sink)
        memory.take(sink.held_bytes)
    assert memory.evicted == 0
    memory.take(20)
    assert (small.is_evicted, large.is_evicted) == (False, True)
    memory.give_back(80)
    memory.take(50)
    assert memory.evicted == 1


def test_bytes_of_nobody_evict_nobody() -> None:
    memory = UnreadMemory(100)
    memory.take(200)
    assert memory.evicted == 0


async def test_a_connection_that_hoards_goes_and_another_is_served() -> None:
    memory = UnreadMemory(300_000)
    async with trio.open_nursery() as nursery:

        async def connected() -> tuple[Connection, Connection]:
            ends = memory_stream_pair()
            keys = ((ONE, OTHER), (OTHER, ONE))
            links = [
                Connection(
                    SecureChannel(end, NoiseSession(send_key=send, receive_key=receive)),
                    is_initiator=at == 0,
                    memory=memory if at == 1 else None,
                )
                for at, (end, (send, receive)) in enumerate(zip(ends, keys, strict=True))
            ]
            for link in links:
                await nursery.start(link.run)
            return links[0], links[1]

        eve, from_eve = await connected()
        alice, from_alice = await connected()
        hoards = []
        with trio.fail_after(10):
            for _ in range(3):
                eve.open_stream().write_some(bytes(90_000))
                hoards.append(await from_eve.accept_stream())
            eve.open_stream().write_some(bytes(90_000))
            await from_eve.closed.wait()
            assert "short of memory" in from_eve.reason
            await eve.closed.wait()
            assert eve.reason == "the peer left: 2"
            with pytest.raises(StreamResetError):
                await hoards[0].read()
            near = alice.open_stream()
            await near.write(b"hello")
            assert await (await from_alice.accept_stream()).read() == b"hello"
        assert memory.used_bytes == 0
        nursery.cancel_scope.cancel()
