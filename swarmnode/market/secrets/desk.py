"""Gives the secrets of open tasks to who may have them: workers and guardians, and nobody else."""

from collections.abc import Callable, Mapping
from typing import Final

import trio

from p2p.errors import (
    CallTimeoutError,
    PeerUnreachableError,
    RefusalError,
    RemoteRefusalError,
)
from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass
from p2p.mesh import Mesh
from p2p.wire.codec import encode
from storage.engine.port import Tables, WriteView
from swarmnode.contained import contained
from swarmnode.errors import SecretSealedError
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.market.secrets.messages import AskSecrets, ReadSecrets, SecretsGiven, SecretsTold
from swarmnode.market.secrets.shelf import SecretShelf
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import HELD_BY_PROVIDER, TASK_ENDS
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.secrets.box import (
    SEALED_BYTES_MAX,
    opened_by_task,
    sealed_for_key,
    sealed_for_task,
)
from swarmnode.tasks.secrets.wants import lost_words, may_have, may_keep
from swarmnode.tasks.store import TASKS, task_key

READ_TIMEOUT_S: Final = 4.0
"""Less than whoever brings a task waits for it to be taken."""
LOST: Final = "who acts for the task has its secrets no more: submit it anew (task retry)"
NO_SECRETS: Final[Mapping[str, bytes]] = {}
PURPOSE: Final = "{task}.{fence}"
"""What is sealed for one attempt opens for no other."""


class SecretDesk:
    """Of this machine's own tasks, and of those that it keeps for others."""

    def __init__(
        self,
        mesh: Mesh,
        tables: Tables,
        find: Callable[[TaskId], TaskRecord | None],
        kept: Callable[[TaskId], GuardRecord | None],
        begun: trio.Event,
    ) -> None:
        """`find`: a task that we act for, `kept`: one that is kept here, whoever acts for it.

        `begun`: every task is loaded.
        """
        self._mesh, self._tables, self._begun = mesh, tables, begun
        self._find, self._kept = find, kept
        self._shelf = SecretShelf(tables, self._is_open, self._submitter)
        self._nursery: trio.Nursery | None = None
        """Of what is let go; None before `run`."""
        mesh.rpc.serve(AskSecrets, self._on_ask, reply_bytes=_no_more)
        mesh.rpc.serve(ReadSecrets, self._on_read, reply_bytes=_no_more)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self._shelf.run)
            task_status.started()

    async def take_on(self, record: TaskRecord, values: Mapping[str, bytes]) -> None:
        """Write a new task of ours down, with its secrets. Raises StoreFullError."""
        raw = encode(record)
        sealed = sealed_for_task(record.key, record.task, values) if values else b""

        def apply(view: WriteView) -> None:
            view.put(TASKS, task_key(record.task), raw)
            if sealed:
                self._shelf.put(view, record.task, sealed)

        await self._tables.transact(apply)
        if sealed:
            self._shelf.note(record.task, len(sealed))

    def look_at(self, task: TaskId) -> None:
        """It has changed, or is no more."""
        if self._nursery is not None and task in self._shelf:
            self._nursery.start_soon(self._look_at, task)

    async def bring(self, peer: PeerId, record: TaskRecord) -> None:
        """Have what belongs to a record that a keeper brings here, as far as it has it.

        Raises RefusalError: not now.
        """
        is_needed = record.spec.secrets and _may_start(record) and record.task not in self._shelf
        if not is_needed or self._mesh.rpc.me.peer == peer:
            return
        try:
            _, sealed = await self._mesh.rpc.call(
                peer,
                ReadSecrets(record.task),
                SecretsTold,
                traffic_class=TrafficClass.NORMAL,
                timeout_s=READ_TIMEOUT_S,
            )
            opened_by_task(record.key, record.task, sealed)
        except (PeerUnreachableError, CallTimeoutError) as exc:
            raise RefusalError("busy", "the secrets of that task did not come") from exc
        except SecretSealedError as exc:
            raise RefusalError("malformed", str(exc)) from exc
        except RemoteRefusalError:
            return  # it has none either: who has some will be a keeper, too, or nobody has
        await self._shelf.keep(record.task, sealed, peer)

    # -- who asks

    async def _on_ask(
        self, caller: Caller, ask: AskSecrets, _: bytes
    ) -> tuple[SecretsGiven, bytes]:
        await self._begun.wait()
        record = self._find(ask.task)
        if record is None or record.state not in HELD_BY_PROVIDER:
            raise RefusalError("busy", "this machine does not act for that task now")
        if (record.provider, record.fence) != (caller.peer, ask.fence):
            raise RefusalError("stale", "that attempt is not this task's newest one")
        if record.lost_secrets:
            raise RefusalError("removed", lost_words(record.lost_secrets))
        if not may_have(record.spec.secret_to, caller.lab, self._mesh.rpc.me.lab):
            raise RefusalError("lab", "the secrets of that task stay in the lab of its submitter")
        if (sealed := self._shelf.find(ask.task)) is None:
            raise RefusalError("lost", LOST)
        purpose = PURPOSE.format(task=ask.task, fence=ask.fence)
        try:
            secrets = opened_by_task(record.key, record.task, sealed)
            return SecretsGiven(), sealed_for_key(ask.key, purpose, secrets, self._mesh.entropy)
        except SecretSealedError as exc:
            raise RefusalError("malformed", str(exc)) from exc

    async def _on_read(
        self, caller: Caller, ask: ReadSecrets, _: bytes
    ) -> tuple[SecretsTold, bytes]:
        await self._begun.wait()
        guard = self._kept(ask.task)  # what is no task's id is no key of a table either
        sealed = None if guard is None else self._shelf.find(ask.task)
        if guard is None or sealed is None or not guard.is_party(caller.peer):
            raise RefusalError("unknown", "no secrets of such a task for you")
        if not may_keep(guard.task_record.spec.secret_to, caller.lab, self._mesh.rpc.me.lab):
            raise RefusalError("lab", "the secrets of that task stay in the lab of its submitter")
        return SecretsTold(), sealed

    # -- inside

    def _is_open(self, task: TaskId) -> bool:
        record, guard = self._find(task), self._kept(task)
        return (record is not None and _may_start(record)) or (
            guard is not None and _may_start(guard.task_record)
        )

    def _submitter(self, task: TaskId) -> PeerId | None:
        guard = self._kept(task)
        if guard is None or guard.submitter == self._mesh.rpc.peer_id:
            return None
        return guard.submitter

    async def _look_at(self, task: TaskId) -> None:
        with contained(f"the letting go of the secrets of {task}"):
            await self._shelf.look_at(task)


def _may_start(record: TaskRecord) -> bool:
    return record.state not in TASK_ENDS and not record.lost_secrets


def _no_more(_request: object, _body: int) -> int:
    return SEALED_BYTES_MAX
