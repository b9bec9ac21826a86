"""One bound on what all connections of a node hold for readers that have not come yet."""

from typing import Protocol


class Holder(Protocol):
    """A connection, as far as memory is concerned."""

    @property
    def held_bytes(self) -> int:
        """What it holds now."""

    def evict(self) -> None:
        """Drop all of it, at once, and close."""


class UnreadMemory:
    """Received and unread bytes of all connections of one node.

    Each connection has a bound of its own. When together they pass this one, whoever holds most
    is closed: an honest peer, whose bytes are read as they come, never is.
    """

    def __init__(self, bytes_max: int, windows_bytes_max: int = 0) -> None:
        """`windows_bytes_max` of these may be promised to peers in windows that have grown."""
        self.bytes_max, self.windows_bytes_max = bytes_max, windows_bytes_max
        self.used_bytes = 0
        """Held by all connections now."""
        self.reserved_bytes = 0
        """Promised in windows that have grown; never above `windows_bytes_max`."""
        self.evicted = 0
        """Connections closed because they held most, since the start."""
        self._holders: dict[Holder, None] = {}
        """Connections that are open; a dict, as its order is always the same."""

    def join(self, holder: Holder) -> None:
        """A connection opens, holding nothing."""
        self._holders[holder] = None

    def leave(self, holder: Holder) -> None:
        """It has ended; what it held has been given back."""
        self._holders.pop(holder, None)

    def take(self, size: int) -> None:
        """So many more bytes are held."""
        self.used_bytes += size
        if self.used_bytes > self.bytes_max and self._holders:
            worst = max(self._holders, key=lambda holder: holder.held_bytes)
            self.leave(worst)
            self.evicted += 1
            worst.evict()

    def give_back(self, size: int) -> None:
        """They have been read, or nobody will read them."""
        self.used_bytes -= size

    def reserve(self, size: int) -> bool:
        """Promise so much more to a peer whose window grows; False when that is too much."""
        if self.reserved_bytes + size > self.windows_bytes_max:
            return False
        self.reserved_bytes += size
        return True

    def release(self, size: int) -> None:
        """The stream with that window has ended."""
        self.reserved_bytes -= size
