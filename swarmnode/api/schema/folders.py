"""What the local API says of folders that are put."""

import msgspec


class MissingReply(msgspec.Struct, frozen=True):
    """Files of a folder whose contents have to be sent."""

    numbers: tuple[int, ...]
    """Among those that have bytes, in the order of their names."""
