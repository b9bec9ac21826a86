"""Attacks by peers that have been admitted: everything that a connection can carry."""

import os
import time
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from p2p.errors import DialError, LinkClosedError, StreamLimitError, StreamResetError
from p2p.gossip.messages import DOMAINS, Carried, Push
from p2p.host.rpc.messages import BodyKind, Call, Cancel, Cast, ChannelOpened, Chunk
from p2p.ids import NetworkId, PeerId, TrafficClass
from p2p.link.agreement import opening
from p2p.link.stream import LinkStream
from p2p.wire.codec import Message, encode
from p2p.wire.envelope import SIGNATURE_BYTES, WIRE_VERSION, Signed
from p2p.wire.frames import frame
from testnet.attack.eve import PING, Eve, connected
from testnet.lone_peer import NETWORK, Ask

On = Callable[[], None]
Attack = Callable[[Eve], Awaitable[None]]
FRAME_BYTES: Final = 200
BODY_BYTES: Final = 8 * 1024 * 1024
_BATCH_BYTES: Final = 256 * 1024
_GONE = (LinkClosedError, StreamResetError, DialError)


async def _members(address: str, on: On, count: int, attack: Attack) -> None:
    """As many admitted attackers; whoever is cut off comes back."""

    async def one(number: int) -> None:
        while True:
            try:
                async with connected(address, f"member {number}") as eve:
                    await eve.join()
                    await attack(eve)
            except* _GONE:
                await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)
        await trio.sleep(0.5)
        on()


async def streams(address: str, on: On) -> None:
    """Streams beyond every limit, each of them left alone."""

    async def attack(eve: Eve) -> None:
        opened: list[LinkStream] = []
        while True:
            await eve.link.out.wait_for_room()
            try:
                opened.append(await eve.stream(opening(PING)))
            except StreamLimitError:
                for stream in opened[:512]:
                    stream.reset()
                del opened[:512]

    await _members(address, on, 2, attack)


async def resets(address: str, on: On) -> None:
    """Streams that are opened and reset at once."""

    async def attack(eve: Eve) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            await eve.link.out.wait_for_room()
            (await eve.stream(opening(PING) + bytes(32))).reset()

    await _members(address, on, 2, attack)


async def pings(address: str, on: On) -> None:
    """Yamux pings that are answered with as many bytes."""

    async def attack(eve: Eve) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            await eve.link.out.wait_for_room()
            await eve.raw(*[(0, 2, 1, 0, value) for value in range(1000)])

    await _members(address, on, 2, attack)


_BOMBS: Final = (
    b"\xff\xff\xff\xff",
    b"\x00\x10\x00\x01",
    frame(b"\x92\x08\xdd\xff\xff\xff\xff"),
    frame(b"\x91" * 60_000),
    frame(b"\x92\x08\xdc\xff\xff" + b"\x90" * 60_000),
    frame(b"\x92\x08" + b"\x80" * 60_000),
    frame(bytes(1024 * 1024)),
)


async def bombs(address: str, on: On) -> None:
    """Frames that would cost much more memory than they have bytes, a connection for each."""

    async def attack(eve: Eve) -> None:
        bomb = _BOMBS[time.monotonic_ns() % len(_BOMBS)]
        await eve.lane(TrafficClass.NORMAL, bomb)
        await eve.link.closed.wait()

    await _members(address, on, 4, attack)


class _OneByteAtATime:
    """A socket whose every byte is a segment of its own."""

    def __init__(self, socket: trio.SocketStream) -> None:
        self._socket = socket
        self.receive_some = socket.receive_some
        self.aclose = socket.aclose

    async def send_all(self, data: bytes) -> None:
        """Slowly."""
        for at in range(len(data)):
            await self._socket.send_all(data[at : at + 1])


async def segments(address: str, on: On) -> None:
    """Honest frames in segments of one byte."""

    async def attack(eve: Eve) -> None:
        channel = eve.link._channel
        channel._transport = _OneByteAtATime(channel._transport)  # type: ignore[assignment, arg-type]
        channel._socket = None  # everything goes through that transport now
        await _repeat(await _talking(eve), _framed(_strange_cast()))

    await _members(address, on, 2, attack)


async def casts(address: str, on: On) -> None:
    """Casts of 200 bytes that no service of the victim's listens to."""

    async def attack(eve: Eve) -> None:
        await _repeat(await _talking(eve), _framed(_strange_cast()))

    await _members(address, on, 1, attack)


