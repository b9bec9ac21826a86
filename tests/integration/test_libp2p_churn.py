"""Hosts that dial, drop and interrupt each other at random agree in the end."""

import random
from dataclasses import dataclass, field

import pytest
import trio

from p2p.errors import DialError, PeerUnreachableError
from p2p.host.libp2p.host import HostConfig, Libp2pHost
from p2p.host.peers.address_book import BackOffConfig
from p2p.identity.caller import Caller
from p2p.ids import PeerId, TrafficClass
from testnet.lone_peer import lone_host

HOSTS, ACTORS, TURNS = 4, 3, 60
QUICK = HostConfig(back_off=BackOffConfig(first_s=0.01, most_s=0.05))


@dataclass
class Witness:
    """Checks what a host tells its listener: up and down in turn, frames in order while up."""

    is_up: dict[PeerId, bool] = field(default_factory=dict)
    last: dict[tuple[PeerId, int, int], int] = field(default_factory=dict)
    heard: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    def on_frame(self, peer: PeerId, traffic_class: TrafficClass, frame: bytes) -> None:
        assert self.is_up[peer], "a frame of a peer that is down"
        actor, number = frame[0], int.from_bytes(frame[1:9])
        lane = (peer, traffic_class, actor)
        assert number > self.last.get(lane, -1), "an actor's frames keep their order"
        self.last[lane] = number
        self.heard.unpark_all()

    def on_up(self, caller: Caller) -> None:
        assert not self.is_up.get(caller.peer), "up twice"
        self.is_up[caller.peer] = True

    def on_down(self, peer: PeerId, reason: str) -> None:
        assert self.is_up[peer], "down twice"
        self.is_up[peer] = False


async def act(rng: random.Random, me: Libp2pHost, others: list[Libp2pHost], actor: int) -> None:
    """One actor's life: its frames are numbered."""
    for turn in range(TURNS):
        other = rng.choice(others)
        data = bytes([actor]) + turn.to_bytes(8) + bytes(rng.choice([0, 10, 100_000]))
        traffic_class = rng.choice(list(TrafficClass))
        try:
            with trio.move_on_after(rng.choice([0.001, 0.01, 5.0])):
                match rng.choice(["drop", "dial", *["cast"] * 4, *["send"] * 4]):
                    case "drop":
                        await me.disconnect(other.peer_id, "goodbye")
                    case "dial":
                        await me.dial(other.addresses()[0])
                    case "cast":
                        me.cast(other.peer_id, traffic_class, data)
                    case "send":
                        await me.send(other.peer_id, traffic_class, data)
        except (DialError, PeerUnreachableError):
            continue  # somebody has just hung up
        await trio.sleep(rng.random() * 0.01)


@pytest.mark.parametrize("seed", range(3))
async def test_churn_ends_with_everybody_agreeing_who_is_connected(seed: int) -> None:
    rng = random.Random(seed)
    hosts = [lone_host(f"host {number}", config=QUICK) for number in range(HOSTS)]
    witnesses = [Witness() for _ in hosts]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for host, witness in zip(hosts, witnesses, strict=True):
                host.attach(witness)
                await nursery.start(host.run)
            for host in hosts:
                for other in hosts:
                    host.learn(other.peer_id, other.addresses())
            async with trio.open_nursery() as actors:
                for host in hosts:
                    others = [other for other in hosts if other is not host]
                    for actor in range(ACTORS):
                        actors.start_soon(act, rng, host, others, actor)
            await all_meet(hosts, witnesses)
            nursery.cancel_scope.cancel()


async def all_meet(hosts: list[Libp2pHost], witnesses: list[Witness]) -> None:
    """Everybody sends everybody a last frame; afterwards all are connected once."""
    for host in hosts:
        for other, witness in zip(hosts, witnesses, strict=True):
            if other is not host:
                await greet(host, other.peer_id, witness)
    for host, witness in zip(hosts, witnesses, strict=True):
        expected = sorted(other.peer_id for other in hosts if other is not host)
        assert list(host.peers()) == expected
        assert sorted(peer for peer, is_up in witness.is_up.items() if is_up) == expected


async def greet(host: Libp2pHost, other: PeerId, witness: Witness) -> None:
    """Send until a frame is heard: the first may be lost with a connection that was dropped."""
    lane, number = (host.peer_id, TrafficClass.NORMAL, ACTORS), 0
    while lane not in witness.last:
        number += 1
        with trio.move_on_after(1):
            try:
                await host.send(other, TrafficClass.NORMAL, bytes([ACTORS]) + number.to_bytes(8))
            except PeerUnreachableError:
                await trio.sleep(0.1)  # the pause after a dial that was in vain
                continue
            while lane not in witness.last:
                await witness.heard.park()
