"""Asks others for the time, now and then and whenever it matters, and says whether ours counts."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import trio

from p2p.effects import Rng
from p2p.errors import CallTimeoutError, PeerUnreachableError, RemoteRefusalError
from p2p.host.rpc.service import Rpc
from p2p.ids import PeerId, TrafficClass
from p2p.limits import CLOCK_SKEW_MAX_MS
from p2p.membership.port import Members
from storage.clocks.core import ClockStanding, ClockVerdict, judge, words_for
from storage.limits import CLOCKS_ASKED_MAX
from storage.messages import AskClock, ClockIs

EVERY_S: Final = 30.0
"""A clock that is set wrong is noticed within this: long before anything is freed by it."""

ANSWER_S: Final = 2.0
"""A healthy peer tells the time in a fraction of this."""

FRESH_S: Final = 90.0
"""What was learnt this long ago counts no more."""


class ClockWatch(msgspec.Struct):
    """The wall clock of this machine, as far as others agree with it."""

    rpc: Rpc
    members: Members
    wall_ms: Callable[[], int]
    rng: Rng
    verdict: ClockVerdict = msgspec.field(default_factory=lambda: ClockVerdict(ClockStanding.ALONE))
    """Of the last round of questions."""
    _asked_s: float = 0.0
    """When that round had ended (monotonic)."""
    _asked_ms: int | None = None
    """Our own clock when we asked last: it may have been set since then."""
    _had_others: bool = False
    """There has been somebody to ask since the start."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ask now and then until cancelled."""
        task_status.started()
        while True:
            await self.check()
            await trio.sleep(EVERY_S)

    async def check(self) -> ClockVerdict:
        """Ask some of the living, at once; what that shows."""
        voices = self._voices()
        asked = self.rng.sample(voices, min(CLOCKS_ASKED_MAX, len(voices)))
        offsets: dict[PeerId, int] = {}

        async def ask(peer: PeerId) -> None:
            offset = await self._offset_ms(peer)
            if offset is not None:
                offsets[peer] = offset

        async with trio.open_nursery() as nursery:
            for peer in asked:
                nursery.start_soon(ask, peer)
        self._asked_s, self._asked_ms = trio.current_time(), self.wall_ms()
        self._had_others = self._had_others or bool(voices)
        self.verdict = judge(dict(sorted(offsets.items())))
        return self.verdict

    def _voices(self) -> list[PeerId]:
        """Those that may be asked: of each other person one machine, so that nobody is a majority
        by having many. Machines of our own person do not lie to us."""
        ours = self.rpc.me.person
        groups: dict[str, list[PeerId]] = {}
        for member in self.members.view().alive():
            if member.peer != self.rpc.peer_id:
                whose = member.peer if member.person in ("", ours) else member.person
                groups.setdefault(whose, []).append(member.peer)
        return [self.rng.choice(machines) for machines in groups.values()]

    def is_wrong(self) -> bool:
        """Whether most others agree on another time than ours."""
        return self.verdict.standing is ClockStanding.WRONG

    def may_free(self) -> bool:
        """Whether our time may end what others keep here: most agree, and it was not set since."""
        return self._is_steady() and self.verdict.standing is ClockStanding.RIGHT

    def may_free_ours(self) -> bool:
        """The same for what we put here ourselves: that is so on a machine without others, too."""
        is_lone = self.verdict.standing is ClockStanding.ALONE and not self._had_others
        return self.may_free() or (is_lone and self._is_steady())

    def words(self, names: Mapping[PeerId, str]) -> tuple[str, ...]:
        """For `status`: what is wrong with whose clock."""
        return words_for(self.verdict, names)

    def _is_steady(self) -> bool:
        if self._asked_ms is None:
            return False
        passed_s = trio.current_time() - self._asked_s
        drift_ms = self.wall_ms() - self._asked_ms - passed_s * 1000
        return passed_s < FRESH_S and abs(drift_ms) <= CLOCK_SKEW_MAX_MS

    async def _offset_ms(self, peer: PeerId) -> int | None:
        sent_s, sent_ms = trio.current_time(), self.wall_ms()
        try:
            reply, _ = await self.rpc.call(
                peer, AskClock(), ClockIs,
                traffic_class=TrafficClass.INTERACTIVE, timeout_s=ANSWER_S,
            )  # fmt: skip
        except (PeerUnreachableError, CallTimeoutError, RemoteRefusalError):
            return None
        passed_s, got_ms = trio.current_time() - sent_s, self.wall_ms()
        if abs(got_ms - sent_ms - passed_s * 1000) > CLOCK_SKEW_MAX_MS:
            return None  # our clock was set meanwhile
        return reply.wall_ms - (sent_ms + got_ms) // 2
