"""Wire messages of membership: numbers 24-39, all of them casts in class CONTROL.

Facts about a machine are signed by that machine (Presence); what others think of it (Opinion) is
hearsay about one incarnation of it, and the machine refutes it by a higher one.
"""

from typing import Final, TypeAlias

from p2p.ids import LabId, PeerId
from p2p.wire.codec import Message, Record
from p2p.wire.envelope import Signed

PRESENCE_DOMAIN: Final = "swarm/presence"


class Presence(Record, frozen=True):
    """A machine about itself. The envelope's `sequence` is its incarnation; it never expires."""

    addresses: tuple[str, ...]
    name: str
    lab: LabId
    site: str
    has_left: bool = False
    life: int = 0
    """The incarnation that this run of the process began with; 0 from older versions."""
    token: bytes = b""
    """What proves name, lab and site: the machine's encoded MembershipToken. Without one, what
    the reader itself saw at its door."""
    relays: bool = False
    """It carries circuits between members that are connected to it (`p2p.host.relay`)."""


class Opinion(Record, frozen=True):
    """Somebody holds an incarnation of a peer for SUSPECT (1) or DEAD (2)."""

    peer: PeerId
    incarnation: int
    liveness: int
    accuser: PeerId


class News(Record, frozen=True):
    """What travels on the back of every other message."""

    presences: tuple[Signed, ...] = ()
    opinions: tuple[Opinion, ...] = ()


class Ping(Message, frozen=True, tag=24):
    """Are you there? Answered by Ack with the same sequence."""

    sequence: int
    news: News = News()


class Ack(Message, frozen=True, tag=25):
    """I am here; or, from a helper: the one you asked about is."""

    sequence: int
    news: News = News()


class PingRequest(Message, frozen=True, tag=26):
    """Please ping `target` for me and pass on its Ack."""

    sequence: int
    target: PeerId
    news: News = News()


class Nack(Message, frozen=True, tag=27):
    """I am well but `target` did not answer me in time either."""

    sequence: int


class Spread(Message, frozen=True, tag=28):
    """Fresh news that should not wait for the next ping."""

    news: News


class SyncOffer(Message, frozen=True, tag=29):
    """A digest of all I hold alive; answered by pages of all you hold when yours differs."""

    digest: bytes


class SyncPage(Message, frozen=True, tag=30):
    """All the sender knows of peers with low < id <= high (an empty high is no bound)."""

    low: PeerId
    high: PeerId
    news: News
    wants_answer: bool
    """Send back what you know better about this range."""
    is_last: bool


MembershipMessage: TypeAlias = Ping | Ack | PingRequest | Nack | Spread | SyncOffer | SyncPage
"""Everything that members say to each other about members."""
