"""Peers that freeze, die and come back, in processes of their own."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio

from p2p.errors import PeerUnreachableError
from p2p.host.libp2p.host import HostConfig, Libp2pHost
from p2p.host.peers.address_book import BackOffConfig
from p2p.host.rpc.service import Rpc
from p2p.ids import PeerId, TrafficClass
from p2p.link.config import LinkConfig
from testnet.lone_peer import Ask, Told, lone_host
from testnet.lone_process import StartPeer

QUICK = HostConfig(
    link=LinkConfig(ping_every_s=0.1, dead_after_s=0.8), back_off=BackOffConfig(first_s=0.05)
)


@dataclass
class Alice:
    """A host and RPC in this process."""

    host: Libp2pHost
    rpc: Rpc
    changes: list[tuple[PeerId, bool]] = field(default_factory=list)
    changed: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    def on_peer(self, peer: PeerId, is_up: bool) -> None:
        self.changes.append((peer, is_up))
        self.changed.unpark_all()

    async def sees(self, *changes: bool) -> None:
        """Wait for these ups and downs, and no others."""
        while len(self.changes) < len(changes):
            await self.changed.park()
        assert tuple(is_up for _, is_up in self.changes) == changes

    async def ask(self, peer: PeerId, *, wait_s: float = 0.0) -> str:
        told, _ = await self.rpc.call(
            peer, Ask("?", wait_s=wait_s), Told, traffic_class=TrafficClass.NORMAL, timeout_s=20
        )
        return told.text


@asynccontextmanager
async def running_alice(config: HostConfig = QUICK) -> AsyncIterator[Alice]:
    host = lone_host("alice", config=config)
    alice = Alice(host, Rpc(host))
    alice.rpc.on_peer(alice.on_peer)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(alice.rpc.run)
            await nursery.start(host.run)
            yield alice
            nursery.cancel_scope.cancel()


async def test_a_frozen_peer_is_noticed_and_its_calls_fail(start_peer: StartPeer) -> None:
    bob = await start_peer("bob")
    async with running_alice() as alice:
        await alice.host.dial(bob.address)
        await alice.sees(True)
        bob.process.send_signal(signal.SIGSTOP)
        with trio.fail_after(5), pytest.raises(PeerUnreachableError, match="silent"):
            await alice.ask(bob.peer)
        await alice.sees(True, False)
        bob.process.send_signal(signal.SIGCONT)
        alice.host.learn(bob.peer, [bob.address])
        assert await alice.ask(bob.peer) == "?"


async def test_a_killed_peer_is_noticed_at_once(start_peer: StartPeer) -> None:
    bob = await start_peer("bob")
    async with running_alice(HostConfig()) as alice:
        await alice.host.dial(bob.address)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails, alice, bob.peer)
            await alice.sees(True)
            bob.process.kill()
        await alice.sees(True, False)


async def fails(alice: Alice, peer: PeerId) -> None:
    with trio.fail_after(5), pytest.raises(PeerUnreachableError):
        await alice.ask(peer, wait_s=60)


async def test_a_peer_that_was_killed_and_came_back_is_met_again(start_peer: StartPeer) -> None:
    bob = await start_peer("bob")
    async with running_alice() as alice:
        await alice.host.dial(bob.address)
        assert await alice.ask(bob.peer) == "?"
        bob.process.kill()
        await alice.sees(True, False)
        with pytest.raises(PeerUnreachableError):
            await alice.ask(bob.peer)
        await start_peer("bob", "--listen", bob.listens_on)
        alice.host.learn(bob.peer, [bob.address])
        while True:
            try:
                assert await alice.ask(bob.peer) == "?"
            except PeerUnreachableError:
                await trio.sleep(0.05)  # the pause after a failed dial
            else:
                break
        await alice.sees(True, False, True)


@pytest.mark.parametrize("name", ["bob", "max"])  # Bob's id is below Alice's, Max's above
async def test_a_new_life_replaces_one_that_froze(start_peer: StartPeer, name: str) -> None:
    frozen = await start_peer(name)
    async with running_alice(HostConfig()) as alice:
        await alice.host.dial(frozen.address)
        assert await alice.ask(frozen.peer) == "?"
        frozen.process.send_signal(signal.SIGSTOP)
        reborn = await start_peer(name, "--dial", alice.host.addresses()[0])
        assert reborn.peer == frozen.peer
        await alice.sees(True, False, True)
        with trio.fail_after(5):
            assert await alice.ask(reborn.peer) == "?"
