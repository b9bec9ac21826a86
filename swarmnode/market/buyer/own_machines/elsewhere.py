"""Tasks that another machine of this person submitted: found, read, cancelled, removed from here.

Nobody lists who keeps which task. So the person's own machines are asked, and after them the
members that would be its keepers (swarmnode.market.guardians). Each answers only a machine whose
certificate names the task's owner, and signs with the task's key, so that nobody else can answer
in its place. A cancel is done by the machine it was submitted to, or by whoever acts meanwhile.
The key of the owner's lab may have any task of the lab cancelled, by an order that it signed.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final

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
from p2p.identity.keys import SEED_BYTES
from p2p.ids import LabId, PeerId, TrafficClass
from p2p.limits import CLOCK_SKEW_MAX_MS
from p2p.membership.port import Views
from p2p.membership.view import Member
from p2p.mesh import Mesh
from p2p.wire.codec import decode_as, encode
from p2p.wire.envelope import Signed, Signer, open_signed, seal
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
from swarmnode.market.buyer.own_machines.standing import (
    Here,
    WhoAsks,
    Whose,
    WhoseTask,
    standing,
    was_removed,
)
from swarmnode.market.explain import TaskView
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
from swarmnode.tasks.keys import task_id_of
from swarmnode.tasks.lifecycle import TASK_ENDS
from swarmnode.tasks.records import TaskRecord
from swarmnode.tasks.spec import TaskSpec

ANSWER_S: Final = 5.0
"""A machine that does not answer within this is not waited for."""

FIND_ROUND_S: Final = 10.0
"""All who may know a task answer within this, or the others' answers have to do."""

AGREE_S: Final = 40.0
"""Keepers agree on who acts within a lease, their turns to stand and a vote: 22 s, doubled."""

FIND_AGAIN_S: Final = 1.0
"""Between two rounds of questions, until somebody acts for the task."""
LOG_AGAIN_S: Final = 1.0
"""Whoever follows a log from elsewhere sees what is printed so much later."""

_VALID_MS: Final = 600_000
_UNKNOWN: Final = (
    "no task {} was submitted here, and no machine that can be asked now knows one of yours"
)
_UNREACHABLE: Final = (
    "{} is known, but {}, where it was submitted, is away and its guardians have not agreed who "
    "acts for it: try again in a minute"
)

log = logging.getLogger("swarm.market")


class TaskTold(msgspec.Struct, frozen=True):
    """What another machine has said of a task."""

    peer: PeerId
    record: TaskRecord
    is_newest: bool


def _goes_on(told: KeptLog, fence: int, have: int, newest: int) -> bool:
    """Whether a piece comes after what we have: one that made places up could give it for ever."""
    if told.fence == fence:
        return have <= told.offset <= LOG_OFFSET_MAX
    return fence < told.fence <= newest and 0 <= told.offset <= LOG_OFFSET_MAX


