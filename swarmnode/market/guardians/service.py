"""Calls among the keepers of tasks: what others bring is checked and kept, and logs are read."""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio

from p2p.errors import RefusalError, WireError
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.identity.keys import SEED_BYTES
from p2p.ids import NetworkId, PeerId
from p2p.wire.codec import decode_as
from p2p.wire.envelope import Signer, open_signed
from swarmnode.limits import GUARD_RECORD_BYTES_MAX
from swarmnode.market.guardians import events as g
from swarmnode.market.guardians.carriage import Carriage
from swarmnode.market.guardians.config import GuardianConfig
from swarmnode.market.guardians.kept import Guarded, Post
from swarmnode.market.guardians.logs.copies import LogCopies
from swarmnode.market.guardians.logs.fetching import LogFetcher
from swarmnode.market.guardians.messages import (
    HOME_DOMAIN,
    ComeHome,
    HomeTerms,
    KeepTaken,
    KeepTask,
    KeptLog,
    ReadKeptLog,
)
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.market.guardians.sound import fault_in
from swarmnode.market.logbook import LogBook
from swarmnode.tasks.choices import STREAMS
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.keys import task_id_of
from swarmnode.tasks.records import TaskRecord

GUARDED_WITHIN_S: Final = 5.0
"""Who submits and leaves waits so long for the guardians: two round trips and their disks."""


async def _no_secrets(_peer: PeerId, _record: TaskRecord) -> None:
    """Where nobody keeps any."""


class Keeping(Protocol):
    """The part of Custody that is needed here."""

    def find(self, task: TaskId) -> GuardRecord | None: ...

    def guarded(self, task: TaskId) -> Guarded: ...

    def post_of(self, task: TaskId) -> Post | None: ...

    def is_up(self, peer: PeerId) -> bool: ...


class KeeperService:
    """`post` hands the core an event."""

    def __init__(
        self,
        rpc: Rpc,
        signer: Signer,
        network: NetworkId,
        custody: Keeping,
        logbook: LogBook,
        post: Callable[[g.Event | g.LogsTold], None],
        lacks_log: Callable[[TaskId], bool] = lambda _task: False,
        logs_every_s: float = GuardianConfig().logs_every_s,
    ) -> None:
        """`lacks_log`: more of that log may be elsewhere, whoever keeps the task."""
        self._bring_secrets: Callable[[PeerId, TaskRecord], Awaitable[None]] = _no_secrets
        """See `asks`."""
        self.logs = LogFetcher(rpc, custody.find, logbook, post, lacks_log)
        """Brings home what was printed elsewhere."""
        self.copies = LogCopies(rpc, custody, logbook, logs_every_s)
        """Of what is printed, at the other keepers."""
        self.carriage = Carriage(rpc)
        """Of records, to the other keepers."""
        self._signer, self._custody = signer, custody
        self._logbook, self._post = logbook, post
        self._confirmed: dict[TaskId, trio.Event] = {}
        """By task that `guarded` waits for: set and dropped when more is known of keepers."""
        self._network = network
        self._may_read: Callable[[Caller, TaskId], bool] = lambda _caller, _task: False
        """See `asks`; nobody's before that."""
        self._is_ours: Callable[[GuardRecord], bool] = lambda _record: False
        """See `asks`; never before that."""
        rpc.listen(ComeHome, self._on_come_home)
        rpc.serve(KeepTask, self._on_keep)
        rpc.serve(ReadKeptLog, self._on_read_log, reply_bytes=lambda _request, _body: 32 * 1024)

    def asks(
        self,
        may_read: Callable[[Caller, TaskId], bool],
        is_ours: Callable[[GuardRecord], bool],
        bring_secrets: Callable[[PeerId, TaskRecord], Awaitable[None]],
    ) -> None:
        """Whether a caller is another machine of a task's owner; whether a right in a record was
        given by a machine of this person; to have the secrets of a task that somebody brings."""
        self._may_read, self._is_ours = may_read, is_ours
        self._bring_secrets = bring_secrets

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry and fetch until cancelled."""
        async with trio.open_nursery() as nursery:
            self.carriage.nursery = self.logs.nursery = nursery
            nursery.start_soon(self.copies.run)
            task_status.started()
            await trio.sleep_forever()

    def confirmed(self, task: TaskId) -> None:
        """Something has changed about who holds a task, or it has ended."""
        self.copies.look_at(task)
        if (waited_for := self._confirmed.pop(task, None)) is not None:
            waited_for.set()

    async def guarded(self, task: TaskId) -> Guarded:
        """Return once all guardians hold a task of ours, or soon."""
        try:
            with trio.move_on_after(GUARDED_WITHIN_S):
                while not self._custody.guarded(task).is_enough:
                    await self._confirmed.setdefault(task, trio.Event()).wait()
        finally:  # also when nobody waits any more
            self.confirmed(task)
        return self._custody.guarded(task)

    def _on_come_home(self, caller: Caller, message: ComeHome) -> None:
        sealed = message.sealed
        terms = open_signed(self._signer, self._network, HOME_DOMAIN, HomeTerms, sealed)
        if task_id_of(sealed.sender) != terms.task or terms.machine != caller.peer:
            raise WireError(f"{caller.peer} has not the key of {terms.task}")
        self._post(g.HomeHeard(caller.peer, terms.task))

    async def _on_keep(self, caller: Caller, ask: KeepTask, body: bytes) -> tuple[KeepTaken, bytes]:
        await trio.lowlevel.checkpoint()
        try:
            record = decode_as(GuardRecord, body, GUARD_RECORD_BYTES_MAX)
        except WireError as exc:
            raise RefusalError("malformed", str(exc)) from exc
        if fault := self._fault_of(caller.peer, record):
            raise RefusalError("malformed", fault)
        await self._bring_secrets(caller.peer, record.task_record)
        self._post(g.KeepHeard(caller.peer, record, self._is_ours(record)))
        return KeepTaken(), b""

    def _fault_of(self, peer: PeerId, record: GuardRecord) -> str:
        """Only who has the task's key can have made a record of it."""
        key = record.task_record.key
        if len(key) != SEED_BYTES or task_id_of(self._signer.from_seed(key).peer_id) != record.task:
            return "that is not the key of this task"
        if fault := fault_in(record):
            return fault
        if peer not in (record.submitter, record.acting, *record.keepers):
            return "none of its keepers"
        return ""

    async def _on_read_log(
        self, caller: Caller, ask: ReadKeptLog, _body: bytes
    ) -> tuple[KeptLog, bytes]:
        await trio.lowlevel.checkpoint()
        record = self._custody.find(ask.task)
        is_submitter = record is not None and record.submitter == caller.peer
        may_read = is_submitter or self._may_read(caller, ask.task)
        if not may_read or ask.stream not in STREAMS:
            raise RefusalError("unknown", "no log of such a task of yours")
        if ask.offset < 0:
            raise RefusalError("malformed", "an offset before the beginning")
        piece = self._logbook.piece_after(ask.task, ask.stream, ask.fence, ask.offset)
        return KeptLog(piece[0], piece[1]), piece[2]
