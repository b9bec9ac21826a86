"""A connection over memory streams: streams, cancellation, silence, goodbyes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from p2p.errors import LinkClosedError, StreamResetError
from p2p.link.channel import SecureChannel
from p2p.link.config import LinkConfig, YamuxConfig
from p2p.link.connection import Connection
from p2p.link.noise import NoiseSession
from p2p.link.stream import LinkStream
from p2p.link.yamux import frames as yamux

ONE, OTHER = bytes(32), bytes([1]) * 32
CONFIG = LinkConfig()


def sessions() -> tuple[NoiseSession, NoiseSession]:
    return (
        NoiseSession(send_key=ONE, receive_key=OTHER),
        NoiseSession(send_key=OTHER, receive_key=ONE),
    )


@asynccontextmanager
async def linked(config: LinkConfig = CONFIG) -> AsyncIterator[tuple[Connection, Connection]]:
    """Alice and bob, connected and running."""
    to_alice, to_bob = memory_stream_pair()
    for_alice, for_bob = sessions()
    alice = Connection(SecureChannel(to_bob, for_alice), is_initiator=True, config=config)
    bob = Connection(SecureChannel(to_alice, for_bob), is_initiator=False, config=config)
    async with trio.open_nursery() as nursery:
        await nursery.start(alice.run)
        await nursery.start(bob.run)
        with trio.fail_after(60):
            yield alice, bob
        nursery.cancel_scope.cancel()


class Wire:
    """The bare other end of a connection: says and hears Yamux frames as a peer would."""

    def __init__(self, stream: trio.abc.Stream, session: NoiseSession) -> None:
        self.channel = SecureChannel(stream, session)
        self.heard = bytearray()

    async def say(self, frame: bytes) -> None:
        await self.channel.send(frame)

    async def hear(self, size: int) -> bytes:
        while len(self.heard) < size:
            for plain in await self.channel.receive():
                self.heard += plain
        data = bytes(self.heard[:size])
        del self.heard[:size]
        return data


@asynccontextmanager
async def facing_a_wire(config: LinkConfig = CONFIG) -> AsyncIterator[tuple[Connection, Wire]]:
    near, far = memory_stream_pair()
    ours, theirs = sessions()
    link = Connection(SecureChannel(near, ours), is_initiator=False, config=config)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        yield link, Wire(far, theirs)
        nursery.cancel_scope.cancel()


async def stream_pair(alice: Connection, bob: Connection) -> tuple[LinkStream, LinkStream]:
    return alice.open_stream(), await bob.accept_stream()


async def read_all(stream: LinkStream) -> bytes:
    parts: list[bytes] = []
    while part := await stream.read():
        parts.append(part)
    return b"".join(parts)


async def test_megabytes_arrive_and_the_end_after_them() -> None:
    async with linked() as (alice, bob):
        near, far = await stream_pair(alice, bob)
        body = bytes(range(256)) * 20_000
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                await near.write(body)
                near.finish()

            nursery.start_soon(write)
            assert await read_all(far) == body
        await far.write(b"thanks")
        far.finish()
        assert await read_all(near) == b"thanks"


async def test_end_reset_and_loss_are_three_things() -> None:
    async with linked() as (alice, bob):
        ended, sees_end = await stream_pair(alice, bob)
        reset, sees_reset = await stream_pair(alice, bob)
        lost, sees_loss = await stream_pair(alice, bob)
        await ended.write(b"x")
        ended.finish()
        await reset.write(b"x")
        reset.reset()
        assert await sees_end.read() == b"x"
        assert await sees_end.read() == b""
        with pytest.raises(StreamResetError):
            await read_all(sees_reset)
        with pytest.raises(StreamResetError):
            await reset.write(b"more")
        alice.close("enough")
        with pytest.raises(LinkClosedError):
            await sees_loss.read()
        with pytest.raises(LinkClosedError):
            await lost.write(b"x")
        await bob.closed.wait()
        assert bob.reason == "the peer left"


async def test_what_was_sent_before_the_goodbye_can_be_read_after_it() -> None:
    async with linked() as (alice, bob):
        near, far = await stream_pair(alice, bob)
        await near.write(b"refused: your token has expired")
        alice.close("refused")
        await bob.closed.wait()
        assert await far.read() == b"refused: your token has expired"
        with pytest.raises(LinkClosedError):
            await far.read()


@pytest.mark.parametrize("seed", range(4))
async def test_a_hundred_cancelled_operations_leave_the_link_alive(seed: int) -> None:
    async with linked() as (alice, bob):

        async def echo(stream: LinkStream) -> None:
            try:
                while data := await stream.read():
                    await stream.write(data)
            except StreamResetError:
                return

        async def serve() -> None:
            while True:
                nursery.start_soon(echo, await bob.accept_stream())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            for attempt in range(100):
                stream = alice.open_stream()
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as inner:
                        inner.start_soon(stream.write, bytes(300_000 if attempt % 2 else 100))
                        inner.start_soon(stream.read)
                        for _ in range((attempt * 7 + seed) % 13):
                            await trio.lowlevel.checkpoint()
                        scope.cancel()
                stream.reset()
            last = alice.open_stream()
            await last.write(b"still there?")
            assert await last.read() == b"still there?"
            nursery.cancel_scope.cancel()
        assert not alice.is_closing


async def test_a_stalled_reader_holds_up_its_own_stream_only() -> None:
    async with linked() as (alice, bob):
        stalled, _ = await stream_pair(alice, bob)
        with trio.move_on_after(0.05) as scope:
            await stalled.write(bytes(10 * 2**20))
        assert scope.cancelled_caught
        near, far = await stream_pair(alice, bob)
        await near.write(b"past it")
        assert await far.read() == b"past it"


async def test_streams_beyond_the_cap_are_reset_and_later_ones_work() -> None:
    config = LinkConfig(yamux=YamuxConfig(streams_inbound_max=2))
    async with linked(config) as (alice, bob):
        first, _ = await stream_pair(alice, bob)
        await stream_pair(alice, bob)
        with pytest.raises(StreamResetError):
            await alice.open_stream().read()
        first.reset()
        near, far = await stream_pair(alice, bob)
        await near.write(b"ok")
        assert await far.read() == b"ok"


async def test_finished_streams_leave_nothing_behind() -> None:
    async with linked() as (alice, bob):
        for _ in range(300):
            near, far = await stream_pair(alice, bob)
            near.finish()
            far.finish()
            assert await near.read() == b""
        assert await alice.pulse.answers()  # by then bob has seen the last end, too
        assert not alice._streams
        assert not bob._streams


async def test_a_silent_peer_is_found_out(autojump_clock: MockClock) -> None:
    async with facing_a_wire() as (link, _):
        started_s = trio.current_time()
        await link.closed.wait()
        assert link.reason == "the peer was silent for 15 s"
        assert 15 <= trio.current_time() - started_s <= 16


async def test_an_idle_link_lives_on_pings_and_knows_its_round_trip(
    autojump_clock: MockClock,
) -> None:
    async with linked() as (alice, bob):
        with trio.move_on_after(50):
            await alice.closed.wait()
        assert not alice.is_closing
        assert alice.pulse.rtt_s is not None
        assert alice.pulse.rtt_s < 0.1
        assert await bob.pulse.answers()


async def test_a_broken_protocol_is_answered_with_its_code() -> None:
    async with facing_a_wire() as (link, wire):
        await wire.hear(12)  # the first ping
        await wire.say(b"\x09" * 12)
        assert await wire.hear(12) == yamux.HEADER.pack(0, yamux.GO_AWAY, 0, 0, 1)
        await link.closed.wait()
        assert "broke the protocol" in link.reason


async def test_a_peer_that_pings_but_never_listens_is_not_read_from() -> None:
    config = LinkConfig(output_bytes_max=4096, backlog_bytes=4096)
    near, far = trio.testing.lockstep_stream_pair()
    ours, theirs = sessions()
    link = Connection(SecureChannel(near, ours), is_initiator=False, config=config)
    wire = Wire(far, theirs)
    ping = yamux.HEADER.pack(0, yamux.PING, yamux.SYN, 0, 7)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        with trio.move_on_after(0.2) as scope:
            for _ in range(100):
                await wire.say(ping * 100)
        assert scope.cancelled_caught
        assert link.core.output.size_bytes < 3 * 4096
        nursery.cancel_scope.cancel()


async def test_room_runs_out_while_the_socket_takes_nothing() -> None:
    near, far = trio.testing.lockstep_stream_pair()
    ours, theirs = sessions()
    link = Connection(SecureChannel(near, ours), is_initiator=True)
    wire = Wire(far, theirs)
    heard_room = trio.Event()
    link.out.fill_by(heard_room.set)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        stream = link.open_stream()
        stream.write_some(bytes(CONFIG.backlog_bytes))
        assert not link.out.has_room()
        assert stream.room() == 0
        await wire.hear(CONFIG.backlog_bytes)
        await heard_room.wait()
        assert link.out.has_room()
        nursery.cancel_scope.cancel()


async def test_a_cut_transport_fails_every_waiter_at_once() -> None:
    near, far = memory_stream_pair()
    ours, _ = sessions()
    link = Connection(SecureChannel(near, ours), is_initiator=False)
    failed = 0
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)

        async def expect_loss(wait: object) -> None:
            nonlocal failed
            assert callable(wait)
            with pytest.raises(LinkClosedError):
                await wait()
            failed += 1

        stream = link.open_stream()
        nursery.start_soon(expect_loss, stream.read)
        nursery.start_soon(expect_loss, link.accept_stream)
        await trio.testing.wait_all_tasks_blocked()
        await far.aclose()
    assert failed == 2
    with pytest.raises(LinkClosedError):
        link.open_stream()


@pytest.mark.parametrize("bad", [{"ping_every_s": 0}, {"dead_after_s": 1}, {"backlog_bytes": 0}])
def test_settings_are_checked(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        LinkConfig(**bad)  # type: ignore[arg-type]


async def test_a_peer_that_sends_nothing_but_headers_leaves_others_their_turns() -> None:
    to_alice, to_bob = memory_stream_pair()
    for_alice, for_bob = sessions()
    bob = Connection(SecureChannel(to_alice, for_bob), is_initiator=False)
    eve = SecureChannel(to_bob, for_alice)
    headers = yamux.HEADER.pack(0, yamux.WINDOW_UPDATE, 0, 1, 1) * 20_000
    turns = 0

    async def other_work() -> None:
        nonlocal turns
        while bob.core.frames_in < 20_000:
            turns += 1
            await trio.lowlevel.checkpoint()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(bob.run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(eve.send, headers)
            await other_work()
            nursery.cancel_scope.cancel()
    assert turns >= 20


async def test_a_beginning_is_taken_whole_or_not_at_all() -> None:
    async with linked() as (alice, bob):
        near, far = await stream_pair(alice, bob)
        assert not far.take_prefix(b"hello")  # nothing has come
        await near.write(b"hello world")
        assert await alice.pulse.answers()
        assert not far.take_prefix(b"help")
        assert not far.take_prefix(b"hello world, and all")
        assert far.take_prefix(b"hello")
        assert await far.read() == b" world"
        await near.write(b"bye")
        assert await alice.pulse.answers()
        assert far.take_prefix(b"bye")
        assert bob.core.windows.unread_bytes == 0


async def test_who_waits_for_room_and_who_fills_it_at_once_take_turns() -> None:
    async with facing_a_wire() as (link, wire), trio.open_nursery() as nursery:
        greedy, patient = link.open_stream(), link.open_stream()
        for stream in (greedy, patient):
            await wire.say(yamux.HEADER.pack(0, yamux.WINDOW_UPDATE, 0, stream.stream_id, 2**30))
        piece = bytes(CONFIG.backlog_bytes)
        filled, over = 0, trio.Event()

        def fill() -> None:
            nonlocal filled
            while link.out.has_room():
                filled += greedy.write_some(piece)

        async def write() -> None:
            for _ in range(20):
                await patient.write(piece)
            over.set()

        async def swallow() -> None:
            while True:
                await wire.channel.receive()

        await trio.testing.wait_all_tasks_blocked()  # the windows have grown
        nursery.start_soon(swallow)
        link.out.fill_by(fill)
        fill()
        nursery.start_soon(write)
        with trio.fail_after(10):
            await over.wait()
        assert 10 <= filled // len(piece) <= 60
        nursery.cancel_scope.cancel()
