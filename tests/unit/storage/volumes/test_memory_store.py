"""Shards in memory: what a crash leaves."""

import pytest
import trio

from storage.coding.merkle import root_of
from storage.engine.memory_tables import MemoryTables
from storage.errors import ShardCorruptError
from storage.ids import ShardRoot
from storage.volumes.memory import MemoryShardStore
from testnet.sim.seeded import simulated


@simulated
async def test_a_crash_keeps_the_shards_that_were_committed() -> None:
    tables = MemoryTables(commit_s=1.0)
    store = MemoryShardStore(tables)
    kept, lost = b"kept" * 100, b"lost" * 100
    await store.put(root_of(kept), kept)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.put, root_of(lost), lost)
        await trio.sleep(0.5)
        tables.crash()
        nursery.cancel_scope.cancel()
    store.crash()
    assert store.length(root_of(kept)) == 400
    assert store.length(root_of(lost)) is None
    assert MemoryShardStore(tables).used_bytes() == store.used_bytes()


@simulated
async def test_a_rotten_shard_is_noticed() -> None:
    store = MemoryShardStore(MemoryTables())
    root: ShardRoot = root_of(b"shard")
    await store.put(root, b"shard")
    await store.rot(root)
    with pytest.raises(ShardCorruptError):
        await store.get(root)
