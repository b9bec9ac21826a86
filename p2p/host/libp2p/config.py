"""Settings of the libp2p host."""

from dataclasses import dataclass, field

from p2p.host.libp2p.book import BackOffConfig
from p2p.host.libp2p.bulk import BulkConfig
from p2p.host.libp2p.dialer import DialConfig
from p2p.limits import ADMIT_DEADLINE_S, DIAL_DEADLINE_S, PEERS_MAX
from p2p.link.config import LinkConfig
from p2p.link.guard import GuardConfig
from p2p.qos.scheduler import SchedulerConfig


@dataclass(frozen=True, slots=True)
class HostConfig:
    """Settings of one host; the parts carry their own reasons."""

    link: LinkConfig = field(default_factory=LinkConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    dial: DialConfig = field(default_factory=DialConfig)
    bulk: BulkConfig = field(default_factory=BulkConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    back_off: BackOffConfig = field(default_factory=BackOffConfig)
    peers_max: int = PEERS_MAX
    admit_within_s: float = ADMIT_DEADLINE_S
    dial_within_s: float = DIAL_DEADLINE_S
    # A heartbeat or a request that waited longer than a dial takes helps nobody.
    urgent_cast_expires_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.admit_within_s < self.dial_within_s:
            raise ValueError("admit_within_s must be positive and below dial_within_s")
