"""Peers remembered across restarts."""

from p2p.discovery.service import CACHED_PEERS_MAX
from p2p.ids import PeerId
from storage.engine.memory_tables import MemoryTables
from swarmnode.home.peer_cache import TABLE, TablePeerCache
from testnet.sim.seeded import simulated


@simulated
async def test_peers_are_remembered_by_the_next_start() -> None:
    tables = MemoryTables()
    await TablePeerCache(tables).save(PeerId("alice"), ("/ip4/192.0.2.1/tcp/1",))
    await TablePeerCache(tables).save(PeerId("bob"), ())
    tables.crash()
    known = TablePeerCache(tables).load()
    assert known == {PeerId("alice"): ("/ip4/192.0.2.1/tcp/1",), PeerId("bob"): ()}


@simulated
async def test_the_newest_addresses_of_a_peer_replace_the_old() -> None:
    cache = TablePeerCache(MemoryTables())
    for port in range(3):
        await cache.save(PeerId("alice"), (f"/ip4/192.0.2.1/tcp/{port}",))
    assert cache.load() == {PeerId("alice"): ("/ip4/192.0.2.1/tcp/2",)}


@simulated
async def test_there_are_never_too_many() -> None:
    cache = TablePeerCache(MemoryTables())
    for number in range(CACHED_PEERS_MAX + 20):
        await cache.save(PeerId(f"peer {number:04}"), ())
    known = cache.load()
    assert len(known) == CACHED_PEERS_MAX
    assert PeerId(f"peer {CACHED_PEERS_MAX + 19:04}") in known


@simulated
async def test_a_damaged_record_is_one_peer_less() -> None:
    tables = MemoryTables()
    cache = TablePeerCache(tables)
    await cache.save(PeerId("alice"), ())
    tables.overwrite(TABLE, b"bob", b"\xff\xff")
    tables.overwrite(TABLE, b"\xff", b"")
    assert list(cache.load()) == [PeerId("alice")]
