"""Hostile bytes after the handshake: each costs the attacker its stream or its connection."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from p2p.errors import (
    DialError,
    LinkClosedError,
    StreamLimitError,
    StreamResetError,
)
from p2p.host.admission.port import OpenAdmission
from p2p.host.libp2p.host import Libp2pHost
from p2p.host.rpc.service import Rpc
from p2p.ids import NetworkId
from p2p.limits import (
    CONTROL_FRAME_BYTES_MAX,
    STRANGER_UNREAD_BYTES_MAX,
    STREAMS_INBOUND_MAX,
    STREAMS_OPENED_BURST,
    STREAMS_OPENED_PER_S,
)
from p2p.link.agreement import opening
from p2p.link.stream import LinkStream
from p2p.wire.frames import frame
from testnet.attack.eve import ADMIT, FRAMES, PING, Eve, connected
from tests.link_attack_lab import MULTISTREAM, Greeting, Scene, scene


@asynccontextmanager
async def attacker(here: Scene, name: str = "eve") -> AsyncIterator[Eve]:
    """Connected, not admitted."""
    async with connected(here.bob.addresses()[0], name) as eve:
        yield eve


async def ends(stream: LinkStream) -> None:
    """The stream is reset, ended or lost; never left hanging."""
    with trio.fail_after(12):
        try:
            while await stream.read():
                pass
        except (StreamResetError, LinkClosedError):
            return


@pytest.mark.parametrize(
    "first",
    [
        MULTISTREAM + b"\x05\xff\xfe\xfd\xfc\n",  # not UTF-8
        b"\x05\xff\xfe\xfd\xfc\n",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x00" * 64,
        MULTISTREAM + b"\xff\xff\x03" + b"x" * 65535,
        MULTISTREAM + b"\x10/ipfs/ping/1.0" + b"\x00" * 100,
    ],
)
async def test_a_stream_that_begins_with_garbage_ends_alone(first: bytes) -> None:
    async with scene() as here, attacker(here) as eve:
        await eve.join()
        stream = await eve.stream(first)
        stream.finish()
        await ends(stream)
        assert not eve.link.is_closing


async def test_an_unknown_protocol_is_declined() -> None:
    async with scene() as here, attacker(here) as eve:
        await eve.join()
        stream = await eve.stream(opening("/nonsense/1"))
        heard = b""
        while len(heard) < len(MULTISTREAM) + 4:
            heard += await stream.read()
        assert heard == MULTISTREAM + b"\x03na\n"


@pytest.mark.parametrize("piece_bytes", [1, 20, 1000])
async def test_one_of_our_protocols_is_answered_alike_however_it_is_asked_for(
    piece_bytes: int,
) -> None:
    async with scene() as here, attacker(here) as eve:
        await eve.join()
        asks = opening(FRAMES) + b"\x02"
        stream = await eve.stream(asks[:piece_bytes])
        for at in range(piece_bytes, len(asks), piece_bytes):
            assert await eve.link.pulse.answers()  # it has arrived, by itself
            await stream.write(asks[at : at + piece_bytes])
        heard = b""
        while len(heard) < len(opening(FRAMES)):
            heard += await stream.read()
        assert heard == opening(FRAMES)


async def test_proposals_without_end_end_the_stream() -> None:
    async with scene() as here, attacker(here) as eve:
        await eve.join()
        stream = await eve.stream(MULTISTREAM + b"\x0a/nothing/\n" * 1000)
        await ends(stream)
        assert not eve.link.is_closing


IDENTIFY = "/ipfs/id/1.0.0"


@pytest.mark.parametrize("protocol", [PING, IDENTIFY, "/ipfs/id/push/1.0.0"])
async def test_garbage_for_a_protocol_of_libp2p_ends_that_stream(protocol: str) -> None:
    async with scene() as here, attacker(here) as eve:
        await eve.join()
        stream = await eve.stream(opening(protocol) + b"\xff\xff\xff\xff\x0f" + bytes(1000))
        stream.finish()
        await ends(stream)


Attack = Callable[[Eve], Awaitable[object]]


def lane(*parts: bytes, traffic_class: int = 2) -> Attack:
    """A stream of frames."""

    async def attack(eve: Eve) -> None:
        await eve.join()
        await eve.stream(opening(FRAMES) + bytes([traffic_class, 0]) + b"".join(parts))

    return attack


async def two_lanes_of_a_class(eve: Eve) -> None:
    await lane()(eve)
    await eve.stream(opening(FRAMES) + b"\x02\x00")


async def lane_that_ends(eve: Eve) -> None:
    await eve.join()
    stream = await eve.stream(opening(FRAMES) + b"\x02\x00" + b"\x00\x00\x00\x09half")
    stream.finish()


def raw(*headers: tuple[int, int, int, int, int], then: bytes = b"") -> Attack:
    """Yamux frames of our own making."""

    async def attack(eve: Eve) -> None:
        await eve.raw(*headers, then=then)

    return attack


DATA, WINDOW, PING_FRAME = 0, 1, 2
BIG = 0xFFFFFFFF


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(lane(b"\xff\xff\xff\xff"), id="a frame of 4 GiB"),
        pytest.param(lane(b"\x00\x10\x00\x01"), id="a frame one byte too long"),
        pytest.param(lane(frame(b"")), id="an empty frame"),
        pytest.param(lane(frame(b"\xc1")), id="a frame that is no message"),
        pytest.param(lane(frame(b"\x92\x01")), id="a message cut short"),
        pytest.param(lane(frame(b"\x91" * 60_000)), id="a message nested 60,000 deep"),
        pytest.param(lane(frame(b"\x92\x08\xdd\xff\xff\xff\xff")), id="an array of 4 Gi values"),
        pytest.param(lane(frame(bytes(CONTROL_FRAME_BYTES_MAX + 1))), id="too long a message"),
        pytest.param(lane(frame(b"\x91\x7f")), id="a message of an unknown number"),
        pytest.param(lane(traffic_class=9), id="a lane of no class"),
        pytest.param(two_lanes_of_a_class, id="a second lane of one class"),
        pytest.param(lane_that_ends, id="a lane that ends in the middle of a frame"),
        pytest.param(raw((7, DATA, 0, 1, 0)), id="a Yamux version that is none"),
        pytest.param(raw((0, 9, 0, 1, 0)), id="a Yamux type that is none"),
        pytest.param(raw((0, DATA, 1, 1, BIG)), id="a Yamux frame of 4 GiB"),
        pytest.param(raw((0, DATA, 1, 2, 0)), id="a stream id that is ours to give"),
        pytest.param(raw((0, DATA, 1, 1, 0), (0, DATA, 1, 1, 0)), id="a stream opened twice"),
        pytest.param(raw((0, DATA, 0, 0, 5), then=b"hello"), id="data on stream 0"),
    ],
)
async def test_what_no_honest_peer_sends_ends_the_connection(attack: Attack) -> None:
    async with scene() as here, attacker(here) as eve:
        await attack(eve)
        await eve.is_cut_off()


@pytest.mark.parametrize("hello", [b"\xff\xff\xff\xff", frame(b""), frame(bytes(16384))])
async def test_an_admission_that_nobody_can_read_ends_the_connection(hello: bytes) -> None:
    async with scene(Greeting()) as here, attacker(here) as eve:
        stream = await eve.stream(opening(ADMIT) + hello)
        await ends(stream)
        await eve.is_cut_off()


async def test_a_flood_of_streams_is_refused_and_not_hung() -> None:
    async with scene() as here, attacker(here) as eve:
        await eve.join()
        streams = [await eve.stream(opening(PING)) for _ in range(eve.streams_max)]
        with pytest.raises(StreamLimitError):
            eve.link.open_stream()
        for stream in streams[STREAMS_INBOUND_MAX:]:
            with trio.fail_after(5), suppress(StreamResetError):
                assert await stream.read()  # one of the first was over before this one came
        assert sum(eve.link.core.has(s.stream_id) for s in streams) <= STREAMS_INBOUND_MAX
        await here.still_serves()


async def test_streams_opened_and_reset_without_end_starve_nobody() -> None:
    async with scene() as here, attacker(here) as eve:
        await eve.join()

        async def churn() -> None:
            while not eve.link.is_closing:
                await trio.lowlevel.checkpoint()
                await eve.link.out.wait_for_room()
                (await eve.stream(opening(PING) + bytes(32))).reset()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(churn)
            for _ in range(5):
                await here.still_serves()
            nursery.cancel_scope.cancel()


async def test_a_flood_of_pings_ends_the_connection() -> None:
    async with scene() as here, attacker(here) as eve:
        await eve.raw(*((0, PING_FRAME, 1, 0, value) for value in range(20_000)))
        await eve.is_cut_off()


async def test_streams_are_taken_no_faster_than_a_peer_may_open_them() -> None:
    more = 20
    async with scene() as here, attacker(here) as eve:
        await eve.join()
        began_s = trio.current_time()
        for _ in range(STREAMS_OPENED_BURST + more):
            stream = await eve.stream(opening("/nonsense/1"))
            while not (await stream.read()).endswith(b"na\n"):
                pass
            stream.reset()
        assert trio.current_time() - began_s >= 0.9 * more / STREAMS_OPENED_PER_S
        assert not eve.link.is_closing


async def test_a_stranger_cannot_fill_our_memory() -> None:
    async with scene() as here, attacker(here) as eve:
        streams = [await eve.stream(b"") for _ in range(STREAMS_INBOUND_MAX)]

        async def fill(stream: LinkStream) -> None:
            try:
                await stream.write(bytes(256 * 1024))
            except (StreamResetError, LinkClosedError):
                return

        with trio.move_on_after(10):
            async with trio.open_nursery() as nursery:
                for stream in streams:
                    nursery.start_soon(fill, stream)
        held = [conn.link.core.windows.unread_bytes for conn in here.bob.conns.here.values()]
        assert max(held, default=0) <= STRANGER_UNREAD_BYTES_MAX


async def test_one_of_another_network_gets_no_further_than_the_door() -> None:
    async with scene() as here:
        seed, elsewhere = b"stray".ljust(32, b"."), NetworkId("elsewhere")
        stray = Libp2pHost(seed, elsewhere, [], OpenAdmission())
        Rpc(stray)
        async with trio.open_nursery() as nursery:
            await nursery.start(stray.run)
            with pytest.raises(DialError, match="another network"):
                await stray.dial(here.bob.addresses()[0])
            nursery.cancel_scope.cancel()
