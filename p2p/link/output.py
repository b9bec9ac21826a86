"""What leaves a connection: from what Yamux has to say through the seal into the socket.

    callers --write--> YamuxOutput --seal--> unsent --> socket

Whatever was queued since the socket was last looked at leaves as one piece, from the writer task
or at once from whoever fills the backlog. Whoever has more to say waits until there is room.
"""

from collections.abc import Callable

import trio

from p2p.errors import LinkClosedError
from p2p.link.channel import SecureChannel
from p2p.link.yamux.output import YamuxOutput


class LinkOutput:
    """The way out of one connection; `run` is its writer task."""

    def __init__(
        self,
        channel: SecureChannel,
        output: YamuxOutput,
        backlog_bytes: int,
        on_broken: Callable[[str], None],
    ) -> None:
        """`on_broken` closes the connection, when nothing can leave it any more."""
        self._fill: Callable[[], None] | None = None
        """See `fill_by`."""
        self.backlog_bytes = backlog_bytes
        """Lowered on a slow line, where what was queued can no longer be overtaken."""
        self._channel = channel
        self._output = output
        self._on_broken = on_broken
        self._unsent = memoryview(b"")
        """Sealed, and not yet taken by the socket."""
        self._is_ready = trio.Event()
        """Set when there is something to do; a new one each time the writer task wakes up."""
        self._waiting = trio.lowlevel.ParkingLot()
        """Parked until the socket has taken all: writers, and a reader when too much waits."""
        self._owes_room = False
        """`_fill` was passed over for tasks that waited: next time it comes first."""
        self._ended_because: str | None = None
        """Why nobody may add anything any more; what is queued still leaves."""

    def fill_by(self, fill: Callable[[], None] | None) -> None:
        """Call `fill` whenever the socket has taken all, so that it fills the room at once."""
        self._fill = fill

    @property
    def waiting_bytes(self) -> int:
        """What was queued and the socket has not taken yet."""
        return self._output.size_bytes + len(self._unsent)

    @property
    def room_bytes(self) -> int:
        """How much more may wait for the socket without being out of reach too early.

        Nothing once the connection ends.
        """
        if self._ended_because is not None:
            return 0
        return self.backlog_bytes - self._output.size_bytes - len(self._unsent)

    def has_room(self) -> bool:
        """True while little enough waits for the socket that another frame should join it."""
        return self.room_bytes > 0

    async def wait_for_room(self) -> None:
        """Return once `has_room`; LinkClosedError when the connection ends."""
        while not self.has_room():
            if self._ended_because is not None:
                raise LinkClosedError(self._ended_because)
            await self._waiting.park()

    async def wait_below(self, most_bytes: int) -> None:
        """Return once no more than that waits for the socket; LinkClosedError at the end."""
        while self.waiting_bytes > most_bytes:
            if self._ended_because is not None:
                raise LinkClosedError(self._ended_because)
            await self._waiting.park()

    async def wait_for_socket(self) -> None:
        """Return once the socket has taken all, or the connection ends."""
        await self._waiting.park()

    async def drained(self) -> None:
        """Return once nothing waits."""
        while self.waiting_bytes:
            await self._waiting.park()

    def wake(self) -> None:
        """Something was queued."""
        if self._output.size_bytes:
            self._is_ready.set()

    def flush_if_full(self) -> bool:
        """Send at once what fills the backlog, if the socket takes it; True when it was tried.

        Whoever writes much calls this between two pieces and then lets others run: the writer
        task need not be woken for it.
        """
        if self._unsent or self._output.size_bytes < self.backlog_bytes:
            return False
        try:
            self._seal()
            self._send_now()
        except LinkClosedError as exc:
            self._broke(exc)
        if self._unsent:
            self._is_ready.set()
        return True

    def end(self, reason: str) -> None:
        """Nobody may add anything any more; what is queued still leaves."""
        self._ended_because = reason
        self._is_ready.set()
        self._waiting.unpark_all()

    async def run(self) -> None:
        """Send what is queued, for ever, or until the transport breaks."""
        try:
            while True:
                await self._is_ready.wait()
                self._is_ready = trio.Event()
                if self._owes_room:
                    await self._pay_room()
                if not self._unsent:
                    self._seal()
                self._send_now()
                if self._unsent:
                    await self._channel.send_sealed(self._unsent)
                    self._unsent = memoryview(b"")
                    self._tell_of_room()
                self.wake()
        except LinkClosedError as exc:
            self._broke(exc)

    async def _pay_room(self) -> None:
        await trio.lowlevel.checkpoint()  # who was woken has had its turn by then
        if self._fill is not None:
            self._fill()

    def _seal(self) -> None:
        self._unsent = self._channel.seal(self._output.take())

    def _send_now(self) -> None:
        """Give the socket what it takes without waiting."""
        if sent := self._channel.send_now(self._unsent):
            self._unsent = self._unsent[sent:]
            if not self._unsent:
                self._tell_of_room()

    def _tell_of_room(self) -> None:
        """There is room for whoever waits in `wait_for_room`, or for `_fill`, by turns.

        `_fill` fills it at once; a task that waits first has to get its turn.
        """
        is_waited_for = bool(self._waiting)
        self._waiting.unpark_all()
        self._owes_room = is_waited_for and not self._owes_room
        if self._owes_room:
            self._is_ready.set()
        elif self._fill is not None:
            self._fill()

    def _broke(self, why: LinkClosedError) -> None:
        """Nothing can leave any more: do not wait for the goodbye."""
        self._drop()
        self._on_broken(str(why))
        self._drop()
        self._waiting.unpark_all()

    def _drop(self) -> None:
        self._output.take()
        self._unsent = memoryview(b"")
