"""Moves slices from a peer's scheduler to its streams, only when the link has room.

Late binding: a frame stays in the scheduler, where a more urgent one can overtake it, until the
socket is ready for it. The pump is no task: whoever changes something that may let bytes flow
(a frame was queued, the socket took some, a window grew) calls `run_once`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from p2p.ids import TrafficClass
from p2p.qos.scheduler import Scheduler


class Lane(Protocol):
    """The stream that carries one class to one peer."""

    def room(self) -> int:
        """Bytes that may be written now; 0 while the link or the peer takes no more."""

    def write_some(self, data: memoryview) -> int:
        """Queue bytes, at most `room`; returns how many."""
        ...

    def finish(self) -> None:
        """No more frames will come: a lane on another connection takes over."""


class Pump:
    """One peer's scheduler joined to its four lanes."""

    def __init__(
        self, scheduler: Scheduler, lanes: Sequence[Lane], on_progress: Callable[[], None]
    ) -> None:
        self._scheduler = scheduler
        self._lanes = list(lanes)
        """The one in use for each class, in the order of classes."""
        self._successors: dict[TrafficClass, Lane] = {}
        """Lanes that take a class over once its frame has ended."""
        self._is_in_frame = [False] * len(self._lanes)
        """By class: a frame has begun to leave, and must end on the same lane."""
        self._on_progress = on_progress
        """Called when frames have left or expired: there is room for those who wait."""
        self._is_running = False
        """A move is under way: `run_once` from within it does nothing."""

    def move(self, traffic_class: TrafficClass, lane: Lane) -> None:
        """Carry a class on another lane, from the next frame on."""
        self._successors[traffic_class] = lane
        self._succeed(traffic_class)

    def _succeed(self, traffic_class: TrafficClass) -> None:
        if self._is_in_frame[traffic_class] or traffic_class not in self._successors:
            return
        self._lanes[traffic_class].finish()
        self._lanes[traffic_class] = self._successors.pop(traffic_class)

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
            self._is_in_frame[piece.traffic_class] = not piece.is_last
            self._succeed(piece.traffic_class)
            moved = True
        return moved or len(self._scheduler) < before
