"""Which other machines of the person live, as far as this one can tell."""

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Final

import trio

from p2p.errors import CallTimeoutError, PeerUnreachableError, RemoteRefusalError
from p2p.ids import PeerId
from p2p.membership.port import Views
from p2p.membership.view import GONE

UNKNOWN_S: Final = 5.0
"""A machine of which nobody has told for so long since the first look is no member any more."""


class MachineLife(Enum):
    """Of a machine."""

    LIVES = auto()
    GONE = auto()
    UNSURE = auto()
    """Nobody calls it dead, and it does not answer."""


class Others:
    """Asks, because whoever has just died is still held for alive by everybody."""

    def __init__(
        self,
        members: Views,
        ping: Callable[[PeerId, int], Awaitable[object]],
        is_settled: Callable[[], bool],
    ) -> None:
        """`is_settled`: whether the pool is known after the start."""
        self._members, self._ping, self._is_settled = members, ping, is_settled
        self._since_s: float | None = None
        """When a machine was looked for first with the pool known; None: not yet."""

    async def life(self, peer: PeerId) -> MachineLife:
        """Takes as long as an echo."""
        if not self._is_settled():
            return MachineLife.UNSURE
        if self._since_s is None:
            self._since_s = trio.current_time()
        member = self._members.view().find(peer)
        if member is None:
            is_over = trio.current_time() >= self._since_s + UNKNOWN_S
            return MachineLife.GONE if is_over else MachineLife.UNSURE
        if member.liveness in GONE:
            return MachineLife.GONE
        try:
            await self._ping(peer, 1)
        except RemoteRefusalError:
            return MachineLife.LIVES
        except (PeerUnreachableError, CallTimeoutError):
            return MachineLife.UNSURE
        return MachineLife.LIVES
