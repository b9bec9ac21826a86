"""Guests that ask for too much, or for what nobody can read: it costs them a stream."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from p2p.errors import LinkClosedError, StreamResetError
from p2p.host.addresses import parse_address
from p2p.host.libp2p.dialer import Dialer
from p2p.host.libp2p.index import PROTOCOL
from p2p.host.libp2p.swarm import build
from p2p.host.peers.framing import check_answer
from p2p.limits import GUEST_ECHO_BYTES_MAX, GUESTS_MAX
from p2p.link.agreement import opening
from p2p.link.config import LinkConfig
from p2p.link.connection import Connection
from p2p.link.stream import LinkStream
from tests.interop.open_node import Served, key, node

from libp2p.pubsub.pb import rpc_pb2  # isort: skip

MESHSUB = "/meshsub/1.2.0"


@asynccontextmanager
async def guest(served: Served, name: str) -> AsyncIterator[Connection]:
    """A connection of a machine that never asks to be admitted."""
    _, swarm = build(key(name).seed(), LinkConfig(), list)
    dialer = Dialer(swarm.upgrader)
    muxed, _ = await dialer.connect(served.host.peer_id, [parse_address(served.address)])
    async with trio.open_nursery() as nursery:
        await nursery.start(muxed.link.run)
        yield muxed.link
        nursery.cancel_scope.cancel()


async def speak(link: Connection, protocol: str) -> LinkStream:
    stream = link.open_stream()
    await stream.write(opening(protocol))
    await check_answer(stream, protocol)
    return stream


@asynccontextmanager
async def visited() -> AsyncIterator[Served]:
    """A node with guests, which must go on in the end."""
    with trio.fail_after(30):
        async with node() as served:
            yield served
            assert served.interop is not None
            assert served.interop.faults == 0
            async with guest(served, "last") as link:
                stream = await speak(link, served.names[2])
                await stream.write(b"still here?")
                assert await stream.read() == b"still here?"


async def is_refused(link: Connection, protocol: str) -> None:
    """The stream is reset, before or after we heard that the protocol is known."""
    with pytest.raises(StreamResetError):
        await (await speak(link, protocol)).read()


async def sent_back(stream: LinkStream, size: int) -> int:
    """Send so many bytes and count what returns until the stream ends."""
    count = 0
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            try:
                await stream.write(bytes(size))
            except StreamResetError:
                return

        nursery.start_soon(send)
        try:
            while data := await stream.read():
                count += len(data)
        except StreamResetError:
            return -count
    return count


async def test_an_echo_ends_at_its_limit() -> None:
    async with visited() as served, guest(served, "loud") as link:
        stream = await speak(link, served.names[2])
        returned = await sent_back(stream, GUEST_ECHO_BYTES_MAX + 1024 * 1024)
        assert -GUEST_ECHO_BYTES_MAX - 64 * 1024 <= returned < 0


async def test_a_guest_has_one_echo_at_a_time() -> None:
    async with visited() as served, guest(served, "twice") as link:
        await speak(link, served.names[2])
        await is_refused(link, served.names[2])


async def test_guests_that_hold_streams_of_the_index_leave_some_for_members() -> None:
    async with visited() as served, guest(served, "one") as one, guest(served, "two") as two:
        for link in (one, two):
            for _ in range(3):
                await speak(link, PROTOCOL)
        async with guest(served, "three") as three:
            await is_refused(three, PROTOCOL)
        async with node("bob", interop=False) as member:
            await member.host.dial(served.address)
            await member.index.knows_somebody()
            with trio.fail_after(5):  # the guests, who answer nothing, are not asked
                await served.index.announce(b"a key")
            found = await member.index.find(b"a key", 5)
            assert [peer for peer, _ in found] == [served.host.peer_id]


async def read_to_the_end(stream: LinkStream) -> None:
    """Return at the end, if there is one."""
    while await stream.read():
        pass


async def test_when_there_are_too_many_the_one_that_came_first_gives_way() -> None:
    async with visited() as served, guest(served, "first") as first:
        early = await speak(first, MESHSUB)
        async with trio.open_nursery() as nursery:

            async def visit(name: str, *, task_status: trio.TaskStatus[None]) -> None:
                async with guest(served, name) as link:
                    await speak(link, MESHSUB)
                    task_status.started()
                    await trio.sleep_forever()

            for number in range(GUESTS_MAX):
                await nursery.start(visit, f"g{number}")
            with pytest.raises(LinkClosedError):
                await read_to_the_end(early)  # it may have been told something before
            assert len(served.host.conns.gate.guests) == GUESTS_MAX
            nursery.cancel_scope.cancel()


def hostile_rpcs(topic: str) -> list[bytes]:
    """What a lobby may be sent: nonsense, forgeries, endless subscriptions."""
    rpc = rpc_pb2.RPC()
    for origin, extra in ((b"", b""), (b"\xff" * 40, b"\xff"), (b"\x12\x20" + bytes(32), b"x")):
        for signature in (b"", b"\x00", bytes(64)):
            rpc.publish.add(
                data=b"?",
                topicIDs=[topic],
                from_id=origin,
                seqno=extra,
                key=extra,
                signature=signature,
            )
    rpc.senderRecord = b"\xff\xff"
    forged = rpc_pb2.RPC()
    forged.CopyFrom(rpc)
    forged.ClearField("senderRecord")
    subscribing = rpc_pb2.RPC()
    for number in range(200):
        subscribing.subscriptions.add(subscribe=True, topicid=f"t{number}")
    control = rpc_pb2.RPC()
    control.control.graft.add(topicID="nothing")
    control.control.ihave.add(topicID=topic, messageIDs=[b"zz", b"\xff"])
    control.control.iwant.add(messageIDs=[b"zz"])
    control.control.prune.add(topicID=topic)
    return [one.SerializeToString() for one in (rpc, forged, subscribing, control)] + [b"\xff" * 50]


async def test_whatever_is_said_in_the_lobby_the_node_goes_on() -> None:
    async with visited() as served:
        for number, rpc in enumerate(hostile_rpcs(served.names[1])):
            async with guest(served, f"hostile{number}") as link:
                stream = await speak(link, MESHSUB)
                for _ in range(20):
                    assert len(rpc) < 2**14
                    await stream.write(bytes((len(rpc) & 127 | 128, len(rpc) >> 7)) + rpc)
                assert await link.pulse.answers()


async def test_a_lobby_that_fails_is_begun_anew() -> None:
    async with visited() as served:
        interop = served.interop
        assert interop is not None
        lobby = interop._lobby
        assert lobby is not None

        async def fail() -> None:
            raise ValueError("a bug of libp2p's")

        lobby.manager.run_task(fail)
        while interop._lobby in (None, lobby):  # noqa: ASYNC110 - nothing of ours tells
            await trio.sleep(0.01)
        assert interop.faults == 1
        interop.faults = 0
