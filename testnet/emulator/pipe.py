"""One direction between two hosts: a pure core, told the time."""

import math
from collections import deque
from typing import Final

from p2p.effects import Rng
from testnet.emulator.queues import Queue
from testnet.emulator.shape import LinkShape

_LATE_S_MAX: Final = 0.01
"""The line makes up for being served so late: more, and a pause of the machine becomes a burst."""


class Pipe:
    """Loses, queues, spaces and delays packets as its shape says."""

    def __init__(self, shape: LinkShape, rng: Rng) -> None:
        self._rng = rng
        self._line_free_s = 0.0
        self._last_due_s = 0.0
        self._on_the_way: deque[tuple[float, bytes]] = deque()
        self.carried_bytes = 0
        self.lost = 0
        self.queue_bytes_high = 0
        self.reshape(shape)

    def reshape(self, shape: LinkShape) -> None:
        """Change the shape; what waits in the queue is dropped, what is under way arrives."""
        self.shape = shape
        self._queue = Queue(shape.discipline, shape.queue_bytes)
        self._bytes_per_s = shape.rate_mbit * 125_000

    @property
    def dropped(self) -> int:
        """Packets that found the queue full, since the last change of shape."""
        return self._queue.dropped

    def offer(self, packet: bytes, now_s: float) -> None:
        """A packet arrives at the router."""
        if self.shape.loss and self._rng.random() < self.shape.loss:
            self.lost += 1
            return
        if not self._bytes_per_s:
            self._depart(packet, now_s)
            return
        if not self._queue.bytes:
            self._line_free_s = max(self._line_free_s, now_s)
        self._queue.put(packet)
        self.queue_bytes_high = max(self.queue_bytes_high, self._queue.bytes)

    def advance(self, now_s: float) -> list[bytes]:
        """Packets that arrive at the other end by now, in order."""
        while self._queue.bytes and self._line_free_s <= now_s:
            begins_s = max(self._line_free_s, now_s - _LATE_S_MAX)
            packet = self._queue.take()
            self._line_free_s = begins_s + len(packet) / self._bytes_per_s
            self._depart(packet, self._line_free_s)
        arrived = []
        while self._on_the_way and self._on_the_way[0][0] <= now_s:
            arrived.append(self._on_the_way.popleft()[1])
            self.carried_bytes += len(arrived[-1])
        return arrived

    def next_s(self) -> float:
        """When `advance` will have something to do; infinity when there is nothing."""
        line_s = self._line_free_s if self._queue.bytes else math.inf
        return min(line_s, self._on_the_way[0][0] if self._on_the_way else math.inf)

    def _depart(self, packet: bytes, leaves_s: float) -> None:
        due_s = leaves_s + self.shape.delay_ms / 1000
        if self.shape.jitter_ms:
            due_s += (2 * self._rng.random() - 1) * self.shape.jitter_ms / 1000
        self._last_due_s = due_s = max(due_s, self._last_due_s)
        self._on_the_way.append((due_s, packet))
