"""How many connections the tasks of one node may hold together, and each of them meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager

from swarmnode.executor.network.limits import CONNECTIONS_MAX


class ConnectionRoom:
    """Of one node. While there is room a task takes what it likes; then only what is its part of
    the whole, so that one that was there first leaves others theirs. Less than twice `most` in all.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        """By all parts."""
        self._parts = 0
        """Tasks that have a network now."""

    @contextmanager
    def part(self) -> Iterator["ConnectionPart"]:
        """For as long as a task has a network."""
        self._parts += 1
        try:
            yield ConnectionPart(self)
        finally:
            self._parts -= 1

    def take(self, held: int) -> bool:
        """Whether a task that holds so many may hold one more: then it does."""
        if held >= CONNECTIONS_MAX or (self._held >= self._most and held >= self._each()):
            return False
        self._held += 1
        return True

    def give_back(self) -> None:
        """One that was taken."""
        self._held -= 1

    def _each(self) -> int:
        return max(1, self._most // max(1, self._parts))


class ConnectionPart:
    """Of one task."""

    def __init__(self, room: ConnectionRoom) -> None:
        self._room = room
        self.held = 0

    @contextmanager
    def one(self) -> Iterator[bool]:
        """Whether there may be one more, which there is until the end of the block."""
        is_held = self._room.take(self.held)
        self.held += is_held
        try:
            yield is_held
        finally:
            self.held -= is_held
            if is_held:
                self._room.give_back()
