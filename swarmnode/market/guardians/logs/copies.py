"""Copies of logs at the other keepers of a task: what was printed outlives provider and submitter.

A provider pushes what a task prints to whoever acts for it. Who acts copies that to the other
keepers, at the latest `logs_every_s` after it came, or once COPY_AT_BYTES have come. Each says how
far it has it, so what is said twice changes nothing. While nothing is printed nothing is said.
"""

from typing import Final, Protocol

import msgspec
import trio

from p2p.errors import CallTimeoutError, PeerUnreachableError, RefusalError, RemoteRefusalError
from p2p.host.rpc.service import Rpc
from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass
from storage.errors import StoreFullError
from swarmnode.contained import contained
from swarmnode.errors import LogStaleError
from swarmnode.limits import (
    CARRIED_AT_ONCE,
    LOG_OFFSET_MAX,
    LOG_PUSH_BYTES_MAX,
)
from swarmnode.market.guardians.kept import Post
from swarmnode.market.guardians.logs.shares import LogShares
from swarmnode.market.guardians.messages import CopyLog, LogCopied
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.market.logbook import LogBook
from swarmnode.tasks.choices import STREAMS
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.lifecycle import TASK_ENDS

COPY_AT_BYTES: Final = 1024 * 1024
"""So much goes at once, however new it is."""
LOOK_S: Final = 0.5
"""How often it is looked at what is due, while something is."""
CALL_TIMEOUT_S: Final = 10.0
BRING_S: Final = 30.0
"""A keeper that takes longer gets the rest with the next copy: the others wait for it meanwhile."""
Extent = tuple[int, int]
"""The attempt that wrote last, and how much of it there is."""
_ASK: Final = (0, 0, b"")
"""No piece: how far is it kept?"""


class CopiesKept(Protocol):
    """The part of Custody that is needed here."""

    def find(self, task: TaskId) -> GuardRecord | None: ...

    def post_of(self, task: TaskId) -> Post | None: ...

    def is_up(self, peer: PeerId) -> bool: ...


class _Due(msgspec.Struct):
    """Of a task whose log has grown."""

    since_s: float
    length: int
    """Of its log then."""
    is_again: bool = False
    """It was tried just now: not at once, also when the task has ended."""


