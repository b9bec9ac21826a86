"""Where the secrets of open tasks lie, sealed by the key of each: at submitters and guardians."""

from collections.abc import Callable
from typing import Final

import msgspec
import trio

from p2p.errors import RefusalError
from p2p.ids import PeerId
from storage.engine.port import Tables, WriteView
from storage.errors import StoreFullError
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.secrets.limits import SECRETS_GUARDED_BYTES_MAX, SECRETS_GUARDED_PER_MEMBER_MAX
from swarmnode.tasks.store import task_key

TABLE: Final = "task_secrets"
"""Task -> its secrets, sealed by its key."""
LOOK_EVERY_S: Final = 60.0
"""How often what no open task needs is looked for; what is younger than that stays."""


class _Lies(msgspec.Struct, frozen=True):
    """What is kept of one task."""

    size: int
    bringer: PeerId | None
    """Whose share it is of; None: as its record says, which comes after what was here at the start.
    """
    since_s: float


class SecretShelf:
    """Keeps what `is_open` says is needed; run it."""

    def __init__(
        self,
        tables: Tables,
        is_open: Callable[[TaskId], bool],
        submitter: Callable[[TaskId], PeerId | None],
    ) -> None:
        """`submitter`: the other machine whose task it is; None for a task of ours."""
        self._tables, self._is_open, self._submitter = tables, is_open, submitter
        self._lies: dict[TaskId, _Lies] = {}
        """Everything in the table, by task."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Let go what no task needs, until cancelled."""
        now_s, after = trio.current_time(), None
        while page := self._tables.scan(TABLE, after=after, limit=64):
            for key, sealed in page:
                self._lies[TaskId(key.decode())] = _Lies(len(sealed), None, now_s)
            after = page[-1][0]
        task_status.started()
        while True:
            await trio.sleep(LOOK_EVERY_S)
            old_s = trio.current_time() - LOOK_EVERY_S
            for task in [task for task, one in self._lies.items() if one.since_s < old_s]:
                if not self._is_open(task):
                    await self._let_go(task)

    def __contains__(self, task: TaskId) -> bool:
        return task in self._lies

    def find(self, task: TaskId) -> bytes | None:
        """What is kept of it, sealed."""
        return self._tables.get(TABLE, task_key(task))

    def put(self, view: WriteView, task: TaskId, sealed: bytes) -> None:
        """Of a task of ours, in the transaction that takes it on."""
        view.put(TABLE, task_key(task), sealed)

    def note(self, task: TaskId, size: int) -> None:
        """That transaction is durable."""
        self._lies[task] = _Lies(size, None, trio.current_time())

    async def keep(self, task: TaskId, sealed: bytes, bringer: PeerId) -> None:
        """Of another's task. Raises RefusalError where there is no room."""
        shares = [(one.bringer or self._submitter(kept), one) for kept, one in self._lies.items()]
        theirs = sum(one.size for whose, one in shares if whose == bringer)
        total = sum(one.size for whose, one in shares if whose is not None)
        if (
            theirs + len(sealed) > SECRETS_GUARDED_PER_MEMBER_MAX
            or total + len(sealed) > SECRETS_GUARDED_BYTES_MAX
        ):
            raise RefusalError("full", "no room for the secrets of more tasks")
        self._lies[task] = _Lies(len(sealed), bringer, trio.current_time())
        try:
            await self._tables.transact(lambda view: self.put(view, task, sealed))
        except StoreFullError as exc:
            del self._lies[task]
            raise RefusalError("full", "this machine's disk is full") from exc

    async def look_at(self, task: TaskId) -> None:
        """It has changed: perhaps nobody needs them any more."""
        if task in self._lies and not self._is_open(task):
            await self._let_go(task)

    async def _let_go(self, task: TaskId) -> None:
        try:
            await self._tables.free(lambda view: view.delete(TABLE, task_key(task)))
        except StoreFullError:
            return  # looked at again in a minute
        self._lies.pop(task, None)
