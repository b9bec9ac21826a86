"""Where shard bytes rest: volumes on a node, memory in a test.

A shard is addressed by its Merkle root (32 bytes) and is immutable. Bodies:
`storage.volumes.store`, `storage.volumes.memory`; both pass
tests/contract/test_shards.py.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from storage.engine.port import WriteView
from storage.ids import ShardRoot


class ShardStore(Protocol):
    """Durable, hash-checked, immutable byte strings of at most one segment each."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""

    async def put(
        self, root: ShardRoot, data: bytes, also: Callable[[WriteView], None] | None = None
    ) -> None:
        """Verify `data` against `root`, write and fsync it; idempotent.

        `also` runs in the transaction that makes the shard exist, and also when it existed
        already (leases, accounting); if it raises, nothing is stored and the error is raised here.
        Raises ShardCorruptError, StoreFullError.
        """

    async def get(self, root: ShardRoot) -> bytes:
        """The whole shard, verified. Raises ShardMissingError, ShardCorruptError."""
        ...

    async def read(self, root: ShardRoot, start: int, length: int) -> tuple[bytes, list[bytes]]:
        """A range, widened to whole 16 KiB leaves and cut at the shard's end, and for each leaf
        its Merkle path as one byte string (`storage.coding.merkle.split_path` takes it apart).

        Empty when the range begins past the end. Raises ShardMissingError, and ShardCorruptError
        when this copy is damaged; the reader verifies the leaves against the root all the same.
        """
        ...

    def length(self, root: ShardRoot) -> int | None:
        """Bytes of the shard, or None when it is not here. No disk access."""

    async def delete(self, roots: Sequence[ShardRoot]) -> int:
        """Forget shards and give their space back to the disk; the bytes freed (footprints)."""
        ...

    def used_bytes(self) -> int:
        """Footprint of all shards: their bytes, hashes and rounding to blocks."""
        ...

    def free_bytes(self) -> int:
        """What may still be stored here within quota and free-disk reserve."""
        ...
