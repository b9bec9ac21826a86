"""Tasks of a machine that is gone, as their guardians know them: for the machine that takes over.

The copy of a keyring is seconds old when its machine is lost. What was submitted, or ended, after
it is known to the guardians alone. They tell it to any machine of the person to whom the lost one
belonged; what they tell counts if the lost machine itself had signed, in the right that each of
its guardians has, that the task is its own.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import trio

from p2p.errors import (
    CallTimeoutError,
    PeerUnreachableError,
    RefusalError,
    RemoteRefusalError,
    WireError,
)
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.ids import MemberId, PeerId, TrafficClass
from p2p.membership.port import Views
from p2p.wire.codec import decode_as, encode
from p2p.wire.envelope import Signer
from swarmnode.limits import (
    FIND_ASKED_AT_ONCE,
    GUARDED_PER_OWNER_MAX,
    KEPT_PAGE_BYTES_MAX,
    KEPT_TOLD_BYTES,
)
from swarmnode.market.buyer.elsewhere import WhoseTask
from swarmnode.market.guardians.messages import KeptTold, ReadKept
from swarmnode.market.guardians.records import GuardRecord, KeptPage
from swarmnode.market.guardians.sound import fault_in
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.keys import SEED_BYTES, task_id_of
from swarmnode.tasks.records import TaskRecord

ANSWER_S: Final = 5.0
"""A machine that does not answer within this is asked again at the next look."""

STRANGERS_MAX: Final = 8
"""Who asks for a machine of another person is told nothing after so many looks at its tasks."""

RECORD_SPARE_BYTES: Final = 16
"""What a page takes besides each record."""


class Keeps(Protocol):
    """The part of the buyer's core that is needed here."""

    def guarded_records(self) -> Iterable[GuardRecord]: ...


class LeftBehind:
    """Answers other machines about what is kept here for a machine of theirs, and asks them."""

    def __init__(
        self,
        rpc: Rpc,
        members: Views,
        signer: Signer,
        core: Keeps,
        begun: trio.Event,
        whose: WhoseTask,
    ) -> None:
        """`begun`: everything that is kept here is loaded."""
        self._rpc, self._members, self._signer = rpc, members, signer
        self._core, self._begun, self._whose = core, begun, whose
        rpc.serve(ReadKept, self._on_read, reply_bytes=lambda _ask, _len: KEPT_PAGE_BYTES_MAX)

    async def kept_for(self, machine: PeerId) -> Sequence[TaskRecord]:
        """Its tasks, each as the guardian tells it that knows most; of all who answer now."""
        best: dict[TaskId, GuardRecord] = {}
        limiter = trio.CapacityLimiter(FIND_ASKED_AT_ONCE)

        async def ask(peer: PeerId) -> None:
            async with limiter:
                for record in await self._ask(peer, machine):
                    known = best.get(record.task)
                    if known is None or record.version > known.version:
                        best[record.task] = record

        async with trio.open_nursery() as nursery:
            for member in self._members.view().alive():
                nursery.start_soon(ask, member.peer)
        return [record.kept for record in best.values()]

    async def _ask(self, peer: PeerId, machine: PeerId) -> list[GuardRecord]:
        """What it keeps for that machine, as far as it comes to an answer."""
        found: list[GuardRecord] = []
        after, looked_at = TaskId(""), 0
        while looked_at < GUARDED_PER_OWNER_MAX:  # nobody honest keeps more
            try:
                _, body = await self._rpc.call(
                    peer,
                    ReadKept(machine, after),
                    KeptTold,
                    traffic_class=TrafficClass.NORMAL,
                    timeout_s=ANSWER_S,
                )
                page = decode_as(KeptPage, body, KEPT_PAGE_BYTES_MAX)
            except (PeerUnreachableError, CallTimeoutError, RemoteRefusalError, WireError):
                return found
            for record in page.records:
                await trio.lowlevel.checkpoint()
                if self._is_true(record, machine):
                    found.append(record)
            if not page.records or not page.has_more or page.records[-1].task <= after:
                return found
            after, looked_at = page.records[-1].task, looked_at + len(page.records)
        return found

    async def _on_read(self, caller: Caller, ask: ReadKept, _body: bytes) -> tuple[KeptTold, bytes]:
        await self._begun.wait()
        records = self._core.guarded_records()
        kept = [one for one in records if one.owner == ask.machine and one.task > ask.after]
        told, size, strangers, has_more = list[GuardRecord](), 0, 0, False
        for record in sorted(kept, key=lambda one: one.task):
            await trio.lowlevel.checkpoint()  # a hundred signatures are not one stretch
            if not self._is_of(record, ask.machine, caller.member):
                strangers += 1
                if strangers > STRANGERS_MAX:
                    break
                continue
            size += len(encode(record)) + RECORD_SPARE_BYTES
            if told and size > KEPT_TOLD_BYTES:
                has_more = True
                break
            told.append(record)
        if not told:
            raise RefusalError("unknown", "nothing is kept here for such a machine of yours")
        return KeptTold(), encode(KeptPage(tuple(told), has_more))

    def _is_true(self, record: GuardRecord, machine: PeerId) -> bool:
        """Whether another machine of ours had the task, and this is what a keeper can know."""
        key = record.kept.key
        if record.owner != machine or len(key) != SEED_BYTES or fault_in(record):
            return False
        has_key = task_id_of(self._signer.from_seed(key).peer_id) == record.task
        return has_key and self._is_of(record, machine, self._rpc.me.member)

    def _is_of(self, record: GuardRecord, machine: PeerId, person: MemberId) -> bool:
        """Whether that machine gave its guardians a right for the task, and is that person's."""
        given = (right for _, right in record.rights if right.links)
        owners = (
            self._whose(right, record.task) for right in given if right.links[0].sender == machine
        )
        return any(owner is not None and owner[0] == person for owner in owners)
