"""Settings of both sides of the market."""

import msgspec

from swarmnode.market.buyer.config import BuyerConfig
from swarmnode.market.seller.service import SellerServiceConfig


class MarketConfig(msgspec.Struct, frozen=True):
    """Both sides of the market."""

    auction: BuyerConfig = msgspec.field(default_factory=BuyerConfig)
    seller: SellerServiceConfig = msgspec.field(default_factory=SellerServiceConfig)
