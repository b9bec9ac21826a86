"""What a machine says about its storage, in gossip: who may be given something to keep."""

from p2p.wire.codec import Record


class StorageAdvert(Record, frozen=True):
    """The body of a gossip item of kind `p2p.gossip.items.STORAGE`."""

    lends: bool
    free_bytes: int
    """What may still be stored there, within its quota and its free-disk reserve."""
    quota_bytes: int
    """The weight of the machine in placement."""
