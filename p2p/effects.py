"""What a pure core may ask the outside world to do.

A core never performs any of these: `handle(event, now_s)` returns them in order and the shell
(`p2p.service.Driver` in a node, `testnet.sim` in a simulation) carries them out. Within the
effects of one batch of events every Persist is durable before the first Send leaves.
"""

from collections.abc import MutableSequence, Sequence
from typing import Generic, Protocol, TypeAlias, TypeVar

import msgspec

from p2p.ids import PeerId, TrafficClass
from p2p.wire.codec import Message

ItemT = TypeVar("ItemT")
EventT = TypeVar("EventT", covariant=True)
NoticeT = TypeVar("NoticeT", covariant=True)


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
    """Queue `message` for `peer`; delivery is not promised."""

    peer: PeerId
    message: Message
    traffic_class: TrafficClass = TrafficClass.CONTROL


class WakeAt(msgspec.Struct, Generic[EventT], frozen=True):
    """Hand `timer` back to the core as an event once the clock reaches `deadline_s`."""

    deadline_s: float
    timer: EventT


class Notify(msgspec.Struct, Generic[NoticeT], frozen=True):
    """Tell the service (and through it the application) that something happened."""

    event: NoticeT


Effect: TypeAlias = Persist | Send | WakeAt[EventT] | Notify[NoticeT]
"""What a core may ask for that takes these events and gives these notices."""
