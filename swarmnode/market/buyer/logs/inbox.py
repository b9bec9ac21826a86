"""Takes what the providers of our tasks push of their logs; lets logs of forgotten tasks go."""

import trio

from p2p.errors import RefusalError
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from storage.errors import StoreFullError
from swarmnode.errors import LogStaleError
from swarmnode.limits import LOG_PUSH_BYTES_MAX
from swarmnode.market.buyer.core import Buyer
from swarmnode.market.guardians.logs.copies import LogCopies
from swarmnode.market.guardians.service import KeeperService
from swarmnode.market.logbook import LogBook
from swarmnode.tasks.choices import STREAMS
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.messages import LogTaken, PushLog
from swarmnode.tasks.patient_writer import FULL_DISK_AGAIN_S


class LogInbox:
    """Only the provider of a task's newest attempt writes its log."""

    def __init__(
        self, rpc: Rpc, core: Buyer, keeper: KeeperService, logbook: LogBook, begun: trio.Event
    ) -> None:
        """`begun`: every task is loaded."""
        self._core, self._keeper, self._logbook, self._begun = core, keeper, logbook, begun
        rpc.serve(PushLog, self._on_push)

    async def _on_push(self, caller: Caller, push: PushLog, body: bytes) -> tuple[LogTaken, bytes]:
        await self._begun.wait()
        self._check(caller, push, body)
        try:
            have = await self._logbook.take(push.task, push.fence, push.stream, push.offset, body)
        except LogStaleError as exc:
            raise RefusalError("stale", str(exc)) from exc
        except StoreFullError as exc:
            raise RefusalError("full", "the submitter's disk is full") from exc
        return LogTaken(have, self._logbook.is_followed(push.task, push.stream)), b""

    def _check(self, caller: Caller, push: PushLog, body: bytes) -> None:
        """Raises RefusalError for what is not taken, or not now."""
        record = self._core.ledger.find(push.task)
        if record is None and self._core.custody.is_others(push.task):
            raise RefusalError("busy", "another machine acts for that task and will say so")
        if record is None or (record.provider, record.fence) != (caller.peer, push.fence):
            raise RefusalError("stale", "that attempt is not this task's newest one")
        if body and self._core.was_receipted(push.task, push.fence):
            raise RefusalError("stale", "that attempt has ended, and its log with it")
        if self._keeper.logs.is_fetching(push.task):
            raise RefusalError("busy", "older parts of the log are still to come")
        if push.stream not in STREAMS or len(body) > LOG_PUSH_BYTES_MAX:
            raise RefusalError("malformed", f"stdout or stderr, {LOG_PUSH_BYTES_MAX} bytes at most")


class OldLogs:
    """Logs of tasks that are no more."""

    def __init__(self, logbook: LogBook) -> None:
        self._logbook = logbook
        self._tasks: dict[TaskId, None] = {}
        """Whose logs are to go: as many at most as were known or kept here."""
        self._is_news = trio.Event()

    def forget(self, task: TaskId) -> None:
        """Soon: on a full disk that may take a while."""
        self._tasks[task] = None
        self._is_news.set()

    async def run(self, core: Buyer, copies: LogCopies) -> None:
        """Until cancelled; first those of which a crash came between task and log."""
        for task in self._logbook.tasks():
            if task in core.ledger:
                continue
            if core.custody.find(task) is None:
                self.forget(task)
            else:
                copies.found(task)
        while True:
            await self._is_news.wait()
            self._is_news = trio.Event()
            while self._tasks:
                task = next(iter(self._tasks))
                del self._tasks[task]
                self._logbook.wake(task)
                await self._erase(task)

    async def _erase(self, task: TaskId) -> None:
        while True:
            try:
                await self._logbook.forget(task)
                return
            except StoreFullError:
                await trio.sleep(FULL_DISK_AGAIN_S)
