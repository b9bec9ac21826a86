"""The Kademlia index between hosts on loopback: hints that can be found again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from p2p.host.libp2p.host import Libp2pHost
from p2p.host.libp2p.index import IndexConfig, Libp2pIndex
from p2p.host.rpc.service import Rpc
from testnet.lone_peer import lone_host

QUICK = IndexConfig(announce_within_s=5.0, find_within_s=2.0)


@asynccontextmanager
async def indexed(*names: str) -> AsyncIterator[tuple[list[Libp2pHost], list[Libp2pIndex]]]:
    """Hosts in a row, each connected to the one before it."""
    hosts = [lone_host(name) for name in names]
    indexes = [Libp2pIndex(host, QUICK) for host in hosts]
    with trio.fail_after(40):
        async with trio.open_nursery() as nursery:
            for host, index in zip(hosts, indexes, strict=True):
                await nursery.start(Rpc(host).run)
                await nursery.start(host.run)
                await nursery.start(index.run)
            for one, other in zip(hosts[1:], hosts, strict=False):
                one.learn(other.peer_id, other.addresses())
                await one.dial(other.addresses()[0])
            for index in indexes:
                await index.knows_somebody()
            yield hosts, indexes
            nursery.cancel_scope.cancel()


async def test_what_one_announces_another_finds() -> None:
    async with indexed("alice", "bob", "carol") as (hosts, indexes):
        await indexes[0].announce(b"a key")
        found = await indexes[2].find(b"a key", 5)
        assert found == [(hosts[0].peer_id, hosts[0].addresses())]
        assert await indexes[1].find(b"a key", 5) == found


async def test_several_that_announce_are_found_sorted_and_no_more_than_asked_for() -> None:
    async with indexed("alice", "bob", "carol", "dan") as (hosts, indexes):
        for index in indexes[:3]:
            await index.announce(b"a key")
        peers = [peer for peer, _ in await indexes[3].find(b"a key", 5)]
        assert peers == sorted(host.peer_id for host in hosts[:3])
        assert len(await indexes[3].find(b"a key", 2)) == 2


async def test_what_nobody_announced_is_not_found() -> None:
    async with indexed("alice", "bob") as (_, indexes):
        assert await indexes[0].find(b"nothing", 5) == []


async def test_who_is_alone_finds_nothing_and_says_so_soon() -> None:
    host = lone_host("alice")
    index = Libp2pIndex(host, QUICK)
    async with trio.open_nursery() as nursery:
        await nursery.start(Rpc(host).run)
        await nursery.start(host.run)
        await nursery.start(index.run)
        with trio.fail_after(5):
            await index.announce(b"a key")
            await index.find(b"another", 5)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("module", ["common", "kad_dht", "peer_routing", "provider_store"])
def test_the_protocol_is_not_that_of_ipfs(module: str) -> None:
    kad = __import__(f"libp2p.kad_dht.{module}", fromlist=["PROTOCOL_ID"])
    assert kad.PROTOCOL_ID == "/swarm/kad/1.0.0"
