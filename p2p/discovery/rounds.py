"""One round of dialling: all peers that we know addresses of, at once, until enough have answered.

Whoever answers begins a short wait for a second one; what failed is told as it comes, by address.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
import trio

from p2p.errors import DialError
from p2p.ids import PeerId

ANSWERS_WANTED: Final = 2
"""The second answer covers a first from a peer that is alone itself."""

SECOND_ANSWER_S: Final = 2.0
"""After the first answer the others get so much longer."""

ROUND_S: Final = 9.9
"""Dialling and exchanging views: a failed join says why within 10 s."""

Failure = tuple[str, str, str]
"""(address, cause, detail); causes are those of DialError."""


class JoinStatus(msgspec.Struct, frozen=True):
    """How far joining has come: `step` is alone, dialling, joined or retrying."""

    step: str
    tried: int = 0
    failures: tuple[Failure, ...] = ()
    """Of the last round, in the order in which they came."""


class DialRound:
    """Dials some addresses, those of one peer in a race."""

    def __init__(
        self,
        addresses: Sequence[str],
        reach: Callable[..., Awaitable[PeerId]],
        show: Callable[[JoinStatus], None],
    ) -> None:
        """`reach` joins one peer by its addresses or raises DialError; `show` is told each step."""
        self._addresses, self._reach, self._show = addresses, reach, show
        self._failures: dict[str, Failure] = {}
        """By address, in the order in which they came."""
        self._answers = 0
        """Peers joined so far."""
        self._time = trio.CancelScope()
        """Ends the round: after ROUND_S, or soon after the first answer."""

    async def run(self) -> None:
        """Until enough have answered, all have failed or the time is over."""
        self._tell("dialling")
        self._time.deadline = trio.current_time() + ROUND_S
        with self._time:
            async with trio.open_nursery() as nursery:
                for of_one_peer in _by_peer(self._addresses):
                    nursery.start_soon(self._try_peer, of_one_peer)
        if not self._answers:
            for address in self._addresses:
                late = too_slow(address)
                self._failures.setdefault(address, (address, late.cause, late.detail))
        self._tell("joined" if self._answers else "retrying")

    async def _try_peer(self, addresses: Sequence[str]) -> None:
        try:
            await self._reach(*addresses)
        except DialError as error:
            self._failures.update(_told(addresses, error))
        else:
            self._answers += 1
            grace_s = SECOND_ANSWER_S if self._answers < ANSWERS_WANTED else 0.0
            self._time.deadline = min(self._time.deadline, trio.current_time() + grace_s)
        self._tell("joined" if self._answers else "dialling")

    def _tell(self, step: str) -> None:
        self._show(JoinStatus(step, len(self._addresses), tuple(self._failures.values())))


def too_slow(address: str) -> DialError:
    """What is said of an address where nothing happened in time."""
    return DialError(address, "port", f"no answer within {ROUND_S:.0f} s")


def _by_peer(addresses: Sequence[str]) -> list[list[str]]:
    """Those of one peer together: they are dialled in a race."""
    groups: dict[str, list[str]] = {}
    for address in addresses:
        path, separator, peer = address.rpartition("/p2p/")
        groups.setdefault(peer if separator and path else address, []).append(address)
    return list(groups.values())


def _told(addresses: Sequence[str], error: DialError) -> dict[str, Failure]:
    """What happened at each address of a peer that was not joined."""
    failures = {failure[0]: failure for failure in error.tried}
    for address in addresses:
        answered = f"not needed: the machine answered at {error.address}"
        failures.setdefault(address, (address, error.cause, answered))
    return failures
