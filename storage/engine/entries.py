"""A write that waits for its group commit."""

from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

import msgspec
import outcome
import trio

from storage.engine.port import WriteView
from storage.errors import StoreFailedError

ResultT = TypeVar("ResultT")


class QueuedWrite(msgspec.Struct, Generic[ResultT], eq=False):
    """One `transact`: what to run, and what came of it once `done` is set."""

    apply: Callable[[WriteView], ResultT]
    done: trio.Event = msgspec.field(default_factory=trio.Event)
    result: outcome.Outcome[ResultT] | None = None
    may_use_reserve: bool = False
    """It frees more than it writes: in memory it goes where nothing else does."""

    def try_on(self, view: WriteView) -> bool:
        """Run `apply`; whatever it raises belongs to the caller. True when it raised nothing."""
        self.result = outcome.capture(partial(self.apply, view))
        return isinstance(self.result, outcome.Value)

    def fail(self, error: Exception) -> None:
        """The caller gets `error`, whatever `apply` said."""
        self.result = outcome.Error(error)

    async def wait(self) -> ResultT:
        """The result, once it is durable. A caller who is cancelled need not hear of a failure."""
        await self.done.wait()
        assert self.result is not None
        try:
            return self.result.unwrap()
        except StoreFailedError:
            await trio.lowlevel.checkpoint_if_cancelled()
            raise
