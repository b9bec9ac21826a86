"""What a machine says about its storage, in gossip: who may be given something to keep."""

from typing import Final

from p2p.wire.codec import Record

NEWS_SHARE: Final = 64
"""Free space that moved by less than this part of the quota rules nobody in or out."""


class StorageAdvert(Record, frozen=True):
    """The body of a gossip item of kind `p2p.gossip.items.STORAGE`."""

    lends: bool
    free_bytes: int
    """What may still be stored there, within its quota and its free-disk reserve."""
    quota_bytes: int
    """The weight of the machine in placement."""


def is_news(told: StorageAdvert, now: StorageAdvert) -> bool:
    """Whether what a machine says has changed so much that the others should hear it soon.

    Every object moves a little on every holder; telling each would be most of an idle pool's
    traffic. Whoever asks for more than there is gets refused, and asks another machine.
    """
    if (told.lends, told.quota_bytes) != (now.lends, now.quota_bytes):
        return True
    return abs(told.free_bytes - now.free_bytes) * NEWS_SHARE > now.quota_bytes