def _shown(reason: str) -> str:
    """Somebody else's words, fit for a log and a terminal."""
    told = reason[:LAB_REASON_CHARS_MAX]
    return "".join(c if c.isprintable() else "?" for c in told) or "no reason given"


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

    def may_read(self, caller: Caller, task: TaskId) -> bool:
        """Whether a caller is the owner of a task that is known here."""
        return self._here(WhoAsks(caller.person), task) is not None

    async def log(
        self, task: TaskId, stream: str, *, follow: bool, attempt: int = 0
    ) -> AsyncGenerator[bytes, None]:
        """What a task of ours printed, by whoever knows most of it; as BuyerService.logs.

        Bytes that are not kept are passed over. Raises TaskUnknownError.
        """
        fence, have, ask = attempt, 0, FindTask(task)
        is_gone = was_removed(self._core, task, self._rpc.peer_id)
        told = None if is_gone else await self._ask_all(ask, ())
        if told is None:
            raise TaskUnknownError(f"no task {task} of yours is known to who can be asked now")
        while True:
            record, newest = told.record, attempt or told.record.fence
            may_grow = record.state not in TASK_ENDS and not 0 < attempt < record.fence
            while piece := await self._piece(told.peer, task, stream, (fence, have), newest):
                fence, have, body = piece
                yield body
            if not (follow and may_grow):
                return
            await trio.sleep(LOG_AGAIN_S)
            told = await self._ask_all(ask, (told.peer,)) or told

    async def _piece(
        self, peer: PeerId, task: TaskId, stream: str, at: tuple[int, int], newest: int
    ) -> tuple[int, int, bytes] | None:
        """The next piece after that place, and where it ends; None where there is none yet."""
        fence, have = at
        told, body = await self._read(peer, ReadKeptLog(task, stream, fence, have))
        if not body or not _goes_on(told, fence, have, newest):
            return None
        return told.fence, told.offset + len(body), body

    async def _read(self, peer: PeerId, ask: ReadKeptLog) -> tuple[KeptLog, bytes]:
        try:
            return await self._rpc.call(
                peer, ask, KeptLog, traffic_class=TrafficClass.NORMAL, timeout_s=ANSWER_S
            )
        except (PeerUnreachableError, CallTimeoutError, RemoteRefusalError):
            return KeptLog(0, 0), b""  # somebody else may have it when we ask again

    async def find(self, task: TaskId, *, cancel: bool = False) -> TaskView:
        """A task of ours as its keepers know it; with `cancel` it has ended when this returns.

        Its record names the machine it was submitted to. Raises TaskUnknownError,
        TaskUnreachableError when nobody can cancel it just now.
        """
        return await self._find(FindTask(task, cancel))

    async def cancel_as_lab(self, task: TaskId, key: Signer, reason: str) -> TaskView:
        """End a task of anybody of the lab whose key this is, wherever it was submitted.

        Raises TaskUnknownError, TaskUnreachableError.
        """
        return await self._find(FindTask(task, True, self._order(key, task, reason)))

    async def _find(self, ask: FindTask) -> TaskView:
        task, give_up_s = ask.task, trio.current_time() + AGREE_S
        submitter: list[PeerId] = []
        is_gone = was_removed(self._core, task, self._rpc.peer_id)
        while True:
            told = None if is_gone else await self._ask_all(ask, submitter)
            if told is None:
                raise TaskUnknownError(_UNKNOWN.format(task))
            submitter = [told.record.submitter]
            if told.is_newest or not ask.cancel:
                return TaskView(told.record)
            if trio.current_time() >= give_up_s:
                raise TaskUnreachableError(_UNREACHABLE.format(task, told.record.submitter))
            await trio.sleep(FIND_AGAIN_S)

    def _order(self, key: Signer, task: TaskId, reason: str) -> Signed:
        """The word of a lab's key, which lies here, for us to bring."""
        terms, expires_ms = TaskOrder(task, self._rpc.peer_id, reason), self._wall_ms() + _VALID_MS
        return seal(key, self._network, TASK_ORDER_DOMAIN, terms, sequence=0, expires_ms=expires_ms)

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
        return self._answer(caller.peer, here)

    def _answer(self, peer: PeerId, here: Here) -> tuple[TaskFound, bytes]:
        """Signed with the task's key, which is not told."""
        record, body = here.record, encode(msgspec.structs.replace(here.record, key=b""))
        terms = FoundTerms(record.task, peer, here.is_newest, blake3(body).digest())
        key, expires_ms = self._signer.from_seed(record.key), self._wall_ms() + _VALID_MS
        sealed = seal(key, self._network, FOUND_DOMAIN, terms, sequence=0, expires_ms=expires_ms)
        return TaskFound(sealed), body

    def _taken(self, caller: Caller, task: TaskId) -> Here | None:
        """Whether it is ours for certain: not what was here before we were taken over ourselves."""
        core = self._core
        record, key = core.ledger.find(task), core.ledger.forgotten.get(task, b"")
        if caller.person != self._rpc.me.person:
            return None
        if record is not None:
            is_older = record.after_taken_over_ms < core.taken_over_ms
            is_older = is_older and record.state not in TASK_ENDS
            is_older = is_older or core.custody.is_sought(task)  # nobody has told us of it yet
            key = b"" if record.submitter or is_older else record.key
        return self._bare(task, key) if key else None

    def _bare(self, task: TaskId, key: bytes) -> Here:
        """That it is or was ours, and nothing else of it."""
        record = TaskRecord(task, TaskSpec(()), 0, key=key, submitter=self._rpc.peer_id)
        return Here(record, True, False)

    def _removable(self, caller: Caller, task: TaskId) -> TaskRecord | None:
        """The task, if it has ended here and is our owner's own, whose machine asks."""
        record = self._core.ledger.find(task)
        if record is None or record.submitter or record.person or record.state not in TASK_ENDS:
            return None
        return record if caller.person == self._rpc.me.person else None

    def _tell(self, task: TaskId, what: str, bringer: PeerId) -> None:
        """Log it, once while somebody asks every second until keepers have agreed who acts."""
        if (task, what, bringer) != self._told:
            self._told = (task, what, bringer)
            log.warning("task %s: %s; %s brought the order", *self._told)

    def _asker(self, caller: Caller, ask: FindTask) -> tuple[WhoAsks, str]:
        """Who asks, and what a task that they cancel says of it. Raises RefusalError."""
        sealed = ask.order
        if sealed is None:
            return WhoAsks(caller.person), f"cancelled from {caller.name or caller.peer}"
        try:
            order = open_signed(self._signer, self._network, TASK_ORDER_DOMAIN, TaskOrder, sealed)
        except WireError as exc:
            raise RefusalError("malformed", str(exc)) from exc
        is_late = sealed.expires_ms + CLOCK_SKEW_MAX_MS < self._wall_ms()
        if (order.task, order.machine) != (ask.task, caller.peer) or is_late:
            raise RefusalError("not-yours", "that order is another task's or machine's, or late")
        why = f"the key of its lab cancelled it: {_shown(order.reason)}"
        return WhoAsks(caller.person, LabId(sealed.sender)), why

    def _here(self, asker: WhoAsks, task: TaskId) -> Here | None:
        now_s = trio.current_time()
        return standing(self._core, task, self._rpc.me, asker, now_s, self._whose_is)

    def _whose_is(self, guard: GuardRecord) -> Whose | None:
        """Whose task it is: by the rights that were given for it, or by its machine's certificate.

        The rights do not need the machine, which may be gone for long.
        """
        for _, right in guard.rights:
            if (whose := self._whose(right, guard.task)) is not None:
                return whose
        member = self._members.view().find(guard.submitter)
        return None if member is None or not member.person else (member.person, member.lab)

    # -- asking

    def _whom(self, ask: FindTask) -> list[PeerId]:
        """Our own machines, then others in the order in which they would be its keepers.

        This one as well: it may be a keeper.
        """
        me, task = self._rpc.me, ask.task

        def farness(member: Member) -> tuple[bool, bool, bytes]:
            return member.person != me.person, member.lab != me.lab, rank(task, member.peer)

        alive = sorted(self._members.view().alive(), key=farness)
        return [member.peer for member in alive[:FIND_ASKED_MAX]]

    async def _ask_all(self, ask: FindTask, first: Sequence[PeerId]) -> TaskTold | None:
        """The first answer that is the newest there can be, else any."""
        answers: list[TaskTold] = []
        limiter = trio.CapacityLimiter(FIND_ASKED_AT_ONCE)

        async def ask_one(peer: PeerId) -> None:
            async with limiter:
                told = await self.ask(peer, ask)
            if told is not None:
                answers.append(told)
                if told.is_newest:
                    nursery.cancel_scope.cancel()

        with trio.move_on_after(FIND_ROUND_S):
            async with trio.open_nursery() as nursery:
                for peer in dict.fromkeys([*first, *self._whom(ask)]):
                    nursery.start_soon(ask_one, peer)
        return max(answers, key=lambda answer: answer.is_newest, default=None)

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