async def junk(address: str, on: On) -> None:
    """Gossip of 200 bytes from another network."""

    async def attack(eve: Eve) -> None:
        sealed = _sealed(eve.victim, NetworkId("elsewhere"), payload_bytes=10)
        push = Cast(encode(Push(6, (Carried(60_000, sealed),))))
        await _repeat(await _talking(eve), _framed(push))

    await _members(address, on, 1, attack)


async def forgeries(address: str, on: On) -> None:
    """Gossip in the victim's own name, signed by nobody: only its signature tells."""

    async def attack(eve: Eve) -> None:
        sealed = _sealed(eve.victim, NETWORK, payload_bytes=32)
        push = Cast(encode(Push(6, (Carried(60_000, sealed),) * 100)))
        await _repeat(await _talking(eve), _framed(push))

    await _members(address, on, 2, attack)


async def calls(address: str, on: On) -> None:
    """Calls without end, at most a few of which are ever open; the answers are never read."""

    async def attack(eve: Eve) -> None:
        lane = await _talking(eve)
        number = 0
        while True:
            asks = [_call(number + one, Ask("x" * 50)) for one in range(500)]
            number += len(asks)
            await lane.write(b"".join(map(_framed, asks)))

    await _members(address, on, 2, attack)


async def cancels(address: str, on: On) -> None:
    """Calls that are cancelled by the thousand before they are answered."""

    async def attack(eve: Eve) -> None:
        lane = await _talking(eve)
        number = 0
        while True:
            frames: list[Message] = []
            for _ in range(200):
                number += 1
                frames += [_call(number, Ask("x", wait_s=-1.0)), Cancel(number)]
            await lane.write(b"".join(map(_framed, frames)))

    await _members(address, on, 2, attack)


async def bodies(address: str, on: On) -> None:
    """Bodies up to every window, each but for its last bytes, in every class."""

    async def attack(eve: Eve) -> None:
        part = os.urandom(256 * 1024)
        for traffic_class in TrafficClass:
            lane = await _talking(eve, traffic_class)
            for number in (1, 2):
                await lane.write(_framed(_call(number, Ask("?"), BODY_BYTES)))
                for _ in range(BODY_BYTES // len(part) - 1):
                    await lane.write(_framed(Chunk(number, BodyKind.REQUEST, memoryview(part))))
        await trio.sleep_forever()

    await _members(address, on, 4, attack)


async def replies(address: str, on: On) -> None:
    """Questions with answers of 8 MiB that nobody fetches, in every class."""

    async def attack(eve: Eve) -> None:
        for traffic_class in TrafficClass:
            lane = await _talking(eve, traffic_class)
            asks = [_call(n, Ask("?", BODY_BYTES, wait_s=0.3)) for n in range(64)]
            await lane.write(b"".join(map(_framed, asks)))
        await trio.sleep_forever()

    await _members(address, on, 6, attack)


async def half_frames(address: str, on: On) -> None:
    """Frames of which a byte comes every ten seconds."""

    async def attack(eve: Eve) -> None:
        lane = await _talking(eve)
        for byte in frame(bytes(60_000)):
            await lane.write(bytes([byte]))
            await trio.sleep(10)

    await _members(address, on, 20, attack)


async def _talking(eve: Eve, traffic_class: TrafficClass = TrafficClass.CONTROL) -> LinkStream:
    return await eve.lane(traffic_class, _framed(ChannelOpened(1)))


async def _repeat(lane: LinkStream, frame_bytes: bytes) -> None:
    batch = frame_bytes * (_BATCH_BYTES // len(frame_bytes))
    while True:
        await lane.write(batch)


def _framed(message: Message) -> bytes:
    return frame(encode(message))


def _call(number: int, ask: Ask, body_bytes: int = 0) -> Call:
    return Call(number, 3_600_000, body_bytes, encode(ask))


def _strange_cast() -> Cast:
    payload = b"\x92\x13\xc4"  # a message of number 19, which is nobody's
    rest = FRAME_BYTES - len(encode(Cast(payload))) - 1
    return Cast(payload + bytes([rest]) + bytes(rest))


def _sealed(sender: PeerId, network: NetworkId, payload_bytes: int) -> Signed:
    wall_ms = time.time_ns() // 1_000_000
    return Signed(
        WIRE_VERSION,
        network,
        DOMAINS[1],
        sender,
        wall_ms,
        wall_ms + 60_000,
        bytes(payload_bytes),
        bytes(SIGNATURE_BYTES),
    )
