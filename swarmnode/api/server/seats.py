"""Who sits at one listener of the API: a pure core that bounds connections, in all and per source.

A newcomer takes the place of the connection that has been idle for longest, so that nobody is
locked out by connections that ask nothing; those that wait for an answer are never ended. When
all places are taken by these, the listener accepts nothing more until one is free, and a source
that has all of its own is told so.
"""

from collections.abc import Callable

import msgspec

from swarmnode.api.limits import API_CONNECTIONS_MAX, API_CONNECTIONS_PER_SOURCE_MAX


class Seat(msgspec.Struct, eq=False):
    """One connection."""

    source: str
    """A user or an address, whose places are counted together."""
    drop: Callable[[], None]
    """Ends the connection."""
    is_idle: bool = True
    """Whether it waits for the next request of its client."""


class Seats(msgspec.Struct):
    """All connections of one listener."""

    seats_max: int = API_CONNECTIONS_MAX
    per_source_max: int = API_CONNECTIONS_PER_SOURCE_MAX
    """Of one source; idle ones of its own give way first."""
    dropped: int = 0
    """Idle ones that had to go, since the start."""
    refused: int = 0
    """Newcomers of a source that has all of its places, since the start."""
    _seats: dict[Seat, None] = msgspec.field(default_factory=dict)
    """Those that became idle last stand last."""

    def __len__(self) -> int:
        return len(self._seats)

    def has_room(self) -> bool:
        """Whether one more may be accepted."""
        return len(self._seats) < self.seats_max or any(seat.is_idle for seat in self._seats)

    def take(self, source: str, drop: Callable[[], None]) -> Seat | None:
        """A seat for a newcomer; None when its source has too many that are busy."""
        mine = [seat for seat in self._seats if seat.source == source]
        if len(mine) >= self.per_source_max and not self._dropped_idle(mine):
            self.refused += 1
            return None
        if len(self._seats) >= self.seats_max and not self._dropped_idle(list(self._seats)):
            self.refused += 1
            return None
        seat = Seat(source, drop)
        self._seats[seat] = None
        return seat

    def rests(self, seat: Seat) -> None:
        """Its request is answered: it is the last one to give way."""
        seat.is_idle = True
        if seat in self._seats:
            del self._seats[seat]
            self._seats[seat] = None

    def leave(self, seat: Seat) -> None:
        """The connection has ended."""
        self._seats.pop(seat, None)

    def drop_idle(self) -> None:
        """End all that are idle."""
        while self._dropped_idle(list(self._seats)):
            pass

    def _dropped_idle(self, among: list[Seat]) -> bool:
        for seat in among:
            if seat.is_idle:
                del self._seats[seat]
                self.dropped += 1
                seat.drop()
                return True
        return False
