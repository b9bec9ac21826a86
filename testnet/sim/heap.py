"""Many pure cores on one heap: no trio, no hosts, hours of thirty members in seconds.

Messages arrive after a delay or are lost; members may pause (nothing happens to them meanwhile,
then everything at once), crash without a word, and be cut off. All chance comes from the dice
given, and `trace` is a hash of every delivery: one seed, one trace.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Generic

from p2p.effects import Notify, Rng, Send, WakeAt
from p2p.ids import PeerId
from p2p.service import Core, EventT, NoticeT
from p2p.wire.codec import Message, decode, encode


@dataclass(slots=True, eq=False)
class Seat(Generic[EventT, NoticeT]):
    """One core and what happens to its machine."""

    peer: PeerId
    core: Core[EventT, NoticeT]
    heard: Callable[[PeerId, Any], EventT]
    """Makes the event by which the core is told of a message."""
    paused_until_s: float = 0.0
    is_up: bool = True


@dataclass(frozen=True, slots=True)
class Weather:
    """How messages travel; change `HeapWorld.weather` to change it."""

    loss: float = 0.0
    delay_min_s: float = 0.005
    delay_max_s: float = 0.05


class HeapWorld(Generic[EventT, NoticeT]):
    """Time, the messages on their way, and the cores."""

    def __init__(self, rng: Rng, weather: Weather = Weather()) -> None:
        self.now_s = 0.0
        self.weather = weather
        self.notified: list[tuple[float, PeerId, NoticeT]] = []
        """Everything the cores gave notice of."""
        self.messages = 0
        self._rng = rng
        self._seats: dict[PeerId, Seat[EventT, NoticeT]] = {}
        self._heap: list[tuple[float, int, Seat[EventT, NoticeT], EventT]] = []
        self._count = 0
        self._cuts: dict[tuple[PeerId, PeerId], None] = {}
        self._trace = blake2b(digest_size=16)

    @property
    def trace(self) -> str:
        """A hash of all deliveries and notices so far."""
        return self._trace.hexdigest()

    def seat(
        self,
        peer: PeerId,
        core: Core[EventT, NoticeT],
        heard: Callable[[PeerId, Any], EventT],
    ) -> None:
        """Put a core in its place; an earlier one of the same peer is gone for good."""
        self.crash(peer)
        self._seats[peer] = Seat(peer, core, heard)

    def tell(self, peer: PeerId, event: EventT) -> None:
        """Hand an event to a core now."""
        self._at(self.now_s, self._seats[peer], event)

    def run(self, for_s: float) -> None:
        """Let so much time pass."""
        end_s = self.now_s + for_s
        while self._heap and self._heap[0][0] <= end_s:
            self.now_s, _, seat, event = heapq.heappop(self._heap)
            self._happen(seat, event)
        self.now_s = end_s

    def run_until(self, is_so: Callable[[], bool], within_s: float, step_s: float = 0.1) -> float:
        """Let time pass until it is so; returns how much. Raises AssertionError when too much."""
        start_s = self.now_s
        while not is_so():
            if self.now_s - start_s > within_s:
                raise AssertionError(f"not so within {within_s} s")
            self.run(step_s)
        return self.now_s - start_s

    # -- faults

    def crash(self, peer: PeerId) -> None:
        """End a machine without a word."""
        if peer in self._seats:
            self._seats[peer].is_up = False

    def pause(self, peer: PeerId, for_s: float) -> None:
        """Stop a machine for a while."""
        self._seats[peer].paused_until_s = self.now_s + for_s

    def cut(self, left: Iterable[PeerId], right: Iterable[PeerId]) -> None:
        """Lose every message between two groups."""
        others = list(right)
        for a in left:
            for b in others:
                self._cuts[a, b] = self._cuts[b, a] = None

    def heal(self) -> None:
        """End all cuts."""
        self._cuts.clear()

    # -- inside

    def _at(self, at_s: float, seat: Seat[EventT, NoticeT], event: EventT) -> None:
        self._count += 1
        heapq.heappush(self._heap, (at_s, self._count, seat, event))

    def _happen(self, seat: Seat[EventT, NoticeT], event: EventT) -> None:
        if not seat.is_up:
            return
        if self.now_s < seat.paused_until_s:
            self._at(seat.paused_until_s, seat, event)
            return
        for effect in seat.core.handle(event, self.now_s):
            match effect:
                case Send(peer, message):
                    self._send(seat.peer, peer, message)
                case WakeAt(deadline_s, timer):
                    self._at(max(deadline_s, self.now_s), seat, timer)
                case Notify(notice):
                    self._note(f"{seat.peer} {notice}".encode())
                    self.notified.append((self.now_s, seat.peer, notice))
                case _:
                    raise AssertionError(f"{seat.peer} asked for {effect}")

    def _send(self, sender: PeerId, to: PeerId, message: Message) -> None:
        packed = encode(message)
        weather = self.weather
        delay_s = self._rng.uniform(weather.delay_min_s, weather.delay_max_s)
        is_lost = weather.loss > 0 and self._rng.random() < weather.loss
        seat = self._seats.get(to)
        if seat is None or is_lost or (sender, to) in self._cuts:
            return
        self.messages += 1
        self._note(f"{sender} {to} ".encode() + packed)
        self._at(self.now_s + delay_s, seat, seat.heard(sender, decode(packed)))

    def _note(self, data: bytes) -> None:
        self._trace.update(f"{self.now_s!r} {len(data)} ".encode())
        self._trace.update(data)
