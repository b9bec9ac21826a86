"""Enough answers from many possible sources: in parallel, hedged, never stopped by a bad one."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import msgspec
import trio

from storage.errors import HolderFailedError

ResultT = TypeVar("ResultT")


class Attempt(msgspec.Struct, Generic[ResultT], frozen=True):
    """One way to get the thing numbered `key`; several ways may have the same key."""

    key: int
    ask: Callable[[], Awaitable[ResultT]]


class Answers(msgspec.Struct, Generic[ResultT]):
    """What came, by key, and who failed us meanwhile."""

    results: dict[int, ResultT] = msgspec.field(default_factory=dict)
    failures: list[HolderFailedError] = msgspec.field(default_factory=list)


async def any_of(
    need: int, attempts: Sequence[Attempt[ResultT]], hedge_s: Callable[[], float]
) -> Answers[ResultT]:
    """Results for `need` different keys, or fewer when all attempts are used up.

    As many attempts run as results are missing; one more starts whenever one fails and whenever
    nothing came for `hedge_s()`. The rest is cancelled as soon as enough is there.
    """
    race = _HedgedRace(list(attempts))
    async with trio.open_nursery() as nursery:
        while len(race.answers.results) < need:
            race.start(nursery, need - len(race.answers.results) - race.running)
            if race.running == 0:
                break
            race.wake = trio.Event()
            with trio.move_on_after(hedge_s()) as patience:
                await race.wake.wait()
            if patience.cancelled_caught:
                race.start(nursery, 1)
        nursery.cancel_scope.cancel()
    return race.answers


class _HedgedRace(msgspec.Struct, Generic[ResultT]):
    attempts: list[Attempt[ResultT]]
    """Not begun yet, the most promising first."""
    answers: Answers[ResultT] = msgspec.field(default_factory=Answers)
    running: int = 0
    """Attempts under way."""
    wake: trio.Event = msgspec.field(default_factory=trio.Event)
    """Set when one has ended; another one for each wait."""

    def start(self, nursery: trio.Nursery, count: int) -> None:
        """Start up to `count` more attempts at what has not come yet."""
        while count > 0 and self.attempts:
            attempt = self.attempts.pop(0)
            if attempt.key not in self.answers.results:
                self.running += 1
                count -= 1
                nursery.start_soon(self._try, attempt)

    async def _try(self, attempt: Attempt[ResultT]) -> None:
        try:
            self.answers.results[attempt.key] = await attempt.ask()
        except HolderFailedError as failure:
            self.answers.failures.append(failure)
        finally:
            self.running -= 1
            self.wake.set()
