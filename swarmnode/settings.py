"""From what an operator sets to the settings of each core: one function per part.

Timers of profile `test` come with the configuration; what else differs there (how often digests are
compared, how long a machine is shunned) is a profile of the part itself, or stands here.
"""

from typing import Final

from msgspec.structs import replace

from p2p.gossip.config import PROFILES as GOSSIP_PROFILES
from p2p.gossip.config import GossipConfig
from p2p.membership.config import MembershipConfig
from storage.config import StorageConfig
from swarmnode import reach
from swarmnode.edges import Identity
from swarmnode.executor.sandbox.capability import CONTAINER
from swarmnode.home.config import Config
from swarmnode.market.buyer.config import BuyerConfig
from swarmnode.market.config import MarketConfig
from swarmnode.market.seller.config import SellerConfig
from swarmnode.market.seller.service import SellerServiceConfig
from swarmnode.market.seller.view import Lent
from swarmnode.resources.publisher import AdvertConfig

GIB: Final = 1024**3
MIB: Final = 1024**2


def _part_profile(config: Config) -> str:
    return "test" if config.node.profile == "test" else "default"


def membership(config: Config) -> MembershipConfig:
    """When members are probed and held for dead."""
    timers = config.timers
    return MembershipConfig(probe_s=timers.probe_s, suspicion_s=timers.suspicion_s)


def gossip(config: Config) -> GossipConfig:
    """How adverts spread."""
    return GOSSIP_PROFILES[_part_profile(config)]


def adverts(config: Config) -> AdvertConfig:
    """How often this machine says what it lends."""
    return AdvertConfig(every_s=config.timers.advert_every_s, ttl_s=config.timers.advert_ttl_s)


def lends_compute(config: Config, identity: Identity) -> bool:
    """By its owner's configuration and its certificate both."""
    return config.compute.enabled and "compute" in identity.roles


def lends_storage(config: Config, identity: Identity) -> bool:
    """The same for storage."""
    return config.storage.enabled and "storage" in identity.roles


def storage(config: Config, *, lends: bool) -> StorageConfig:
    """What this machine keeps for others, and when it holds a silent holder for lost."""
    lent = int(config.storage.quota_gib * GIB)
    return StorageConfig(
        lends=lends and lent > 0,
        quota_bytes=lent,
        cache_bytes=config.storage.cache_mib * MIB,
        down_after_s=config.timers.down_after_s,
        advert_s=min(5.0, config.timers.advert_every_s / 2),
        advert_ttl_s=config.timers.advert_ttl_s,
    )


def market(config: Config) -> MarketConfig:
    """How this machine buys, what it sells and on which terms."""
    timers, compute = config.timers, config.compute
    auction = BuyerConfig(
        lease_s=timers.lease_s,
        renew_s=timers.lease_renew_s,
        alone_s=timers.lease_s + timers.orphan_grace_s,
    )
    if _part_profile(config) == "test":  # on one machine nothing pauses for seconds
        auction = replace(auction, shun_s=3.0, backoff_max_s=5.0)
    terms = SellerConfig(
        has_secret_place=compute.sandbox != CONTAINER,
        tasks_max=compute.tasks_max,
        lease_s=timers.lease_s,
        lease_renew_s=timers.lease_renew_s,
        orphan_grace_s=timers.orphan_grace_s,
        net=tuple(map(reach.word, compute.net)),
        net_others=tuple(map(reach.word, compute.net_others)),
    )
    lent = Lent(
        compute.cpu_millis, compute.memory_mib * MIB, int(compute.disk_gib * GIB), compute.gpus
    )
    return MarketConfig(
        auction,
        SellerServiceConfig(terms, lent),
    )
