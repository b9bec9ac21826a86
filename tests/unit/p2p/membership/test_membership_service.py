"""What the rest of the node sees of membership, over Rpc on virtual time."""

import pytest
import trio

from p2p.errors import PeerUnreachableError
from p2p.host.memory.host import MemoryHost
from p2p.host.memory.network import LinkModel
from p2p.host.rpc.service import Rpc
from p2p.ids import PeerId
from p2p.membership.messages import Ping, SyncPage
from p2p.membership.service import JOIN_S
from p2p.membership.view import Liveness, MemberChanged
from testnet.sim.seeded import run_seeded, simulated, until
from tests.p2p_lab import P2PLab, at, p2p_lab

ALICE, BOB = PeerId("alice"), PeerId("bob")
ALIVE, SUSPECT, DEAD, LEFT = Liveness


async def three(lab: P2PLab) -> None:
    for name in ("alice", "bob", "carol"):
        await lab.start(name, [at("alice")])
    await until(lambda: lab.all_see("alice", "bob", "carol"), within_s=5)


@simulated
async def test_joining_gives_both_the_whole_view_before_it_returns() -> None:
    async with p2p_lab() as lab:
        alice, bob = await lab.start("alice"), await lab.start("bob")
        await bob.host.dial(at("alice"))
        await bob.members.join(ALICE)
        assert bob.alive() == ["alice", "bob"]
        await until(lambda: alice.alive() == ["alice", "bob"], within_s=0.1)
        member = bob.members.view().find(ALICE)
        assert member is not None
        assert (member.name, member.lab, member.addresses) == ("alice", "lab", (at("alice"),))


@simulated
async def test_joining_whoever_does_not_answer_fails_after_a_while_and_only_that() -> None:
    async with p2p_lab() as lab:
        mute = MemoryHost(lab.network, PeerId("mute"))
        await lab.nursery.start(Rpc(mute).run)
        await lab.nursery.start(mute.run)
        alice = await lab.start("alice")
        await alice.host.dial(at("mute"))
        for peer in ("mute", "nowhere"):
            start_s = trio.current_time()
            with pytest.raises(PeerUnreachableError, match="did not tell us"):
                await alice.members.join(PeerId(peer))
            assert trio.current_time() - start_s == pytest.approx(JOIN_S, abs=0.1)
        assert alice.alive() == ["alice"]


@simulated
async def test_two_joins_of_one_peer_both_end() -> None:
    async with p2p_lab() as lab:
        await lab.start("alice")
        bob = await lab.start("bob")
        await bob.host.dial(at("alice"))
        with trio.fail_after(1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bob.members.join, ALICE)
                nursery.start_soon(bob.members.join, ALICE)


@simulated
async def test_joining_works_though_casts_are_lost() -> None:
    async with p2p_lab(LinkModel(cast_loss=0.4), seed=5) as lab:
        await lab.start("alice")
        bob = await lab.start("bob")
        await bob.host.dial(at("alice"))
        await bob.members.join(ALICE)
        assert "alice" in bob.alive()


@simulated
async def test_listeners_are_told_of_every_change_once_and_in_order() -> None:
    async with p2p_lab() as lab:
        alice = await lab.start("alice")
        told: list[MemberChanged] = []
        alice.members.on_change(told.append)
        await lab.start("bob", [at("alice")])
        await until(lambda: alice.alive() == ["alice", "bob"], within_s=3)
        lab.end("bob", silent=True)
        await until(lambda: alice.liveness("bob") is DEAD, within_s=15)
        await lab.start("bob", [at("alice")])
        await until(lambda: alice.liveness("bob") is ALIVE, within_s=5)
        steps = [(c.before, c.member.liveness) for c in told if c.member.peer == BOB]
        assert steps == [(None, ALIVE), (ALIVE, SUSPECT), (SUSPECT, DEAD), (DEAD, ALIVE)]


