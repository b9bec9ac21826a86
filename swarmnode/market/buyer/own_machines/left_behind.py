"""Tasks of a machine that is gone, as their guardians know them: for the machine that takes over.

The copy of a keyring is seconds old when its machine is lost. What was submitted, or ended, after
it is known to the guardians alone. They tell it to any machine of the person to whom the lost one
belonged; what they tell counts if the lost machine itself had signed, in the right that each of
its guardians has, that the task is its own.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec
import trio

from p2p.errors import (
    CallTimeoutError,
    PeerUnreachableError,
    RefusalError,
    RemoteRefusalError,
    WireError,
)
from p2p.identity.caller import Caller
from p2p.identity.keys import SEED_BYTES
from p2p.ids import PeerId, PersonId, TrafficClass
from p2p.limits import CLOCK_SKEW_MAX_MS
from p2p.membership.view import Liveness, Member
from p2p.mesh import Mesh
from p2p.wire.codec import decode_as, encode
from swarmnode.limits import (
    COUNT_MAX,
    FIND_ASKED_AT_ONCE,
    GUARD_RECORD_BYTES_MAX,
    GUARDED_PER_SUBMITTER_MAX,
    KEPT_PAGE_BYTES_MAX,
    KEPT_TOLD_BYTES,
    KEPT_TOLD_MAX,
)
from swarmnode.market.buyer.own_machines.elsewhere import ANSWER_S
from swarmnode.market.buyer.own_machines.standing import WhoseTask
from swarmnode.market.counting import is_near
from swarmnode.market.guardians.messages import KeptTold, ReadKept
from swarmnode.market.guardians.records import GuardRecord, KeptPage
from swarmnode.market.guardians.sound import fault_in
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.keys import task_id_of
from swarmnode.tasks.lifecycle import TASK_ENDS
from swarmnode.tasks.records import TaskRecord

LISTEN_S: Final = 15.0
"""Whoever goes on answering is listened to for so long."""

LIES_MAX: Final = 64
"""Records that cannot be true, of one member: it may have been given them by another."""

STRANGERS_MAX: Final = 1024
"""Looks at tasks of a machine that is known no more, until one shows whose machine it was."""

_BEFORE_ALL: Final = TaskId("")

log = logging.getLogger("swarm.market")


class Keeps(Protocol):
    """The part of Custody that is needed here."""

    def records(self) -> Iterable[GuardRecord]: ...


class LeftBehind:
    """Answers other machines about what is kept here for a machine of theirs, and asks them."""

    def __init__(
        self,
        mesh: Mesh,
        custody: Keeps,
        begun: trio.Event,
        whose: WhoseTask,
    ) -> None:
        """`begun`: everything that is kept here is loaded."""
        self._rpc, self._members, self._signer = mesh.rpc, mesh.members, mesh.signer
        self._custody, self._begun, self._whose = custody, begun, whose
        mesh.rpc.serve(ReadKept, self._on_read, reply_bytes=lambda _ask, _len: KEPT_PAGE_BYTES_MAX)

    async def kept_for(self, machine: PeerId, taken_over_ms: int) -> Sequence[TaskRecord]:
        """Tasks that were submitted there before it knew that it was taken over then.

        Of a machine that is back, and may not know yet, only what is as old by its clock.
        Each as who knows most of it tells it, of all who answer now. A task of which two tell
        different things that never change is left out: one of them makes it up.
        """
        member = self._members.view().find(machine)
        is_back = member is not None and member.liveness is Liveness.ALIVE
        # By two clocks; where it is gone for good its own does not matter.
        until_ms = taken_over_ms + CLOCK_SKEW_MAX_MS if is_back else COUNT_MAX
        told: dict[TaskId, list[GuardRecord]] = {}
        limiter = trio.CapacityLimiter(FIND_ASKED_AT_ONCE)

        async def ask(peer: PeerId) -> None:
            async with limiter:
                with trio.move_on_after(LISTEN_S):
                    await self._ask(peer, machine, told)

        async with trio.open_nursery() as nursery:
            for member in self._members.view().alive():
                nursery.start_soon(ask, member.peer)
        return [
            record
            for record in _agreed(told)
            if record.after_taken_over_ms < taken_over_ms and record.submitted_ms <= until_ms
        ]

    async def _ask(
        self, peer: PeerId, machine: PeerId, told: dict[TaskId, list[GuardRecord]]
    ) -> None:
        """Add what it keeps for that machine, until it has told all or tells what is not true."""
        teller, has_more = _Teller(peer, machine), True
        try:
            # Nobody honest keeps more.
            while has_more and teller.looked_at < GUARDED_PER_SUBMITTER_MAX:
                has_more = await self._read(await self._page(teller), teller, told)
        except WireError as exc:
            log.warning("%s tells of tasks what cannot be read: %s", peer, exc)
        except (PeerUnreachableError, CallTimeoutError, RemoteRefusalError):
            return  # it is asked again at the next look

    async def _page(self, teller: "_Teller") -> KeptPage:
        _, body = await self._rpc.call(
            teller.peer,
            ReadKept(teller.machine, teller.after),
            KeptTold,
            traffic_class=TrafficClass.NORMAL,
            timeout_s=ANSWER_S,
        )
        return decode_as(KeptPage, body, KEPT_PAGE_BYTES_MAX)

    async def _read(
        self, page: KeptPage, teller: "_Teller", told: dict[TaskId, list[GuardRecord]]
    ) -> bool:
        """Whether it is to be asked for more."""
        for raw in page.records:
            await trio.lowlevel.checkpoint()  # a hundred signatures are not one stretch
            record = decode_as(GuardRecord, raw, GUARD_RECORD_BYTES_MAX)
            if record.task <= teller.after:
                return False
            teller.after, teller.looked_at = record.task, teller.looked_at + 1
            if self._is_true(record, teller.machine):
                told.setdefault(record.task, []).append(record)
                continue
            log.warning("%s tells of a task what cannot be true: not believed", teller.peer)
            teller.lies += 1
            if teller.lies > LIES_MAX:
                return False
        return bool(page.records) and page.has_more

    async def _on_read(self, caller: Caller, ask: ReadKept, _body: bytes) -> tuple[KeptTold, bytes]:
        await self._begun.wait()
        told = await self._told(caller, ask)
        if not told.records:
            raise RefusalError("unknown", "nothing is kept here for such a machine of yours")
        return KeptTold(), encode(told)

    async def _told(self, caller: Caller, ask: ReadKept) -> KeptPage:
        member = self._members.view().find(ask.machine)
        is_known = member is not None and bool(member.person)
        told, size, strangers = list[bytes](), 0, 0
        for record in self._kept(ask) if not is_known or _is_of(member, caller) else []:
            await trio.lowlevel.checkpoint()
            if not self._is_persons(record, caller.person):
                strangers += 1
                if strangers > STRANGERS_MAX and not told and not is_known:
                    break
                continue
            raw = encode(record)
            size += len(raw)
            if told and (size > KEPT_TOLD_BYTES or len(told) == KEPT_TOLD_MAX):
                return KeptPage(tuple(told), True)
            told.append(raw)
        return KeptPage(tuple(told), False)

    def _kept(self, ask: ReadKept) -> list[GuardRecord]:
        theirs = (one for one in self._custody.records() if one.submitter == ask.machine)
        return sorted(
            (record for record in theirs if record.task > ask.after),
            key=lambda record: record.task,
        )

    def _is_true(self, record: GuardRecord, machine: PeerId) -> bool:
        """Whether that machine may have the task for its own, and a keeper can know this of it."""
        told, key = record.task_record, record.task_record.key
        if record.submitter != machine or len(key) != SEED_BYTES or fault_in(record):
            return False
        is_counted = is_near(record.term, 0) and is_near(told.fence, 0)
        has_key = task_id_of(self._signer.from_seed(key).peer_id) == record.task
        return is_counted and has_key and self._is_persons(record, self._rpc.me.person)

    def is_ours(self, record: GuardRecord) -> bool:
        """Whether a machine of this person gave a right for that task."""
        return self._is_persons(record, self._rpc.me.person)

    def _is_persons(self, record: GuardRecord, person: PersonId) -> bool:
        """Whether a machine of that person gave a guardian its right for the task."""
        owners = (self._whose(right, record.task) for _, right in record.rights)
        return any(owner is not None and owner[0] == person for owner in owners)


class _Teller(msgspec.Struct):
    """A member that tells what it keeps for a machine."""

    peer: PeerId
    machine: PeerId
    after: TaskId = _BEFORE_ALL
    """The last task that it told of; each comes after the one before."""
    looked_at: int = 0
    lies: int = 0
    """Records that cannot be true."""


def _agreed(told: Mapping[TaskId, Sequence[GuardRecord]]) -> Iterator[TaskRecord]:
    """Each as who knows most of it tells it, but for what its tellers contradict each other."""
    for task, records in told.items():
        if any(_fixed(record) != _fixed(records[0]) for record in records):
            log.warning("members contradict each other about task %s: it is left alone", task)
        else:
            yield _as_told(max(records, key=lambda record: record.version))


def _as_told(guard: GuardRecord) -> TaskRecord:
    """With who has its log, where it has ended: who acted for it, and who ran it."""
    told = guard.task_record
    if told.state not in TASK_ENDS:
        return told
    return msgspec.structs.replace(told, log_at=guard.log_at(guard.acting, PeerId("")))


def _is_of(member: Member | None, caller: Caller) -> bool:
    return member is not None and member.person == caller.person


def _fixed(record: GuardRecord) -> tuple[object, ...]:
    """What no keeper changes."""
    told = record.task_record
    return told.spec, told.person, told.submitted_ms, told.key
