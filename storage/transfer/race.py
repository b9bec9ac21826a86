"""Enough answers from many possible sources: in parallel, hedged, never stopped by a bad one."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import msgspec
import trio

from storage.errors import HolderFailedError

ResultT = TypeVar("ResultT")


def _silent() -> int:
    return 0


class Attempt(msgspec.Struct, Generic[ResultT], frozen=True):
    """One way to get the thing numbered `key`; several ways may have the same key."""

    key: int
    ask: Callable[[], Awaitable[ResultT]]
    came_bytes: Callable[[], int] = _silent
    """Of whatever its source sends to us: while it changes the source is at work for us."""


class Answers(msgspec.Struct, Generic[ResultT]):
    """What came, by key, and who failed us meanwhile."""

    results: dict[int, ResultT] = msgspec.field(default_factory=dict)
    failures: list[HolderFailedError] = msgspec.field(default_factory=list)


async def any_of(
    need: int,
    attempts: Sequence[Attempt[ResultT]],
    hedge_s: Callable[[], float],
    late_s: Callable[[], float] = float,
) -> Answers[ResultT]:
    """Results for `need` different keys, or fewer when all attempts are used up.

    As many attempts run as results are missing; one more starts whenever one fails, and whenever no
    result came for `hedge_s()` and some source sent nothing at all meanwhile. While all of them
    send, our own line may be what is slow, and one more would have its part of that: only after
    `late_s()` without a result one starts all the same. The rest is cancelled as soon as enough is
    there.
    """
    race = _HedgedRace(list(attempts))
    async with trio.open_nursery() as nursery:
        while len(race.answers.results) < need:
            race.start(nursery, need - len(race.answers.results) - len(race.running))
            if not race.running:
                break
            race.wake = trio.Event()
            with trio.move_on_after(hedge_s()) as patience:
                await race.wake.wait()
            if patience.cancelled_caught and race.is_slow(late_s(), trio.current_time()):
                race.start(nursery, 1)
        nursery.cancel_scope.cancel()
    return race.answers


class _HedgedRace(msgspec.Struct, Generic[ResultT]):
    attempts: list[Attempt[ResultT]]
    """Not begun yet, the most promising first."""
    answers: Answers[ResultT] = msgspec.field(default_factory=Answers)
    running: list[Attempt[ResultT]] = msgspec.field(default_factory=list)
    """Those under way."""
    heard: dict[int, int] = msgspec.field(default_factory=dict)
    """By id of an attempt under way: what its source had sent when that was looked at last."""
    began_s: float = msgspec.field(default_factory=trio.current_time)
    """When a result came last, or one more attempt was made without."""
    wake: trio.Event = msgspec.field(default_factory=trio.Event)
    """Set when one has ended; another one for each wait."""

    def start(self, nursery: trio.Nursery, count: int) -> None:
        """Start up to `count` more attempts at what has not come yet."""
        while count > 0 and self.attempts:
            attempt = self.attempts.pop(0)
            if attempt.key not in self.answers.results:
                self.running.append(attempt)
                self.heard[id(attempt)] = attempt.came_bytes()
                count -= 1
                nursery.start_soon(self._try, attempt)

    def is_slow(self, late_s: float, now_s: float) -> bool:
        """Whether one more source is worth what it takes of our line."""
        came = {id(attempt): attempt.came_bytes() for attempt in self.running}
        is_silent = any(came[key] == self.heard[key] for key in came)
        self.heard = came
        if not is_silent and now_s - self.began_s < late_s:
            return False
        self.began_s = now_s
        return True

    async def _try(self, attempt: Attempt[ResultT]) -> None:
        try:
            self.answers.results[attempt.key] = await attempt.ask()
            self.began_s = trio.current_time()
        except HolderFailedError as failure:
            self.answers.failures.append(failure)
        finally:
            self.running.remove(attempt)
            self.wake.set()
