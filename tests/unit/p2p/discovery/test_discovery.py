"""Finding the swarm: seeds, remembered peers, the index; what a failure says; alone and ready."""

from functools import partial

import pytest
import trio

from p2p.discovery.service import RETRY_MAX_S, SEEDS_EVERY_S
from p2p.errors import DialError
from p2p.host.memory.host import MemoryHost
from p2p.host.rpc.service import Rpc
from p2p.ids import PeerId
from testnet.sim.seeded import simulated, until
from tests.p2p_lab import NET, P2PLab, at, p2p_lab

WITHIN_S = 10.0
"""A failed join says why within so long."""


async def mute(lab: P2PLab, name: str) -> None:
    """A machine that lets itself be dialled but is no member and answers nobody."""
    host = MemoryHost(lab.network, PeerId(name))
    await lab.nursery.start(Rpc(host).run)
    await lab.nursery.start(host.run)


@simulated
async def test_a_first_node_is_ready_alone_and_dials_nobody() -> None:
    async with p2p_lab() as lab:
        alice = await lab.start("alice", [at("alice")])
        await trio.sleep(100)
        assert not alice.discovery.expects_others
        assert alice.discovery.status.step == "alone"
        assert alice.index.announced == [NET.encode()]


@simulated
async def test_a_node_joins_through_its_seed_and_then_knows_everybody() -> None:
    async with p2p_lab() as lab:
        await lab.start("alice")
        bob = await lab.start("bob", [at("alice")])
        assert bob.discovery.expects_others
        await lab.start("carol", [at("alice")])
        await until(lambda: lab.all_see("alice", "bob", "carol"), within_s=3)
        assert bob.discovery.status.step == "joined"


@simulated
async def test_whoever_joins_before_we_discover_can_be_dialled_back() -> None:
    async with p2p_lab() as lab:
        alice = lab.make("alice")
        for part in (alice.rpc, alice.host, alice.members):
            await lab.nursery.start(part.run)
        await lab.start("bob", [at("alice")])
        await until(lambda: alice.alive() == ["alice", "bob"], within_s=3)
        lab.network.break_connection(PeerId("alice"), PeerId("bob"))
        await alice.host.dial(at("bob"))


@simulated
async def test_a_failed_join_names_within_ten_seconds_what_failed_for_each_address() -> None:
    async with p2p_lab() as lab:
        await mute(lab, "mute")
        await lab.start("far")
        lab.network.cut([PeerId("far")], [PeerId("bob")])
        bob = await lab.start("bob", [at("nobody"), at("mute"), at("far"), "/dns/rubbish"])
        took_s = await until(lambda: bob.discovery.status.step == "retrying", within_s=WITHIN_S)
        assert took_s <= WITHIN_S
        failed = {
            address: (cause, detail) for address, cause, detail in bob.discovery.status.failures
        }
        assert failed[at("nobody")] == ("port", "nobody listens there")
        assert failed[at("mute")][0] == "peer"
        assert failed[at("far")][0] == "port"
        assert failed["/dns/rubbish"][0] == "peer"


@simulated
async def test_failures_are_shown_while_others_are_still_dialled() -> None:
    async with p2p_lab() as lab:
        await lab.start("far")
        lab.network.cut([PeerId("far")], [PeerId("bob")])
        bob = await lab.start("bob", [at("nobody"), at("far")])
        await until(lambda: bool(bob.discovery.status.failures), within_s=1)
        assert bob.discovery.status.step == "dialling"
        assert [address for address, _, _ in bob.discovery.status.failures] == [at("nobody")]


@simulated
async def test_one_answer_is_enough_and_a_dead_seed_does_not_delay_it() -> None:
    async with p2p_lab() as lab:
        await lab.start("alice")
        lab.network.cut([PeerId("dead")], [PeerId("bob")])
        bob = await lab.start("bob", [at("dead"), at("alice")])
        await until(lambda: bob.discovery.status.step == "joined", within_s=1)


@simulated
async def test_a_seed_that_comes_up_later_is_found() -> None:
    async with p2p_lab() as lab:
        bob = await lab.start("bob", [at("alice")])
        await trio.sleep(300)
        assert bob.discovery.status.step == "retrying"
        await lab.start("alice")
        await until(lambda: lab.all_see("alice", "bob"), within_s=RETRY_MAX_S + 3)


@simulated
async def test_after_a_restart_remembered_peers_lead_back_without_the_seed() -> None:
    async with p2p_lab() as lab:
        for name in ("alice", "bob", "carol"):
            await lab.start(name, [at("alice")])
        await until(lambda: lab.all_see("alice", "bob", "carol"), within_s=5)
        await trio.sleep(2)
        lab.end("alice")
        lab.end("carol")
        carol = await lab.start("carol", [at("alice")])
        await until(lambda: "bob" in carol.alive(), within_s=3)


@simulated
async def test_a_restarted_first_node_expects_those_it_remembers() -> None:
    async with p2p_lab() as lab:
        await lab.start("alice")
        await lab.start("bob", [at("alice")])
        await until(lambda: lab.all_see("alice", "bob"), within_s=3)
        await trio.sleep(2)
        lab.end("alice")
        alice = await lab.start("alice")
        assert alice.discovery.expects_others
        await until(lambda: lab.all_see("alice", "bob"), within_s=3)


