"""Whether the other end of a connection is there, and how far away: pings and their answers."""

import math

import trio

from p2p.link.config import LinkConfig
from p2p.link.output import LinkOutput
from p2p.link.yamux.core import YamuxCore


class Pulse:
    """The pings of one connection, and when it was last heard."""

    def __init__(self, core: YamuxCore, out: LinkOutput, config: LinkConfig) -> None:
        self.heard_s = -math.inf
        """When bytes last came: `dead_after_s` of silence is death."""
        self.rtt_s: float | None = None
        """Round trip, smoothed; None before the first answer."""
        self._core, self._out, self._config = core, out, config
        self._pings: dict[int, float] = {}
        """Number -> when it was sent; without an answer so far."""
        self._number = 0
        """Of the newest ping."""
        self._answered = trio.lowlevel.ParkingLot()
        """Parked until a ping is answered or the connection ends."""
        self._is_over = False
        """The connection ends: nobody asks or waits any more."""

    async def beat(self) -> None:
        """Ask every few seconds; return after `dead_after_s` of silence, or at the end."""
        while not self._is_over:
            self.ping()
            next_ping_s = trio.current_time() + self._config.ping_every_s
            await trio.sleep_until(min(next_ping_s, self.heard_s + self._config.dead_after_s))
            if trio.current_time() >= self.heard_s + self._config.dead_after_s:
                return

    def ping(self) -> None:
        """Measure the round trip once; the answer updates `rtt_s`."""
        self._number = (self._number + 1) % 2**32
        now_s = trio.current_time()
        oldest_kept_s = now_s - self._config.dead_after_s
        self._pings = {n: sent_s for n, sent_s in self._pings.items() if sent_s > oldest_kept_s}
        self._pings[self._number] = now_s
        self._core.ping(self._number)
        self._out.wake()

    async def answers(self) -> bool:
        """True once the peer has answered a ping sent now, False when the connection ends."""
        self.ping()
        number = self._number
        while number in self._pings and not self._is_over:
            await self._answered.park()
        return not self._is_over

    def on_pong(self, number: int) -> None:
        """The peer has answered a ping, or says so."""
        sent_s = self._pings.pop(number, None)
        if sent_s is not None:
            sample_s = trio.current_time() - sent_s
            # RFC 6298: one eighth of what is new.
            self.rtt_s = sample_s if self.rtt_s is None else 0.875 * self.rtt_s + 0.125 * sample_s
            self._core.windows.rtt_s = self.rtt_s
            self._answered.unpark_all()

    def end(self) -> None:
        """The connection ends: whoever waits for an answer is told."""
        self._is_over = True
        self._answered.unpark_all()
