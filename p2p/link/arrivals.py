"""Streams that the peer has opened and nobody has accepted yet."""

from collections import deque
from collections.abc import Callable

import trio

from p2p.errors import LinkClosedError
from p2p.link.stream import LinkStream


class Arrivals:
    """Those of one connection, in the order in which they came."""

    def __init__(self, is_open: Callable[[int], bool], streams_max: int) -> None:
        """`is_open` tells of a stream's id whether it was reset before anybody looked at it."""
        self._is_open = is_open
        self._streams_max = streams_max
        """Open at once; twice as many may stand here, as some may have been reset."""
        self._streams: deque[LinkStream] = deque()
        self._acceptors = trio.lowlevel.ParkingLot()
        """Parked until a stream comes or none will come any more."""
        self._ended_because: str | None = None
        """Why none will come any more."""

    def put(self, stream: LinkStream) -> None:
        """The peer opened one."""
        if len(self._streams) > 2 * self._streams_max:
            self._streams = deque(s for s in self._streams if self._is_open(s.stream_id))
        self._streams.append(stream)
        self._acceptors.unpark(count=1)

    async def accept(self) -> LinkStream:
        """The next one that is still open; LinkClosedError once there will be none."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            while self._streams:
                stream = self._streams.popleft()
                if self._is_open(stream.stream_id):
                    return stream
            if self._ended_because is not None:
                raise LinkClosedError(self._ended_because)
            await self._acceptors.park()

    def end(self, reason: str) -> None:
        """None will come any more; those that came can still be accepted."""
        self._ended_because = reason
        self._acceptors.unpark_all()

    def clear(self) -> None:
        """The connection is over, and all of them with it."""
        self._streams.clear()
