"""A TCP relay that delays what it carries, for benches: `python -m bench.link.relay PORT MS`.

Every byte leaves MS milliseconds after it came, in order, each way; nothing is lost and the rate
is what the loopback gives. Memory is bounded by HELD_BYTES_MAX per direction, which must exceed
rate times delay for the relay not to be what is measured.
"""

import sys
from collections import deque
from typing import Final

import trio

HELD_BYTES_MAX: Final = 256 * 1024 * 1024
_PIECE_BYTES: Final = 256 * 1024


class _Line:
    """One direction."""

    def __init__(self, source: trio.SocketStream, sink: trio.SocketStream, delay_s: float) -> None:
        self._source, self._sink, self._delay_s = source, sink, delay_s
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._changed = trio.lowlevel.ParkingLot()

    async def take(self) -> None:
        while True:
            while self._held_bytes > HELD_BYTES_MAX:
                await self._changed.park()
            data = bytes(await self._source.receive_some(_PIECE_BYTES))
            self._held.append((trio.current_time() + self._delay_s, data))
            self._held_bytes += len(data)
            self._changed.unpark_all()
            if not data:
                return

    async def give(self) -> None:
        while True:
            while not self._held:
                await self._changed.park()
            due_s, data = self._held.popleft()
            await trio.sleep_until(due_s)
            if not data:
                await self._sink.send_eof()
                return
            await self._sink.send_all(data)
            self._held_bytes -= len(data)
            self._changed.unpark_all()


async def relay(port: int, delay_s: float) -> None:
    """Print our own port; then carry connections to `port` until terminated."""

    async def carry(near: trio.SocketStream) -> None:
        far = await trio.open_tcp_stream("127.0.0.1", port)
        try:
            async with near, far, trio.open_nursery() as nursery:
                for line in (_Line(near, far, delay_s), _Line(far, near, delay_s)):
                    nursery.start_soon(line.take)
                    nursery.start_soon(line.give)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # one end has gone, so this connection is over

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, carry, 0)
        print(listeners[0].socket.getsockname()[1], flush=True)


if __name__ == "__main__":
    trio.run(relay, int(sys.argv[1]), float(sys.argv[2]) / 1000)
