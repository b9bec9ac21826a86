"""Names in a pool that loses machines one by one, and gets many back at once."""

import pytest
import trio

from p2p.host.memory.network import LinkModel
from p2p.ids import PeerId
from p2p.membership.view import Liveness
from storage.errors import TooFewPeersError
from storage.facade import NameValue
from storage.records.names.config import NamesConfig
from testnet.sim.seeded import simulated
from tests.names_lab import NamesLab, key_of, names_lab

NAME = "keyring"
CONFIG = NamesConfig(call_timeout_s=0.5)
ELEVEN = [f"peer{number}" for number in range(11)]


def lose(lab: NamesLab, *names: str) -> None:
    for name in names:
        lab.crash(name)
        lab.truth.set(name, Liveness.DEAD)


def too_few_to_decide(lab: NamesLab) -> list[str]:
    """Four holders, of whom three vote."""
    holders = lab["peer0"].holders(key_of(NAME)).asked
    return [str(peer) for peer in (*holders[:3], holders[-1])]


@simulated
async def test_the_dead_of_a_pool_that_mostly_lives_count_no_longer_after_a_minute() -> None:
    async with names_lab(ELEVEN, config=CONFIG) as lab:
        gone = too_few_to_decide(lab)
        for name in gone:
            lose(lab, name)
            await trio.sleep(1)
        writer, *others = [one for one in ELEVEN if one not in gone]
        for away in others[:2]:
            lab.crash(away)  # for a moment: nobody calls them dead
        with pytest.raises(TooFewPeersError):
            await lab[writer].write(NAME, b"value", expected=0, fence=0)
        await trio.sleep(CONFIG.given_up_after_s)
        wrote = await lab[writer].write(NAME, b"value", expected=0, fence=0)
        assert await lab[others[2]].read(NAME) == wrote


@simulated
async def test_what_the_dead_may_have_decided_among_themselves_is_waited_for() -> None:
    """A majority of the voters, with a ballot prepared before they were cut off."""
    async with names_lab(ELEVEN, config=CONFIG) as lab:
        holders = lab["peer0"].holders(key_of(NAME))
        gone = [str(peer) for peer in holders.voters[: holders.majority]]
        lose(lab, *gone)
        await trio.sleep(2 * CONFIG.given_up_after_s)
        writer = next(name for name in ELEVEN if name not in gone)
        with pytest.raises(TooFewPeersError):
            await lab[writer].write(NAME, b"value", expected=0, fence=0)
        await trio.sleep(CONFIG.down_after_s)
        await lab[writer].write(NAME, b"value", expected=0, fence=0)


@pytest.mark.parametrize("seed", range(12))
def test_in_a_small_pool_two_that_return_are_waited_for(seed: int) -> None:
    """Found by counting: of five, two may hide what the other three decided."""

    @simulated
    async def five() -> None:
        model = LinkModel(jitter_s=0.05)
        async with names_lab(ELEVEN[:5], model, seed=seed, config=CONFIG) as lab:
            await lab["peer0"].write(NAME, b"old", expected=0, fence=0)
            lose(lab, "peer3", "peer4")
            await trio.sleep(CONFIG.given_up_after_s + 5)
            lab.crash("peer2")
            new = await lab["peer0"].write(NAME, b"new", expected=1, fence=0)
            for name in ("peer2", "peer3", "peer4"):
                await lab.start(name)
            assert await lab["peer1"].read(NAME) == new

    five()


@simulated
async def test_of_three_machines_with_one_dead_a_write_is_on_both_others() -> None:
    async with names_lab(ELEVEN[:3], config=CONFIG) as lab:
        await lab["peer0"].write(NAME, b"old", expected=0, fence=0)
        lose(lab, "peer2")
        await trio.sleep(CONFIG.given_up_after_s + 5)
        lab.crash("peer1")
        with pytest.raises(TooFewPeersError):
            await lab["peer0"].write(NAME, b"alone", expected=1, fence=0)
        await lab.start("peer1")
        found = await lab["peer1"].read(NAME)
        assert found is not None
        await lab["peer0"].write(NAME, b"both", expected=found.sequence, fence=0)


@simulated
async def test_those_who_are_fewer_give_up_nobody() -> None:
    async with names_lab(ELEVEN, config=CONFIG) as lab:
        lose(lab, *ELEVEN[:6])
        await trio.sleep(2 * CONFIG.given_up_after_s)
        with pytest.raises(TooFewPeersError):
            await lab["peer10"].write(NAME, b"value", expected=0, fence=0)
        await trio.sleep(CONFIG.down_after_s)
        await lab["peer10"].write(NAME, b"value", expected=0, fence=0)


def fall_apart(lab: NamesLab, few: list[str], many: list[str], liveness: Liveness) -> None:
    """Each side takes the other for that."""
    for side, other in ((few, many), (many, few)):
        for name in side:
            lab.nodes[name].members.believe([PeerId(one) for one in other], liveness)
    if liveness is Liveness.DEAD:
        lab.network.cut([PeerId(one) for one in few], [PeerId(one) for one in many])
    else:
        lab.network.heal()


@pytest.mark.parametrize("seed", range(8))
def test_many_that_return_at_once_hear_what_was_decided_without_them(seed: int) -> None:
    """Also where most who were there at the time have no part in it."""

    @simulated
    async def heal() -> None:
        model = LinkModel(jitter_s=0.05)
        async with names_lab(ELEVEN, model, seed=seed, config=CONFIG) as lab:
            await lab["peer0"].write(NAME, b"old", expected=0, fence=0)
            everybody = lab["peer0"].holders(key_of(NAME)).asked
            few = too_few_to_decide(lab)
            many = [name for name in ELEVEN if name not in few]
            behind = [str(peer) for peer in everybody if peer not in few][2:]
            writer = next(name for name in many if name not in behind)
            fall_apart(lab, few, many, Liveness.DEAD)
            await trio.sleep(CONFIG.given_up_after_s + 5)
            with pytest.raises(TooFewPeersError):
                await lab[few[0]].write(NAME, b"by few", expected=1, fence=0)
            for name in behind:
                lab.crash(name)
            new = await lab[writer].write(NAME, b"new", expected=1, fence=0)
            for name in behind:
                await lab.start(name)
            fall_apart(lab, few, many, Liveness.ALIVE)
            assert await lab[few[0]].read(NAME) == new == NameValue(2, 0, b"new")
            await lab[few[1]].write(NAME, b"newer", expected=2, fence=0)

    heal()


@simulated
async def test_a_few_that_return_are_waited_for_by_nobody() -> None:
    async with names_lab(ELEVEN, config=CONFIG) as lab:
        await lab["peer0"].write(NAME, b"old", expected=0, fence=0)
        few = [str(peer) for peer in lab["peer0"].holders(key_of(NAME)).asked[:2]]
        lose(lab, *few)
        await trio.sleep(CONFIG.given_up_after_s + 5)
        reader = next(name for name in ELEVEN if name not in few)
        new = await lab[reader].write(NAME, b"new", expected=1, fence=0)
        for name in few:
            await lab.start(name)
        began_s = trio.current_time()
        assert await lab[few[0]].read(NAME) == new
        assert await lab[reader].read(NAME) == new
        assert trio.current_time() - began_s < 2
