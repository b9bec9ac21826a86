"""This machine was thought gone, another one of its person took it over, and it is back."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from swarmnode.recovery.copies import Taken

LOOK_S: Final = 15.0
"""Between two looks at what the taker has."""
HAND_OVER_S: Final = 600.0
"""What nobody who took this machine over has by then is this machine's: they try for as long."""

log = logging.getLogger("swarm.recovery")


class Return:
    """Lets go of what the taker has; what that does not have is ours, after a while."""

    def __init__(
        self,
        hand_over: Callable[[int], Awaitable[None]],
        waits_for_others: Callable[[], bool],
        on_change: Callable[[], None],
    ) -> None:
        """`hand_over` lets go of the tasks that go on elsewhere since a takeover then.

        `on_change`: more is ours than was.
        """
        self._hand_over, self._waits_for_others = hand_over, waits_for_others
        self._on_change = on_change
        self._taken: Taken | None = None
        self._is_news = trio.Event()
        self._is_over = False

    def note(self, taken: Taken | None) -> Taken | None:
        """What the pool says of who took this machine over."""
        if taken is not None and taken != self._taken:
            log.warning(
                "this machine was thought gone, and another one of yours, %s, took over what was "
                "here: tasks of before go on there; what is put here since then has a copy again",
                taken.by,
            )
        if taken != self._taken:
            self._taken, self._is_over = taken, False
            self._is_news.set()
        return taken

    @property
    def taken_ms(self) -> int:
        """What was here before this may be the taker's; 0: all that is here is ours."""
        return 0 if self._taken is None or self._is_over else self._taken.at_ms

    async def run(self) -> None:
        """Whoever took us over may only just be bringing things back there: asked for a while."""
        while True:
            await self._is_news.wait()
            self._is_news = trio.Event()
            until_s = trio.current_time() + HAND_OVER_S
            while self._taken and not (self._is_over or self._is_news.is_set()):
                if not self._waits_for_others():
                    await self._hand_over(self._taken.at_ms)
                if trio.current_time() >= until_s:
                    self._is_over = True
                    self._on_change()
                with trio.move_on_after(LOOK_S):
                    await self._is_news.wait()
