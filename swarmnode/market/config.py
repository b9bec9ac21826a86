"""Settings of both sides of the market."""

from dataclasses import dataclass, field

from swarmnode.market.auction_config import AuctionConfig
from swarmnode.market.seller import SellerConfig


@dataclass(frozen=True, slots=True)
class MarketConfig:
    """Both sides of the market."""

    auction: AuctionConfig = field(default_factory=AuctionConfig)
    seller: SellerConfig = field(default_factory=SellerConfig)