class LogCopies:
    """Both sides; `run` copies what is printed for the tasks that we act for."""

    def __init__(self, rpc: Rpc, custody: CopiesKept, logbook: LogBook, every_s: float) -> None:
        self._rpc, self._custody, self._logbook = rpc, custody, logbook
        self._every_s = every_s
        self._due: dict[TaskId, _Due] = {}
        """What the other keepers may lack, by task."""
        self._wake = trio.Event()
        """Something is due."""
        self._busy: set[TaskId] = set()
        """Being copied now."""
        self._extents: dict[TaskId, dict[tuple[PeerId, str], Extent]] = {}
        """How far each keeper said that it has a stream, of tasks that we act for."""
        self._shares = LogShares()
        self._limiter = trio.CapacityLimiter(CARRIED_AT_ONCE)
        logbook.on_grown(self.look_at)
        rpc.serve(CopyLog, self._on_copy)

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._wake.wait()
                for task in [task for task in self._due if self._is_due(task)]:
                    del self._due[task]
                    self._busy.add(task)
                    nursery.start_soon(self._copy, task)
                if not self._due:
                    self._wake = trio.Event()
                    continue
                await trio.sleep(min(LOOK_S, self._every_s / 2))

    def look_at(self, task: TaskId, *, is_again: bool = False) -> None:
        """Its log has grown, or its keepers may be others; nothing is due where none lacks any."""
        if task in self._due or not self._lacking(task):
            return
        self._due[task] = _Due(trio.current_time(), self._logbook.length(task), is_again)
        self._wake.set()

    def found(self, task: TaskId) -> None:
        """Its log was here at the start, and it is kept for another."""
        if (record := self._custody.find(task)) is not None:
            self._shares.note(task, record.acting, self._logbook.length(task))

    def forget(self, task: TaskId) -> None:
        """It is no more here."""
        self._due.pop(task, None)
        self._extents.pop(task, None)
        self._shares.forget(task)

    # -- who acts

    def _lacking(self, task: TaskId) -> list[PeerId]:
        """Keepers that lack some of it, as far as we know."""
        record = self._custody.find(task)
        if record is None or self._custody.post_of(task) is not Post.ACTS:
            return []
        ours = {stream: self._logbook.extent(task, stream) for stream in STREAMS}
        if not any(have for _, have in ours.values()):
            return []
        theirs, me = self._extents.get(task, {}), self._rpc.peer_id
        return [
            peer
            for peer in record.keepers
            if peer != me
            and self._custody.is_up(peer)
            and any(theirs.get((peer, stream)) != ours[stream] for stream in STREAMS)
        ]

    def _is_due(self, task: TaskId) -> bool:
        if task in self._busy:
            return False
        due, record = self._due[task], self._custody.find(task)
        has_ended = record is not None and record.task_record.state in TASK_ENDS
        has_ended = has_ended and not due.is_again
        is_old = trio.current_time() >= due.since_s + self._every_s
        return has_ended or is_old or self._logbook.length(task) >= due.length + COPY_AT_BYTES

    async def _copy(self, task: TaskId) -> None:
        self._forget_who_left(task)
        try:
            with contained(f"the copying of the log of {task}"):
                async with self._limiter, trio.open_nursery() as nursery:
                    for peer in self._lacking(task):
                        nursery.start_soon(self._bring, task, peer)
        finally:
            self._busy.discard(task)
        if self._custody.find(task) is None:
            self.forget(task)  # while it was copied
        self.look_at(task, is_again=True)

    def _forget_who_left(self, task: TaskId) -> None:
        """Who is a keeper no more lets the log go, and lacks all of it when it is one again."""
        record, extents = self._custody.find(task), self._extents.get(task, {})
        for peer, stream in list(extents):
            if record is None or peer not in record.keepers:
                del extents[peer, stream]

    async def _bring(self, task: TaskId, peer: PeerId) -> None:
        with trio.move_on_after(BRING_S):
            for stream in STREAMS:
                try:
                    await self._bring_stream(task, peer, stream)
                except (PeerUnreachableError, CallTimeoutError):
                    return  # what is still lacking is due again while it is up
                except RemoteRefusalError as refusal:
                    if refusal.code != "busy":  # it wants none, or has no room: till there is more
                        self._has_all(task, peer, stream)

    async def _bring_stream(self, task: TaskId, peer: PeerId, stream: str) -> None:
        """Piece by piece, as long as each is kept: who says otherwise is believed once."""
        extents = self._extents.setdefault(task, {})
        had, went_back = extents.get((peer, stream)), False
        while True:
            # Where it is not known how far it has it, it is asked.
            fence, offset, body = self._logbook.piece_after(task, stream, *had) if had else _ASK
            if had and not body:
                return self._has_all(task, peer, stream)
            told = await self._bring_piece(peer, CopyLog(task, stream, fence, offset), body)
            if not (0 <= told[0] <= LOG_OFFSET_MAX and 0 <= told[1] <= LOG_OFFSET_MAX):
                return None
            if told < (fence, offset + len(body)):  # it had lost some, or it cannot be joined
                if went_back or told == had:
                    return self._has_all(task, peer, stream)
                went_back = True
            had = extents[peer, stream] = told

    async def _bring_piece(self, peer: PeerId, piece: CopyLog, body: bytes) -> Extent:
        told, _ = await self._rpc.call(
            peer,
            piece,
            LogCopied,
            traffic_class=TrafficClass.BACKGROUND,
            timeout_s=CALL_TIMEOUT_S,
            body=body,
        )
        return told.fence, told.have

    def _has_all(self, task: TaskId, peer: PeerId, stream: str) -> None:
        """Nothing more is for it until there is more."""
        self._extents.setdefault(task, {})[peer, stream] = self._logbook.extent(task, stream)

    # -- the others

    async def _on_copy(self, caller: Caller, ask: CopyLog, body: bytes) -> tuple[LogCopied, bytes]:
        await trio.lowlevel.checkpoint()
        record = self._custody.find(ask.task)
        if record is None:  # perhaps nothing is loaded yet
            raise RefusalError("busy", "that task is not kept here, or not yet")
        if record.acting != caller.peer:
            raise RefusalError("stale", "another machine acts for that task")
        if self._custody.post_of(ask.task) is Post.ACTS or ask.stream not in STREAMS:
            raise RefusalError("stale", "no copy of that log is wanted here")
        if body:
            await self._keep(record, ask, body)
        return LogCopied(*self._logbook.extent(ask.task, ask.stream)), b""

    async def _keep(self, record: GuardRecord, ask: CopyLog, body: bytes) -> None:
        """Of attempts that we know of alone: one made up would have the true ones refused."""
        if not 1 <= ask.fence <= record.task_record.fence:
            raise RefusalError("busy", "that attempt is not known here yet")
        if not 0 <= ask.offset <= LOG_OFFSET_MAX or len(body) > LOG_PUSH_BYTES_MAX:
            raise RefusalError("malformed", "no piece of a log")
        is_others = record.submitter != self._rpc.peer_id
        if is_others:
            self._shares.refuse_if_full(record.acting)
        try:
            await self._logbook.take(ask.task, ask.fence, ask.stream, ask.offset, body)
        except LogStaleError as exc:
            raise RefusalError("stale", str(exc)) from exc
        except StoreFullError as exc:
            raise RefusalError("full", "this machine's disk is full") from exc
        if is_others:
            self._shares.note(ask.task, record.acting, self._logbook.length(ask.task))
