"""Which bytes go next to one peer: a pure core with four bounded queues.

    C0 control      strict, but at most a tenth of the bytes while others wait
    C1 interactive  strict below C0, but at most six tenths while bulk waits
    C2 normal       deficit round robin, 8 parts ...
    C3 background   ... to 1 part, and at least a twenty-fifth of the line where that is known

Frames are handed out in slices, so that a small urgent frame never waits for the rest of a large
one; within a class frames keep their order and are never interleaved. Shares are paid for in
bytes sent; once somebody knows how fast the line is (`line_bytes_per_s`), a strict class also
earns in time, and then waits for its share even while bulk waits for room on its own connection.
Source of the round robin: Shreedhar and Varghese, SIGCOMM 1995.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from p2p.ids import BULK, TrafficClass
from p2p.limits import OUTBOX_BYTES_MAX, OUTBOX_FRAMES_MAX, SLICE_BYTES_MAX, WAITS_BYTES_MIN

_CLASSES: Final = tuple(TrafficClass)


class SchedulerConfig(msgspec.Struct, frozen=True):
    """Bounds and shares of one peer's queues."""

    frames_max: int = OUTBOX_FRAMES_MAX
    bytes_max: int = OUTBOX_BYTES_MAX
    control_share: float = 0.10
    interactive_share: float = 0.60
    # What a strict class may send ahead of earning it: a burst of heartbeats, a page of listings.
    burst_bytes: int = 64 * 1024
    # What fits one sealed message: larger pieces cost nothing less, smaller ones overtake sooner.
    slice_bytes_max: int = SLICE_BYTES_MAX
    normal_quantum_bytes: int = 64 * 1024
    background_quantum_bytes: int = 8 * 1024
    # Of the line, when bulk in whole gets little of it: above the 3 % that are promised.
    background_share: float = 0.04
    # What may wait here, in time on a line that is known: beyond that the sender waits, and may
    # still change its mind.
    waits_s: tuple[float, float, float, float] = (0.25, 0.05, 0.2, 1.0)
    # Less than this is not worth a wait, however slow the line.
    waits_bytes_min: int = WAITS_BYTES_MIN

    def __post_init__(self) -> None:
        if not 0 < self.control_share < 1 or not 0 < self.interactive_share < 1:
            raise ValueError("shares must be between 0 and 1")
        if min(self.frames_max, self.bytes_max, self.burst_bytes) <= 0:
            raise ValueError("bounds must be positive")


class _QueuedFrame(msgspec.Struct):
    data: memoryview
    """The whole frame."""
    expires_s: float
    """Dropped unless its first byte has left by then."""
    is_cast: bool
    """May be dropped to make room for others, as long as no byte of it has left."""
    sent: int = 0
    """Bytes of it handed out."""

    @property
    def left(self) -> int:
        return len(self.data) - self.sent


class Slice(msgspec.Struct, frozen=True):
    """Bytes to write now on the stream of a class."""

    traffic_class: TrafficClass
    data: memoryview
    is_last: bool
    """True when this completes a frame."""


class ClassStats(msgspec.Struct, frozen=True):
    """One class of one peer, or of several added up; counters since the start."""

    sent_frames: int = 0
    sent_bytes: int = 0
    waiting_frames: int = 0
    waiting_bytes: int = 0
    dropped: int = 0
    expired: int = 0

    def __add__(self, other: "ClassStats") -> "ClassStats":
        return ClassStats(
            self.sent_frames + other.sent_frames,
            self.sent_bytes + other.sent_bytes,
            self.waiting_frames + other.waiting_frames,
            self.waiting_bytes + other.waiting_bytes,
            self.dropped + other.dropped,
            self.expired + other.expired,
        )


class _ClassQueue(msgspec.Struct):
    items: deque[_QueuedFrame] = msgspec.field(default_factory=deque)
    """The oldest first; no other may have begun to leave."""
    bytes: int = 0
    """What is left to send of all `items`."""
    dropped: int = 0
    """Casts that made room for others, or found none."""
    expired: int = 0
    """Frames whose time was over before their first byte left."""
    sent_bytes: int = 0
    sent_frames: int = 0
    """Frames whose last byte was handed out."""

    def drop_oldest_cast(self) -> bool:
        """Make room by dropping the oldest cast that has not been started."""
        for at, item in enumerate(self.items):
            if item.is_cast and not item.sent:
                del self.items[at]
                self.bytes -= item.left
                self.dropped += 1
                return True
        return False

    def drop_expired(self, now_s: float) -> None:
        """Drop frames at the head whose deadline passed before their first byte left."""
        while self.items and not self.items[0].sent:
            if self.items[0].expires_s > now_s:
                return
            self.bytes -= self.items.popleft().left
            self.expired += 1


