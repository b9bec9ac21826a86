"""Settings of storage, with the reasons for their values."""

from enum import IntEnum

import msgspec

from storage.limits import SEGMENT_BYTES, SMALL_OBJECT_BYTES

DAY_S = 24 * 3600.0
DOWN_AFTER_S = 15 * 60.0
"""A silent holder counts as lost after this: reboots and lunch-time lids are shorter."""
REPAIR_BYTES_PER_S = 20 * 1024**2
"""Repair traffic of one node: a fifth of a gigabit line."""


class StorageClass(IntEnum):
    """How long an object is kept."""

    SCRATCH = 0  # a week, then gone unless renewed
    NORMAL = 1  # renewed by the machines of its owner's lab
    ARCHIVE = 2  # until a date


class StorageConfig(msgspec.Struct, frozen=True):
    """What one node lends and how it puts, gets and keeps. Times in seconds."""

    lends: bool = True
    """Keep other people's shards. A machine that does not lend is never a holder."""
    quota_bytes: int = 100 * 1024**3
    """Told to others as our weight: who lends more is given more. The shard store enforces it."""
    segment_bytes: int = SEGMENT_BYTES
    """Plaintext per segment of the objects put here; tests use less."""
    small_object_bytes: int = SMALL_OBJECT_BYTES
    segments_in_flight: int = 2
    """Segments of one put at a time: 2 x (8 plain + 8 sealed + 16 coded) MiB bound its memory."""
    look_ahead: int = 2
    """Segments of one get fetched before they are asked for."""
    cache_bytes: int = 256 * 1024**2
    """Decrypted segments kept in memory for the next reader."""
    hold_s: float = 600.0
    """Lease of a shard whose manifest has not been committed, since its put was last heard of."""
    lease_s: float = 30 * DAY_S
    """Lease of a committed object of class normal."""
    scratch_lease_s: float = 7 * DAY_S
    renew_s: float = 6 * 3600.0
    """Leases of our own objects are renewed this often: a hundred chances before one ends."""
    trash_s: float = 7 * DAY_S
    """Expired leases of committed objects are kept this long: holidays happen."""
    sweep_s: float = 600.0
    """Expired leases are looked for this often."""
    advert_s: float = 5.0
    """Free space is told this often when it changed."""
    advert_ttl_s: float = 35.0
    call_timeout_s: float = 10.0
    """A small question to a healthy peer is answered in a fraction of this."""
    rate_min_bytes_per_s: float = 128 * 1024
    """A shard may take this much longer than a small question: 1 Mbit/s is the slowest line."""
    hedge_s: float = 0.5
    """Before anything was measured: another source is asked when one took this long."""
    hedge_max_s: float = 3.0
    straggler_s: float = 2.0
    """Once a segment is acknowledged, its last shards get at least this long, then are left out."""
    pulse_s: float = 0.4
    """A holder that has not taken a shard by then is asked whether it lives, and again later."""
    pulse_timeout_s: float = 1.0
    """One that does not say so within this is frozen: on a slow line questions pass by bulk."""
    repair_bytes_per_s: float = REPAIR_BYTES_PER_S
    down_after_s: float = DOWN_AFTER_S

    def __post_init__(self) -> None:
        if self.segment_bytes < 1 or self.segment_bytes > SEGMENT_BYTES:
            raise ValueError(f"segment_bytes must be in [1, {SEGMENT_BYTES}]")
        if self.segments_in_flight < 1 or self.look_ahead < 1:
            raise ValueError("segments_in_flight and look_ahead must be at least 1")
        if self.lends and self.quota_bytes <= 0:
            raise ValueError("a machine that lends needs a quota_bytes above 0")

    def lease_ms(self, storage_class: int, now_ms: int) -> int:
        """When a lease of this class ends if taken or renewed now (wall clock, ms)."""
        scratch = storage_class == StorageClass.SCRATCH
        return now_ms + int((self.scratch_lease_s if scratch else self.lease_s) * 1000)
