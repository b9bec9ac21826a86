"""Names that holders refuse, that lie at one machine, or that nobody can be asked for."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from p2p.errors import RefusalError
from p2p.ids import PeerId
from p2p.membership.view import Liveness
from p2p.wire.envelope import Signed
from storage.errors import TooFewPeersError
from storage.facade import NameValue
from storage.records.names.config import NamesConfig
from storage.records.names.core import holders_of
from storage.records.names.holder import NameHolder
from storage.records.names.messages import NameRecord
from testnet.sim.seeded import simulated
from tests.names_lab import NamesLab, OwnView, Truth, key_of, names_lab

NAME = "keyring"
CONFIG = NamesConfig(call_timeout_s=0.5)
THREE = ["peer0", "peer1", "peer2"]


def lose(lab: NamesLab, *names: str) -> None:
    for name in names:
        lab.crash(name)
        lab.truth.set(name, Liveness.DEAD)


@contextmanager
def refusing(lab: NamesLab, name: str, code: str, record: str = "") -> Iterator[None]:
    """That machine refuses records of this name, or all."""
    names = lab.nodes[name].names
    assert names is not None
    holder: NameHolder = names._holder
    checked = holder._checked

    def check(sealed: Signed) -> NameRecord:
        found = checked(sealed)
        if record in ("", found.name):
            raise RefusalError(code, "not here")
        return found

    holder._checked = check  # type: ignore[method-assign]
    yield
    holder._checked = checked  # type: ignore[method-assign]


@pytest.mark.parametrize("code", ["expired", "full", "busy"])
@simulated
async def test_a_record_that_a_newcomer_refuses_keeps_no_other_from_it(code: str) -> None:
    async with names_lab(THREE, config=CONFIG) as lab:
        names = [f"n{number}" for number in range(100)]
        for name in names:
            await lab["peer0"].write(name, b"v", expected=0, fence=0)
        await lab.start("peer3")
        with refusing(lab, "peer3", code, min(names, key=key_of)):
            await trio.sleep(60)
            assert lab["peer3"].stats().held == len(names) - 1


@simulated
async def test_whoever_has_nobody_left_to_ask_is_told_at_once() -> None:
    everybody = [f"peer{number}" for number in range(12)]
    async with names_lab(everybody, config=CONFIG) as lab:
        await lab["peer0"].write(NAME, b"x", expected=0, fence=0)
        asked = lab["peer0"].holders(key_of(NAME)).asked
        lone = next(name for name in everybody if name not in asked)
        others = [PeerId(name) for name in everybody if name != lone]
        lab.nodes[lone].members.believe(others, Liveness.DEAD)
        lab.network.cut([PeerId(lone)], others)
        with trio.fail_after(60), pytest.raises(TooFewPeersError, match="can be reached"):
            await lab[lone].read(NAME)
        lab.network.heal()
        lab.nodes[lone].members.believe(others, Liveness.ALIVE)
        assert await lab[lone].read(NAME) == NameValue(1, 0, b"x")


@simulated
async def test_what_was_read_where_a_dead_machine_was_given_up_is_read_ever_after() -> None:
    async with names_lab(THREE, config=CONFIG) as lab:
        await lab["peer0"].write(NAME, b"old", expected=0, fence=0)
        voter = str(holders_of(key_of(NAME), [PeerId("peer0"), PeerId("peer1")]).voters[0])
        other = "peer1" if voter == "peer0" else "peer0"
        lose(lab, "peer2")
        await trio.sleep(65)
        with refusing(lab, other, "full"):
            with pytest.raises(TooFewPeersError, match="not all who keep this name took it"):
                await lab[other].write(NAME, b"new", expected=1, fence=0)
            with pytest.raises(TooFewPeersError):
                await lab[other].read(NAME)  # one machine has it, and that may go
        seen = await lab[other].read(NAME)
        assert seen == NameValue(2, 0, b"new")
        lose(lab, voter)
        await lab.start("peer2")
        await trio.sleep(30)
        assert await lab[other].read(NAME) == seen


@simulated
async def test_a_restarted_machine_decides_no_sooner_than_the_others() -> None:
    everybody = [f"peer{number:02}" for number in range(20)]
    async with names_lab(everybody, config=CONFIG) as lab:
        holders = lab["peer00"].holders(key_of(NAME))
        gone = [str(peer) for peer in (*holders.voters[:4], *holders.asked[-2:])]
        living = [name for name in everybody if name not in gone]
        again = next(name for name in living if name not in holders.asked)
        lose(lab, *gone)
        await trio.sleep(70)
        with pytest.raises(TooFewPeersError):
            await lab[again].write(NAME, b"before", expected=0, fence=0)
        lab.crash(again)
        told = Truth()  # nobody tells a newcomer of members that are dead
        for name in living:
            told.members[PeerId(name)] = lab.truth.members[PeerId(name)]
        lab.nodes[again].members = OwnView(PeerId(again), told)
        await lab.start(again)
        for wait_s in (5, 100):
            await trio.sleep(wait_s)
            with pytest.raises(TooFewPeersError):
                await lab[again].write(NAME, b"after", expected=0, fence=0)


@simulated
async def test_two_that_stayed_do_not_wait_for_the_third_that_returns() -> None:
    async with names_lab(THREE, config=CONFIG) as lab:
        await lab["peer0"].write(NAME, b"old", expected=0, fence=0)
        lose(lab, "peer2")
        await trio.sleep(65)
        await lab["peer0"].write(NAME, b"new", expected=1, fence=0)
        await lab.start("peer2")
        began_s = trio.current_time()
        assert await lab["peer0"].read(NAME) == NameValue(2, 0, b"new")
        assert trio.current_time() - began_s < 1