@simulated
async def test_a_broken_connection_is_not_a_death() -> None:
    async with p2p_lab() as lab:
        await three(lab)
        for _ in range(20):
            lab.network.break_connection(ALICE, BOB)
            await trio.sleep(1)
            assert lab.all_see("alice", "bob", "carol")


@simulated
async def test_a_lost_connection_has_the_peer_probed_at_once() -> None:
    """So that a crash is suspected sooner than the next round would find it."""
    async with p2p_lab() as lab:
        await three(lab)
        await trio.sleep(5)
        lab.end("carol")
        await until(lambda: lab["alice"].liveness("carol") is SUSPECT, within_s=2.5)


@simulated
async def test_leaving_is_said_to_everybody_and_soon_done() -> None:
    async with p2p_lab() as lab:
        await three(lab)
        with trio.fail_after(1):
            await lab["carol"].members.leave()
        lab.end("carol")
        await until(lambda: lab["alice"].liveness("carol") is LEFT, within_s=1)
        await until(lambda: lab["bob"].liveness("carol") is LEFT, within_s=1)


@simulated
async def test_leaving_alone_or_unheard_ends_all_the_same() -> None:
    async with p2p_lab() as lab:
        alice = await lab.start("alice")
        with trio.fail_after(0.1):
            await alice.members.leave()
        await three(lab)
        lab.network.cut([ALICE], [BOB, PeerId("carol")])
        with trio.fail_after(1.1):
            await lab["alice"].members.leave()


@simulated
async def test_whoever_left_may_come_back() -> None:
    async with p2p_lab() as lab:
        await three(lab)
        await lab["carol"].members.leave()
        await until(lambda: lab["alice"].liveness("carol") is LEFT, within_s=1)
        await lab["carol"].members.join(ALICE)
        await until(lambda: lab.all_see("alice", "bob", "carol"), within_s=3)


@simulated
async def test_a_new_address_is_told_to_everybody() -> None:
    async with p2p_lab() as lab:
        await three(lab)
        lab["carol"].addresses.append("/memory/carol/elsewhere")

        def is_known() -> bool:
            member = lab["alice"].members.view().find(PeerId("carol"))
            return member is not None and len(member.addresses) == 2

        await until(is_known, within_s=15)


@simulated
async def test_messages_of_strangers_are_answered_and_do_no_harm() -> None:
    async with p2p_lab() as lab:
        alice = await lab.start("alice")
        host = MemoryHost(lab.network, PeerId("stranger"))
        rpc = Rpc(host)
        heard: list[object] = []
        rpc.listen(SyncPage, lambda peer, page: heard.append(page))
        await lab.nursery.start(rpc.run)
        await lab.nursery.start(host.run)
        await host.dial(at("alice"))
        for sequence in range(50):
            rpc.cast(ALICE, Ping(sequence))
        await trio.sleep(10)
        assert alice.alive() == ["alice"]


@pytest.mark.parametrize("seed", range(3))
def test_nine_whole_nodes_lose_one_part_and_heal(seed: int) -> None:
    async def main() -> None:
        async with p2p_lab(LinkModel(jitter_s=0.02, cast_loss=0.01), seed=seed) as lab:
            names = [f"n{i}" for i in range(9)]
            for name in names:
                await lab.start(name, [at("n0")])
            await until(lambda: lab.all_see(*names), within_s=10)
            lab["n3"].gossip.publish(1, b"three", ttl_s=35)
            await until(
                lambda: all(PeerId("n3") in lab[n].gossip.items(1) for n in names), within_s=12
            )
            lab.end("n8", silent=True)
            await until(lambda: all(lab[n].liveness("n8") is DEAD for n in names[:8]), within_s=15)
            left, right = names[:3], names[3:8]
            lab.network.cut([PeerId(n) for n in left], [PeerId(n) for n in right])
            await until(lambda: lab.all_see(*left) and lab.all_see(*right), within_s=40)
            lab.network.heal()
            await until(lambda: lab.all_see(*names[:8]), within_s=45)
            await lab.start("n8", [at("n0")])
            await until(lambda: lab.all_see(*names), within_s=5)

    run_seeded(seed, main)
