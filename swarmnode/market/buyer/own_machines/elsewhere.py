"""Tasks that another machine of this person submitted: found, read, cancelled, removed from here.

Nobody lists who keeps which task. So the person's own machines are asked, and after them the
members that would be its keepers (swarmnode.market.guardians). Each answers only a machine whose
certificate names the task's owner, and signs with the task's key, so that nobody else can answer
in its place. A cancel is done by the machine it was submitted to, or by whoever acts meanwhile.
The key of the owner's lab may have any task of the lab cancelled, by an order that it signed.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec
import trio
from blake3 import blake3

from p2p.errors import (
    CallTimeoutError,
    PeerUnreachableError,
    RefusalError,
    RemoteRefusalError,
    WireError,
)
from p2p.identity.caller import Caller
from p2p.ids import LabId, MemberId, PeerId, TrafficClass
from p2p.limits import CLOCK_SKEW_MAX_MS
from p2p.membership.port import Views
from p2p.mesh import Mesh
from p2p.wire.codec import decode_as, encode
from p2p.wire.envelope import Signed, Signer, open_signed, seal
from storage.rights import Right
from swarmnode.errors import TaskUnknownError, TaskUnreachableError
from swarmnode.limits import (
    FIND_ASKED_AT_ONCE,
    FIND_ASKED_MAX,
    GUARD_RECORD_BYTES_MAX,
    LAB_REASON_CHARS_MAX,
    LOG_OFFSET_MAX,
)
from swarmnode.market.buyer.core import Buyer
from swarmnode.market.buyer.events import CancelAsked, Event, ForgetAsked
from swarmnode.market.guardians.kept import Post
from swarmnode.market.guardians.messages import (
    FOUND_DOMAIN,
    TASK_ORDER_DOMAIN,
    FindTask,
    FoundTerms,
    KeptLog,
    ReadKeptLog,
    TaskFound,
    TaskOrder,
)
from swarmnode.market.guardians.records import GuardRecord, rank
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.keys import SEED_BYTES, task_id_of
from swarmnode.tasks.lifecycle import TASK_ENDS
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import TaskSpec

ANSWER_S: Final = 5.0
"""A machine that does not answer within this is not waited for."""

ROUND_S: Final = 10.0
"""All who may know a task answer within this, or the others' answers have to do."""

AGREE_S: Final = 40.0
"""Keepers agree on who acts within a lease, their turns to stand and a vote: 22 s, doubled."""

AGAIN_S: Final = 1.0
LOG_AGAIN_S: Final = 1.0
"""Whoever follows a log from elsewhere sees what is printed so much later."""

_VALID_MS: Final = 600_000

log = logging.getLogger("swarm.market")

Whose: TypeAlias = tuple[MemberId, LabId]
WhoseTask: TypeAlias = Callable[[Right, TaskId], Whose | None]
"""Who gave a right to put for that task, if it proves somebody."""


def nobodys(_right: Right, _task: TaskId) -> Whose | None:
    """Where no rights are given none prove anything."""
    return None


@dataclass(frozen=True, slots=True)
class Here:
    """How a task stands on this machine, for its owner."""

    record: TaskRecord
    """With the machine it was submitted to."""
    is_newest: bool
    """Nobody can know more of it: we act for it, or it has ended where we did."""
    may_cancel: bool


@dataclass(frozen=True, slots=True)
class TaskTold:
    """What another machine has said of a task."""

    peer: PeerId
    record: TaskRecord
    is_newest: bool


@dataclass(frozen=True, slots=True)
class WhoAsks:
    """Who asks: a person by the certificate of their machine, or a lab by an order of its key."""

    person: MemberId
    lab: LabId | None = None

    def may(self, whose: Whose | None, guest: str) -> bool:
        """About a task of that person, or of a guest of one of their machines."""
        if whose is None:
            return False
        person, lab = whose
        return lab == self.lab if self.lab is not None else person == self.person and not guest


def was_removed(core: Buyer, task: TaskId, me: PeerId) -> bool:
    """Whether its owner removed it here, and its keepers have not all been told yet."""
    kept = core.guards.find(task)
    is_over = kept is not None and kept.owner == me and kept.kept.state in TASK_ENDS
    return is_over and core.ledger.find(task) is None


