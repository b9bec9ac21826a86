"""The client ends of the link bench: a process that is told, line by line, what to measure.

    python -m bench.link.worker STACK ADDRESS

It connects and prints `ready`; then every line `figure size` on standard input is answered by one
line of JSON. The order of rounds and rivals is the coordinator's.
"""

import itertools
import json
import statistics
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any, Final, Protocol

import trio

from p2p.limits import STREAMS_OPENED_BURST, STREAMS_OPENED_PER_S

CHUNK_BYTES: Final = 64 * 1024
"""What one write of the bulk figure carries."""

STEADY_FROM_S: Final = 2.0
"""A window that grows has grown by then."""
MARK_EVERY_S: Final = 0.1
STEADY_BYTES_MAX: Final = 1 << 40
"""More than is ever sent: the receiver reads until the stream ends."""
AT_ONCE: Final = 64
MESSAGE: Final = bytes(range(100))
EARNING_S: Final = STREAMS_OPENED_BURST / STREAMS_OPENED_PER_S
"""After this long a peer of ours may open a full burst of streams."""

STACKS: Final = {
    "ours": "bench.link.ours",
    "stock": "bench.link.stock",
    "ssl": "bench.link.ssl",
}


class Pipe(Protocol):
    """One stream of a stack."""

    async def write(self, data: bytes) -> None: ...
    async def read(self, size_max: int) -> bytes: ...
    async def close(self) -> None: ...


class Client(Protocol):
    """A connected stack: what differs between the rivals."""

    async def open(self, protocol: str, first: bytes) -> Pipe:
        """A new stream that begins with these bytes."""
        ...

    async def reconnect(self) -> float:
        """Seconds to connect once more, from nothing to a usable connection."""
        ...

    async def rpc(self) -> None:
        """One call of the stack's own call layer, if it has one."""


SINK, ECHO = "/bench/sink/1", "/bench/echo/1"


async def read_exactly(pipe: Pipe, size: int) -> bytes:
    """So many bytes; the stream ending earlier is a bug of the bench."""
    data = b""
    while len(data) < size:
        more = await pipe.read(size - len(data))
        if not more:
            raise EOFError("the other end finished early")
        data += more
    return data


async def bulk(client: Client, size: int) -> float:
    """Megabytes per second one way, in writes of CHUNK_BYTES, until the receiver has all."""
    chunk = bytes(CHUNK_BYTES)
    pipe = await client.open(SINK, size.to_bytes(8))
    began_s = trio.current_time()
    for _ in range(size // CHUNK_BYTES):
        await pipe.write(chunk)
    received = int.from_bytes(await read_exactly(pipe, 8))
    took_s = trio.current_time() - began_s
    await pipe.close()
    if received != size:
        raise AssertionError(f"{received} of {size} bytes arrived")
    return size / took_s / 1e6


async def steady(client: Client, size: int) -> list[float]:
    """The same over one stream: MB/s after the first STEADY_FROM_S, and when half of that was had.

    It goes on for `size` bytes and so long that as much time is counted as is not. Sent counts as
    arrived: a sender is ahead of its receiver by one window, the same at both ends of what counts.
    """
    chunk = bytes(CHUNK_BYTES)
    sent, marks = 0, [(0.0, 0)]
    pipe = await client.open(SINK, STEADY_BYTES_MAX.to_bytes(8))
    began_s = trio.current_time()
    while sent < size or marks[-1][0] < 2 * STEADY_FROM_S:
        await pipe.write(chunk)
        sent += CHUNK_BYTES
        now_s = trio.current_time() - began_s
        if now_s - marks[-1][0] > MARK_EVERY_S:
            marks.append((now_s, sent))
    await pipe.close()
    counted = [mark for mark in marks if mark[0] >= STEADY_FROM_S]
    (from_s, before), (until_s, after) = counted[0], counted[-1]
    rate = (after - before) / (until_s - from_s)
    speeds = [(t, (b - a) / (t - s)) for (s, a), (t, b) in itertools.pairwise(marks)]
    return [rate / 1e6, next(at_s for at_s, speed in speeds if speed >= rate / 2)]


async def calls(client: Client, count: int) -> float:
    """Echoes per second on AT_ONCE streams that stay open, one at a time on each."""
    await trio.sleep(EARNING_S)
    pipes = [await client.open(ECHO, b"") for _ in range(AT_ONCE)]

    async def repeat(pipe: Pipe, times: int) -> None:
        for _ in range(times):
            await pipe.write(MESSAGE)
            await read_exactly(pipe, len(MESSAGE))

    async with trio.open_nursery() as nursery:  # the first round agrees on protocols
        for pipe in pipes:
            nursery.start_soon(repeat, pipe, 1)
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        for pipe in pipes:
            nursery.start_soon(repeat, pipe, count // AT_ONCE)
    took_s = trio.current_time() - began_s
    for pipe in pipes:
        await pipe.close()
    return count // AT_ONCE * AT_ONCE / took_s


async def new_calls(client: Client, count: int) -> float:
    """Median milliseconds of an echo on a stream opened for it."""

    async def once() -> None:
        pipe = await client.open(ECHO, MESSAGE)
        await read_exactly(pipe, len(MESSAGE))
        await pipe.close()

    if count > STREAMS_OPENED_BURST:
        raise ValueError(f"a peer may open {STREAMS_OPENED_BURST} streams at once")
    await trio.sleep(EARNING_S)
    return await _median_ms(once, count)


async def rpc_calls(client: Client, count: int) -> float:
    """Median milliseconds of a call of the stack's own call layer."""
    return await _median_ms(client.rpc, count)


async def rpc_rate(client: Client, count: int) -> float:
    """Calls per second of the stack's own call layer, AT_ONCE at a time."""

    async def repeat() -> None:
        for _ in range(count // AT_ONCE):
            await client.rpc()

    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(repeat)
    return count // AT_ONCE * AT_ONCE / (trio.current_time() - began_s)


async def connects(client: Client, count: int) -> float:
    """Median milliseconds of connecting once more."""
    return statistics.median([await client.reconnect() * 1000 for _ in range(count)])


async def _median_ms(once: Callable[[], Awaitable[None]], count: int) -> float:
    times = []
    for _ in range(count):
        began_s = trio.current_time()
        await once()
        times.append((trio.current_time() - began_s) * 1000)
    return statistics.median(times)


FIGURES: Final[dict[str, Callable[[Client, int], Awaitable[float | list[float]]]]] = {
    "bulk": bulk,
    "steady": steady,
    "calls": calls,
    "new_calls": new_calls,
    "rpc_calls": rpc_calls,
    "rpc_rate": rpc_rate,
    "connects": connects,
}


async def answer_orders(client: Client) -> None:
    """Measure what standard input asks for, until it ends."""
    print("ready", flush=True)
    while line := await trio.to_thread.run_sync(sys.stdin.readline):
        figure, size = line.split()
        value = await FIGURES[figure](client, int(size))
        print(json.dumps({figure: value}), flush=True)


def main() -> None:
    """Connect as the stack named on the command line does."""
    stack: Any = import_module(STACKS[sys.argv[1]])
    trio.run(stack.client, sys.argv[2], answer_orders)


if __name__ == "__main__":
    main()
