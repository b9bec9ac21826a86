"""What a node logs about its own health: each change once, as `status` would tell it."""

import logging
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import trio

from p2p.host.admission.book import AdmissionBook
from p2p.ids import PeerId

STATUS_EVERY_S: Final = 1.0
"""A failed join is known within 10 s; a second more does not matter."""

log = logging.getLogger("swarm")


class NodeHealth(msgspec.Struct, frozen=True):
    """What of a node's status its log tells changes of."""

    state: str
    warnings: tuple[str, ...]
    join_failures: tuple[str, ...]
    members_alive: int


class Notices(msgspec.Struct):
    """Compares what a node says now with what was last logged."""

    state: str = ""
    """As it was at the look before; empty before the first."""
    told: tuple[str, ...] = ()
    """Warnings and failures as of that look: what stands in it is not logged again."""

    def changed(self, now: NodeHealth) -> list[tuple[int, str]]:
        """Level and text of every line worth logging."""
        lines = []
        if now.state != self.state and now.state == "ready":
            members = "member" if now.members_alive == 1 else "members"
            lines.append((logging.INFO, f"ready: {now.members_alive} {members} alive"))
        failures = tuple(f"cannot join through {failure}" for failure in now.join_failures)
        # Joining takes a moment; only when it fails is being alone worth a line.
        troubles = (*now.warnings, *failures) if now.state != "joining" or failures else ()
        lines += [(logging.WARNING, trouble) for trouble in troubles if trouble not in self.told]
        self.state, self.told = now.state, troubles
        return lines


class OutNotices(msgspec.Struct):
    """Says once of each machine that it is out, and why."""

    book: AdmissionBook
    told: dict[PeerId, str] = msgspec.field(default_factory=dict)
    """Who was out at the look before, and why."""

    def fresh(self, out: Mapping[PeerId, str]) -> list[str]:
        """A line for each that was not out before, or for another reason."""
        lines = []
        for peer, why in out.items():
            if self.told.get(peer) != why:
                who = self.book.admitted(peer)
                called = peer if who is None else f"{who.person_name} ({who.name}, {peer})"
                lines.append(f"{called} is out: {why}")
        self.told = dict(out)
        return lines

    def tell_lapsed(self, peer: PeerId, why: str) -> None:
        """Log that a connection ends because its certificates have."""
        who = self.book.admitted(peer)
        called = peer if who is None else f"{who.person_name} ({who.name}, {peer})"
        log.warning("the connection to %s ends: %s", called, why)

    def tell(self, out: Mapping[PeerId, str]) -> None:
        """Log them."""
        for line in self.fresh(out):
            log.warning("%s", line)


async def tell_changes(health: Callable[[], NodeHealth]) -> None:
    """Log them until cancelled."""
    notices = Notices()
    while True:
        for level, text in notices.changed(health()):
            log.log(level, "%s", text)
        await trio.sleep(STATUS_EVERY_S)
