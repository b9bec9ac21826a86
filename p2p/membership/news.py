"""Fresh facts on their way out: each is sent to a few peers and then considered known."""

import math

import msgspec

from p2p.ids import PeerId
from p2p.limits import NEWS_BYTES_MAX
from p2p.membership.messages import News, Opinion
from p2p.wire.envelope import Signed

Fact = Signed | Opinion


class _Rumour(msgspec.Struct, eq=False):
    fact: Fact
    sent: int = 0
    """Messages that took it along so far."""


class NewsQueue(msgspec.Struct):
    """At most one fact per machine: the newest, as it replaces all older ones."""

    per_message_max: int
    """Facts taken at once, besides what has to come first."""
    retransmit_factor: int
    """A fact is sent this often for each power of ten of members."""
    _items: dict[PeerId, _Rumour] = msgspec.field(default_factory=dict)
    """By machine, the longest here first; each leaves once it was sent often enough."""

    @property
    def is_empty(self) -> bool:
        return not self._items

    def add(self, fact: Fact) -> None:
        """Spread this from now on instead of what was known about its machine before."""
        peer = fact.sender if isinstance(fact, Signed) else fact.peer
        self._items.pop(peer, None)
        self._items[peer] = _Rumour(fact)

    def clear(self) -> None:
        """Nobody is there to be told."""
        self._items.clear()

    def take(self, members: int, first: tuple[Opinion, ...] = ()) -> News:
        """What to send now: `first`, then the facts that were sent least."""
        presences: list[Signed] = []
        opinions = list(first)
        often = self.retransmit_factor * math.ceil(math.log10(members + 1))
        size = 0
        due = sorted(self._items.items(), key=lambda pair: pair[1].sent)
        for peer, item in due[: self.per_message_max]:
            if isinstance(item.fact, Signed):
                size += len(item.fact.payload)
                if presences and size > NEWS_BYTES_MAX:
                    break
            item.sent += 1
            if item.sent >= often:
                del self._items[peer]
            if isinstance(item.fact, Signed):
                presences.append(item.fact)
            elif item.fact not in opinions:
                opinions.append(item.fact)
        return News(tuple(presences), tuple(opinions))
