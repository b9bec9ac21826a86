"""Tells everybody what this machine lends: now and then, and soon after it has changed much."""

from collections.abc import Callable
from typing import Final

import msgspec
import trio

from p2p.gossip.items import RESOURCES
from p2p.gossip.port import ItemSink
from p2p.wire.codec import encode
from swarmnode.errors import ConfigError
from swarmnode.resources.advert import ResourceAdvert

_AMOUNTS: Final = (
    ("cpu_free_millis", "cpu_millis"),
    ("memory_free_bytes", "memory_bytes"),
    ("disk_free_bytes", "disk_bytes"),
)


class AdvertConfig(msgspec.Struct, frozen=True):
    """How often a machine speaks of itself."""

    # A third of the life of an advert: two may be lost.
    every_s: float = 10.0
    ttl_s: float = 35.0
    # A busy machine changes all the time; one advert a second is all that others can use.
    look_s: float = 1.0
    # Adverts only rule machines out: a tenth more or less rules nobody out.
    change: float = 0.1

    def __post_init__(self) -> None:
        """Raises ConfigError."""
        if not 0 < self.look_s <= self.every_s < self.ttl_s or not 0 < self.change <= 1:
            raise ConfigError("adverts need 0 < look_s <= every_s < ttl_s and 0 < change <= 1")


class AdvertPublisher:
    """Publishes what `advert` says; None says nothing yet."""

    def __init__(
        self, config: AdvertConfig, gossip: ItemSink, advert: Callable[[], ResourceAdvert | None]
    ) -> None:
        self._config = config
        self._gossip = gossip
        self._advert = advert
        self._last: ResourceAdvert | None = None
        """As it was published last; None: nothing was."""
        self._due_s = 0.0
        """When it is published again though it has not changed."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look and publish until cancelled."""
        self._look(trio.current_time())
        task_status.started()
        while True:
            await trio.sleep(self._config.look_s)
            self._look(trio.current_time())

    def _look(self, now_s: float) -> None:
        advert = self._advert()
        if advert is None:
            return
        last = self._last
        if last is None or now_s >= self._due_s or is_news(last, advert, self._config.change):
            self._gossip.publish(RESOURCES, encode(advert), ttl_s=self._config.ttl_s)
            self._last, self._due_s = advert, now_s + self._config.every_s


def is_news(before: ResourceAdvert, now: ResourceAdvert, change: float) -> bool:
    """Whether an amount moved by more than `change` of its whole, or anything else at all."""
    if _without_amounts(before) != _without_amounts(now):
        return True
    return any(
        abs(getattr(now, free) - getattr(before, free)) > change * getattr(now, whole)
        for free, whole in _AMOUNTS
    )


def _without_amounts(advert: ResourceAdvert) -> tuple[object, ...]:
    names = [name for name, _ in _AMOUNTS]
    fields = advert.__struct_fields__
    return tuple(getattr(advert, name) for name in fields if name not in names)