def standing(
    core: Buyer,
    task: TaskId,
    me: Caller,
    asker: WhoAsks,
    now_s: float,
    whose: Callable[[GuardRecord], Whose | None],
) -> Here | None:
    """What `asker` may know and do here about a task; None as well when it is somebody else's."""
    record, kept = core.ledger.find(task), core.guards.find(task)
    if was_removed(core, task, me.peer):
        return None
    if record is not None and not record.owner:
        if not asker.may((me.member, me.lab), record.person):
            return None
        is_newest = record.state in TASK_ENDS or core.guards.may_act(task, now_s)
        return Here(msgspec.structs.replace(record, owner=me.peer), is_newest, may_cancel=True)
    if kept is None or not asker.may(whose(kept), kept.kept.person):
        return None
    newest = kept.kept if record is None else record
    acts = core.guards.post_of(task) is Post.ACTS
    is_newest = acts and (newest.state in TASK_ENDS or core.guards.may_act(task, now_s))
    return Here(msgspec.structs.replace(newest, owner=kept.owner), is_newest, is_newest)


def _goes_on(told: KeptLog, fence: int, have: int, newest: int) -> bool:
    """Whether a piece comes after what we have: one that made places up could give it for ever."""
    if told.fence == fence:
        return have <= told.offset <= LOG_OFFSET_MAX
    return fence < told.fence <= newest and 0 <= told.offset <= LOG_OFFSET_MAX


