"""What this machine says that it lends, and when it says so again."""

from collections.abc import Callable

import msgspec
import trio

from p2p.gossip.items import STORAGE
from p2p.gossip.port import ItemBoard
from p2p.wire.codec import encode
from storage.config import StorageConfig
from storage.placement.advert import StorageAdvert, is_news
from storage.volumes.port import ShardStore


class Lender(msgspec.Struct):
    """Of this machine."""

    config: StorageConfig
    shards: ShardStore
    gossip: ItemBoard
    is_clock_wrong: Callable[[], bool]
    """Then it lends nothing: what ends by a wrong clock ends too soon."""

    def advert(self) -> StorageAdvert:
        """What may be put here now."""
        lends = self.config.lends and not self.is_clock_wrong()
        free_bytes = self.shards.free_bytes() if lends else 0
        return StorageAdvert(lends, free_bytes, self.config.quota_bytes if lends else 0)

    async def run(self) -> None:
        """Tell our free space when it changed much, and before the last word ends."""
        config = self.config
        told, told_s = None, 0.0
        while True:
            advert, now_s = self.advert(), trio.current_time()
            is_old = now_s - told_s > config.advert_ttl_s / 3
            if told is None or is_old or is_news(told, advert):
                self.gossip.publish(STORAGE, encode(advert), ttl_s=config.advert_ttl_s)
                told, told_s = advert, now_s
            await trio.sleep(config.advert_s)
