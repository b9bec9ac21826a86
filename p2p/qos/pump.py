"""Moves slices from a peer's scheduler to its streams, only when the link has room.

Late binding: a frame stays in the scheduler, where a more urgent one can overtake it, until the
socket is ready for it. The pump is no task: whoever changes something that may let bytes flow
(a frame was queued, the socket took some, a window grew) calls `run_once`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from p2p.qos.scheduler import Scheduler


class Lane(Protocol):
    """The stream that carries one class to one peer."""

    def room(self) -> int:
        """Bytes that may be written now; 0 while the link or the peer takes no more."""

    def write_some(self, data: memoryview) -> int:
        """Queue bytes, at most `room`; returns how many."""
        ...


class Pump:
    """One peer's scheduler joined to its four lanes."""

    def __init__(
        self, scheduler: Scheduler, lanes: Sequence[Lane], on_progress: Callable[[], None]
    ) -> None:
        self._scheduler = scheduler
        self._lanes = lanes
        self._on_progress = on_progress
        self._is_running = False

    def run_once(self) -> None:
        """Move what can be moved; returns at once. Errors of the lanes are the caller's."""
        if self._is_running or self._scheduler.is_empty:
            return
        self._is_running = True
        try:
            moved = self._move()
        finally:
            self._is_running = False
        if moved:
            self._on_progress()

    def _move(self) -> bool:
        before = len(self._scheduler)
        moved = False
        while not self._scheduler.is_empty:
            rooms = [lane.room() for lane in self._lanes]
            piece = self._scheduler.take(rooms, trio.current_time())
            if piece is None:
                break
            self._lanes[piece.traffic_class].write_some(piece.data)
            moved = True
        return moved or len(self._scheduler) < before