class Elsewhere:
    """Answers other machines about the tasks here, and asks them."""

    def __init__(
        self,
        mesh: Mesh,
        core: Buyer,
        do: Callable[[Event], Awaitable[None]],
        begun: trio.Event,
        whose: WhoseTask,
    ) -> None:
        """`do` hands the core an event and returns once it is durable; `begun`: all is loaded."""
        self._rpc, self._signer, self._network = mesh.rpc, mesh.signer, mesh.network
        self._members: Views = mesh.members
        self._core, self._do, self._begun = core, do, begun
        self._wall_ms, self._whose = mesh.wall_ms, whose
        self._told = (TaskId(""), "", PeerId(""))
        """What the lab's key did, as was logged last."""
        size = GUARD_RECORD_BYTES_MAX
        mesh.rpc.serve(FindTask, self._on_find, reply_bytes=lambda _ask, _len: size)

    def order(self, key: Signer, task: TaskId, reason: str) -> Signed:
        """The word of a lab's key, which lies here, for us to bring."""
        terms, expires_ms = TaskOrder(task, self._rpc.peer_id, reason), self._wall_ms() + _VALID_MS
        return seal(key, self._network, TASK_ORDER_DOMAIN, terms, sequence=0, expires_ms=expires_ms)

    def may_read(self, caller: Caller, task: TaskId) -> bool:
        """Whether a caller is the owner of a task that is known here."""
        return self._here(WhoAsks(caller.member), task) is not None

    async def log(
        self, task: TaskId, stream: str, *, follow: bool, attempt: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """What a task of ours printed, by whoever knows most of it; as BuyerService.logs.

        Bytes that are not kept are passed over. Raises TaskUnknownError.
        """
        fence, have, ask = attempt, 0, FindTask(task)
        is_gone = was_removed(self._core, task, self._rpc.peer_id)
        found = None if is_gone else await self._ask_all(ask, ())
        if found is None:
            raise TaskUnknownError(f"no task {task} of yours is known to who can be asked now")
        while True:
            record = found.record
            may_grow = record.state not in TASK_ENDS and not 0 < attempt < record.fence
            while True:
                told, body = await self._read(found.peer, ReadKeptLog(task, stream, fence, have))
                if not body or not _goes_on(told, fence, have, attempt or record.fence):
                    break
                fence, have = told.fence, told.offset + len(body)
                yield body
            if not (follow and may_grow):
                return
            await trio.sleep(LOG_AGAIN_S)
            found = await self._ask_all(ask, (found.peer,)) or found

    async def _read(self, peer: PeerId, ask: ReadKeptLog) -> tuple[KeptLog, bytes]:
        try:
            return await self._rpc.call(
                peer, ask, KeptLog, traffic_class=TrafficClass.NORMAL, timeout_s=ANSWER_S
            )
        except (PeerUnreachableError, CallTimeoutError, RemoteRefusalError):
            return KeptLog(0, 0), b""  # somebody else may have it when we ask again

    async def find(
        self, task: TaskId, *, cancel: bool = False, order: Signed | None = None
    ) -> TaskRecord:
        """A task of ours as its keepers know it; with `cancel` it has ended when this returns.

        With an order of the lab's key it may be anybody's of that lab. Raises TaskUnknownError,
        TaskUnreachableError when nobody can cancel it just now.
        """
        give_up_s, ask = trio.current_time() + AGREE_S, FindTask(task, cancel, order)
        submitter: list[PeerId] = []
        is_gone = was_removed(self._core, task, self._rpc.peer_id)
        while True:
            found = None if is_gone else await self._ask_all(ask, submitter)
            if found is None:
                raise TaskUnknownError(
                    f"no task {task} was submitted here, and no machine that can be asked now "
                    "knows one of yours"
                )
            record = found.record
            submitter = [record.owner]
            if found.is_newest or not cancel:
                return record
            if trio.current_time() >= give_up_s:
                raise TaskUnreachableError(
                    f"{task} is known, but {record.owner}, where it was submitted, is away and its "
                    "guardians have not agreed who acts for it: try again in a minute"
                )
            await trio.sleep(AGAIN_S)

    # -- answering

    async def _on_find(
        self, caller: Caller, ask: FindTask, _body: bytes
    ) -> tuple[TaskFound, bytes]:
        await self._begun.wait()
        asker, why = self._asker(caller, ask)
        here = self._taken(caller, ask.task) if ask.is_taken else self._here(asker, ask.task)
        cancels = here is not None and ask.cancel and here.may_cancel
        if here is not None and asker.lab is not None:
            told = why if cancels and here.record.state not in TASK_ENDS else "its lab's key saw it"
            self._tell(ask.task, told, caller.peer)
        if cancels:
            await self._do(CancelAsked(ask.task, why))
            here = self._here(asker, ask.task)
        if ask.forget and (record := self._removable(caller, ask.task)) is not None:
            await self._do(ForgetAsked(ask.task))
            here = self._bare(ask.task, record.key)
        if here is None or len(here.record.key) != SEED_BYTES:
            raise RefusalError("unknown", "no such task of yours is known here")
        body = encode(msgspec.structs.replace(here.record, key=b""))
        terms = FoundTerms(ask.task, caller.peer, here.is_newest, blake3(body).digest())
        key, expires_ms = self._signer.from_seed(here.record.key), self._wall_ms() + _VALID_MS
        sealed = seal(key, self._network, FOUND_DOMAIN, terms, sequence=0, expires_ms=expires_ms)
        return TaskFound(sealed), body

    def _taken(self, caller: Caller, task: TaskId) -> Here | None:
        """Whether it is ours for certain: not what was here before we were taken over ourselves."""
        core = self._core
        record, key = core.ledger.find(task), core.ledger.forgotten.get(task, b"")
        if caller.member != self._rpc.me.member:
            return None
        if record is not None:
            is_older = record.after_taken_ms < core.taken_ms and record.state not in TASK_ENDS
            is_older = is_older or core.guards.is_sought(task)  # nobody has told us of it yet
            key = b"" if record.owner or is_older else record.key
        return self._bare(task, key) if key else None

    def _bare(self, task: TaskId, key: bytes) -> Here:
        """That it is or was ours, and nothing else of it."""
        record = TaskRecord(task, TaskSpec(()), 0, key=key, owner=self._rpc.peer_id)
        return Here(record, True, False)

    def _removable(self, caller: Caller, task: TaskId) -> TaskRecord | None:
        """The task, if it has ended here and is our owner's own, whose machine asks."""
        record = self._core.ledger.find(task)
        if record is None or record.owner or record.person or record.state not in TASK_ENDS:
            return None
        return record if caller.member == self._rpc.me.member else None

    def _tell(self, task: TaskId, what: str, bringer: PeerId) -> None:
        """Log it, once while somebody asks every second until keepers have agreed who acts."""
        if (task, what, bringer) != self._told:
            self._told = (task, what, bringer)
            log.warning("task %s: %s; %s brought the order", *self._told)

    def _asker(self, caller: Caller, ask: FindTask) -> tuple[WhoAsks, str]:
        """Who asks, and what a task that they cancel says of it. Raises RefusalError."""
        sealed = ask.order
        if sealed is None:
            return WhoAsks(caller.member), f"cancelled from {caller.name or caller.peer}"
        try:
            order = open_signed(self._signer, self._network, TASK_ORDER_DOMAIN, TaskOrder, sealed)
        except WireError as exc:
            raise RefusalError("malformed", str(exc)) from exc
        is_late = sealed.expires_ms + CLOCK_SKEW_MAX_MS < self._wall_ms()
        if (order.task, order.machine) != (ask.task, caller.peer) or is_late:
            raise RefusalError("not-yours", "that order is another task's or machine's, or late")
        told = order.reason[:LAB_REASON_CHARS_MAX]
        reason = "".join(c if c.isprintable() else "?" for c in told) or "no reason given"
        return WhoAsks(
            caller.member, LabId(sealed.sender)
        ), f"the key of its lab cancelled it: {reason}"

    def _here(self, asker: WhoAsks, task: TaskId) -> Here | None:
        now_s = trio.current_time()
        return standing(self._core, task, self._rpc.me, asker, now_s, self._whose_is)

    def _whose_is(self, kept: GuardRecord) -> Whose | None:
        """Whose task it is: by the rights that were given for it, or by its machine's certificate.

        The rights do not need the machine, which may be gone for long.
        """
        for _, right in kept.rights:
            if (whose := self._whose(right, kept.task)) is not None:
                return whose
        member = self._members.view().find(kept.owner)
        return None if member is None or not member.member else (member.member, member.lab)

    # -- asking

    def _whom(self, ask: FindTask) -> list[PeerId]:
        """Our own machines, then others in the order in which they would be its keepers.

        This one as well: it may be a keeper.
        """
        me, task = self._rpc.me, ask.task
        alive = sorted(
            self._members.view().alive(),
            key=lambda one: (one.member != me.member, one.lab != me.lab, rank(task, one.peer)),
        )
        return [one.peer for one in alive[:FIND_ASKED_MAX]]

    async def _ask_all(self, ask: FindTask, first: Sequence[PeerId]) -> TaskTold | None:
        """The first answer that is the newest there can be, else any."""
        found: list[TaskTold] = []
        limiter = trio.CapacityLimiter(FIND_ASKED_AT_ONCE)

        async def ask_one(peer: PeerId) -> None:
            async with limiter:
                told = await self.ask(peer, ask)
            if told is not None:
                found.append(told)
                if told.is_newest:
                    nursery.cancel_scope.cancel()

        with trio.move_on_after(ROUND_S):
            async with trio.open_nursery() as nursery:
                for peer in dict.fromkeys([*first, *self._whom(ask)]):
                    nursery.start_soon(ask_one, peer)
        return max(found, key=lambda one: one.is_newest, default=None)

    async def ask(self, peer: PeerId, ask: FindTask) -> TaskTold | None:
        """What one machine knows of a task of ours; None where it does not say."""
        try:
            reply, body = await self._rpc.call(
                peer, ask, TaskFound, traffic_class=TrafficClass.INTERACTIVE, timeout_s=ANSWER_S
            )
            return self._opened(peer, ask.task, reply, body)
        except (PeerUnreachableError, CallTimeoutError, RemoteRefusalError, WireError):
            return None  # the others may know it

    def _opened(self, peer: PeerId, task: TaskId, reply: TaskFound, body: bytes) -> TaskTold:
        """Raises WireError for what no keeper of that task has said to us."""
        sealed = reply.sealed
        terms = open_signed(self._signer, self._network, FOUND_DOMAIN, FoundTerms, sealed)
        is_meant = (terms.task, terms.machine) == (task, self._rpc.peer_id)
        is_late = sealed.expires_ms + CLOCK_SKEW_MAX_MS < self._wall_ms()
        if task_id_of(sealed.sender) != task or not is_meant or is_late:
            raise WireError("that is not said by a keeper of this task, or not to us")
        if blake3(body).digest() != terms.digest:
            raise WireError("another record came than was signed")
        return TaskTold(peer, decode_as(TaskRecord, body, GUARD_RECORD_BYTES_MAX), terms.is_newest)