class Scheduler:
    """Four queues and the rule that empties them."""

    def __init__(self, config: SchedulerConfig | None = None) -> None:
        self._config = config or SchedulerConfig()
        self._queues = tuple(_ClassQueue() for _ in _CLASSES)
        """One for each class, in the order of classes."""
        self._credit = [float(self._config.burst_bytes)] * 2
        """Bytes that control and interactive may send while others wait: within a burst of 0."""
        self._background_credit = 0.0
        """Bytes background has earned of a known line; above 0 it goes before normal."""
        self._deficit: dict[TrafficClass, int] = dict.fromkeys(BULK, 0)
        """Bytes that each bulk class may still send in its turn; never below 0."""
        self._turn = TrafficClass.NORMAL
        """The bulk class whose turn it is when both have something to send."""
        self._last_s: float | None = None
        """Time of the last `take`; None before the first."""
        self.line_bytes_per_s = 0.0
        """What the line carries, as far as is known; 0 is unknown."""

    # In

    def has_room(self, traffic_class: TrafficClass, size: int) -> bool:
        """True when a frame of `size` bytes may be put; an empty queue takes any one frame."""
        config, bytes_max = self._config, self._config.bytes_max
        if self.line_bytes_per_s:
            in_time = int(self.line_bytes_per_s * config.waits_s[traffic_class])
            bytes_max = min(bytes_max, max(in_time, config.waits_bytes_min))
        return self._fits(traffic_class, size, bytes_max)

    def _fits(self, traffic_class: TrafficClass, size: int, bytes_max: int) -> bool:
        queue = self._queues[traffic_class]
        if not queue.items:
            return True
        return len(queue.items) < self._config.frames_max and queue.bytes + size <= bytes_max

    def put(self, traffic_class: TrafficClass, frame: bytes, expires_s: float = math.inf) -> None:
        """Queue a frame that only its deadline may drop; the caller has asked `has_room`."""
        self._append(traffic_class, _QueuedFrame(memoryview(frame), expires_s, is_cast=False))

    def cast(self, traffic_class: TrafficClass, frame: bytes, expires_s: float = math.inf) -> bool:
        """Queue a frame that may be dropped: older casts make room for it.

        Returns False when even that gave no room and this frame is the one dropped.
        """
        queue = self._queues[traffic_class]
        while not self._fits(traffic_class, len(frame), self._config.bytes_max):
            if not queue.drop_oldest_cast():
                queue.dropped += 1
                return False
        self._append(traffic_class, _QueuedFrame(memoryview(frame), expires_s, is_cast=True))
        return True

    def clear(self) -> None:
        """Forget every frame: the connection they were for is gone."""
        for queue in self._queues:
            queue.items.clear()
            queue.bytes = 0

    def _append(self, traffic_class: TrafficClass, item: _QueuedFrame) -> None:
        queue = self._queues[traffic_class]
        queue.items.append(item)
        queue.bytes += item.left

    # Out

    def take(self, rooms: Sequence[int], now_s: float) -> Slice | None:
        """The next bytes to write, or None; `rooms[c]` is what the stream of class c takes now."""
        for queue in self._queues:
            if queue.items:
                queue.drop_expired(now_s)
        self._earn(now_s)
        ready = [q for q in _CLASSES if self._queues[q].items and rooms[q] > 0]
        chosen = self._choose(ready)
        if chosen is None:
            return None
        size_max = min(rooms[chosen], self._config.slice_bytes_max)
        is_shared = chosen in BULK and all(bulk in ready for bulk in BULK)
        if not is_shared:
            return self._cut(chosen, size_max)
        if self._background_credit > 0:
            background = TrafficClass.BACKGROUND
            return self._cut(background, min(rooms[background], self._config.slice_bytes_max))
        piece = self._cut(chosen, min(size_max, self._deficit[chosen]))
        self._deficit[chosen] -= len(piece.data)
        return piece

    def _choose(self, ready: list[TrafficClass]) -> TrafficClass | None:
        control, interactive = TrafficClass.CONTROL, TrafficClass.INTERACTIVE
        bulk = [traffic_class for traffic_class in ready if traffic_class in BULK]
        if control in ready and self._may_go(control, is_alone=len(ready) == 1):
            return control
        if interactive in ready and self._may_go(interactive, is_alone=not bulk):
            return interactive
        return self._choose_bulk(bulk) if bulk else None

    def _may_go(self, strict: TrafficClass, *, is_alone: bool) -> bool:
        """True when a strict class has earned its turn, or takes it from nobody.

        Bulk that waits for room on a connection of its own is no reason to stop, unless the
        line is known: it is that line they share.
        """
        if self._credit[strict] > 0:
            return True
        if self.line_bytes_per_s:
            return not any(queue.items for queue in self._queues[strict + 1 :])
        return is_alone

    def _earn(self, now_s: float) -> None:
        """A strict class earns its share of the line as time passes, and background its least."""
        passed_s = 0.0 if self._last_s is None else max(0.0, now_s - self._last_s)
        self._last_s = now_s
        shares = (self._config.control_share, self._config.interactive_share)
        for strict, share in enumerate(shares):
            earned = self._credit[strict] + passed_s * self.line_bytes_per_s * share
            self._credit[strict] = min(float(self._config.burst_bytes), earned)
        if self._queues[TrafficClass.BACKGROUND].items:
            earned = passed_s * self.line_bytes_per_s * self._config.background_share
            self._background_credit = min(
                self._background_credit + earned, float(self._config.background_quantum_bytes)
            )

    def _choose_bulk(self, ready: list[TrafficClass]) -> TrafficClass:
        for traffic_class in BULK:
            if not self._queues[traffic_class].items:
                self._deficit[traffic_class] = 0
        if self._turn not in ready:
            self._turn = ready[0]
        elif self._deficit[self._turn] <= 0:
            self._turn = ready[(ready.index(self._turn) + 1) % len(ready)]
        if self._deficit[self._turn] <= 0:
            self._deficit[self._turn] += self._quantum(self._turn)
        return self._turn

    def _quantum(self, traffic_class: TrafficClass) -> int:
        if traffic_class is TrafficClass.NORMAL:
            return self._config.normal_quantum_bytes
        return self._config.background_quantum_bytes

    def _cut(self, traffic_class: TrafficClass, size_max: int) -> Slice:
        queue = self._queues[traffic_class]
        item = queue.items[0]
        data = item.data[item.sent : item.sent + size_max]
        item.sent += len(data)
        queue.bytes -= len(data)
        queue.sent_bytes += len(data)
        self._pay(traffic_class, len(data))
        if not item.left:
            queue.items.popleft()
            queue.sent_frames += 1
        return Slice(traffic_class, data, is_last=not item.left)

    def _pay(self, traffic_class: TrafficClass, size: int) -> None:
        """A strict class pays while lesser ones wait, and earns by what they send."""
        if traffic_class is TrafficClass.BACKGROUND:
            debt_max = -float(self._config.burst_bytes)
            self._background_credit = max(debt_max, self._background_credit - size)
        shares = (self._config.control_share, self._config.interactive_share)
        for strict, share in enumerate(shares):
            if traffic_class == strict:
                if not any(queue.items for queue in self._queues[strict + 1 :]):
                    continue
                floor = -float(self._config.burst_bytes)
                self._credit[strict] = max(floor, self._credit[strict] - size)
            elif traffic_class > strict and not self.line_bytes_per_s:
                earned = self._credit[strict] + size * share / (1 - share)
                self._credit[strict] = min(float(self._config.burst_bytes), earned)

    # Facts

    def __len__(self) -> int:
        control, interactive, normal, background = self._queues
        return (
            len(control.items) + len(interactive.items) + len(normal.items) + len(background.items)
        )

    @property
    def is_empty(self) -> bool:
        """True when nothing waits in any class."""
        control, interactive, normal, background = self._queues
        return not (control.items or interactive.items or normal.items or background.items)

    def waiting(self, traffic_class: TrafficClass) -> int:
        """Frames queued in one class."""
        return len(self._queues[traffic_class].items)

    def sent_bytes(self, traffic_class: TrafficClass) -> int:
        """Bytes of one class handed out since the start."""
        return self._queues[traffic_class].sent_bytes

    def stats(self) -> tuple[ClassStats, ...]:
        """A snapshot, one entry per class."""
        return tuple(
            ClassStats(
                queue.sent_frames,
                queue.sent_bytes,
                len(queue.items),
                queue.bytes,
                queue.dropped,
                queue.expired,
            )
            for queue in self._queues
        )

    @property
    def bytes_waiting(self) -> int:
        """Bytes queued in all classes."""
        return sum(queue.bytes for queue in self._queues)

    @property
    def dropped(self) -> int:
        """Casts dropped for want of room or in time, since the start."""
        return sum(queue.dropped + queue.expired for queue in self._queues)
