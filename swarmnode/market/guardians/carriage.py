"""Brings records of tasks to their other keepers, a few at once, the newest of each only.

What does not come is not brought again from here: the next beat shows that the keeper lacks it.
"""

from contextlib import suppress
from typing import Final

import trio

from p2p.errors import CallTimeoutError, PeerUnreachableError, RemoteRefusalError
from p2p.host.rpc.service import Rpc
from p2p.ids import PeerId, TrafficClass
from p2p.wire.codec import encode
from swarmnode.limits import CARRIED_AT_ONCE, CARRIED_TO_ONE_AT_ONCE
from swarmnode.market.guardians.messages import KeepTaken, KeepTask
from swarmnode.market.guardians.records import GuardRecord
from swarmnode.tasks.ids import TaskId

CARRY_TIMEOUT_S: Final = 5.0
"""A keeper that does not take a record within a beat is tried again at the next one."""


class Carriage:
    """Of the records that one keeper brings to others."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self.nursery: trio.Nursery | None = None
        """The keeper's, while it runs."""
        self._waiting: dict[tuple[PeerId, TaskId], GuardRecord] = {}
        """What is to be carried, the newest of each task to each keeper."""
        self._limiter = trio.CapacityLimiter(CARRIED_AT_ONCE)
        """Records on their way at once, to all keepers together."""
        self._per_peer: dict[PeerId, trio.CapacityLimiter] = {}
        """One that does not answer holds up itself."""

    def carry(self, peer: PeerId, record: GuardRecord) -> None:
        """Bring a record to a keeper; whether it has come, it casts.

        It takes the place of an older one that still waits: a keeper that answers nothing delays
        the others, but nothing piles up.
        """
        assert self.nursery is not None
        key = peer, record.task
        if key not in self._waiting:
            self.nursery.start_soon(self._carry, *key)
        self._waiting[key] = record

    async def _carry(self, peer: PeerId, task: TaskId) -> None:
        per_peer = self._per_peer.setdefault(peer, trio.CapacityLimiter(CARRIED_TO_ONE_AT_ONCE))
        async with per_peer, self._limiter:
            try:
                await self._bring(peer, self._waiting.pop((peer, task)))
            finally:
                if not per_peer.statistics().tasks_waiting and per_peer.borrowed_tokens == 1:
                    self._per_peer.pop(peer, None)

    async def _bring(self, peer: PeerId, record: GuardRecord) -> None:
        with suppress(PeerUnreachableError, CallTimeoutError, RemoteRefusalError):
            await self._rpc.call(
                peer,
                KeepTask(record.task),
                KeepTaken,
                traffic_class=TrafficClass.NORMAL,
                timeout_s=CARRY_TIMEOUT_S,
                body=encode(record),
            )
