"""Members behind firewalls that only a relay can be reached from: they stay one swarm."""

import random

import pytest
import trio

from p2p.host.memory.network import LinkModel
from p2p.ids import PeerId
from p2p.membership.view import Liveness
from testnet.sim.seeded import run_seeded, until
from tests.p2p_lab import P2PLab, at, p2p_lab

RELAYS = ("rita", "rob")
BEHIND = ("alice", "bob", "carol")


def firewalled(caller: PeerId, called: PeerId) -> bool:
    """Only relays can be dialled."""
    return called in RELAYS


async def started(lab: P2PLab) -> None:
    """Two relays, and three that join by the first of them."""
    lab.network.reaches = firewalled
    lab.relays.update(RELAYS)
    for name in (*RELAYS, *BEHIND):
        await lab.start(name, [at("rita")] if name != "rita" else [])


def relays_in_use(lab: P2PLab) -> set[str]:
    return {
        str(relay)
        for one in BEHIND
        for other in BEHIND
        if (relay := lab[one].host.relay_of(PeerId(other))) is not None
    }


@pytest.mark.parametrize("seed", range(3))
def test_who_is_reached_by_relay_is_never_taken_for_dead(seed: int) -> None:
    doubted: list[str] = []

    async def main() -> None:
        async with p2p_lab(LinkModel(cast_loss=0.01), seed=seed) as lab:
            await started(lab)
            for name in BEHIND:
                lab[name].members.on_change(
                    lambda change: (
                        doubted.append(str(change.member.peer))
                        if change.member.liveness is Liveness.DEAD
                        else None
                    )
                )
            await until(lambda: lab.all_see(*RELAYS, *BEHIND), within_s=10)
            await trio.sleep(240)
            assert lab.all_see(*RELAYS, *BEHIND)
            assert doubted == []
            assert relays_in_use(lab)
            assert lab["alice"].host.relay_of(PeerId("bob")) is not None

    run_seeded(seed, main)


@pytest.mark.parametrize("seed", range(4))
def test_when_a_relay_dies_the_others_meet_by_the_one_that_is_left(seed: int) -> None:
    async def main() -> None:
        async with p2p_lab(seed=seed) as lab:
            await started(lab)
            await until(lambda: lab.all_see(*RELAYS, *BEHIND), within_s=10)
            await trio.sleep(30)
            victim, left = random.Random(seed).sample(RELAYS, 2)
            lab.end(victim, silent=bool(seed % 2))
            await until(lambda: lab[left].liveness(victim) is Liveness.DEAD, within_s=40)
            await until(lambda: lab.all_see(left, *BEHIND), within_s=60)
            await until(lambda: relays_in_use(lab) == {left}, within_s=60)

    run_seeded(seed, main)


def test_a_firewall_that_opens_makes_the_ways_direct() -> None:
    async def main() -> None:
        async with p2p_lab() as lab:
            await started(lab)
            await until(lambda: lab.all_see(*RELAYS, *BEHIND), within_s=10)
            await until(lambda: bool(relays_in_use(lab)), within_s=30)
            lab.network.reaches = lambda caller, called: True
            await until(lambda: not relays_in_use(lab), within_s=310)
            assert lab.all_see(*RELAYS, *BEHIND)
            carried = lab["rita"].host.carried(), lab["rob"].host.carried()
            assert sum(each.circuits for each in carried) == 0
            assert sum(each.bytes_total for each in carried) > 0

    run_seeded(0, main)
