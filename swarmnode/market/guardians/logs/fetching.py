"""Logs brought home: what a task of ours printed while another machine acted for it."""

from collections.abc import Callable
from typing import Final

import trio

from p2p.errors import CallTimeoutError, PeerUnreachableError, RemoteRefusalError
from p2p.host.rpc.service import Rpc
from p2p.ids import PeerId, TrafficClass
from storage.errors import StoreFullError
from swarmnode.contained import contained
from swarmnode.errors import LogStaleError
from swarmnode.limits import ATTEMPTS_KEPT_MAX
from swarmnode.market.guardians import events as g
from swarmnode.market.guardians.messages import KeptLog, ReadKeptLog
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.market.logbook import LogBook
from swarmnode.tasks.choices import STREAMS
from swarmnode.tasks.ids import TaskId

ASK_TIMEOUT_S: Final = 5.0
"""Who does not answer within a beat is asked again."""
LOGS_TIMEOUT_S: Final = 60.0
"""What was printed while we were away comes within this, or is left where it is."""
LOGS_DEAD_TIMEOUT_S: Final = 5.0
"""From a machine that is held for dead: meanwhile a provider waits with what it has."""
LOGS_AGAIN_S: Final = 1.0
LOGS_LATE_S: Final = 300.0
"""Who could not be asked within that is asked for so long again: a machine may come back."""
LOGS_LATE_AGAIN_S: Final = 5.0


class LogFetcher:
    """Asks who acted for a task, until all that it has is here."""

    def __init__(
        self,
        rpc: Rpc,
        find: Callable[[TaskId], GuardRecord | None],
        logbook: LogBook,
        post: Callable[[g.LogsTold], None],
        lacks_log: Callable[[TaskId], bool],
    ) -> None:
        """`find`: what is kept of a task; `lacks_log`: more of it may be elsewhere all the same."""
        self._rpc, self._find, self._lacks_log = rpc, find, lacks_log
        self._logbook, self._post = logbook, post
        self.nursery: trio.Nursery | None = None
        """Of those who ask; None before it is given."""
        self._fetching: dict[TaskId, bool] = {}
        """Tasks of which older logs are to come here; True: newer ones are refused meanwhile."""

    def is_fetching(self, task: TaskId) -> bool:
        """Whether older logs of a task are still to come before newer ones."""
        return self._fetching.get(task, False)

    def is_asking(self, task: TaskId) -> bool:
        """Whether somebody is asked for older logs of a task, or will be again."""
        return task in self._fetching

    def fetch(self, wanted: g.LogsWanted) -> None:
        """Bring home what a task of ours printed while others acted for it."""
        assert self.nursery is not None
        self._fetching[wanted.task] = True
        self.nursery.start_soon(self._fetch_all, wanted)

    async def _fetch_all(self, wanted: g.LogsWanted) -> None:
        """From who acted for it; while that is not all, from everybody."""
        task, first = wanted.task, wanted.peers[0]
        with contained(f"the bringing of task {task}'s log"):
            has_told: bool | None = None
            with trio.move_on_after(LOGS_TIMEOUT_S if wanted.is_up else LOGS_DEAD_TIMEOUT_S):
                await self._cut_back(wanted)
                has_told = await self._fetch_both(wanted, first)
            self._fetching[task] = False
            if self._is_whole(wanted, has_told=has_told is True):
                self._post(g.LogsTold(task, first, is_whole=True))
            elif has_told is not None and not wanted.log_bytes:
                self._post(g.LogsTold(task, first, is_whole=False))
            else:
                await self._search(wanted)
        self._fetching.pop(task, None)

    async def _search(self, wanted: g.LogsWanted) -> None:
        """Everybody again and again: one may come back, another may be told more meanwhile."""
        asked = wanted.peers if wanted.log_bytes else wanted.peers[:1]
        told: dict[PeerId, bool] = {}
        with trio.move_on_after(LOGS_LATE_S):
            async with trio.open_nursery() as nursery:
                for peer in asked:
                    nursery.start_soon(self._ask_on, wanted, peer, told, nursery.cancel_scope)
        for peer, is_whole in told.items():
            self._post(g.LogsTold(wanted.task, peer, is_whole))

    async def _ask_on(
        self,
        wanted: g.LogsWanted,
        peer: PeerId,
        told: dict[PeerId, bool],
        others: trio.CancelScope,
    ) -> None:
        """Ends the others' asking, too, once it is whole; `told` gets whether it was when that peer
        had said all it had."""
        # Else it was removed, or all is known of it.
        while self._find(wanted.task) is not None or self._lacks_log(wanted.task):
            has_told = await self._fetch_both(wanted, peer)
            told[peer] = self._is_whole(wanted, has_told=has_told)
            if told[peer]:
                return others.cancel()
            await trio.sleep(LOGS_LATE_AGAIN_S)

    async def _cut_back(self, wanted: g.LogsWanted) -> None:
        """An attempt that we began while others acted for the task never was: were what it printed
        here kept, nothing older could be joined to what came before it."""
        whole = len(wanted.known) < ATTEMPTS_KEPT_MAX - 1  # else only the first and the newest
        oldest = min(wanted.known if whole else wanted.known[1:], default=0)

        def is_known(fence: int) -> bool:
            return fence in wanted.known or fence < oldest

        while True:
            try:
                return await self._logbook.cut_back(wanted.task, is_known)
            except StoreFullError:
                await trio.sleep(LOGS_AGAIN_S)

    def _is_whole(self, wanted: g.LogsWanted, *, has_told: bool) -> bool:
        """We have what was printed to both streams; where that is not known, all that one has told.
        Of a newer attempt, than those asked can know of, all is to come from who runs it."""
        if not wanted.log_bytes:
            return has_told
        for stream, printed in zip(STREAMS, wanted.log_bytes, strict=True):
            fence, have = self._logbook.extent(wanted.task, stream)
            if printed and (fence, have) < (wanted.newest, printed):
                return False
        return True

    async def _fetch_both(self, wanted: g.LogsWanted, peer: PeerId) -> bool:
        """Whether it has told all that it has; False where it keeps nothing of that task."""
        for stream in STREAMS:
            if not await self._fetch(wanted.task, stream, peer, wanted.newest):
                return False
        return True

    async def _fetch(self, task: TaskId, stream: str, peer: PeerId, newest: int) -> bool:
        """`newest` is the last attempt that peer can know of: were anything kept of a later one
        that it makes up, the log of the true ones would be refused."""
        while True:
            try:
                if not await self._fetch_piece(task, stream, peer, newest):
                    return True
            except (PeerUnreachableError, CallTimeoutError, StoreFullError):
                await trio.sleep(LOGS_AGAIN_S)
            except LogStaleError:
                return True  # we have newer
            except RemoteRefusalError:
                return False

    async def _fetch_piece(self, task: TaskId, stream: str, peer: PeerId, newest: int) -> bool:
        """Whether there may be more."""
        fence, have = self._logbook.extent(task, stream)
        reply, body = await self._rpc.call(
            peer,
            ReadKeptLog(task, stream, fence, have),
            KeptLog,
            traffic_class=TrafficClass.NORMAL,
            timeout_s=ASK_TIMEOUT_S,
        )
        if not body or not max(fence, 1) <= reply.fence <= newest:
            return False
        grown = await self._logbook.take(task, reply.fence, stream, reply.offset, body)
        # Else a gap that is not kept: the rest cannot be joined to it.
        return reply.fence != fence or grown > have
