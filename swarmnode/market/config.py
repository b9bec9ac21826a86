"""Settings of both sides of the market."""

from dataclasses import dataclass, field

from swarmnode.market.buyer.config import BuyerConfig
from swarmnode.market.seller.service import SellerServiceConfig


@dataclass(frozen=True, slots=True)
class MarketConfig:
    """Both sides of the market."""

    auction: BuyerConfig = field(default_factory=BuyerConfig)
    seller: SellerServiceConfig = field(default_factory=SellerServiceConfig)
