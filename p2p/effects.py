"""What a pure core may ask the outside world to do.

A core never performs any of these: `handle(event, now_s)` returns them in order and the shell
(`p2p.service.Driver` in a node, `testnet.sim` in a simulation) carries them out. Within the
effects of one batch of events every Persist is durable before the first Send leaves.
"""

from collections.abc import MutableSequence, Sequence
from typing import Protocol, TypeAlias, TypeVar

import msgspec

from p2p.ids import PeerId, TrafficClass

ItemT = TypeVar("ItemT")


class Rng(Protocol):
    """The dice a core is given: `random.Random` satisfies it."""

    def random(self) -> float: ...
    def uniform(self, a: float, b: float) -> float: ...
    def randrange(self, start: int, stop: int) -> int: ...
    def getrandbits(self, k: int) -> int: ...
    def choice(self, seq: Sequence[ItemT]) -> ItemT: ...
    def sample(self, population: Sequence[ItemT], k: int) -> list[ItemT]: ...
    def shuffle(self, x: MutableSequence[ItemT]) -> None: ...


class Persist(msgspec.Struct, frozen=True):
    """Write `value` under `key`, or delete the key when value is None."""

    table: str
    key: bytes
    value: bytes | None


class Send(msgspec.Struct, frozen=True):
    """Queue `message` (a `p2p.wire.codec.Message`) for `peer`; delivery is not promised."""

    peer: PeerId
    message: object
    traffic_class: TrafficClass = TrafficClass.CONTROL


class WakeAt(msgspec.Struct, frozen=True):
    """Hand `timer` back to the core as an event once the clock reaches `deadline_s`."""

    deadline_s: float
    timer: object


class Notify(msgspec.Struct, frozen=True):
    """Tell the service (and through it the application) that something happened."""

    event: object


Effect: TypeAlias = Persist | Send | WakeAt | Notify
