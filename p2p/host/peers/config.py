"""Settings of the libp2p host."""

import msgspec

from p2p.host.peers.address_book import BackOffConfig
from p2p.host.peers.bulk import BulkConfig
from p2p.limits import ADMIT_DEADLINE_S, DIAL_DEADLINE_S, PEERS_MAX, RELAY_BYTES_PER_S
from p2p.link.config import LinkConfig
from p2p.link.guard import GuardConfig
from p2p.qos.scheduler import SchedulerConfig


class DialConfig(msgspec.Struct, frozen=True):
    """Deadlines of one attempt."""

    resolve_within_s: float = 3.0
    connect_within_s: float = 4.0
    upgrade_within_s: float = 4.0
    # Resolving, connecting and shaking hands, each slow, at four addresses still tells by 10 s.
    within_s: float = 8.0
    # A second address is tried beside the first when that has not answered by then (RFC 8305).
    stagger_s: float = 0.25

    def __post_init__(self) -> None:
        if min(self.resolve_within_s, self.connect_within_s, self.upgrade_within_s) <= 0:
            raise ValueError("deadlines must be positive")


class RelayConfig(msgspec.Struct, frozen=True):
    """What a machine carries for others, and when it has itself carried."""

    carries: bool = True
    """Whether others may ask for circuits here."""
    bytes_per_s: float = RELAY_BYTES_PER_S
    """Of all circuits together, both ways added; 0 is no bound."""
    # A firewall that drops makes a dial hang: by then every address that answers at all has.
    relayed_after_s: float = 1.0
    # One round trip to the relay and one more beyond it; a relay that is silent is passed over.
    answer_within_s: float = 2.0
    # A dial has 9.5 s, and a relay that says nothing half as long again as it gives the other end.
    tries_max: int = 3
    # A peer whose address has just changed is met directly soon, one behind a firewall costs four
    # packets in five minutes.
    direct_first_s: float = 10.0
    direct_most_s: float = 300.0

    def __post_init__(self) -> None:
        if self.bytes_per_s < 0:
            raise ValueError("bytes_per_s must not be negative")
        if not 0 < self.direct_first_s <= self.direct_most_s:
            raise ValueError("direct_first_s must be positive and at most direct_most_s")
        if self.tries_max < 1:
            raise ValueError("tries_max must be positive")


class HostConfig(msgspec.Struct, frozen=True):
    """Settings of one host; the parts carry their own reasons."""

    link: LinkConfig = msgspec.field(default_factory=LinkConfig)
    guard: GuardConfig = msgspec.field(default_factory=GuardConfig)
    dial: DialConfig = msgspec.field(default_factory=DialConfig)
    bulk: BulkConfig = msgspec.field(default_factory=BulkConfig)
    relay: RelayConfig = msgspec.field(default_factory=RelayConfig)
    scheduler: SchedulerConfig = msgspec.field(default_factory=SchedulerConfig)
    back_off: BackOffConfig = msgspec.field(default_factory=BackOffConfig)
    peers_max: int = PEERS_MAX
    admit_within_s: float = ADMIT_DEADLINE_S
    dial_within_s: float = DIAL_DEADLINE_S
    # A heartbeat or a request that waited longer than a dial takes helps nobody.
    urgent_cast_expires_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.admit_within_s < self.dial_within_s:
            raise ValueError("admit_within_s must be positive and below dial_within_s")
