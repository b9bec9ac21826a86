"""The bytes of circuits through a relay: handed on as they come, within a rate, and no more held.

What is in hand is one piece for each direction; all else waits in the windows of the two streams
(`CIRCUIT_WINDOW_BYTES`), so that an end that reads slowly slows the other end down. Bulk goes
behind what else waits for a socket, and waits its turn for the rate; other circuits need not.
"""

import math
from typing import Final

import trio

from p2p.errors import LinkClosedError, StreamResetError
from p2p.host.relay.limits import (
    CIRCUIT_BACKLOG_BYTES,
    CIRCUIT_CALLS_BACKLOG_BYTES,
    CIRCUIT_PIECE_BYTES,
)
from p2p.host.relay.rules import Circuit
from p2p.link.stream import LinkStream

_BURST_S: Final = 0.1
"""What was not used of the rate may be made up for within so long."""


class RateCap:
    """Bytes that may pass a second, of all circuits together; whoever waits longest goes first.

    What is not bulk goes ahead of bulk, into a debt of `_BURST_S` that bulk then waits for: a
    heartbeat never stands behind a transfer, and calling a transfer urgent gains it nothing more.
    """

    def __init__(self, bytes_per_s: float) -> None:
        """0 is no bound."""
        self._per_s = bytes_per_s
        self._burst = max(_BURST_S * bytes_per_s, CIRCUIT_PIECE_BYTES)
        self._left = self._burst
        """What may pass at once; below 0 a debt."""
        self._since_s = -math.inf
        """When that was so."""
        self._turns = (trio.StrictFIFOLock(), trio.StrictFIFOLock())
        """Of those that are not bulk, and of those that are."""

    async def take(self, size: int, *, is_bulk: bool) -> None:
        """Return when so many bytes may pass."""
        if not self._per_s:
            return
        least = 0.0 if is_bulk else -self._burst
        async with self._turns[is_bulk]:
            short = least - self._refilled()
            if short > 0:
                await trio.sleep(short / self._per_s)
            self._left -= size

    def _refilled(self) -> float:
        now_s = trio.current_time()
        gained = (now_s - self._since_s) * self._per_s
        self._left, self._since_s = min(self._burst, self._left + gained), now_s
        return self._left


async def splice(circuit: Circuit, one: LinkStream, other: LinkStream, cap: RateCap) -> None:
    """Hand on what comes from either until both have ended, or one is reset, which resets both."""

    async def pour(source: LinkStream, target: LinkStream) -> None:
        try:
            await _pour(circuit, source, target, cap)
        except (StreamResetError, LinkClosedError):
            one.reset()
            other.reset()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pour, one, other)
            nursery.start_soon(pour, other, one)
    finally:
        one.reset()
        other.reset()


async def _pour(circuit: Circuit, source: LinkStream, target: LinkStream, cap: RateCap) -> None:
    backlog = CIRCUIT_BACKLOG_BYTES if circuit.is_bulk else CIRCUIT_CALLS_BACKLOG_BYTES
    while data := await source.read(CIRCUIT_PIECE_BYTES):
        await cap.take(len(data), is_bulk=circuit.is_bulk)
        await target.write_behind(data, backlog)
        circuit.carried_bytes += len(data)
    target.finish()