@simulated
async def test_whoever_is_left_alone_rejoins() -> None:
    async with p2p_lab() as lab:
        await lab.start("alice")
        await lab.start("bob", [at("alice")])
        await until(lambda: lab.all_see("alice", "bob"), within_s=3)
        lab.end("alice", silent=True)
        await until(lambda: lab["bob"].alive() == ["bob"], within_s=15)
        await lab.start("alice", keep=False)
        await until(lambda: lab.all_see("alice", "bob"), within_s=RETRY_MAX_S + 3)


@simulated
async def test_the_index_is_asked_but_nobody_waits_for_it() -> None:
    async with p2p_lab() as lab:
        await lab.start("alice")
        bob = lab.make("bob", [at("nobody")])
        bob.index.found = [(PeerId("bob"), (at("bob"),)), (PeerId("alice"), (at("alice"),))]
        await lab.nursery.start(bob.run)
        await until(lambda: lab.all_see("alice", "bob"), within_s=2)
        carol = lab.make("carol", [at("alice")])
        carol.index.answers_after_s = 1000
        await lab.nursery.start(carol.run)
        await until(lambda: lab.all_see("alice", "bob", "carol"), within_s=3)


@simulated
async def test_two_swarms_become_one_once_the_seed_of_one_is_up() -> None:
    async with p2p_lab() as lab:
        seed = "/memory/alice/p2p/alice"
        await lab.start("bob", [seed])
        await lab.start("carol", [seed, at("bob")])
        await until(lambda: lab.all_see("bob", "carol"), within_s=5)
        await lab.start("alice")
        await lab.start("dave", [at("alice")])
        await until(
            lambda: lab.all_see("alice", "bob", "carol", "dave"), within_s=SEEDS_EVERY_S + 5
        )


@simulated
async def test_two_swarms_of_machines_that_start_together_are_one_within_seconds() -> None:
    """As after a power cut: each pair had met before the seed listened."""
    async with p2p_lab() as lab:
        seed = "/memory/alice/p2p/alice"
        await lab.start("bob", [seed])
        await lab.start("carol", [seed, at("bob")])
        await until(lambda: lab.all_see("bob", "carol"), within_s=2)
        await lab.start("alice")
        await lab.start("dave", [seed])
        await until(lambda: lab.all_see("alice", "bob", "carol", "dave"), within_s=5)


@simulated
async def test_two_swarms_after_a_restart_meet_by_what_they_remember_when_the_seed_has_moved() -> (
    None
):
    async with p2p_lab() as lab:
        for name, known in (("alice", "dave"), ("dave", "bob"), ("carol", "bob"), ("bob", "carol")):
            node = lab.make(name, ["/memory/moved/p2p/alice"])
            await node.cache.save(PeerId(known), (f"/memory/{known}/p2p/{known}",))
        for left, right in (("alice", "dave"), ("bob", "carol")):
            await lab.nursery.start(lab[left].run)
            await lab.nursery.start(lab[right].run)
            await until(partial(lab.all_see, left, right), within_s=2)
        await until(lambda: lab.all_see("alice", "bob", "carol", "dave"), within_s=20)


@simulated
async def test_joining_by_hand_says_what_failed_within_ten_seconds() -> None:
    async with p2p_lab() as lab:
        await mute(lab, "mute")
        bob = await lab.start("bob")
        lab.network.cut([PeerId("far")], [PeerId("bob")])
        for name, cause in (("nobody", "port"), ("mute", "peer"), ("far", "port")):
            with trio.fail_after(WITHIN_S), pytest.raises(DialError) as caught:
                await bob.discovery.join_through(at(name))
            assert (caught.value.cause, caught.value.address) == (cause, at(name))
        assert not bob.discovery.expects_others, "what failed is no seed"
        await lab.start("alice")
        assert await bob.discovery.join_through(at("alice")) == "alice"
        assert lab.all_see("alice", "bob")


@simulated
async def test_more_addresses_than_one_round_dials_all_have_their_turn() -> None:
    async with p2p_lab() as lab:
        await lab.start("zoe")
        bob = lab.make("bob")
        for at_ in range(150):
            await bob.cache.save(PeerId(f"gone-{at_}"), (at(f"gone-{at_}"),))
        await bob.cache.save(PeerId("zoe"), (at("zoe"),))
        await lab.nursery.start(bob.run)
        await until(lambda: lab.all_see("bob", "zoe"), within_s=10)


@simulated
async def test_an_instant_refusal_is_not_asked_again_at_once() -> None:
    async with p2p_lab() as lab:
        bob = await lab.start("bob", [at("nobody")])
        rounds: list[object] = []
        seen = bob.discovery.status
        for _ in range(6000):
            await trio.sleep(0.01)
            if bob.discovery.status is not seen and bob.discovery.status.step == "retrying":
                rounds.append(bob.discovery.status)
            seen = bob.discovery.status
        assert 4 <= len(rounds) <= 8
