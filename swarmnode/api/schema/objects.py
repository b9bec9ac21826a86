"""What the local API says of objects, as typed structs."""

from typing import Annotated

import msgspec


class PutReply(msgspec.Struct, frozen=True):
    """What a put achieved."""

    cap: str
    address: str
    size: int
    k: int
    n: int
    holders: tuple[str, ...]
    survives: str
    one_site: bool
    seconds: float
    one_person: bool = False


class ObjectLine(msgspec.Struct, frozen=True):
    """An object of the asker's."""

    cap: str
    """Whoever has it can read the object; hidden from tokens that may only look."""
    address: str
    name: str
    size: int
    put_ms: int
    kind: str = ""
    """input, output or checkpoint of a task; empty for what a person put."""
    task: str = ""
    survives: str = ""
    """The loss of which machines, as far as is known here; empty when that was not asked for."""
    until_ms: int = 0
    """When its leases end unless they are renewed."""
    stored: int = 0
    """Bytes on all its holders when it was put."""
    removed_ms: int = 0
    """When the key of the lab removed it; 0 for all that is kept."""
    removed_why: str = ""


class SameRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Is the file with this BLAKE3 (64 hexadecimal digits) stored already?"""

    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class CostLine(msgspec.Struct, frozen=True):
    """What the asker's things cost, those of one task together."""

    task: str
    """Empty for what belongs to no task."""
    kind: str
    """input, output, checkpoint, unfinished, or empty."""
    objects: int
    size: int
    stored: int
    """Bytes on all holders together, with the copies or parity."""


class ShardLine(msgspec.Struct, frozen=True):
    """Where one shard is."""

    segment: int
    shard: int
    holder: str
    alive: bool


class ObjectDetail(msgspec.Struct, frozen=True):
    """How an object stands now."""

    address: str
    name: str
    size: int
    k: int
    n: int
    segments: int
    shards_live: int
    survives: str
    expires_ms: int
    shards: tuple[ShardLine, ...]
    health: str = "whole"
    """whole, degraded (it can be read, but shards are missing) or unreadable."""


class ObjectEvent(msgspec.Struct, frozen=True):
    """`data` of an event of type `object`: how an object of this owner stands from now on."""

    address: str
    name: str
    health: str
    """whole, degraded, unreadable, or removed by the lab's key."""
    why: str = ""
    """Why it was removed."""


class RemoveReply(msgspec.Struct, frozen=True):
    """What a removal has come to; it is written down and goes on until every holder has heard."""

    changed: bool
    """False: it was not ours, or removed already."""
    holders: int = 0
    dropped: int = 0
    """Holders that have given it up."""
    waiting: tuple[str, ...] = ()
    """Peers that could not be told yet: away, frozen or full. They give it up when they return."""


class ReadRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which bytes to read; the capability travels in the body, never in a URL."""

    cap: str
    start: Annotated[int, msgspec.Meta(ge=0)] = 0
    length: Annotated[int, msgspec.Meta(ge=0)] | None = None
