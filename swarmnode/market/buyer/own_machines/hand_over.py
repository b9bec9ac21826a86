"""Lets go of tasks that another machine of this person has taken over; removes those of both.

This machine was thought gone, and came back. Which of its tasks the other one has for its own that
one says, under each task's key: what it does not know stays here, and is never dropped on a guess.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec
import trio

from p2p.identity.caller import Caller
from p2p.ids import PeerId
from p2p.membership.port import Views
from swarmnode.limits import FIND_ASKED_AT_ONCE, MACHINES_PER_PERSON_MAX
from swarmnode.market.buyer.events import Event, GoesOnElsewhere, WasTaken
from swarmnode.market.buyer.own_machines.elsewhere import TaskTold
from swarmnode.market.guardians.messages import FindTask
from swarmnode.tasks.ids import TaskId
from swarmnode.tasks.ledger import Ledger
from swarmnode.tasks.records import TaskRecord

GONE_ON_LOOK_S: Final = 30.0
"""A look at many tasks ends then; the others have their turn at the next one."""


class RemovedElsewhere(msgspec.Struct, frozen=True):
    """What came of removing a task at the other machines of its owner that live."""

    at: tuple[PeerId, ...]
    """Those that had it, and have it no more."""
    left: tuple[PeerId, ...]
    """Those that have it still: it has not ended there, or they know of no such request."""


class Books(Protocol):
    """The part of the buyer's core that is needed here."""

    taken_over_ms: int

    @property
    def ledger(self) -> Ledger: ...


class HandOver:
    """Asks the person's other machines which tasks of this one are theirs, too."""

    def __init__(
        self,
        me: Caller,
        members: Views,
        ask: Callable[[PeerId, FindTask], Awaitable[TaskTold | None]],
        core: Books,
        do: Callable[[Event], Awaitable[None]],
        begun: trio.Event,
    ) -> None:
        """`do` hands the core an event and returns once it is durable; `begun`: all is loaded."""
        self._me, self._members, self._core = me, members, core
        self._ask, self._do, self._begun = ask, do, begun

    async def gone_on(self, taken_over_ms: int) -> Sequence[TaskRecord]:
        """What goes on elsewhere since this machine was taken over then: at its `submitter`."""
        await self._begun.wait()
        if taken_over_ms != self._core.taken_over_ms:
            await self._do(WasTaken(taken_over_ms))
        elsewhere = await self._asked(self._before(taken_over_ms))
        unfinished = {record.task for record in self._core.ledger.unfinished()}
        # What ended here meanwhile is left out.
        return [record for record in elsewhere if record.task in unfinished]

    async def _asked(self, tasks: Sequence[TaskRecord]) -> list[TaskRecord]:
        """Those of them that another machine has for its own, of as many as can be asked now."""
        limiter, owned = trio.CapacityLimiter(FIND_ASKED_AT_ONCE), list[TaskRecord]()
        siblings = self._siblings()

        async def ask(task: TaskRecord) -> None:
            async with limiter:
                if there := await self._who_has(task, siblings):
                    owned.append(msgspec.structs.replace(task, submitter=there))

        with trio.move_on_after(GONE_ON_LOOK_S):
            async with trio.open_nursery() as nursery:
                for task in tasks:
                    nursery.start_soon(ask, task)
        return owned

    async def let_go(self, task: TaskId, by: PeerId) -> None:
        """It is that machine's."""
        await self._do(GoesOnElsewhere(task, by))

    def moved(self, text: str) -> Mapping[TaskId, PeerId]:
        """Which tasks of our owner's went on elsewhere, and where: by id, its beginning or name."""
        moved = self._core.ledger.moved
        known = {task: record for task, record in moved.items() if not record.person}
        named = {task: record.by for task, record in known.items() if record.name == text}
        return named or {task: record.by for task, record in known.items() if task.startswith(text)}

    async def remove(self, task: TaskId) -> RemovedElsewhere:
        """Have our other machines forget a task that has ended, where they have it, too."""
        at, left = list[PeerId](), list[PeerId]()

        async def ask(peer: PeerId) -> None:
            told = await self._ask(peer, FindTask(task, forget=True))
            if told is not None and told.record.submitter == peer:
                (left if told.record.spec.run else at).append(peer)  # gone: nothing is told of it

        async with trio.open_nursery() as nursery:
            for peer in self._siblings():
                nursery.start_soon(ask, peer)
        return RemovedElsewhere(tuple(sorted(at)), tuple(sorted(left)))

    def _before(self, taken_over_ms: int) -> list[TaskRecord]:
        """Our unfinished tasks that whoever took us over may have."""
        tasks = self._core.ledger.unfinished()
        return [
            record
            for record in tasks
            if not record.submitter and record.after_taken_over_ms < taken_over_ms
        ]

    def _siblings(self) -> list[PeerId]:
        alive = self._members.view().alive()
        peers = [member.peer for member in alive if member.person == self._me.person]
        return [peer for peer in peers if peer != self._me.peer][:MACHINES_PER_PERSON_MAX]

    async def _who_has(self, task: TaskRecord, siblings: Sequence[PeerId]) -> PeerId:
        """Which of them says so; empty: none."""
        for peer in siblings:
            told = await self._ask(peer, FindTask(task.task, is_taken=True))
            if told is not None and told.record.submitter == peer:
                return peer
        return PeerId("")
