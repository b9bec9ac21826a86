"""What a node logs about its own health: each change once, as `status` would tell it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import trio

from swarmnode.api.schema import Status

LOOK_S: Final = 1.0
"""A failed join is known within 10 s; a second more does not matter."""

log = logging.getLogger("swarm")


@dataclass(slots=True)
class Notices:
    """Compares what a node says now with what was last logged."""

    state: str = ""
    told: tuple[str, ...] = ()

    def changed(self, now: Status) -> list[tuple[int, str]]:
        """Level and text of every line worth logging."""
        lines = []
        if now.state != self.state and now.state == "ready":
            members = "member" if now.members_alive == 1 else "members"
            lines.append((logging.INFO, f"ready: {now.members_alive} {members} alive"))
        failures = tuple(f"cannot join through {failure}" for failure in now.join_failures)
        # Joining takes a moment; only when it fails is being alone worth a line.
        troubles = (*now.warnings, *failures) if now.state != "joining" or failures else ()
        lines += [(logging.WARNING, one) for one in troubles if one not in self.told]
        self.state, self.told = now.state, troubles
        return lines


async def tell_changes(status: Callable[[], Status]) -> None:
    """Log them until cancelled."""
    notices = Notices()
    while True:
        for level, text in notices.changed(status()):
            log.log(level, "%s", text)
        await trio.sleep(LOOK_S)
